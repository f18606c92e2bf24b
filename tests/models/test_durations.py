"""Duration laws against scipy and against any other parameters."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats  # type: ignore[import-untyped]
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize  # type: ignore[import-untyped]
from torch import Tensor
from torch.testing import assert_close

from semihmm.errors import ShapeError
from semihmm.models import HSMM, Gaussian, durations, emissions
from semihmm.models.durations import Duration, Parametric
from semihmm.models.training import Fit

CONCENTRATION, RATE, LOC, SCALE, STAY = 2.5, 0.4, 6.0, 1.7, 0.8
# Parameters, and what scipy says of d steps up to a constant.
FORMULAS: dict[str, tuple[dict[str, float], Callable[[np.ndarray], np.ndarray]]] = {
    "Geometric": ({"logit": float(np.log(STAY / (1 - STAY)))}, lambda d: scipy.stats.geom.pmf(d, 1 - STAY)),
    "Poisson": ({"log_rate": np.log(LOC)}, lambda d: scipy.stats.poisson.pmf(d - 1, LOC)),
    "NegativeBinomial": (
        {"log_count": np.log(CONCENTRATION), "logit": np.log(STAY / (1 - STAY))},
        lambda d: scipy.stats.nbinom.pmf(d - 1, CONCENTRATION, 1 - STAY),
    ),
    "Gamma": (
        {"log_concentration": np.log(CONCENTRATION), "log_rate": np.log(RATE)},
        lambda d: scipy.stats.gamma.pdf(d, CONCENTRATION, scale=1 / RATE),
    ),
    "Gaussian": ({"loc": LOC, "log_scale": np.log(SCALE)}, lambda d: scipy.stats.norm.pdf(d, LOC, SCALE)),
    "LogNormal": (
        {"loc": np.log(LOC), "log_scale": np.log(SCALE)},
        lambda d: scipy.stats.lognorm.pdf(d, SCALE, scale=LOC),
    ),
    "Weibull": (
        {"log_scale": np.log(LOC), "log_concentration": np.log(SCALE)},
        lambda d: scipy.stats.weibull_min.pdf(d, SCALE, scale=LOC),
    ),
}
LAWS = [*FORMULAS, "Categorical", "Uniform"]


def made(law: str, states: int, max_duration: int, min_duration: int = 1, seed: int = 0) -> Duration:
    """A law in float64, drawn anew."""
    found: Duration = getattr(durations, law)(states, max_duration, min_duration=min_duration).double()
    found.initialise(torch.Generator().manual_seed(seed))
    return found


def formula(law: str, max_duration: int, min_duration: int = 1) -> Parametric:
    """A law of one state with the parameters in FORMULAS."""
    found = made(law, 1, max_duration, min_duration)
    assert isinstance(found, Parametric)
    for name, value in FORMULAS[law][0].items():
        found.get_parameter(name).data.fill_(value)
    return found


def objective(law: Duration, counts: Tensor) -> Tensor:
    return torch.where(counts > 0, counts * law(), 0.0).sum(-1)


@pytest.mark.parametrize("least", [1, 3])
@pytest.mark.parametrize("law", FORMULAS)
def test_a_law_is_what_scipy_says_over_its_range(law: str, least: int) -> None:
    steps = np.arange(least, 21)
    chance = FORMULAS[law][1](steps)
    found = formula(law, 20, least)()[0].exp().detach().numpy()
    assert_close(found[least - 1 :], chance / chance.sum())
    assert (found[: least - 1] == 0).all()


def test_a_steep_weibull_law_keeps_its_place() -> None:
    law = formula("Weibull", 200)
    law.get_parameter("log_concentration").data.fill_(np.log(80))
    law.get_parameter("log_scale").data.fill_(np.log(100))
    chance = scipy.stats.weibull_min.pdf(np.arange(1, 201), 80, scale=100)
    assert_close(law()[0].exp().detach().numpy(), chance / chance.sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("law", LAWS)
def test_the_lengths_of_the_range_share_all_the_probability(law: str, dtype: torch.dtype) -> None:
    found = made(law, 4, 50, min_duration=5).to(dtype)()
    assert found.dtype == dtype
    assert found.shape == (4, 50)
    assert (found[:, :4] == -torch.inf).all()
    assert (found[:, 4:] > -torch.inf).all()
    assert_close(found.exp().sum(-1), torch.ones(4, dtype=dtype), atol=1e-6, rtol=0)


@pytest.mark.parametrize("law", FORMULAS)
def test_the_gradient_is_that_of_the_formula(law: str) -> None:
    found = formula(law, 12, 2)
    names = list(found.bounds)
    values = tuple(found.get_parameter(name).detach().clone().requires_grad_() for name in names)
    torch.autograd.gradcheck(
        lambda *v: torch.func.functional_call(found, dict(zip(names, v, strict=True)), ())[:, 1:], values
    )


@pytest.mark.parametrize("far", [-30.0, -5.0, 5.0, 30.0])
@pytest.mark.parametrize("law", FORMULAS)
def test_far_parameters_have_finite_gradients(law: str, far: float) -> None:
    found = made(law, 1, 40, 2)
    for parameter in found.parameters():
        parameter.data.fill_(far)
    found.project()
    log_prob = found()[:, 1:]
    assert not log_prob.isnan().any()
    assert_close(log_prob.exp().sum(), torch.ones((), dtype=torch.float64))
    (log_prob.exp() @ torch.arange(39.0).double()).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in found.parameters())


SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "flat": torch.ones_like,
    "peak": lambda d: torch.exp(-((d - 0.4 * d[-1]) ** 2) / (0.03 * d[-1] ** 2 + 1)),
    "two peaks": lambda d: torch.exp(-((d - 2) ** 2)) + torch.exp(-((d - 0.8 * d[-1]) ** 2) / 4),
    "both ends": lambda d: ((d == 1) | (d == d[-1])).double(),
    "falling": lambda d: torch.exp(-0.4 * d),
    "heavy": lambda d: d**-1.5,
    "rising": lambda d: torch.exp(0.4 * (d - d[-1])),
    "first": lambda d: (d == 1).double(),
    "last": lambda d: (d == d[-1]).double(),
    "one": lambda d: (d == (d[-1] / 2).ceil()).double(),
    "two": lambda d: (((d - 0.5 * d[-1]).abs() <= 1) & (d > 0.5 * d[-1] - 0.4)).double(),
}


@pytest.mark.parametrize("longest", [2, 7, 150])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("law", FORMULAS)
def test_after_an_em_step_no_coordinate_would_gain(law: str, shape: str, longest: int) -> None:
    found = made(law, 1, longest)
    assert isinstance(found, Parametric)
    steps = torch.arange(1.0, longest + 1).double()
    counts = SHAPES[shape](steps).unsqueeze(0)
    before = objective(found, counts)
    found.update(3.0 * counts)
    assert (objective(found, counts) >= before - 1e-12 * before.abs()).all()
    at = torch.stack(found.coordinates(*(found.get_parameter(n).detach() for n in found.bounds)), -1).requires_grad_()
    log_prob = found.log_weight(steps, *at.unsqueeze(-2).unbind(-1)).log_softmax(-1)
    (gradient,) = torch.autograd.grad((counts / counts.sum() * log_prob).sum(), at)
    low, high = torch.tensor(list(found.bounds.values()), dtype=torch.float64).unbind(-1)
    at = at.detach()
    held = ((at <= low + 1e-9 * low.abs()) & (gradient < 0)) | ((at >= high - 1e-9 * high.abs()) & (gradient > 0))
    (scores,) = torch.autograd.functional.jacobian(
        lambda c: found.log_weight(steps, *c.unsqueeze(-2).unbind(-1)).log_softmax(-1)[0], (at,)
    )
    assert (gradient.abs() <= 1e-5 * scores[:, 0].abs().amax(0))[~held].all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("law", FORMULAS)
def test_no_optimiser_finds_better_parameters_than_the_em_step(law: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.rand(1, 15, generator=generator, dtype=torch.float64) ** 4
    found = made(law, 1, 15, seed=seed)
    assert isinstance(found, Parametric)
    found.update(counts)
    best = float(objective(found, counts).detach())
    bounds = list(found.bounds.values())

    def loss(at: np.ndarray) -> float:
        columns = torch.from_numpy(at).reshape(-1, 1, 1).unbind(0)
        return -float((counts * found.log_weight(torch.arange(1.0, 16).double(), *columns).log_softmax(-1)).sum())

    for start in range(4):
        found.initialise(torch.Generator().manual_seed(start))
        first = [float(c) for c in found.coordinates(*(found.get_parameter(n).detach() for n in found.bounds))]
        other = minimize(loss, first, method="Nelder-Mead", bounds=bounds, options={"xatol": 1e-8, "fatol": 1e-10})
        assert -other.fun <= best + 1e-9


@given(st.lists(st.floats(0, 10), min_size=5, max_size=5).filter(lambda counts: sum(counts) > 0.1))
def test_no_other_rate_is_better_than_the_em_step(counts: list[float]) -> None:
    law = durations.Poisson(1, 5).double()
    observed = torch.tensor([counts], dtype=torch.float64)
    law.update(observed)
    best = (observed * law()).sum()
    assert law.log_rate.isfinite().all()
    for log_rate in torch.linspace(-12, 12, 97):
        with torch.no_grad():
            law.log_rate.fill_(log_rate)
        assert (observed * law()).sum() <= best + 1e-9


@given(
    law=st.sampled_from(LAWS),
    counts=st.lists(st.floats(0, 10, width=32), min_size=6, max_size=6).filter(lambda counts: sum(counts) > 0.1),
    least=st.integers(1, 3),
    wide=st.booleans(),
)
def test_an_em_step_never_lowers_the_objective(law: str, counts: list[float], least: int, wide: bool) -> None:
    dtype = torch.float64 if wide else torch.float32
    found = made(law, 1, 6, least).to(dtype)
    observed = torch.tensor([counts], dtype=dtype)
    observed[:, : least - 1] = 0
    before = objective(found, observed)
    found.update(observed)
    assert (objective(found, observed) >= before - (1e-10 if wide else 1e-4)).all()


@pytest.mark.parametrize("law", FORMULAS)
def test_parameters_are_recovered_from_what_they_drew(law: str) -> None:
    """20,000 lengths: the mean log-probability of the truth is within 1e-3 nats, each parameter within 0.1."""
    truth = formula(law, 60, 2)
    drawn = torch.distributions.Categorical(logits=truth()[0].detach())
    torch.manual_seed(0)
    counts = drawn.sample((20_000,)).bincount(minlength=60).double().unsqueeze(0)
    found = made(law, 1, 60, 2)
    found.update(counts)
    assert_close(found()[0].exp() @ truth()[0][1:].new_ones(60), torch.ones((), dtype=torch.float64))
    chance = truth()[0].exp()
    assert (chance * (truth() - found()).nan_to_num())[0].sum() < 1e-3
    for name, value in FORMULAS[law][0].items():
        assert float(found.get_parameter(name).detach()) == pytest.approx(value, abs=0.1)


@pytest.mark.parametrize("law", LAWS)
def test_a_state_that_never_came_stays_as_it_is(law: str) -> None:
    found = made(law, 2, 5)
    before = found().clone()
    found.update(torch.tensor([[0.0, 2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]]))
    assert_close(found()[1], before[1])
    assert found().exp()[0, 1] > before.exp()[0, 1]


@pytest.mark.parametrize("law", LAWS)
def test_states_are_fitted_side_by_side(law: str) -> None:
    counts = torch.rand(3, 8, generator=torch.Generator().manual_seed(1)).double()
    together = made(law, 3, 8)
    together.update(counts)
    for state in range(3):
        alone = made(law, 1, 8)
        alone.update(counts[state : state + 1])
        assert_close(alone()[0], together()[state], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("law", LAWS)
def test_one_step_is_the_only_length_there_is(law: str) -> None:
    found = made(law, 2, 1)
    found.update(torch.ones(2, 1))
    assert found().tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("law", LAWS)
def test_em_of_a_model_with_it_climbs_and_keeps_to_its_range(law: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.where(torch.arange(60) // 6 % 2 == 0, -1.0, 1.0).double() + torch.randn(
        3, 60, generator=generator, dtype=torch.float64
    )
    model = HSMM(2, Gaussian(2, 1), made(law, 2, 12, 3), censored="both").double()
    fit = model.fit(x.unsqueeze(-1), iterations=5, generator=generator)
    assert all(b >= a - 1e-9 * abs(a) for a, b in zip(fit.history, fit.history[1:], strict=False))
    assert fit.objective > fit.history[0]
    model.censored = "none"
    run = torch.unique_consecutive(model.sample(60, generator=generator).states, return_counts=True)[1]
    assert run.min() >= 3


@pytest.mark.parametrize("law", FORMULAS)
def test_a_network_trains_the_law_by_gradient(law: str) -> None:
    model = HSMM(2, Gaussian(2, 1), made(law, 2, 8)).double()
    x = torch.randn(2, 20, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fit = model.fit(x, method="gradient", iterations=5, generator=torch.Generator().manual_seed(0))
    assert fit.objective > fit.history[0]


@pytest.mark.parametrize("law", LAWS)
def test_a_law_is_made_again_from_its_config(law: str) -> None:
    found = made(law, 2, 9, 2)
    found.update(torch.rand(2, 9).double())
    again = type(found)(**json.loads(json.dumps(found.config))).double()
    again.load_state_dict(found.state_dict())
    assert torch.equal(again(), found())
    assert again.config == found.config


@pytest.mark.parametrize("law", LAWS)
def test_a_range_without_lengths_is_refused(law: str) -> None:
    for least in (0, 6):
        with pytest.raises(ShapeError, match=rf"{law}: .* 1 <= min_duration <= max_duration, got {least} and 5\."):
            getattr(durations, law)(2, 5, min_duration=least)


def test_a_gradient_step_out_of_the_bounds_is_taken_back() -> None:
    law = durations.Gaussian(1, 10).double()
    law.log_scale.data.fill_(100.0)
    law.project()
    assert law.log_scale.exp().item() == pytest.approx(1000.0)


def test_a_negative_binomial_of_many_geometric_states_is_a_poisson_law() -> None:
    counts = durations.Poisson(1, 30).double()().exp().detach() ** 1.5  # varies less than a Poisson law
    poisson, found = durations.Poisson(1, 30).double(), durations.NegativeBinomial(1, 30).double()
    poisson.update(counts)
    found.update(counts)
    assert_close(found(), poisson(), atol=1e-4, rtol=1e-4)


def test_a_categorical_law_is_what_was_counted() -> None:
    law = durations.Categorical(1, 3, pseudo_count=1.0)
    law.update(torch.tensor([[3.0, 1.0, 0.0]]))
    assert_close(law().exp(), torch.tensor([[4.0, 2.0, 1.0]]) / 7)
    assert_close(law.log_prior(), law().sum())


RUNS = torch.tensor([0, 1, 0, 1, 0, 1, 0]).repeat_interleave(torch.tensor([3, 1, 6, 2, 4, 1, 3]))


def of_runs(law: durations.Uniform, frozen: list[str], method: Any = "em") -> tuple[Fit, float]:
    """A fit of the law to runs of two symbols, each of which is one state's but for one step in 8,000."""
    model = HSMM(2, emissions.Categorical(2, 2), law, censored="none").double()
    init = {"emission.table.logits": torch.tensor([[0.0, -9.0], [-9.0, 0.0]])}
    return model.fit(RUNS, method=method, iterations=500, init=init, frozen=["emission", *frozen]), model.score(RUNS)


@pytest.mark.parametrize("method", ["em", "viterbi", "gradient"])
def test_a_uniform_law_finds_its_ends_by_any_method(method: Any) -> None:
    law = durations.Uniform(2, 8)
    fit, score = of_runs(law, [], method)
    assert (law.shortest.tolist(), law.longest.tolist()) == ([3, 1], [6, 2])
    assert fit.converged and all(b >= a - 1e-9 for a, b in itertools.pairwise(fit.history))
    assert fit.objective == pytest.approx(score, abs=0.01)


def test_ends_of_a_uniform_law_that_are_frozen_or_given_stay() -> None:
    law = durations.Uniform(2, 8, ranges=[(1, 7), (1, 8)])
    of_runs(law, ["duration.longest"])
    assert (law.shortest.tolist(), law.longest.tolist()) == ([3, 1], [7, 8])
    law = durations.Uniform(2, 8, ranges=[(4, 8), (1, 8)])
    of_runs(law, [])
    assert law.shortest.tolist() == [4, 1]  # although segments of 3 would explain more


def test_a_range_that_is_too_narrow_grows_where_the_data_say_so() -> None:
    law = durations.Uniform(1, 8)
    law.shortest.data.fill_(3.0)
    law.longest.data.fill_(4.0)
    gains = lambda: float(-(law.shortest - 2).abs() - (law.longest - 7).abs())  # noqa: E731
    assert law.search(gains, 0.0)
    assert (law.shortest.tolist(), law.longest.tolist()) == ([2], [7])
    assert not law.search(gains, 0.0)


def test_a_uniform_law_is_the_narrowest_range_around_what_was_counted() -> None:
    law = durations.Uniform(2, 5, ranges=[(1, 5), (2, 4)])
    law.update(torch.tensor([[0.0, 0.5, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]]))
    assert_close(law().exp(), torch.tensor([[0.0, 1.0, 1.0, 1.0, 0.0]]).expand(2, 5) / 3)
    law.initialise()
    assert law.shortest.tolist() == [1, 2]
    assert law.longest.tolist() == [5, 4]
    for ranges in ([(1, 5)], [(1, 5), (0, 4)], [(1, 5), (4, 3)], [(1, 6), (2, 3)]):
        with pytest.raises(ShapeError, match="Uniform: ranges must be 2 pairs"):
            durations.Uniform(2, 5, ranges=ranges)
