"""The same as hmmlearn from the same start: likelihoods, posteriors, paths, and every step of EM."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hmmlearn import hmm as peer  # type: ignore[import-untyped]
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from semihmm import estimators

LENGTHS = [60, 1, 99, 40]
FEATURES = 3
KINDS = ("spherical", "diag", "full", "tied")


def random() -> np.random.RandomState:
    return np.random.RandomState(1)


def distributions(*shape: int) -> NDArray[np.float64]:
    drawn = random().uniform(0.1, 1, shape)
    return drawn / drawn.sum(-1, keepdims=True)


def matrices(*shape: int) -> NDArray[np.float64]:
    root = random().randn(*shape, FEATURES, FEATURES)
    return root @ np.swapaxes(root, -1, -2) + np.eye(FEATURES)


def real() -> NDArray[Any]:
    return random().randn(200, FEATURES) + 4.0 * (np.arange(200)[:, None] // 40 % 3)


def gaussian(kind: str) -> dict[str, Any]:
    covars = {"spherical": np.array([1.0, 2.0, 3.0]), "diag": 1 + random().rand(3, FEATURES)}
    matrix = {"full": matrices(3), "tied": matrices()}
    return {"means_": random().randn(3, FEATURES) * 4 + 4, "covars_": (covars | matrix)[kind]}


def mixture(kind: str) -> dict[str, Any]:
    covars = {"spherical": 1 + random().rand(3, 2), "diag": 1 + random().rand(3, 2, FEATURES)}
    matrix = {"full": matrices(3, 2), "tied": matrices(3)}
    means = real()[[5, 15, 50, 60, 90, 100]].reshape(3, 2, FEATURES)
    return {"weights_": distributions(3, 2), "means_": means, "covars_": (covars | matrix)[kind]}


Case = tuple[str, dict[str, Any], Callable[[], NDArray[Any]], dict[str, Any]]
DIRICHLET = {"startprob_prior": np.array([1.0, 2.0, 3.5]), "transmat_prior": 1.5 + np.eye(3)}
NORMAL = {"means_prior": 1.5, "means_weight": 2.0}
CASES: dict[str, Case] = {
    "categorical": (
        "CategoricalHMM",
        {"emissionprob_": distributions(3, 5)},
        lambda: random().randint(1, 5, size=(200, 1)).cumsum(0) % 5,  # no symbol twice, so no two best paths
        {"emissionprob_prior": 1 + random().rand(3, 5)},
    ),
    "multinomial": (
        "MultinomialHMM",
        {"emissionprob_": distributions(3, FEATURES)},
        lambda: random().multinomial(5, [0.2, 0.3, 0.5], 200),
        {},
    ),
    "poisson": (
        "PoissonHMM",
        {"lambdas_": random().uniform(1, 9, (3, FEATURES))},
        lambda: random().poisson(4, (200, FEATURES)),
        {},
    ),
    **{
        f"gaussian {kind}": ("GaussianHMM", gaussian(kind), real, NORMAL | {"covars_prior": 0.3, "covars_weight": 6.5})
        for kind in KINDS
    },
    **{
        f"mixture {kind}": (
            "GMMHMM",
            mixture(kind),
            real,
            NORMAL | {"weights_prior": 3.0, "covars_prior": 2.0, "covars_weight": 1.5},
        )
        for kind in KINDS
    },
}


def both(case: str, priors: bool = False, **arguments: Any) -> tuple[Any, Any, NDArray[Any]]:
    """Our estimator and theirs with the same parameters, and data."""
    name, parameters, data, of_family = CASES[case]
    if name in ("GaussianHMM", "GMMHMM"):
        arguments["covariance_type"] = case.split()[1]
    if name == "GMMHMM":
        arguments["n_mix"] = 2
        if case.endswith("spherical"):
            arguments["covars_prior"] = -(FEATURES + 2) / 2  # none, which theirs takes None for with two features alone
    if name == "MultinomialHMM":
        arguments["n_trials"] = 5
    if priors:
        arguments |= DIRICHLET | of_family
    models = []
    for module in (estimators, peer):
        model = getattr(module, name)(3, init_params="", **arguments)
        for attribute, value in parameters.items():
            setattr(model, attribute, value.copy())
        model.startprob_, model.transmat_ = np.array([0.5, 0.3, 0.2]), distributions(3, 3)
        model.n_features = data().shape[1] if name != "CategoricalHMM" else 5
        models.append(model)
    return models[0], models[1], data()


def assert_same_parameters(ours: Any, theirs: Any) -> None:
    for attribute in ours.letters.values():
        mine, other = getattr(ours, attribute), getattr(theirs, attribute, None)
        if attribute == "covars_" and type(ours).__name__ == "GaussianHMM" and ours.covariance_type == "spherical":
            mine, other = ours._covars_, theirs._covars_.reshape(3, -1)[:, 0]  # theirs cannot be read after a fit
        assert_allclose(mine, other, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_answers_are_theirs(case: str) -> None:
    ours, theirs, X = both(case)
    assert ours.score(X, lengths=LENGTHS) == pytest.approx(theirs.score(X, LENGTHS), rel=1e-10)
    log_prob, posterior = ours.score_samples(X, LENGTHS)
    assert log_prob == pytest.approx(theirs.score(X, LENGTHS), rel=1e-10)
    assert_allclose(posterior, theirs.predict_proba(X, LENGTHS), atol=1e-9)
    for algorithm in ("viterbi", "map"):
        log_prob, states = ours.decode(X, LENGTHS, algorithm)
        expected, path = theirs.decode(X, LENGTHS, algorithm)
        assert log_prob == pytest.approx(expected, rel=1e-10)
        assert (states == path).all()
    assert_allclose(ours.get_stationary_distribution(), theirs.get_stationary_distribution())


@pytest.mark.parametrize("case", CASES)
def test_criteria_are_theirs_but_for_the_weights_of_a_mixture(case: str) -> None:
    ours, theirs, X = both(case)
    more = 2 if case.startswith("mixture") else 0  # 3 states of 2 weights have 3 free ones; they count 1
    assert ours.aic(X, LENGTHS) == pytest.approx(theirs.aic(X, LENGTHS) + 2 * more, rel=1e-10)
    assert ours.bic(X, LENGTHS) == pytest.approx(theirs.bic(X, LENGTHS) + more * np.log(200), rel=1e-10)


@pytest.mark.parametrize("iterations", [1, 4])
@pytest.mark.parametrize("priors", [False, True], ids=["no priors", "priors"])
@pytest.mark.parametrize("case", CASES)
def test_em_is_theirs(case: str, priors: bool, iterations: int) -> None:
    ours, theirs, X = both(case, priors, n_iter=iterations, tol=-np.inf)
    assert_same_parameters(ours.fit(X, LENGTHS), theirs.fit(X, LENGTHS))
    assert_allclose(ours.monitor_.history, theirs.monitor_.history, rtol=1e-10)
    assert ours.monitor_.iter == theirs.monitor_.iter == iterations


@pytest.mark.parametrize("case", [case for case in CASES if "spherical" not in case])
def test_a_fit_from_the_same_seed_is_theirs(case: str) -> None:
    name, _, data, _ = CASES[case]
    arguments: dict[str, Any] = {"random_state": 3}
    if " " in case:
        arguments["covariance_type"] = case.split()[1]
    if name == "GMMHMM":
        arguments["n_mix"] = 2
    if name == "MultinomialHMM":
        arguments["n_trials"] = 5
    ours, theirs = (getattr(module, name)(3, **arguments).fit(data(), LENGTHS) for module in (estimators, peer))
    assert_same_parameters(ours, theirs)
    assert ours.monitor_.converged == theirs.monitor_.converged


@pytest.mark.parametrize("letters", ["", "s", "t", "m", "st", "mc", "stmc"])
@pytest.mark.parametrize("kind", KINDS)
def test_params_are_what_em_updates_there_and_here(kind: str, letters: str) -> None:
    ours, theirs, X = both(f"gaussian {kind}", params=letters, n_iter=3, tol=-np.inf)
    if letters == "mc" or "c" not in letters:
        assert_same_parameters(ours.fit(X, LENGTHS), theirs.fit(X, LENGTHS))
    before = {letter: getattr(ours, name).copy() for letter, name in ours.letters.items()}
    ours.fit(X, LENGTHS)
    changed = {letter for letter, name in ours.letters.items() if (getattr(ours, name) != before[letter]).any()}
    assert changed == set(letters)
