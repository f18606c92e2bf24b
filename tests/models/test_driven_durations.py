"""Durations that inputs change, segments that are known, and how long the longest is: against all segmentations."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from semihmm import inference
from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.models import HMM, HSMM, Gaussian, durations, emissions

T, D, S = 5, 3, 2


def random(model: Any, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.normal_(generator=generator)
    return model


def model(censored: Any, law: Any = None) -> HSMM:
    law = durations.PoissonRegression(S, 1, D) if law is None else law
    made: HSMM = random(HSMM(S, emissions.Categorical(S, 3), law, allowed=torch.ones(S, S).bool(), censored=censored))
    return made


def tilings(steps: int, censored: str) -> list[list[tuple[int, int, int, bool, bool]]]:
    """Every way to cover the steps: (state, first, last, begun before, goes on)."""
    found = []

    def go(at: int, done: list[tuple[int, int, int, bool, bool]]) -> None:
        if at == steps:
            found.append(done)
            return
        for state, length in itertools.product(range(S), range(1, D + 1)):
            if at + length > steps:
                continue
            first, last = at == 0, at + length == steps
            cut_left = first and censored in ("left", "both")
            cut_right = last and censored in ("right", "both")
            go(at + length, [*done, (state, at, at + length - 1, cut_left, cut_right)])

    go(0, [])
    return found


def weight(made: HSMM, x: Tensor, law: Tensor, tiling: list[tuple[int, int, int, bool, bool]]) -> Tensor:
    """By the definition; ``law (T, S, D)`` are probabilities by the first step of a segment."""
    value, before = torch.tensor(0.0).double(), -1
    seen = made.emission(x).detach()
    for state, first, last, left, right in tiling:
        value += made.initial().detach()[state] if before < 0 else made.transition().detach()[before, state]
        chance, length = law[first, state], last - first + 1
        tail = chance.flip(-1).cumsum(-1).flip(-1)
        if left and right:
            tail = tail.flip(-1).cumsum(-1).flip(-1)
        value += (tail if left or right else chance)[length - 1].log()
        value += seen[first : last + 1, state].sum()
        before = state
    return value


@pytest.mark.parametrize("censored", ["none", "right", "left", "both"])
@pytest.mark.parametrize("kind", ["regression", "neural"])
def test_the_likelihood_is_the_sum_over_all_segmentations(censored: str, kind: str) -> None:
    torch.manual_seed(0)
    law: Any = durations.Neural(torch.nn.Linear(1, S * D), S, 1, D) if kind == "neural" else None
    made = model(censored, law)
    x, u = torch.tensor([[0, 2, 1, 1, 2], [2, 1, 0, 0, 0]]), torch.randn(2, T, 1).double()
    lengths = torch.tensor([5, 3])
    found = made.log_prob(x, lengths, inputs=u).detach()
    chance = made.duration(u).detach().exp()
    assert_close(chance.sum(-1), torch.ones(2, T, S).double())
    for row, steps in enumerate(lengths.tolist()):
        each = [weight(made, x[row, :steps], chance[row], one) for one in tilings(steps, censored)]
        assert_close(found[row], torch.stack(each).logsumexp(0))


@pytest.mark.parametrize("censored", ["none", "right", "left", "both"])
def test_a_law_whose_weights_are_zero_is_one_without_inputs(censored: Any) -> None:
    driven = model(censored)
    with torch.no_grad():
        driven.duration.weight.zero_()  # type: ignore[operator,union-attr]
        plain = model(censored, durations.Categorical(S, D))
        names = ("initial.", "transition.", "emission.")
        own = {n: x for n, x in driven.state_dict().items() if n.startswith(names)}
        plain.load_state_dict({**plain.state_dict(), **own})
        plain.duration.table.logits.copy_(driven.duration(torch.zeros(1, 1).double())[0])  # type: ignore[union-attr,operator]
    x, lengths = torch.randint(3, (4, 7)), torch.tensor([7, 2, 1, 5])
    u = torch.randn(4, 7, 1).double()
    assert_close(driven.log_prob(x, lengths, inputs=u), plain.log_prob(x, lengths))
    assert_close(driven.predict_proba(x, lengths, inputs=u), plain.predict_proba(x, lengths))


@pytest.mark.parametrize("censored", ["none", "right", "both"])
@pytest.mark.parametrize("method", ["em", "gradient"])
def test_a_fit_climbs(censored: Any, method: Any) -> None:
    made = model(censored)
    x, u = torch.randint(3, (5, 12)), torch.randn(5, 12, 1).double()
    lengths = torch.tensor([12, 4, 6, 12, 3])
    fit = made.fit(x, lengths, method, inputs=u, iterations=6, generator=torch.Generator().manual_seed(1))
    if method == "em":
        assert all(b >= a - 1e-9 * abs(a) for a, b in zip(fit.history, fit.history[1:], strict=False))
    assert fit.objective > fit.history[0] + 1e-3


def test_the_effect_of_an_input_is_found_again() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = durations.PoissonRegression(2, 1, 20)
    maker = HSMM(2, emissions.Categorical(2, 2), truth, censored="right")
    with torch.no_grad():
        truth.bias.copy_(torch.tensor([1.0, 1.5]))
        truth.weight.copy_(torch.tensor([[0.7], [0.0]]))
        maker.emission.table.logits.copy_(torch.eye(2) * 3)  # type: ignore[union-attr,operator]
    u = torch.randn(2000, 1, generator=generator)
    x = maker.sample(2000, (), generator, inputs=u).x
    learner = HSMM(2, emissions.Categorical(2, 2), durations.PoissonRegression(2, 1, 20), censored="right")
    learner.fit(x, inputs=u, init=dict(maker.emission.state_dict(prefix="emission.")), generator=generator)
    weight = learner.duration.weight.detach().flatten()  # type: ignore[operator,union-attr]
    assert_close(weight, torch.tensor([0.7, 0.0]), atol=0.1, rtol=0.0)


@pytest.mark.parametrize("censored", ["none", "right", "left", "both"])
def test_known_starts_leave_the_segmentations_that_have_them(censored: Any) -> None:
    made = model(censored, durations.Categorical(S, D))
    x = torch.tensor([0, 2, 1, 1, 2])
    law = made.duration().detach().exp().expand(T, S, D)
    each = {tuple(map(tuple, one)): weight(made, x, law, one) for one in tilings(T, censored)}
    for starts in itertools.product((-1, 0, 1), repeat=T):
        kept = []
        for tiling, value in each.items():
            begun = {first for _, first, _, left, _ in tiling if not left}
            open_first = {first for _, first, _, left, _ in tiling if left}
            fits = all(
                known == -1 or (t in open_first) or (t in begun) == bool(known) for t, known in enumerate(starts)
            )
            if fits:
                kept.append(value)
        expected = torch.stack(kept).logsumexp(0) if kept else torch.tensor(-math.inf).double()
        assert_close(made.log_prob(x, starts=torch.tensor(starts)).detach(), expected)


def test_known_starts_are_cut_to_each_length_and_listed() -> None:
    made = model("right", durations.Categorical(S, D))
    x = [torch.tensor([0, 2, 1, 1]), torch.tensor([2, 1])]
    starts = [torch.tensor([1, 0, 1, -1]), torch.tensor([1, 1])]
    apart = torch.stack([made.log_prob(a, starts=b) for a, b in zip(x, starts, strict=True)])
    assert_close(made.log_prob(x, starts=starts), apart)
    segments = inference.viterbi(made(x, starts=starts)).event
    assert segments[1, 1].tolist()[1:] == [1, 1]
    fit = made.fit(x, starts=starts, iterations=3, restarts=2, generator=torch.Generator().manual_seed(0))
    assert fit.objective >= fit.history[0]


def test_starts_that_make_no_sense_are_refused() -> None:
    made = model("right", durations.Categorical(S, D))
    x = torch.tensor([0, 2, 1])
    with pytest.raises(ShapeError, match="starts say whether a segment begins"):
        made.log_prob(x, starts=torch.tensor([1, 2, 0]))
    with pytest.raises(StructureError, match="which an HSMM has"):
        HMM(2, emissions.Categorical(2, 3)).log_prob(x, starts=torch.tensor([1, 0, 0]))
    with pytest.raises(DataError, match="cannot explain"):
        model("none", durations.Categorical(S, D)).fit(x, starts=torch.tensor([0, 1, 1]))


LAWS = [
    durations.Poisson,
    durations.Geometric,
    durations.NegativeBinomial,
    durations.Gamma,
    durations.LogNormal,
    durations.Weibull,
    durations.Gaussian,
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("mean", [1.5, 12.0])
def test_the_longest_duration_leaves_a_small_tail(law: Any, mean: float) -> None:
    made = law(3, mean=mean, tail=1e-3)
    wide = law(3, max_duration=2000, mean=mean)
    beyond = wide().detach().double().exp()[:, made.max_duration :].sum(-1)
    assert bool((beyond <= 1.1e-3).all())
    less = wide().detach().double().exp()[:, made.max_duration - 1 :].sum(-1)
    assert bool((less > 0.9e-3).all())
    average = made().detach().double().exp() @ torch.arange(1, made.max_duration + 1).double()
    assert mean / 1.5 < average[0] < mean * 1.5  # the law is truncated to whole numbers from 1 on
    assert law(**made.config).max_duration == made.max_duration


def test_a_law_must_know_how_far_it_goes() -> None:
    with pytest.raises(ShapeError, match="give max_duration, or the mean duration"):
        durations.Poisson(2)
    with pytest.raises(ShapeError, match="a tail mass between 0 and 1"):
        durations.Poisson(2, mean=5.0, tail=0.0)
    model = HSMM(2, Gaussian(2, 1), durations.NegativeBinomial(2, mean=8.0), censored="right")
    assert model(torch.randn(9, 1)).duration.shape[-1] == model.duration.max_duration
