"""Transition laws: what they say, what EM finds, and what stays as it was."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from semihmm.errors import DataError, ShapeError
from semihmm.models import HMM, HSMM, Gaussian, durations, emissions, transitions
from semihmm.models.transitions import ContinuousTime, Transition, waits
from semihmm.models.transitions.ties import Ties

ALLOWED = torch.tensor([[True, True, False], [False, True, True], [True, False, True]])


def linear(entries: int) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Linear(2, entries)


LAWS: dict[str, Callable[[], Transition]] = {
    "categorical": lambda: transitions.Categorical(3, allowed=ALLOWED),
    "prior": lambda: transitions.Categorical(3, pseudo_count=[[0.5, 0.1, 2.0]] * 3, sticky=3.0),
    "fixed": lambda: transitions.Categorical(3, fixed=[[math.nan, 0.3, math.nan]] + [[math.nan] * 3] * 2),
    "tied": lambda: transitions.Categorical(3, tied=(2 * torch.eye(3).long() - 1).clamp(max=0)),
    "logit": lambda: transitions.Logit(3, 2, allowed=ALLOWED),
    "logit offsets": lambda: transitions.Logit(3, 2, offsets=(0, 1, -1)),
    "logit arcs": lambda: transitions.Logit(3, 2, arcs=([0, 0, 1, 2, 2], [0, 1, 2, 2, 0])),
    "neural": lambda: transitions.Neural(linear(9), 3, 2, allowed=ALLOWED),
    "periodic": lambda: transitions.Periodic(3, 4, pseudo_count=0.1),
    "periodic arcs": lambda: transitions.Periodic(3, 4, arcs=([0, 0, 1, 2, 2], [0, 1, 2, 2, 0])),
    "continuous": lambda: transitions.ContinuousTime(3),
    "continuous edges": lambda: transitions.ContinuousTime(3, allowed=ALLOWED),
}


def inputs(law: Transition, shape: tuple[int, ...], seed: int = 0) -> Tensor | None:
    generator = torch.Generator().manual_seed(seed)
    if isinstance(law, transitions.Periodic):
        return torch.randint(4, (*shape, 1), generator=generator).double()
    if isinstance(law, ContinuousTime):
        return torch.rand(*shape, 1, generator=generator).double() * 2 + 0.1
    return torch.randn(*shape, 2, generator=generator).double() if hasattr(law, "inputs") else None


def data(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 12, 1, dtype=torch.float64, generator=generator), torch.tensor([12, 3, 1, 8])


@pytest.mark.parametrize("kind", LAWS)
def test_what_follows_a_state_sums_to_one(kind: str) -> None:
    law = LAWS[kind]().double()
    law.initialise(torch.Generator().manual_seed(1))
    given = inputs(law, (2, 6))
    log_prob = law() if given is None else law(given)
    left = law.leaving(log_prob.exp())
    assert_close(left, torch.ones_like(left))
    assert bool((log_prob.exp() == 0).logical_or(law.allowed).all())


@pytest.mark.parametrize("kind", LAWS)
@pytest.mark.parametrize("method", ["em", "gradient"])
@pytest.mark.parametrize("ending", [False, True])
def test_a_fit_climbs_with_every_law(kind: str, method: Any, ending: bool) -> None:
    law = LAWS[kind]()
    model = HMM(3, Gaussian(3, 1, variance_floor=0.1), transition=law, final=[0, 1, 2] if ending else None).double()
    x, lengths = data(3)
    given = inputs(law, (4, 12))
    fit = model.fit(
        x, lengths, method, inputs=given, iterations=6, tolerance=0.0, generator=torch.Generator().manual_seed(2)
    )
    if method == "em":
        assert all(b >= a - 1e-9 * abs(a) for a, b in zip(fit.history, fit.history[1:], strict=False))
    assert fit.objective > fit.history[0] + 1e-3
    best = model.score(x, lengths, inputs=given) + float(model.log_prior().detach())
    assert best == pytest.approx(max(fit.history))


@pytest.mark.parametrize("kind", [k for k in LAWS if not k.startswith("cont")])
def test_a_semi_markov_model_takes_every_law(kind: str) -> None:
    law = LAWS[kind]()
    model = HSMM(3, Gaussian(3, 1, variance_floor=0.1), durations.Poisson(3, 6), transition=law, censored="right")
    x, lengths = data(3)
    given = inputs(law, (4, 12))
    fit = model.double().fit(x, lengths, inputs=given, iterations=4, generator=torch.Generator().manual_seed(2))
    assert fit.objective > fit.history[0]


@pytest.mark.parametrize("kind", ["logit", "periodic", "continuous"])
def test_the_likelihood_is_the_sum_over_all_paths(kind: str) -> None:
    law = LAWS[kind]().double()
    law.initialise(torch.Generator().manual_seed(1))
    model = HMM(3, Gaussian(3, 1), transition=law).double()
    x = data(1)[0][0, :5]
    given = inputs(law, (5,))
    steps, start, seen = law(given).exp(), model.initial().exp(), model.emission(x).exp()
    alpha = start * seen[0]
    for t in range(1, 5):
        alpha = (alpha @ steps[t - 1]) * seen[t]
    assert_close(model.log_prob(x, inputs=given), alpha.sum().log())


@pytest.mark.parametrize("kind", ["logit", "neural", "continuous", "tied"])
def test_derivatives_are_right(kind: str) -> None:
    law = LAWS[kind]().double()
    law.initialise(torch.Generator().manual_seed(1))
    model = HMM(3, Gaussian(3, 1), transition=law).double()
    x, given = data(1)[0][:2, :4], inputs(law, (2, 4))
    names = [n for n, _ in model.named_parameters()]

    def likelihood(*values: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(
            Asked(model, given), {f"model.{n}": v for n, v in zip(names, values, strict=True)}, (x,)
        )
        return found

    assert torch.autograd.gradcheck(likelihood, tuple(p.detach().clone().requires_grad_() for p in model.parameters()))


class Asked(torch.nn.Module):
    def __init__(self, model: HMM, given: Tensor | None) -> None:
        super().__init__()
        self.model, self.given = model, given

    def forward(self, x: Tensor) -> Tensor:
        return self.model.log_prob(x) if self.given is None else self.model.log_prob(x, inputs=self.given)


@pytest.mark.parametrize("kind", [k for k in LAWS if k != "neural"])
def test_a_law_is_saved_with_its_model(kind: str, tmp_path: Any) -> None:
    law = LAWS[kind]()
    model = HMM(3, Gaussian(3, 1), transition=law, final=[1])
    x, given = data(1)[0].float(), inputs(law, (4, 12))
    model.begin(next(model.batches(x, inputs=given)), torch.Generator().manual_seed(5))
    model.save(tmp_path / "model.safetensors")
    loaded = HMM.load(tmp_path / "model.safetensors")
    assert_close(loaded.log_prob(x, inputs=given), model.log_prob(x, inputs=given))
    assert loaded.config == model.config and loaded.transition.config == model.transition.config


def test_one_step_adds_the_prior_and_more_to_staying() -> None:
    law = transitions.Categorical(2, pseudo_count=[[1.0, 2.0], [0.0, 0.0]], sticky=4.0).double()
    law.update(torch.tensor([[1.0, 1.0], [2.0, 2.0]]).double())
    assert_close(law().exp().detach(), torch.tensor([[6 / 9, 3 / 9], [2 / 8, 6 / 8]]).double())
    assert_close(law.log_prior(), (torch.tensor([[5.0, 2.0], [0.0, 4.0]]).double() * law()).sum())


def test_a_state_is_kept_longer_under_a_sticky_prior() -> None:
    x = torch.randn(300, 1, generator=torch.Generator().manual_seed(0))
    stays = []
    for sticky in (0.0, 1000.0):
        model = HMM(2, Gaussian(2, 1), transition=transitions.Categorical(2, sticky=sticky))
        model.fit(x, generator=torch.Generator().manual_seed(1))
        stays.append(float(model.transition().detach().exp().diagonal().mean()))
    assert stays[1] > 0.85 and stays[1] > stays[0]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5), st.integers(0, 10_000))
def test_ties_leave_the_best_table_that_keeps_them(states: int, seed: int) -> None:
    """Rows sum to 1, what is tied is equal, and no small change that keeps this is better."""
    generator = torch.Generator().manual_seed(seed)
    group = torch.arange(states).repeat_interleave(states)
    tied = torch.where(torch.rand(states**2, generator=generator) < 0.5, 0, -1)
    tied = torch.where(torch.rand(states**2, generator=generator) < 0.2, 1, tied)
    tied[:: states + 1] = -1  # each row has an entry of its own
    fixed = torch.full((states**2,), math.nan, dtype=torch.float64)
    fixed[1] = 0.25
    tied[1] = -1
    ties = Ties(group, torch.ones(states**2, dtype=torch.bool), fixed, tied)
    counts = torch.rand(states**2, generator=generator, dtype=torch.float64) + 0.01
    best = ties.best(counts)
    rows = torch.zeros(states, dtype=torch.float64).index_add(0, group, best)
    assert_close(rows, torch.ones(states, dtype=torch.float64))
    assert best[1] == 0.25 and bool((best > 0).all())
    for name in (0, 1):
        same = best[tied == name]
        assert_close(same, same[:1].expand_as(same))
    names = torch.where(tied < 0, torch.arange(states**2) + 2, tied)
    _, tie = names.unique(return_inverse=True)
    move = torch.zeros(int(tie.max()) + 1, states**2, dtype=torch.float64)
    move[tie, torch.arange(states**2)] = 1.0
    move[:, 1] = 0.0
    sums = torch.zeros(states, states**2, dtype=torch.float64)
    sums[group, torch.arange(states**2)] = 1.0
    slope = move @ torch.where(torch.arange(states**2) == 1, 0.0, counts / best)
    inward = torch.linalg.lstsq((sums @ move.T).T, slope.unsqueeze(-1)).solution
    assert_close((sums @ move.T).T @ inward, slope.unsqueeze(-1), rtol=1e-5, atol=1e-5)


def test_fixed_and_tied_probabilities_stay_so_whatever_the_training() -> None:
    fixed = torch.tensor([[math.nan, 0.3, math.nan], [0.0, math.nan, math.nan], [math.nan] * 3])
    tied = torch.tensor([[0, -1, -1], [-1, 0, -1], [-1, -1, 0]])
    for method in ("em", "gradient", "viterbi"):
        law = transitions.Categorical(3, fixed=fixed, tied=tied)
        model = HMM(3, Gaussian(3, 1), transition=law).double()
        x, lengths = data(2)
        model.fit(x, lengths, method, iterations=5, generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]
        found = law().detach().exp()
        assert_close(found[0, 1], torch.tensor(0.3).double())
        assert found[1, 0] == 0.0
        assert_close(found.diagonal(), found[0, 0].expand(3))
        assert_close(found.sum(-1), torch.ones(3).double())


def test_rates_are_found_again() -> None:
    generator = torch.Generator().manual_seed(0)
    rate = torch.tensor([[0.0, 0.5, 0.0], [0.2, 0.0, 0.3], [0.0, 0.0, 0.0]])
    edges = rate > 0
    truth = ContinuousTime(3, allowed=edges | torch.eye(3).bool()).double()
    with torch.no_grad():
        truth.log_rate.copy_(torch.where(edges, rate, 1.0).log())
    model = HMM(3, emissions.Categorical(3, 3), transition=truth, start=[0]).double()
    with torch.no_grad():
        model.emission.table.logits.copy_(torch.eye(3) * 4)  # type: ignore[union-attr,operator]
    times = torch.rand(20, 1, generator=generator).double() * 2 + 0.2
    x = model.sample(20, (1500,), generator, inputs=times).x
    found = ContinuousTime(3, allowed=edges | torch.eye(3).bool())
    learner = HMM(3, emissions.Categorical(3, 3), transition=found, start=[0]).double()
    given = times.expand(1500, 20, 1)
    labels = torch.where(torch.arange(20) == 0, 0, -1).expand(1500, 20)
    learner.fit(
        x, inputs=given, init=dict(model.emission.state_dict(prefix="emission.")), frozen=["emission"], labels=labels
    )
    assert_close(found.rates().detach().float(), rate - rate.sum(-1).diag(), atol=0.05, rtol=0.0)
    by_gradient = ContinuousTime(3, allowed=edges | torch.eye(3).bool())
    again = HMM(3, emissions.Categorical(3, 3), transition=by_gradient, start=[0]).double()
    again.fit(
        x,
        None,
        "gradient",
        inputs=given,
        init=dict(model.emission.state_dict(prefix="emission.")),
        frozen=["emission"],
        iterations=300,
        tolerance=1e-8,
    )
    assert_close(by_gradient.rates().detach(), found.rates().detach(), atol=0.02, rtol=0.0)


def test_covariates_are_found_again() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = transitions.Logit(2, 1)
    with torch.no_grad():
        truth.bias.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
        truth.weight[0, 1] = 2.0
    model = HMM(2, emissions.Categorical(2, 2), transition=truth)
    with torch.no_grad():
        model.emission.table.logits.copy_(torch.eye(2) * 3)  # type: ignore[union-attr,operator]
    u = torch.randn(4000, 1, generator=generator)
    x = model.sample(4000, (), generator, inputs=u).x
    learnt = transitions.Logit(2, 1)
    learner = HMM(2, emissions.Categorical(2, 2), transition=learnt)
    learner.fit(x, inputs=u, init=dict(model.emission.state_dict(prefix="emission.")), generator=generator)
    effect = (learnt.weight[:, 1] - learnt.weight[:, 0]).flatten()
    assert_close(effect.detach(), torch.tensor([2.0, 0.0]), atol=0.3, rtol=0.0)


def test_waits_are_the_times_since_the_step_before() -> None:
    assert_close(waits(torch.tensor([[0.0, 1.0, 4.0]])), torch.tensor([[[0.0], [1.0], [3.0]]]))
    each = waits([torch.tensor([0.0, 1.0, 4.0]), [2.0, 2.5]])
    assert [one.tolist() for one in each] == [[[0.0], [1.0], [3.0]], [[0.0], [0.5]]]
    with pytest.raises(ShapeError, match="must not go back"):
        waits([1.0, 0.5])
    with pytest.raises(ShapeError, match="waits: times are"):
        waits(torch.tensor(1.0))
    with pytest.raises(DataError, match="waits: times must be a tensor"):
        waits("noon")


def test_one_input_without_its_axis_is_named() -> None:
    model = HMM(2, Gaussian(2, 1), transition=ContinuousTime(2))
    x, times = [torch.randn(n, 1) for n in (3, 5)], [torch.arange(float(n)) for n in (3, 5)]
    assert model.log_prob(x, inputs=waits(times)).shape == (2,)
    with pytest.raises(ShapeError, match=r"\(2, 5, 1\), got \(2, 5\). One input\? Pass inputs.unsqueeze"):
        model.log_prob(x, inputs=times)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: transitions.Categorical(2, pseudo_count=[1.0, 2.0]), "one number or one for each entry"),
        (lambda: transitions.Categorical(2, pseudo_count=-1.0), "at least 0"),
        (lambda: transitions.Categorical(2, fixed=[[0.6, 0.6], [math.nan] * 2]), "sum to at most 1"),
        (lambda: transitions.Categorical(2, fixed=[[0.6, 0.3], [math.nan] * 2]), "must sum to 1"),
        (lambda: transitions.Categorical(2, tied=[0, 1]), "must have the table's shape"),
        (lambda: HMM(2, Gaussian(2, 1), transition=transitions.Categorical(3)), "a law for as many"),
        (lambda: HMM(2, Gaussian(2, 1), final=[2]), "final must name"),
        (lambda: HSMM(2, Gaussian(2, 1), durations.Poisson(2, 3), final=[0], censored="right"), "give one of them"),
    ],
)
def test_laws_that_make_no_sense_are_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        make()


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("logit", None, "takes 2 inputs at each step"),
        ("logit", torch.zeros(4, 11, 2), r"must be \(..., T, U\) = \(4, 12, 2\)"),
        ("logit", torch.full((12, 2), math.nan), "Inputs cannot be missing"),
        ("logit", {"emission": torch.zeros(12, 2)}, "inputs are for transition"),
        ("periodic", torch.full((12, 1), 4.0), "its phase, 0 to 3"),
        ("continuous", torch.full((12, 1), -1.0), "at least 0"),
    ],
)
def test_inputs_that_make_no_sense_are_refused(kind: str, given: Any, says: str) -> None:
    model = HMM(3, Gaussian(3, 1), transition=LAWS[kind]())
    with pytest.raises((ShapeError, DataError), match=says):
        model.log_prob(data(0)[0].float(), inputs=given)
