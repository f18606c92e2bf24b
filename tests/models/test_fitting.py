"""How a fit goes on, and how it ends: every method, every way to stop, and what stays as it was."""

import math
import warnings
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils.data import DataLoader

from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.models import HMM, HSMM, Gaussian, durations, emissions, pad, select, transitions


def data(count: int = 12, seed: int = 0) -> list[Tensor]:
    """Two states that follow each other at random, whatever the backend draws."""
    generator = torch.Generator().manual_seed(seed)
    state = (torch.rand(count, 30, generator=generator) < 0.3).cumsum(-1) % 2
    x = 4.0 * state.double() - 2 + torch.randn(count, 30, dtype=torch.float64, generator=generator)
    lengths = torch.randint(10, 31, (count,), generator=generator)
    return [one[:n].unsqueeze(-1) for one, n in zip(x, lengths, strict=True)]


def models() -> dict[str, HMM | HSMM]:
    return {
        "hmm": HMM(2, Gaussian(2, 1)).double(),
        "stationary": HMM(2, Gaussian(2, 1), start="stationary").double(),
        "sparse": HMM(2, Gaussian(2, 1), arcs=([0, 0, 1, 1], [0, 1, 0, 1]), final=[0, 1]).double(),
        "hsmm": HSMM(2, Gaussian(2, 1), durations.Categorical(2, 30), censored="right").double(),
    }


@pytest.mark.filterwarnings("ignore:fit. 1 of the states")
@pytest.mark.parametrize("kind", models())
def test_hard_em_never_lowers_the_probability_of_the_best_paths(kind: str) -> None:
    model = models()[kind]
    fit = model.fit(data(), method="viterbi", generator=torch.Generator().manual_seed(1))
    assert fit.ended == "converged" and fit.iterations >= 1
    assert all(b >= a - 1e-9 * abs(a) for a, b in zip(fit.history, fit.history[1:], strict=False))
    score = model.decode(data()).score.sum()
    assert fit.objective == pytest.approx(float(score))


def test_one_step_of_hard_em_counts_the_best_path() -> None:
    model = HMM(2, emissions.Categorical(2, 3)).double()
    model.initialise(torch.zeros(1, 1, dtype=torch.int64), generator=torch.Generator().manual_seed(4))
    x = torch.tensor([[0, 1, 2, 0, 1, 1], [2, 2, 0, 0, 0, 1]])
    states = model.predict(x)
    model.fit(x, method="viterbi", iterations=1, initialise=False)
    pairs = torch.zeros(2, 2).double()
    for path in states.tolist():
        for a, b in pairwise(path):
            pairs[a, b] += 1
    met = pairs.sum(-1) > 0
    assert_close(model.transition().exp()[met].detach(), (pairs / pairs.sum(-1, keepdim=True))[met])


@pytest.mark.parametrize("kind", models())
@pytest.mark.parametrize("method", ["em", "viterbi"])
def test_labels_of_all_steps_say_all_in_one_iteration(kind: str, method: Any) -> None:
    model = models()[kind]
    if isinstance(model, HSMM):
        model.censored = "none"  # how long a segment goes on after the end is not known
    x = data()
    labels = [(one[:, 0] > 0).long() for one in x]
    fit = model.fit(x, method=method, labels=labels, generator=torch.Generator().manual_seed(0))
    assert fit.iterations <= (4 if kind == "stationary" else 2) and fit.ended == "converged"
    every, states = torch.cat(x), torch.cat(labels)
    for state in range(2):
        mine = every[states == state]
        assert_close(model.emission.mean[state].detach(), mine.mean(0))  # type: ignore[union-attr,index]
    if kind == "hmm":
        pairs = torch.zeros(2, 2).double()
        for path in labels:
            pairs.index_put_((path[:-1], path[1:]), torch.ones(len(path) - 1).double(), accumulate=True)
        assert_close(model.transition().exp().detach(), pairs / pairs.sum(-1, keepdim=True))


@pytest.mark.parametrize(
    "optimizer", [None, partial(torch.optim.LBFGS, line_search_fn="strong_wolfe"), partial(torch.optim.SGD, lr=0.05)]
)
def test_batches_and_any_optimiser_climb(optimizer: Any) -> None:
    loader: Any = DataLoader(data(), batch_size=4, collate_fn=pad)  # type: ignore[arg-type]
    model = models()["hmm"]
    fit = model.fit(
        loader, method="gradient", optimizer=optimizer, iterations=15, generator=torch.Generator().manual_seed(0)
    )
    assert fit.objective > fit.history[0] + 1.0
    assert model.score(loader) == pytest.approx(max(fit.history))


def test_an_iterator_can_be_read_once() -> None:
    with pytest.raises(DataError, match="an iterator can be read once"):
        models()["hmm"].fit(iter([torch.randn(2, 9, 1)]), method="gradient", iterations=3)


def test_held_out_data_end_a_fit_and_choose_the_parameters() -> None:
    x, unseen = data(2, seed=3), data(6, seed=4)
    model = HMM(6, Gaussian(6, 1, variance_floor=1e-6)).double()
    fit = model.fit(
        x, validation=unseen, patience=3, iterations=200, tolerance=0.0, generator=torch.Generator().manual_seed(0)
    )
    assert fit.ended == "validation"
    assert len(fit.validation) == len(fit.history)
    best = max(fit.validation)
    assert fit.validation.index(best) == len(fit.validation) - 4
    assert model.score(unseen) == pytest.approx(best)
    padded = pad(unseen)
    for given in (padded, {"x": padded[0], "lengths": padded[1]}):
        again = HMM(6, Gaussian(6, 1, variance_floor=1e-6)).double()
        found = again.fit(
            x, validation=given, patience=3, iterations=200, tolerance=0.0, generator=torch.Generator().manual_seed(0)
        )
        assert found.validation == pytest.approx(fit.validation)


@pytest.mark.parametrize("method", ["em", "gradient", "viterbi"])
@pytest.mark.parametrize("restarts", [1, 3])
def test_an_interrupt_leaves_the_best_parameters_so_far(method: Any, restarts: int) -> None:
    if restarts > 1 and method != "em":
        pytest.skip("one after the other: the first is ended, the others go on")
    model = models()["hmm"]

    def stop(iteration: int, objective: float) -> None:
        if iteration == 3:
            raise KeyboardInterrupt

    fit = model.fit(data(), method=method, callback=stop, restarts=restarts, tolerance=0.0)
    assert fit.ended == "interrupted" and fit.iterations == 3
    if method != "viterbi":
        assert model.score(data()) == pytest.approx(max(fit.history))


def test_an_interrupt_before_anything_is_known_is_one() -> None:
    class Interrupting(Gaussian):
        def forward(self, x: Tensor) -> Tensor:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        HMM(2, Interrupting(2, 1)).fit(torch.randn(9, 1))


def test_time_runs_out() -> None:
    fit = models()["hmm"].fit(data(), time_limit=0.0)
    assert fit.ended == "time" and fit.iterations == 0


@pytest.mark.filterwarnings("ignore:fit. 1 of the states")
@pytest.mark.parametrize("name", ["transition", "emission", "emission.mean", "initial.logits"])
@pytest.mark.parametrize("method", ["em", "gradient", "viterbi"])
@pytest.mark.parametrize("restarts", [1, 2])
def test_what_is_frozen_stays_as_it_is(name: str, method: Any, restarts: int) -> None:
    model = models()["hmm"]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(2))
    start = {n: value.clone() for n, value in model.state_dict().items()}
    model.fit(data(), method=method, frozen=[name], iterations=3, restarts=restarts)
    model.fit(data(), method=method, frozen=name, iterations=1)
    for n, parameter in model.named_parameters():
        mine = n == name or n.startswith(f"{name}.")
        assert torch.equal(parameter, start[n]) == mine, n
        assert parameter.requires_grad


def test_a_start_can_be_set() -> None:
    model = models()["hmm"]
    means = torch.tensor([[-5.0], [7.0]], dtype=torch.float64)
    model.fit(data(), init={"emission.mean": means}, iterations=0)
    assert_close(model.emission.mean.detach(), means)  # type: ignore[union-attr]
    with pytest.raises(StructureError, match=r"init sets 'emission.means'.* there are .*emission.mean \(2, 1\)"):
        model.fit(data(), init={"emission.means": means})
    with pytest.raises(StructureError, match="no parameter 'transitions' to freeze"):
        model.fit(data(), frozen=["transitions"])


TOGETHER: dict[str, Any] = {
    **{kind: partial(lambda kind: models()[kind], kind) for kind in models()},
    "mixture": lambda: HMM(2, emissions.GaussianMixture(2, 1, 2)).double(),
    "shared": lambda: HMM(2, emissions.GaussianMixture(2, 1, 2, codebook=[0, 0])).double(),
    "product": lambda: HMM(2, emissions.Product([Gaussian(2, 1)])).double(),
    "tied": lambda: HMM(2, Gaussian(2, 1, covariance="tied")).double(),
    "tied transitions": lambda: HMM(
        2, Gaussian(2, 1), transition=transitions.Categorical(2, tied=[[0, -1], [-1, 0]])
    ).double(),
    "all tied": lambda: HMM(
        2, Gaussian(2, 1, covariance="tied"), transition=transitions.Categorical(2, tied=[[0, -1], [-1, 0]])
    ).double(),
    "inputs of transitions": lambda: HMM(2, Gaussian(2, 1), transition=transitions.Logit(2, inputs=2)).double(),
    "inputs of observations": lambda: HMM(2, emissions.LinearRegression(2, 1, inputs=2)).double(),
    "inputs of both": lambda: HMM(
        2, emissions.LinearRegression(2, 1, inputs=2), transition=transitions.Logit(2, inputs=2), final=[0, 1]
    ).double(),
    "inputs of durations": lambda: HSMM(
        2, Gaussian(2, 1), durations.PoissonRegression(2, 2, 9), censored="right"
    ).double(),
}


@pytest.mark.parametrize("kind", TOGETHER)
@pytest.mark.parametrize("weighed", [False, True])
def test_restarts_side_by_side_are_restarts_one_after_the_other(
    kind: str, weighed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, lengths = pad(data())
    given: dict[str, Any] = {
        "weights": torch.linspace(0.5, 2.0, len(x)) if weighed else None,
        "restarts": 5,
        "iterations": 12,
        "tolerance": 1e-3,
        "inputs": x.new_ones(*x.shape[:2], 2).cumsum(1).sin() if kind.startswith("inputs") else None,
    }
    found = []
    for together in (True, False):
        if not together:
            monkeypatch.setattr("semihmm.models.training._TOGETHER", 0)
        model = TOGETHER[kind]()
        fit = model.fit(x, lengths, generator=torch.Generator().manual_seed(3), **given)
        found.append((fit, model.state_dict()))
    (one, first), (other, second) = found
    assert len(set(one.restarts)) > 1
    assert one.restarts == pytest.approx(other.restarts)
    assert one.history == pytest.approx(other.history) and one.ended == other.ended
    assert one.objective == max(one.restarts)
    for name, value in first.items():
        assert_close(value, second[name])


def test_a_fit_can_be_had_again() -> None:
    for method in ("em", "gradient", "viterbi"):
        fits = [
            models()["hsmm"].fit(
                data(), method=method, restarts=2, iterations=5, generator=torch.Generator().manual_seed(9)
            )
            for _ in range(2)
        ]
        assert fits[0] == fits[1]


def test_a_bar_is_shown_where_it_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    model = models()["hmm"]
    model.fit(data(), iterations=3, progress=False)
    assert capfd.readouterr().err == ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(data(), iterations=3, progress=True)
    shown = capfd.readouterr().err
    assert "3/3" in shown and "objective -" in shown


def test_a_prior_is_saved_and_numbered_anew(tmp_path: Any) -> None:
    emission = emissions.WithPrior(Gaussian(2, 1), torch.tensor([[0.0], [1.0]]), weight=[[1.0, 0.0], [0.0, 2.0]])
    model = HMM(2, emission)
    model.save(tmp_path / "model.safetensors")
    loaded = HMM.load(tmp_path / "model.safetensors")
    x = torch.randn(9, 1)
    assert_close(loaded.log_prob(x) + loaded.log_prior(), model.log_prob(x) + model.log_prior())
    loaded.permute([1, 0])
    assert_close(loaded.log_prob(x) + loaded.log_prior(), model.log_prob(x) + model.log_prior())


def test_what_hmmlearn_calls_lengths_is_told_apart() -> None:
    x = torch.cat(data())
    lengths = torch.tensor([len(one) for one in data()])
    with pytest.raises(ShapeError, match=r"as in hmmlearn\? Pass x.split\(list\(lengths\)\)"):
        models()["hmm"].fit(x, lengths)
    with pytest.raises(TypeError, match="HMM: there is no argument random_state"):
        models()["hmm"].fit(x, random_state=0)  # type: ignore[call-arg]
    with pytest.raises(ShapeError, match="HMM: states is 3, so emission must have as many, got 2"):
        HMM(3, Gaussian(2, 1))


def test_a_method_that_is_none_is_refused() -> None:
    with pytest.raises(ShapeError, match="method must be one of 'em', 'viterbi', 'stochastic', 'gradient'"):
        models()["hmm"].fit(data(), method="newton")  # type: ignore[arg-type]
    assert math.isfinite(models()["hmm"].score(data()))


BATCHED: dict[str, Any] = {
    "gaussian": lambda: (Gaussian(2, 1), {}),
    "full": lambda: (Gaussian(2, 1, covariance="full"), {"final": [0, 1]}),
    "mixture": lambda: (emissions.GaussianMixture(2, 1, 2), {}),
    "product": lambda: (emissions.Product([Gaussian(2, 1)]), {}),
}


@pytest.mark.parametrize("kind", BATCHED)
def test_em_over_batches_is_em_over_all_data(kind: str) -> None:
    """The same start, and the same sums, whatever the batches."""
    emission, given = BATCHED[kind]()
    model = HMM(2, emission, **given).double()
    model.initialise(data(), generator=torch.Generator().manual_seed(0))
    start = {n: value.clone() for n, value in model.state_dict().items()}
    whole = model.fit(data(), initialise=False, iterations=5, tolerance=0.0)
    found = {n: value.clone() for n, value in model.state_dict().items()}
    loader: Any = DataLoader(data(), batch_size=5, collate_fn=pad)  # type: ignore[arg-type]
    model.load_state_dict(start)
    batched = model.fit(loader, initialise=False, iterations=5, tolerance=0.0)
    assert batched.history == pytest.approx(whole.history)
    for name, value in model.state_dict().items():
        assert_close(value, found[name])


def test_what_needs_all_data_at_once_says_so() -> None:
    loader: Any = DataLoader(data(), batch_size=5, collate_fn=pad)  # type: ignore[arg-type]
    with pytest.raises(StructureError, match="Laplace: its EM step takes all observations at once"):
        HMM(2, emissions.Laplace(2, 1)).fit(loader)


def test_stochastic_em_comes_near_the_maximum_in_a_few_passes() -> None:
    x = data(200, seed=7)
    loader: Any = DataLoader(x, batch_size=10, collate_fn=pad)  # type: ignore[arg-type]
    model, best = models()["hmm"], models()["hmm"]
    generator = torch.Generator().manual_seed(0)
    best.fit(x, generator=generator, tolerance=1e-8)
    fit = model.fit(loader, method="stochastic", iterations=3, tolerance=0.0, generator=generator)
    assert fit.ended == "iterations" and len(fit.history) == 3
    steps = sum(map(len, x))
    assert model.score(x) > best.score(x) - 0.005 * steps


def test_one_pass_of_stochastic_em_says_more_than_one_of_em() -> None:
    x = data(200, seed=7)
    model, other = models()["hmm"], models()["hmm"]
    model.initialise(x[:10], generator=torch.Generator().manual_seed(0))
    other.load_state_dict(model.state_dict())
    loader: Any = DataLoader(x, batch_size=10, collate_fn=pad)  # type: ignore[arg-type]
    model.fit(iter(loader), method="stochastic", iterations=1, initialise=False)
    other.fit(x, iterations=1, initialise=False)
    assert model.score(x) > other.score(x) + 100


def test_a_step_of_one_each_time_is_em_on_each_batch() -> None:
    x = data()
    model, other = models()["hmm"], models()["hmm"]
    model.initialise(x, generator=torch.Generator().manual_seed(0))
    other.load_state_dict(model.state_dict())
    batches = [{"x": x[:4]}, {"x": x[4:]}]
    model.fit(batches, method="stochastic", iterations=1, initialise=False, step_size=lambda k: 1.0)
    for one in batches:
        other.fit(one["x"], iterations=1, initialise=False)
    for name, value in model.state_dict().items():
        assert_close(value, other.state_dict()[name])
    with pytest.raises(ShapeError, match=r"step_size\(2\) must be above 0"):
        model.fit(batches, method="stochastic", step_size=lambda k: 2.0)


@pytest.mark.parametrize("given", ["tensor", "batches", "loader"])
def test_a_state_that_explains_nothing_is_drawn_anew(given: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 40, 1, generator=generator).double() + torch.tensor([0.0, 8.0]).repeat_interleave(20)[:, None]
    whole: dict[str, Any] = {"tensor": x, "batches": [{"x": x[:1]}, {"x": x[1:]}], "loader": DataLoader(x, 3)}
    model = HMM(2, Gaussian(2, 1)).double()
    far = {"emission.mean": torch.tensor([[4.0], [1e6]]).double()}
    with pytest.warns(UserWarning, match=r"1 of the states \(\[1\]\) explained nothing after 0 iterations"):
        fit = model.fit(whole[given], init=far, generator=torch.Generator().manual_seed(3))
    means = model.emission.mean.detach().flatten().sort().values  # type: ignore[union-attr,operator]
    assert_close(means, torch.tensor([0.0, 8.0]).double(), atol=0.5, rtol=0.0)
    assert fit.converged


def dice(rolls: int) -> Tensor:
    """Of a casino that changes between a fair die and a loaded one (Durbin et al. 1998), whatever the backend draws."""
    random = torch.rand(3, rolls, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    loaded, state = [], 0.0
    for change in random[0].tolist():
        state = 1.0 - state if change < (0.1 if state else 0.05) else state
        loaded.append(state)
    six = (torch.tensor(loaded) > 0) & (random[1] < 0.4)
    return torch.where(six, 5, (6 * random[2]).long())


def test_a_fit_of_symbols_does_not_end_on_a_plateau() -> None:
    """At the default tolerance most starts find both dice; of starts near uniform, none does."""
    x = dice(3000)
    best = HMM(2, emissions.Categorical(2, 6)).double()
    least = best.fit(
        x, restarts=4, iterations=2000, tolerance=1e-8, generator=torch.Generator().manual_seed(9)
    ).objective
    found = []
    for seed in range(8):
        model = HMM(2, emissions.Categorical(2, 6)).double()
        found.append(model.fit(x, iterations=1000, generator=torch.Generator().manual_seed(seed)).objective)
    assert sum(value > least - 3.0 for value in found) >= 5, found


def test_a_saddle_is_left() -> None:
    """States that are almost alike: the first iterations gain far less than the tolerance."""
    x = dice(3000)
    model = HMM(2, emissions.Categorical(2, 6)).double()
    init = {"emission.table.logits": torch.tensor([[0.0] * 6, [0.0] * 5 + [0.3]])}
    init["transition.logits"] = torch.tensor([[0.52, 0.48], [0.48, 0.52]]).log()
    fit = model.fit(x, init=init, initialise=False, iterations=2000)
    gains = torch.tensor(fit.history, dtype=torch.float64).diff() / len(x)
    assert gains[1] < 1e-5 < 1e-4 < gains[1:].max()
    assert fit.ended == "converged" and gains[-1] < 1e-5


@pytest.mark.parametrize("place", [0, 1, 4998])
def test_a_state_with_one_observation_of_many_is_not_drawn_anew(place: int) -> None:
    x = torch.randn(5000, 1, generator=torch.Generator().manual_seed(0)).double()
    x[place] = 1e3
    model = HMM(2, Gaussian(2, 1)).double()

    def fit() -> None:
        start = {"emission.mean": torch.tensor([[0.0], [1e3]]).double()}
        model.fit(x, init=start, iterations=2, generator=torch.Generator().manual_seed(1))

    fit()
    assert_close(model.emission.mean.detach()[1], x[place])  # type: ignore[union-attr,operator,index]
    x[place] = 0.0
    with pytest.warns(UserWarning, match=r"1 of the states \(\[1\]\) explained nothing after 0 iterations"):
        fit()


@pytest.mark.parametrize("method", ["em", "viterbi"])
@pytest.mark.parametrize("kind", models())
def test_the_last_look_sees_what_another_iteration_would(kind: str, method: Any) -> None:
    x, weights = data(), torch.arange(1.0, 13.0)
    model = models()[kind]
    model.initialise(x, generator=torch.Generator().manual_seed(0))
    start = {name: value.clone() for name, value in model.state_dict().items()}
    batches = [{"x": x[i : i + 6], "weights": weights[i : i + 6]} for i in (0, 6)]
    histories = []
    for iterations in (3, 4):
        for given, known in ((x, {"weights": weights}), (batches, {})):
            model.load_state_dict(start)
            fit = model.fit(given, method=method, iterations=iterations, tolerance=0.0, initialise=False, **known)
            histories.append(torch.tensor(fit.history[:4]))
    assert all(len(history) == 4 for history in histories)
    for history in histories[1:]:
        assert_close(history, histories[0], rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("initialise", ["spread", "random"])
def test_starts_are_drawn_as_asked(initialise: Any) -> None:
    model = models()["hmm"]
    fit = model.fit(data(), initialise=initialise, generator=torch.Generator().manual_seed(0), iterations=200)
    assert fit.objective > fit.history[0]
    with pytest.raises(ShapeError, match="initialise must be True, False, 'spread' or 'random'"):
        model.fit(data(), initialise="kmeans")  # type: ignore[arg-type]


WITH_PRIOR: dict[str, Any] = {
    "gaussian": lambda: Gaussian(2, 1),
    "full": lambda: Gaussian(2, 1, covariance="full"),
    "laplace": lambda: emissions.Laplace(2, 1),
    "student": lambda: emissions.StudentT(2, 1),
    "mixture": lambda: emissions.GaussianMixture(2, 1, 2),
}


@pytest.mark.parametrize("kind", WITH_PRIOR)
def test_a_prior_is_observations_that_nobody_made(kind: str) -> None:
    imagined = torch.tensor([[-20.0], [20.0]]).double()
    emission = emissions.WithPrior(WITH_PRIOR[kind](), imagined, weight=3.0)
    model = HMM(2, emission).double()
    fit = model.fit(data(), iterations=8, tolerance=0.0, generator=torch.Generator().manual_seed(0))
    assert all(b >= a - 1e-9 * abs(a) for a, b in pairwise(fit.history))
    assert fit.objective == pytest.approx(model.score(data()) + float(model.log_prior().detach()))
    plain = HMM(2, WITH_PRIOR[kind]()).double()
    plain.fit(data(), iterations=8, tolerance=0.0, generator=torch.Generator().manual_seed(0))
    assert model.score(data()) < plain.score(data())


def test_the_mode_under_a_conjugate_prior_is_the_formula() -> None:
    """A mean under w observations at m: the weighted mean (Bishop 2006, eq. 2.141)."""
    emission = emissions.WithPrior(Gaussian(1, 1), torch.tensor([[4.0], [6.0]]).double(), weight=5.0)
    model = HMM(1, emission).double()
    x = torch.randn(50, 1, generator=torch.Generator().manual_seed(0)).double()
    model.fit(x, iterations=3)
    found = float(emission.emission.mean.detach())  # type: ignore[arg-type]
    assert found == pytest.approx((float(x.sum()) + 10 * 5.0) / 60)


def test_the_number_of_states_is_found() -> None:
    generator = torch.Generator().manual_seed(0)
    state = torch.arange(300) // 20 % 3
    x = (state.unsqueeze(-1) * 5.0 + torch.randn(300, 1, generator=generator)).double()
    unseen = (state.unsqueeze(-1) * 5.0 + torch.randn(300, 1, generator=generator)).double()
    for criterion in ("bic", "aic", "icl", "heldout"):
        held_out = unseen if criterion == "heldout" else None
        found = select(
            range(1, 5),
            lambda n: HMM(n, Gaussian(n, 1)).double(),
            x,
            criterion=criterion,  # type: ignore[arg-type]
            validation=held_out,
            restarts=3,
            generator=torch.Generator().manual_seed(1),
        )
        assert found.why.startswith(f"{found.chosen} states have the ") and "parameters; next" in found.why
        assert found.best.states == found.chosen
        if criterion != "heldout":
            assert found.chosen == 3, found.why
            assert found.values[2] == pytest.approx(getattr(found.models[2], criterion)(x))
        else:
            assert found.values[found.chosen] == max(found.values.values())
            assert found.values[3] > found.values[2] + 100
            assert found.values[3] == pytest.approx(found.models[3].score(unseen))
    with pytest.raises(ShapeError, match="validation is given for 'heldout' alone"):
        select(range(1, 3), lambda n: HMM(n, Gaussian(n, 1)), x, criterion="heldout")
    with pytest.raises(ShapeError, match="at least one number of states"):
        select([], lambda n: HMM(n, Gaussian(n, 1)), x)


def test_rounding_near_an_objective_of_0_is_not_a_fall() -> None:
    """In float32, sums of a hundred densities differ by more than a share of a total that is nearly 0."""
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(100, 1, generator=generator)
        model = HMM(2, Gaussian(2, 1))
        model.fit(x, generator=generator, iterations=60)
        shift = math.exp(float(model.score(x)) / 100)
        model.fit(x * shift, generator=generator, iterations=150, tolerance=0.0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: HMM(2, durations.Poisson(2, 9)),
            r"emission must be a part of type Emission.*got semihmm.models.durations.poisson",
        ),
        (lambda: HSMM(2, Gaussian(2, 1), emissions.Poisson(2, 9)), "duration must be a part of type Duration"),
        (
            lambda: HMM(2, Gaussian(2, 1), transition=emissions.Categorical(2, 2)),
            "transition must be a part of type Transition",
        ),
        (lambda: HMM(2, Gaussian), "got the class Gaussian"),
    ],
)
def test_a_part_of_another_kind_is_refused(make: Any, says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        make()
