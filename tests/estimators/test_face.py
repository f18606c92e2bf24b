"""What hmmlearn's users rely on, and what ours have besides: letters, lengths, seeds, errors, semi-Markov models."""

import logging
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import semihmm
from semihmm import models
from semihmm.estimators import (
    GMMHMM,
    BaseHMM,
    CategoricalHMM,
    CategoricalHSMM,
    ConvergenceMonitor,
    GaussianHMM,
    GaussianHSMM,
    MultinomialHMM,
    PoissonHMM,
    PoissonHSMM,
)
from semihmm.estimators.grouping import groups
from semihmm.estimators.semi_markov import LAWS
from semihmm.models import durations

LENGTHS = [30, 1, 29]
EVERY: list[Any] = [
    GaussianHMM(2, random_state=0),
    GMMHMM(2, 2, random_state=0),
    PoissonHMM(2, random_state=0),
    MultinomialHMM(2, random_state=0),
    CategoricalHMM(2, random_state=0),
    GaussianHSMM(2, random_state=0, max_duration=8),
    PoissonHSMM(2, random_state=0, max_duration=8),
    CategoricalHSMM(2, random_state=0, max_duration=8),
]
every = pytest.mark.parametrize("model", EVERY, ids=lambda model: type(model).__name__)


def data(model: Any) -> NDArray[Any]:
    random = np.random.RandomState(0)
    level = np.arange(60)[:, None] // 5 % 2
    if isinstance(model, CategoricalHMM):
        return np.where(random.rand(60, 1) < 0.8, level, 2)
    if model._counts:
        return random.poisson(2 + 6 * np.hstack([level, 1 - level]))
    return random.randn(60, 2) + 5.0 * level


def fresh(model: Any, **arguments: Any) -> Any:
    return type(model)(**{**model.get_params(), **arguments})


# Letters.


@every
def test_only_the_letters_of_params_change(model: Any) -> None:
    X = data(model)
    start = fresh(model, n_iter=1).fit(X, LENGTHS)
    for letter in start.letters:
        other = fresh(model, params=letter, init_params="", n_iter=2, tol=-np.inf)
        for name in start.letters.values():
            value = start._covars_ if name == "covars_" and "_covars_" in vars(start) else getattr(start, name)
            setattr(other, name, value)
        other.fit(X, LENGTHS)
        same = {name: np.array_equal(getattr(other, name), getattr(start, name)) for name in start.letters.values()}
        fixed_moves = letter == "t" and isinstance(
            model, GaussianHSMM | PoissonHSMM | CategoricalHSMM
        )  # 2 states: 1 way
        assert [name for name, kept in same.items() if not kept] == ([] if fixed_moves else [start.letters[letter]])


def test_what_was_set_is_where_a_fit_starts_unless_init_params_says_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    X = data(EVERY[0])
    model = GaussianHMM(2, init_params="stc", n_iter=0)
    model.means_ = [[1.0, 2.0], [3.0, 4.0]]
    assert model.fit(X).means_.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert not caplog.records
    model.set_params(init_params="m")
    with caplog.at_level(logging.WARNING):
        assert model.fit(X).means_.tolist() != [[1.0, 2.0], [3.0, 4.0]]
    assert "means_ will be overwritten" in caplog.text


def test_what_is_0_stays_0_under_any_prior() -> None:
    model = GaussianHMM(2, init_params="mc", startprob_prior=2.0, transmat_prior=2.0, random_state=0)
    model.startprob_, model.transmat_ = [1.0, 0.0], [[0.5, 0.5], [0.0, 1.0]]
    model.fit(data(model))
    assert model.startprob_[1] == 0 and model.transmat_[1, 0] == 0


def test_a_state_that_nothing_chooses_stays_as_it_is() -> None:
    model = GaussianHMM(2, "full", init_params="", covars_prior=0.0)
    model.startprob_, model.transmat_ = [1.0, 0.0], [[1.0, 0.0], [0.4, 0.6]]
    model.means_, model.covars_ = [[0.0, 0.0], [7.0, 8.0]], [np.eye(2), 3 * np.eye(2)]
    model.fit(data(model))
    assert model.means_[1].tolist() == [7.0, 8.0] and (model.covars_[1] == 3 * np.eye(2)).all()
    assert model.transmat_[1].tolist() == [0.4, 0.6]
    assert np.isfinite(model.means_).all() and np.isfinite(model.score(data(model)))


@pytest.mark.parametrize("kind", ["spherical", "diag", "full", "tied"])
def test_covariances_do_not_collapse_without_a_prior(kind: Any) -> None:
    X = np.repeat([[0.0, 1.0], [5.0, 2.0]], 20, axis=0)
    for model in (GaussianHMM(2, kind, covars_prior=0.0, n_iter=5), GMMHMM(2, 1, covariance_type=kind, n_iter=5)):
        assert np.isfinite(model.set_params(random_state=0).fit(X).score(X))


# Data.


@every
def test_sequences_come_one_after_the_other_or_as_a_list(model: Any) -> None:
    X = data(model)
    sequences = np.split(X, np.cumsum(LENGTHS)[:-1])
    fitted = fresh(model).fit(X, LENGTHS)
    assert fitted.score(X, lengths=LENGTHS) == fresh(model).fit(sequences).score(sequences)
    assert fitted.score(X, lengths=LENGTHS) == pytest.approx(sum(fitted.score(x) for x in sequences))
    assert (fitted.predict(X, LENGTHS) == np.concatenate([fitted.predict(x) for x in sequences])).all()
    assert_allclose(fitted.predict_proba(X, LENGTHS), np.concatenate([fitted.predict_proba(x) for x in sequences]))


def test_padding_less_than_doubles_the_rows() -> None:
    """One long sequence among many short ones."""
    lengths = np.array([1, 4000, *[1, 2, 3] * 500])
    rows = torch.arange(lengths.sum())
    cut = [(group, group.cut(rows)) for group in groups(lengths)]
    assert sum(padded.numel() for _, padded in cut) < 2 * len(rows)
    back = torch.full_like(rows, -1)
    for group, padded in cut:
        back = group.put(back, padded)
    assert back.tolist() == rows.tolist()
    assert sorted(torch.cat([group.sequences for group, _ in cut]).tolist()) == list(range(len(lengths)))


@pytest.mark.parametrize("model", [m for m in EVERY if m._gaps], ids=lambda model: type(model).__name__)
def test_a_value_that_is_missing_says_nothing(model: Any) -> None:
    """Rows of NaN alone: as if EM were told that nothing is known of them."""
    X = data(model).astype(float)
    fitted = fresh(model, n_iter=0).fit(X)
    gone = X.copy()
    gone[[10, 11, 30]] = np.nan
    free = fitted.predict_proba(gone)
    assert np.isfinite(fitted.score(gone)) and fitted.score(gone) != fitted.score(X)
    assert_allclose(fitted._compute_log_likelihood(gone)[[10, 11, 30]], 0)
    assert_allclose(free.sum(1), 1)
    arguments = {"covars_prior": 0.0} if isinstance(model, GaussianHMM) else {}
    again = fresh(model, n_iter=6, tol=-np.inf, **arguments).fit(gone, LENGTHS)
    assert (np.diff(again.monitor_.history) > -1e-8).all()
    for name in again.letters.values():
        assert np.isfinite(getattr(again, name)).all()


@pytest.mark.parametrize("kind", ["spherical", "diag", "full", "tied"])
@pytest.mark.parametrize("n_mix", [None, 2])
def test_a_part_of_a_row_may_be_missing_and_em_still_climbs(kind: Any, n_mix: int | None) -> None:
    X = data(EVERY[0])
    X[::7, 0], X[3::11, 1] = np.nan, np.nan
    model: Any = GaussianHMM(2, kind, covars_prior=0.0) if n_mix is None else GMMHMM(2, n_mix, covariance_type=kind)
    history = model.set_params(n_iter=10, tol=-np.inf, random_state=0).fit(X, LENGTHS).monitor_.history
    assert (np.diff(history) > -1e-8).all() and history[-1] > history[0]


def test_the_second_argument_is_lengths_unless_it_has_an_entry_for_each_row() -> None:
    X = data(EVERY[0])
    by_name = fresh(EVERY[0]).fit(X, lengths=LENGTHS)
    assert (fresh(EVERY[0]).fit(X, LENGTHS).transmat_ == by_name.transmat_).all()
    assert (fresh(EVERY[0]).fit(X, np.arange(60)).transmat_ == fresh(EVERY[0]).fit(X).transmat_).all()
    assert by_name.score(X, LENGTHS) == by_name.score(X, lengths=LENGTHS) != by_name.score(X, np.arange(60))
    with pytest.raises(ValueError, match="is the second argument y, or 60 sequences of 1 step"):
        by_name.score(X, np.ones(60, dtype=int))


@pytest.mark.parametrize("lengths", [[30, 29], [60, 0], [-1, 61], [30.0, 30.0], [[60]], 60, [1.5, 58.5]], ids=str)
def test_lengths_that_are_none_are_refused(lengths: Any) -> None:
    with pytest.raises(ValueError, match="lengths must be positive integers that sum to the 60 rows"):
        GaussianHMM().fit(np.zeros((60, 1)), lengths=lengths)


def test_a_list_of_sequences_needs_no_lengths() -> None:
    with pytest.raises(ValueError, match="a list of sequences says their lengths"):
        GaussianHMM().fit([np.zeros((2, 1)), np.ones((3, 1))], lengths=[2, 3])


@pytest.mark.parametrize(
    ("model", "X", "message"),
    [
        (CategoricalHMM(), [[0.5], [1.0]], "must be integers, got 0.5"),
        (CategoricalHMM(), [[-1], [1]], "Negative values in data"),
        (CategoricalHMM(), [[0, 1], [1, 0]], "one column of symbols, got 2"),
        (CategoricalHMM(n_features=2), [[0], [2]], "from 0 to 1"),
        (MultinomialHMM(n_trials=5), [[0, 1], [3, 2]], "must sum to n_trials"),
        (MultinomialHMM(n_trials=None), [[0.0, 2.5], [2.5, 0.0]], "must be integers, got 2.5"),
        (PoissonHMM(), [[0, -1]], "Negative values in data"),
        (GaussianHMM(covariance_type="round"), [[0.0], [1.0]], "covariance_type must be one of"),
        (GaussianHMM(algorithm="best"), [[0.0], [1.0]], "algorithm must be 'viterbi' or 'map'"),
        (GaussianHSMM(duration="long"), [[0.0], [1.0]], "duration must be one of"),
        (GaussianHMM(3), [[0.0], [1.0]], "n_samples=2 should be >= n_clusters=3"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "fit") else None,
)
def test_data_and_arguments_that_do_not_fit_are_refused(model: Any, X: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.fit(X).predict(X)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("startprob_", [0.6, 0.6], "startprob_ must be probabilities that sum to 1"),
        ("startprob_", [1.0], r"startprob_ must be \(2,\), got \(1,\)"),
        ("transmat_", [[1.5, -0.5], [0.5, 0.5]], "transmat_ must be probabilities"),
        ("means_", [[0.0]], r"means_ must be \(2, n_features\), got \(1, 1\)"),
        ("covars_", [[1.0], [0.0]], "covars_ must be positive"),
        ("covars_", [1.0, 1.0], "covariance_type 'diag' must be"),
    ],
)
def test_parameters_that_are_none_are_refused(name: str, value: Any, message: str) -> None:
    model = GaussianHMM(2)
    model.startprob_, model.transmat_ = [0.5, 0.5], [[0.5, 0.5], [0.5, 0.5]]
    model.means_, model.covars_ = [[0.0], [1.0]], [[1.0], [1.0]]
    assert np.isfinite(model.score([[0.0]]))
    with pytest.raises(ValueError, match="means_ is of 1 features, X of 2"):
        model.score([[0.0, 0.0]])
    with pytest.raises(ValueError, match=message):
        setattr(model, name, value)
        model.score([[0.0]])


def test_an_impossible_sequence_is_named() -> None:
    model = CategoricalHMM(1, init_params="")
    model.startprob_, model.transmat_, model.emissionprob_ = [1.0], [[1.0]], [[1.0, 0.0]]
    assert model.score([[0], [1]]) == -np.inf
    with pytest.raises(ValueError, match="make sequence 1 impossible"):
        model.fit([[0], [0], [0], [1]], lengths=[2, 2])


# Chance.


@every
def test_a_seed_says_everything(model: Any) -> None:
    X = data(model)
    one, other = fresh(model).fit(X), fresh(model).fit(X)
    for name in one.letters.values():
        assert np.array_equal(getattr(one, name), getattr(other, name))
    for fitted in (one, other) if isinstance(model, MultinomialHMM) else ():
        fitted.n_trials = 7
    one, other = (fitted.sample(20, random_state=np.random.RandomState(3)) for fitted in (one, other))
    assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])
    assert one[0].shape == (20, X.shape[1]) and one[0].dtype == X.dtype


@every
def test_the_implementation_makes_no_difference(model: Any) -> None:
    X = data(model)
    X[7] *= 1 if isinstance(model, CategoricalHMM) else 1000  # an outlier: scaled probabilities would be 0
    log, scaling = (fresh(model, implementation=name).fit(X, LENGTHS) for name in ("log", "scaling"))
    assert log.score(X, LENGTHS) == scaling.score(X, LENGTHS) > -np.inf
    assert all(np.array_equal(getattr(log, name), getattr(scaling, name)) for name in log.letters.values())


def test_a_sample_starts_where_it_is_told_to() -> None:
    model = BaseHMM(2)
    model.startprob_, model.transmat_ = [1.0, 0.0], [[0.0, 1.0], [1.0, 0.0]]
    assert model.sample(4)[1].tolist() == [0, 1, 0, 1]
    assert model.sample(4, currstate=1)[1].tolist() == [1, 0, 1, 0]


@every
def test_long_samples_have_the_moments_of_the_model(model: Any) -> None:
    """Five standard errors of steps that are as good as 1 of 20 independent: false alarms below 1e-5."""
    fitted = fresh(model, n_iter=3, **({"n_trials": 12} if isinstance(model, MultinomialHMM) else {}))
    X = np.tile([12, 0], (60, 1)) if isinstance(model, MultinomialHMM) else data(model)
    fitted.fit(X)
    drawn, states = fitted.sample(20_000, random_state=0)
    share = fitted.get_stationary_distribution()
    assert_allclose(np.bincount(states, minlength=2) / 20_000, share, atol=5 * (0.25 / 1000) ** 0.5)
    if isinstance(model, GaussianHMM):
        for state in range(2):
            assert_allclose(np.cov(drawn[states == state].T), fitted.covars_[state], atol=0.2)
            assert_allclose(drawn[states == state].mean(0), fitted.means_[state], atol=0.1)


# The monitor.


def test_a_monitor_of_ones_own_says_when_to_stop() -> None:
    class Twice(ConvergenceMonitor):
        @property
        def converged(self) -> bool:
            return self.iter == 2

    model = GaussianHMM(2, n_iter=50, tol=-np.inf, random_state=0)
    model.monitor_ = Twice(model.monitor_.tol, model.monitor_.n_iter, model.monitor_.verbose)
    assert model.fit(data(model)).monitor_.iter == 2
    assert model.fit(data(model)).monitor_.iter == 2  # reset, and kept


def test_a_fit_stops_after_a_small_gain_and_follows_arguments_that_change() -> None:
    model = GaussianHMM(2, n_iter=50, tol=0.5, random_state=0).fit(data(EVERY[0]))
    gains = np.diff(model.monitor_.history)
    assert (gains[:-1] >= 0.5).all() and gains[-1] < 0.5 and model.monitor_.converged
    assert model.set_params(n_iter=1).fit(data(EVERY[0])).monitor_.iter == 1


@every
def test_em_never_lowers_the_likelihood_without_a_prior(model: Any) -> None:
    arguments = {"covars_prior": 0.0} if isinstance(model, GaussianHMM) else {}
    history = fresh(model, n_iter=15, tol=-np.inf, **arguments).fit(data(model), LENGTHS).monitor_.history
    assert len(history) == 15 and (np.diff(history) > -1e-8).all() and history[-1] > history[0]


def test_a_family_of_ones_own_need_only_say_how_likely_rows_are() -> None:
    class Said(BaseHMM):
        def _compute_log_likelihood(self, X: NDArray[Any]) -> NDArray[np.float64]:
            return np.log(X)

    X = np.random.RandomState(0).dirichlet([1, 1], 50)
    model = Said(2, n_iter=10, tol=-np.inf, random_state=0).fit(X)
    assert (np.diff(model.monitor_.history) > 0).all()
    assert model.letters == {"s": "startprob_", "t": "transmat_"}
    assert model.predict_proba(X).shape == (50, 2)


def test_a_sample_that_no_path_has_is_refused() -> None:
    model = CategoricalHSMM(1, max_duration=2, min_duration=2, censored="none", random_state=0)
    model.fit([[0], [0], [1], [1]])
    assert model.sample(4)[0].shape == (4, 1)
    with pytest.raises(ValueError, match="no path of the model has 3 steps"):
        model.sample(3)


# What is not hmmlearn's.


@every
def test_the_model_answers_as_the_estimator_does(model: Any) -> None:
    X = data(model)
    fitted = fresh(model).fit(X)
    inner = fitted.to_model()
    rows = torch.tensor(X[:, 0]) if isinstance(model, CategoricalHMM) else torch.tensor(X)
    assert inner.score(rows) == pytest.approx(fitted.score(X), rel=1e-12)
    assert inner.predict(rows).tolist() == fitted.predict(X).tolist()
    assert bool(semihmm.entropy(inner(rows)) >= 0)


def test_poisson_priors_count_the_steps_of_their_own_state() -> None:
    model = PoissonHMM(2, init_params="", n_iter=1, lambdas_prior=6.0, lambdas_weight=2.0)
    model.startprob_, model.transmat_ = [1.0, 0.0], [[0.5, 0.5], [0.5, 0.5]]
    model.lambdas_ = [[1e-9], [1e9]]  # so far apart that each count has one state
    model.fit([[0], [0], [0], [10**9]])
    assert_allclose(model.lambdas_, [[6 / 5], [(6 + 10**9) / 3]])


@pytest.mark.parametrize("censored", ["none", "right", "both"])
@pytest.mark.parametrize("law", ["poisson", "categorical", "gamma"])
def test_a_semi_markov_step_is_that_of_the_model(law: Any, censored: Any) -> None:
    kinds: dict[str, Any] = {
        "poisson": durations.Poisson,
        "categorical": durations.Categorical,
        "gamma": durations.Gamma,
    }
    X = torch.tensor(data(EVERY[0]))
    generator = torch.Generator().manual_seed(0)
    gaussian = models.Gaussian(3, features=2, variance_floor=1e-9)
    model = models.HSMM(3, gaussian, kinds[law](3, 8), censored=censored).double()
    model.initialise(X.unsqueeze(0), generator=generator)
    estimator = GaussianHSMM(
        3, duration=law, max_duration=8, censored=censored, init_params="", n_iter=1, covars_prior=0.0
    )

    def parameters() -> list[NDArray[np.float64]]:
        laws = (model.initial, model.transition, model.duration)
        variance = gaussian.log_variance
        found = [law().exp() for law in laws] + [gaussian.mean, variance.exp()]
        return [value.detach().numpy().copy() for value in found]

    names = ("startprob_", "transmat_", "durationprob_", "means_", "covars_")
    for name, value in zip(names, parameters(), strict=True):
        setattr(estimator, name, value)
    assert estimator.score(X.numpy()) == pytest.approx(model.score(X.unsqueeze(0)))
    model.fit(X.unsqueeze(0), initialise=False, iterations=1)
    estimator.fit(X.numpy())
    for name, value in zip(
        ("startprob_", "transmat_", "durationprob_", "means_", "_covars_"), parameters(), strict=True
    ):
        assert_allclose(getattr(estimator, name), value, rtol=1e-6, atol=1e-9)
    assert (np.diag(estimator.transmat_) == 0).all()


@pytest.mark.parametrize("law", sorted(LAWS))
def test_em_climbs_with_every_duration_law(law: Any) -> None:
    X = data(EVERY[0])
    model = GaussianHSMM(3, duration=law, max_duration=9, min_duration=2, n_iter=12, covars_prior=0.0, random_state=0)
    history = model.set_params(tol=-np.inf).fit(X, [40, 20]).monitor_.history
    assert (np.diff(history) > -1e-6).all() and history[-1] > history[0]
    assert (model.durationprob_[:, 0] == 0).all()
    assert_allclose(model.durationprob_.sum(1), 1)


def test_a_semi_markov_model_finds_durations_that_an_hmm_cannot_have() -> None:
    X = np.random.RandomState(0).randn(600, 1) + 3.0 * (np.arange(600)[:, None] // 10 % 2)
    lasting = GaussianHSMM(2, max_duration=30, duration="gaussian", n_iter=50, random_state=0).fit(X)
    plain = GaussianHMM(2, n_iter=50, random_state=0).fit(X)
    assert_allclose(lasting.durationprob_ @ np.arange(1, 31), 10, atol=0.5)
    assert lasting.score(X) > plain.score(X) + 50
    assert_allclose(lasting.get_stationary_distribution(), 0.5, atol=0.05)
    assert lasting.bic(X) == pytest.approx(-2 * lasting.score(X) + (1 + 0 + 2 + 2 + 4) * np.log(600))
