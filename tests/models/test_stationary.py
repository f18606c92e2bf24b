"""Chains that begin where they are in the long run: the distribution, its gradient, and what EM makes of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from semihmm.errors import ShapeError, StructureError
from semihmm.models import HMM, HSMM, Gaussian, durations, load, transitions
from semihmm.models.stationary import Stationary

LAWS: dict[str, Any] = {
    "dense": lambda: transitions.Categorical(3),
    "pseudo-counts": lambda: transitions.Categorical(3, pseudo_count=0.5),
    "masked": lambda: transitions.Categorical(
        3, allowed=[[True, True, False], [False, True, True], [True, False, True]]
    ),
    "offsets": lambda: transitions.Categorical(3, offsets=(0, 1, -2)),
    "arcs": lambda: transitions.Categorical(3, arcs=([0, 1, 2, 2], [1, 2, 0, 2])),
    "tied": lambda: transitions.Categorical(3, tied=[[0, -1, -1], [-1, 0, -1], [-1, -1, 0]]),
    "left for ever": lambda: transitions.Categorical(3, allowed=[[True] * 3, [False, True, True], [False, True, True]]),
}


def law_of(kind: str, seed: int = 0) -> transitions.Categorical:
    law: transitions.Categorical = LAWS[kind]().double()
    law.logits.data.normal_(generator=torch.Generator().manual_seed(seed))
    law.project()
    return law


def short_runs(count: int = 40, steps: int = 4) -> Tensor:
    """Many sequences of few steps, where first states say much."""
    generator = torch.Generator().manual_seed(1)
    state = (torch.rand(count, steps, generator=generator, dtype=torch.float64) < 0.35).cumsum(-1) % 3
    return (4.0 * state + torch.randn(count, steps, generator=generator, dtype=torch.float64)).unsqueeze(-1)


@pytest.mark.parametrize("kind", LAWS)
def test_a_step_leaves_the_first_distribution_as_it_is(kind: str) -> None:
    law = law_of(kind)
    chance = Stationary(law)().exp()
    assert_close(chance @ law.matrix(), chance)
    assert_close(chance.sum(), torch.ones(()).double())
    assert_close(chance, torch.linalg.matrix_power(law.matrix(), 4096)[0])
    assert (kind == "left for ever") == (Stationary(law)()[0] == -torch.inf)


@pytest.mark.parametrize("kind", LAWS)
def test_gradients_are_those_of_differences(kind: str) -> None:
    law = law_of(kind)
    first = Stationary(law)
    visited = first() > -torch.inf

    def log_chances(logits: Tensor) -> Tensor:
        law.__dict__["_parameters"] = {"logits": logits}
        return first()[visited]

    assert torch.autograd.gradcheck(log_chances, law.logits.detach().requires_grad_())
    (slope,) = torch.autograd.grad(first().exp().sum(), law.logits)
    assert_close(slope, torch.zeros_like(slope), atol=1e-12, rtol=0.0)  # they sum to 1, and -inf has no slope


@pytest.mark.parametrize("kind", [kind for kind in LAWS if kind not in ("left for ever", "tied")])
def test_em_climbs_to_where_the_gradient_is_nothing(kind: str) -> None:
    law, x = law_of(kind), short_runs()
    model = HMM(3, Gaussian(3, 1), transition=law, start="stationary").double()
    fit = model.fit(x, generator=torch.Generator().manual_seed(0), iterations=1000, tolerance=1e-11)
    assert fit.ended == "converged"
    assert all(after >= before - 1e-9 for before, after in zip(fit.history, fit.history[1:], strict=False))
    lbfgs: Any = lambda p: torch.optim.LBFGS(p, max_iter=50, line_search_fn="strong_wolfe")  # noqa: E731
    further = model.fit(x, method="gradient", initialise=False, optimizer=lbfgs, iterations=1)
    assert further.objective == pytest.approx(fit.objective, abs=1e-5)


def test_questions_are_those_of_a_model_with_this_first_state() -> None:
    law, x = law_of("dense"), short_runs()
    model = HMM(3, Gaussian(3, 1), transition=law, start="stationary").double()
    other = HMM(3, model.emission, transition=law).double()
    other.initial.update(model.stationary_distribution())
    assert_close(model.log_prob(x), other.log_prob(x))
    assert torch.equal(model.predict(x), other.predict(x))
    drawn = model.sample(1, (20_000,), generator=torch.Generator().manual_seed(0)).states
    share = drawn.flatten().bincount(minlength=3) / 20_000
    assert_close(share.double(), model.stationary_distribution(), atol=0.015, rtol=0.0)  # 4 standard deviations
    assert model.free_parameters == other.free_parameters - 2


def test_batches_and_weights_and_a_stream_say_the_same() -> None:
    x = short_runs()
    twice, once = torch.full((20,), 2.0), [{"x": x[:15]}, {"x": x[15:]}]
    found = []
    for given, weights in ((x, None), (once, None), (x[:20], twice), (torch.cat([x[:20], x[:20]]), None)):
        model = HMM(3, Gaussian(3, 1), start="stationary").double()
        means = {"emission.mean": torch.tensor([[0.0], [4.0], [8.0]])}
        fit = model.fit(given, weights=weights, init=means, initialise=False, iterations=5, tolerance=0.0)
        found.append(fit.history)
    assert found[0] == pytest.approx(found[1])
    assert found[2] == pytest.approx(found[3])
    fit = model.fit([{"x": one} for one in x.split(10)], method="stochastic", iterations=10, initialise=False)
    assert fit.objective > fit.history[0]


def test_it_is_saved_renumbered_and_copied(tmp_path: Path) -> None:
    x = short_runs()
    model = HMM(3, Gaussian(3, 1), start="stationary").double()
    model.fit(x, iterations=5, generator=torch.Generator().manual_seed(0))
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert isinstance(again, HMM) and isinstance(again.initial, Stationary)
    assert torch.equal(again.log_prob(x), model.log_prob(x))
    assert "initial" not in {name.partition(".")[0] for name in model.state_dict()}
    before = model.log_prob(x)
    again.permute([2, 0, 1])
    assert_close(again.log_prob(x), before)
    again.fit(x, iterations=2, frozen=["transition"], generator=torch.Generator().manual_seed(0))


def test_what_cannot_be_stationary_is_refused() -> None:
    emission = Gaussian(2, 1)
    for arguments in ({"start": "settled"}, {"final": [1]}, {"initial_pseudo_count": 1.0}):
        with pytest.raises(ShapeError, match=r"HMM: start names states, or is 'stationary': .* got start='"):
            HMM(2, emission, **{"start": "stationary", **arguments})
    with pytest.raises(StructureError, match="depends on the start"):
        HMM(2, emission, start="stationary", allowed=[[True, False], [False, True]])
    with pytest.raises(StructureError, match="the transitions of Logit differ from step to step"):
        HMM(2, emission, start="stationary", transition=transitions.Logit(2, inputs=1))
    with pytest.raises(ShapeError, match="HSMM: start must be integers, got 'stationary'"):
        HSMM(2, emission, durations.Poisson(2, 5), start="stationary")  # type: ignore[arg-type]
