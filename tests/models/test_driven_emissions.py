"""Emissions that see inputs or the past, and those of low rank: densities, EM steps, missing values, recovery."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.testing import assert_close

import semihmm
from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.inference import expected_counts
from semihmm.models import HMM, HSMM, durations, emissions
from semihmm.models.climbing import ascend, newton


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator(seed))


def network(inputs: int, outputs: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return nn.Sequential(nn.Linear(inputs, 6), nn.Tanh(), nn.Linear(6, outputs)).double()


class Scores(nn.Module):
    """Log-densities of two Gaussians of variance 1, whatever the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.tensor([[-0.5, 0.0], [0.5, 0.0]]))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = -(x.unsqueeze(-2) - self.means).square().sum(-1) / 2 - np.log(2 * np.pi)
        return scores


@dataclass(frozen=True)
class Family:
    """One emission of two states.

    Attributes:
        make: from nothing.
        truth: parameters of states that are told apart.
        inputs: how many, and whether they must be positive.
        partial: whether single features may be missing.
        sums: whether it has statistics.
        tied: whether what it knows of a state is only in parameters with the states first.
    """

    make: Callable[[], Any]
    truth: dict[str, Any] = field(default_factory=dict)
    inputs: int = 0
    partial: bool = True
    sums: bool = True
    apart: bool = True


SLOPES = [[[2.0, 0.0, 1.0], [0.0, -1.0, 0.0]], [[-2.0, 1.0, 0.0], [1.0, 1.0, 2.0]]]
LAGS = [
    [[0.8, 0.0, -0.2, 0.0, 0.5], [0.3, 0.5, 0.0, 0.0, 0.0]],
    [[-0.7, 0.0, 0.0, 0.1, 0.0], [0.0, -0.6, 0.0, 0.0, 3.0]],
]
FACTOR = [[[0.0, 0.0], [1.0, -0.5]], [[-1.0, 0.0], [-0.8, 0.0]]]
FAMILIES = {
    "factors": Family(
        lambda: emissions.FactorAnalysis(2, 5, 2),
        {
            "mean": [[0.0] * 5, [2.0, -2.0, 1.0, 0.0, 0.0]],
            "loading": [
                [[2.0, 0.0], [1.0, 1.0], [0.0, 1.5], [1.0, 0.0], [-1.0, 0.5]],
                [[0.5, 0.0], [0.0, 2.0], [1.0, -1.0], [0.0, 0.5], [1.5, 0.0]],
            ],
            "log_variance": [[-1.0] * 5, [-0.5, 0.0, -1.0, -1.0, -0.5]],
        },
    ),
    "linear": Family(
        lambda: emissions.LinearRegression(2, 2, 2),
        {"coefficients": SLOPES, "log_variance": [[0.0, -1.0], [-1.0, 0.0]]},
        inputs=2,
    ),
    "linear-full": Family(
        lambda: emissions.LinearRegression(2, 2, 2, covariance="full"),
        {"coefficients": SLOPES, "factor": FACTOR},
        inputs=2,
    ),
    "ridge": Family(
        lambda: emissions.LinearRegression(2, 2, 3, covariance="full", intercept=False, ridge=2.0),
        {"coefficients": SLOPES, "factor": FACTOR},
        inputs=3,
    ),
    "autoregressive": Family(
        lambda: emissions.Autoregressive(2, 2, 2),
        {"coefficients": LAGS, "log_variance": [[0.0, -1.0], [-1.0, 0.0]]},
    ),
    "autoregressive-full": Family(
        lambda: emissions.Autoregressive(2, 2, 1, inputs=2, covariance="full", ridge=0.5),
        {"coefficients": LAGS, "factor": FACTOR},
        inputs=2,
    ),
    "bernoulli": Family(
        lambda: emissions.GLM(2, 4, 2, "bernoulli"),
        {
            "coefficients": [
                [[3.0, 0.0, 1.0], [0.0, 3.0, 0.0], [0.0, 0.0, -2.0], [0.0, 0.0, 2.0]],
                [[-3.0, 0.0, 0.0], [0.0, -3.0, 1.0], [1.0, 0.0, 2.0], [0.0, 0.0, -2.0]],
            ]
        },
        inputs=2,
        sums=False,
    ),
    "poisson": Family(
        lambda: emissions.GLM(2, 2, 2, "poisson"),
        {"coefficients": [[[0.5, 0.0, 1.0], [0.0, -0.5, 2.0]], [[-0.5, 0.0, 2.0], [0.0, 0.2, 0.5]]]},
        inputs=2,
        sums=False,
    ),
    "gamma": Family(
        lambda: emissions.GLM(2, 2, 2, "gamma"),
        {
            "coefficients": [[[1.0, 0.0, 0.0], [0.0, -0.5, 1.0]], [[-1.0, 0.0, 1.0], [0.0, 0.2, 0.5]]],
            "log_shape": [[1.0, 1.5], [2.0, 0.5]],
        },
        inputs=2,
        sums=False,
    ),
    "symbols": Family(
        lambda: emissions.LogisticRegression(2, 4, 2),
        {
            "coefficients": [
                [[2.0, 0.0, 2.0], [0.0, 2.0, 2.0], [0.0, 0.0, 0.0], [0.0, 0.0, -2.0]],
                [[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 2.0, 2.0], [-2.0, 1.0, 2.0]],
            ]
        },
        inputs=2,
        sums=False,
    ),
    "noisy": Family(
        lambda: emissions.NoisyGaussian(2, 2),
        {"mean": [[0.0, 1.0], [3.0, -2.0]], "log_variance": [[0.0, 1.0], [-1.0, 0.0]]},
        inputs=2,
    ),
    "network": Family(
        lambda: emissions.Conditional(network(2, 8), emissions.Laplace(2, 2), 2, steps=5),
        {"family.location": [[0.0, 1.0], [5.0, -4.0]], "family.log_scale": [[0.0, -1.0], [-1.0, 0.0]]},
        inputs=2,
        partial=False,
        sums=False,
        apart=False,
    ),
}
DRIVEN = [name for name, family in FAMILIES.items() if family.inputs]


@pytest.fixture(params=FAMILIES)
def name(request: pytest.FixtureRequest) -> Any:
    return request.param


def true(name: str) -> Any:
    """The emission with its true parameters."""
    emission = FAMILIES[name].make().double()
    with torch.no_grad():
        for key, value in FAMILIES[name].truth.items():
            emission.get_parameter(key).copy_(torch.tensor(value))
    return emission


def inputs_of(name: str, *shape: int, seed: int = 0) -> Tensor | None:
    size = FAMILIES[name].inputs
    if not size:
        return None
    inputs = normal(*shape, size, seed=seed)
    return inputs.square() if name == "noisy" else inputs


def draw(emission: Any, name: str, states: Tensor, seed: int = 0) -> tuple[Tensor, Tensor | None]:
    inputs = inputs_of(name, *states.shape, seed=100 + seed)
    given = {} if inputs is None else {"inputs": inputs}
    return emission.sample(states, generator(seed), **given), inputs


def seen_by(emission: Any, name: str, steps: int = 40, holes: bool = True, seed: int = 0) -> Tensor:
    """What the emission looks at: draws of it, with values that are missing."""
    states = torch.randint(2, (steps,), generator=generator(seed))
    x, inputs = draw(true(name), name, states, seed)
    if holes:
        chance = torch.rand(x.shape if FAMILIES[name].partial else steps, generator=generator(seed + 1))
        gone = (chance < 0.25).reshape(*chance.shape, *[1] * (x.ndim - chance.ndim)).expand_as(x)
        x = torch.where(gone, torch.nan if x.is_floating_point() else -1, x)
        if inputs is not None:
            inputs[5] = torch.nan
    found: Tensor = emission.observed(x, inputs)
    return found


def posterior(steps: int, states: int = 2, seed: int = 3) -> Tensor:
    return normal(steps, states, seed=seed).mul(2).softmax(-1)


def shaken(emission: Any, size: float = 0.2, seed: int = 0) -> Any:
    other = copy.deepcopy(emission)
    with torch.no_grad():
        for number, parameter in enumerate(other.parameters()):
            parameter.add_(size * normal(*parameter.shape, seed=1000 * seed + number))
    return other


def objective(emission: Any, x: Tensor, weights: Tensor) -> float:
    with torch.no_grad():
        return float((weights * emission(x)).sum() + emission.log_prior())


# Densities


def reference(name: str, emission: Any, x: np.ndarray, state: int) -> float:
    """The log-density of one step ``(columns,)`` that scipy gives."""
    p = {key: value.detach().numpy() for key, value in emission.named_parameters()}
    features = {"factors": 5, "bernoulli": 4, "symbols": 1}.get(name, 2)
    y, u = x[:features], x[features:]
    if np.isnan(u).any():
        return 0.0
    there = ~np.isnan(y)
    if not there.any():
        return 0.0
    design = u if name == "ridge" else np.append(u, 1.0)
    if name == "noisy":
        deviation = np.sqrt(np.exp(p["log_variance"][state]) + u)
        return float(stats.norm.logpdf(y, p["mean"][state], deviation)[there].sum())
    if name == "network":
        moved = emission.net(torch.from_numpy(u)).detach().numpy().reshape(2, 2, 2)
        location, scale = p["family.location"] + moved[0], np.exp(p["family.log_scale"] + moved[1])
        return float(stats.laplace.logpdf(y, location[state], scale[state]).sum())
    if name == "symbols":
        linear = p["coefficients"][state] @ design
        return float(linear[int(y[0])] - np.log(np.exp(linear).sum()))
    if name in ("bernoulli", "poisson", "gamma"):
        linear = p["coefficients"][state] @ design
        if name == "bernoulli":
            each = stats.bernoulli.logpmf(np.nan_to_num(y), 1 / (1 + np.exp(-linear)))
        elif name == "poisson":
            each = stats.poisson.logpmf(np.nan_to_num(y), np.exp(linear))
        else:
            shape = np.exp(p["log_shape"][state])
            each = stats.gamma.logpdf(np.nan_to_num(y, nan=1.0), shape, scale=np.exp(linear) / shape)
        return float(each[there].sum())
    covariance = emission.covariance()[state].detach().numpy()
    middle = p["mean"][state] if name == "factors" else p["coefficients"][state] @ design
    return float(stats.multivariate_normal.logpdf(y[there], middle[there], covariance[there][:, there]))


def test_densities_are_those_of_scipy_and_what_is_missing_is_marginalised(name: str) -> None:
    emission = shaken(true(name))
    x = seen_by(emission, name)
    assert x.isnan().any() and not x.isnan().all(-1).all()
    expected = [[reference(name, emission, step, state) for state in range(2)] for step in x.numpy()]
    assert_close(emission(x).detach(), torch.tensor(expected, dtype=torch.float64))
    assert_close(emission(x.reshape(2, 4, 5, -1)), emission(x).reshape(2, 4, 5, 2))


def test_gradients_are_right_and_never_nan(name: str) -> None:
    emission = true(name)
    x = seen_by(emission, name, steps=7)
    names = [key for key, _ in emission.named_parameters()]
    if name not in ("bernoulli", "poisson", "gamma", "symbols"):
        x = x.requires_grad_()

    def density(x: Tensor, *parameters: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(emission, dict(zip(names, parameters, strict=True)), (x,))
        return found

    gone = x.detach().isnan()
    whole = torch.where(gone, 0.5 if name == "network" else 0.0, x.detach())

    def where_there(*values: Tensor) -> Tensor:
        return density(torch.where(gone, torch.nan, values[0]), *values[1:])

    if x.requires_grad:
        assert torch.autograd.gradcheck(where_there, (whole.requires_grad_(), *emission.parameters()))
    else:
        assert torch.autograd.gradcheck(lambda *p: density(x, *p), tuple(emission.parameters()))
    emission(x).sum().backward()
    gradients = [p.grad for p in emission.parameters()] + ([x.grad] if x.requires_grad else [])
    assert all(g is not None and g.isfinite().all() for g in gradients)


def test_float32_in_float32_out(name: str) -> None:
    emission = true(name).float()
    x = seen_by(true(name), name).float()
    assert emission(x).dtype == torch.float32
    assert_close(emission(x).double(), true(name)(x.double()), rtol=1e-4, atol=1e-4)
    emission.update(x, posterior(len(x)).float())
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in emission.parameters())


# EM steps


def test_the_em_step_never_lowers_what_it_climbs(name: str) -> None:
    emission = true(name)
    x, weights = seen_by(emission, name, steps=60), posterior(60)
    emission.initialise(x, generator(1))
    before = objective(emission, x, weights)
    for _ in range(8):
        emission.update(x, weights)
        after = objective(emission, x, weights)
        assert after >= before - 1e-9 * abs(before)
        before = after
    assert all(p.grad is None for p in emission.parameters())


@pytest.mark.parametrize("name", [n for n in FAMILIES if n not in ("factors", "noisy", "network")])
def test_no_parameters_are_better_than_the_em_step(name: str) -> None:
    emission = true(name)
    x, weights = seen_by(emission, name, steps=60, holes=False), posterior(60)
    for _ in range(1 if name != "gamma" else 30):
        emission.update(x, weights)
    best = objective(emission, x, weights)
    for seed in range(20):
        for size in (1e-3, 0.1):
            assert objective(shaken(emission, size, seed), x, weights) < best


@pytest.mark.parametrize("name", ["linear", "linear-full", "autoregressive"])
def test_the_em_step_of_a_regression_is_weighted_least_squares(name: str) -> None:
    emission = true(name)
    x, weights = seen_by(emission, name, steps=60, holes=False), posterior(60)
    emission.update(x, weights)
    x, weights = x[2:], weights[2:]  # the past of the first two is not there
    y, design = x[:, :2].numpy(), np.column_stack([x[:, 2:].numpy(), np.ones(len(x))])
    for state in range(2):
        share = weights[:, state].numpy()
        if name != "autoregressive":
            share = np.concatenate([posterior(60)[:2, state].numpy(), share])
            full = seen_by(emission, name, steps=60, holes=False).numpy()
            y, design = full[:, :2], np.column_stack([full[:, 2:], np.ones(60)])
        root = np.sqrt(share)[:, None]
        expected = np.linalg.lstsq(root * design, root * y, rcond=None)[0]
        away = y - design @ expected
        covariance = (share[:, None] * away).T @ away / share.sum()
        assert_close(emission.coefficients[state].detach().numpy(), expected.T)
        found = emission.covariance()[state].detach().numpy()
        assert_close(found, covariance if name == "linear-full" else np.diag(covariance.diagonal()))


def test_a_value_that_is_missing_does_not_take_the_others_with_it() -> None:
    emission = emissions.LinearRegression(1, 2, 1).double()
    u, y = normal(30, 1), normal(30, 2, seed=1)
    whole = copy.deepcopy(emission)
    whole.update(whole.observed(y, u), torch.ones(30, 1))
    y[3:9, 1] = torch.nan
    emission.update(emission.observed(y, u), torch.ones(30, 1))
    assert_close(emission.coefficients[0, 0], whole.coefficients[0, 0])
    fewer = emissions.LinearRegression(1, 1, 1).double()
    there = ~y[:, 1].isnan()
    fewer.update(fewer.observed(y[there, 1:], u[there]), torch.ones(int(there.sum()), 1))
    assert_close(emission.coefficients[0, 1], fewer.coefficients[0, 0])


def test_ridge_is_that_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    u, y, share = normal(40, 3), normal(40, 2, seed=1), posterior(40, 1, seed=2) * torch.rand(40, 1).double()
    emission = emissions.LinearRegression(1, 2, 3, ridge=4.0).double()
    emission.initialise(emission.observed(y, u), generator())
    emission.update(emission.observed(y, u), share)
    expected = linear_model.Ridge(alpha=4.0).fit(u.numpy(), y.numpy(), sample_weight=share[:, 0].numpy())
    assert_close(emission.describe()["coefficients"][0].numpy(), expected.coef_)
    assert_close(emission.describe()["intercept"][0].numpy(), expected.intercept_)


@pytest.mark.parametrize("family", ["bernoulli", "poisson", "gamma", "symbols"])
def test_the_coefficients_are_those_of_scikit_learn(family: str) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    ridge, share = 0.7, posterior(80)[:, :1]
    u, total = normal(80, 2), float(share.sum())
    weights = {"sample_weight": share[:, 0].numpy()}
    emission: Any
    if family == "symbols":
        emission = emissions.LogisticRegression(1, 3, 2, intercept=False, ridge=ridge).double()
        y = torch.randint(3, (80,), generator=generator())
    else:
        emission = emissions.GLM(1, 1, 2, family, intercept=False, ridge=ridge).double()  # type: ignore[arg-type]
        y = emission.sample(torch.zeros(80, dtype=torch.int64), generator(), u)
    emission.update(emission.observed(y, u), share)
    kind = {
        "bernoulli": lambda: linear_model.LogisticRegression(C=1 / ridge, fit_intercept=False, tol=1e-10),
        "symbols": lambda: linear_model.LogisticRegression(C=1 / ridge, fit_intercept=False, tol=1e-10),
        "poisson": lambda: linear_model.PoissonRegressor(alpha=ridge / total, fit_intercept=False, tol=1e-10),
        "gamma": lambda: linear_model.GammaRegressor(alpha=ridge / total, fit_intercept=False, tol=1e-10),
    }[family]()
    expected = kind.fit(u.numpy(), y.flatten().numpy(), **weights).coef_.reshape(-1, 2)
    assert_close(emission.coefficients[0].detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_factor_analysis_reaches_the_likelihood_of_scikit_learn() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    x = true("factors").sample(torch.zeros(500, dtype=torch.int64), generator())
    emission = emissions.FactorAnalysis(1, 5, 2).double()
    emission.initialise(x, generator())
    for _ in range(400):
        emission.update(x, torch.ones(500, 1))
    expected = decomposition.FactorAnalysis(2, tol=1e-10, max_iter=5000, svd_method="lapack").fit(x.numpy())
    assert_close(float(emission(x).detach().mean()), float(expected.score(x.numpy())), rtol=0, atol=1e-6)
    assert_close(emission.covariance()[0].detach().numpy(), expected.get_covariance(), rtol=0, atol=2e-2)


def test_without_noise_a_noisy_gaussian_is_a_gaussian() -> None:
    emission = emissions.NoisyGaussian(2, 2).double()
    x, weights = normal(30, 2), posterior(30)
    seen = emission.observed(x)
    emission.initialise(seen, generator())
    emission.update(seen, weights)
    mean = weights.T @ x / weights.sum(0)[:, None]
    assert_close(emission.mean.detach(), mean)
    assert_close(emission.log_variance.exp().detach(), weights.T @ x.square() / weights.sum(0)[:, None] - mean**2)


@pytest.mark.parametrize("name", [n for n, f in FAMILIES.items() if f.sums])
def test_statistics_add_up_and_may_be_scaled(name: str) -> None:
    emission = true(name)
    x, weights = seen_by(emission, name, steps=60), posterior(60)
    emission.initialise(x, generator())
    whole = emission.statistics(x, weights)
    first, second = emission.statistics(x[:25], weights[:25]), emission.statistics(x[25:], weights[25:])
    for key in whole:
        assert_close(first[key] + second[key], whole[key])
    scaled = copy.deepcopy(emission)
    emission.maximise(whole)
    scaled.maximise({key: 1e-13 * value for key, value in whole.items()})
    if name not in ("ridge", "autoregressive-full"):  # whose prior does not scale with them
        assert_close(dict(scaled.named_parameters()), dict(emission.named_parameters()))


@pytest.mark.parametrize("name", [n for n, f in FAMILIES.items() if not f.sums])
def test_what_has_no_sums_says_so(name: str) -> None:
    with pytest.raises(StructureError, match="takes all observations at once"):
        true(name).statistics(torch.zeros(1, 3), torch.ones(1, 2))


def test_frozen_parameters_stay(name: str) -> None:
    x, weights = seen_by(true(name), name, steps=60), posterior(60)
    for key, _ in true(name).named_parameters():
        if key.startswith("family"):  # what is frozen, no network moves
            continue
        emission = true(name)
        frozen = emission.get_parameter(key).requires_grad_(False)
        before = frozen.clone()
        rest = {n: p.clone() for n, p in emission.named_parameters() if n != key}
        emission.initialise(x, generator())
        value = objective(emission, x, weights)
        for _ in range(3):
            emission.update(x, weights)
            after = objective(emission, x, weights)
            assert after >= value - 1e-9 * abs(value)
            value = after
        emission.project()
        assert torch.equal(frozen, before)
        assert not rest or any(not torch.equal(emission.get_parameter(n), value) for n, value in rest.items())


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "network"])
def test_a_state_that_saw_nothing_stays_as_it_is(name: str) -> None:
    emission = true(name)
    before = [p[1].clone() for p in emission.parameters()]
    emission.update(seen_by(emission, name), torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(40, -1))
    for parameter, value in zip(emission.parameters(), before, strict=True):
        assert parameter.isfinite().all()
        assert_close(parameter[1].detach(), value)


@pytest.mark.parametrize("name", ["factors", "linear", "linear-full", "autoregressive", "noisy"])
def test_variances_keep_to_the_floor(name: str) -> None:
    emission = true(name)
    x = seen_by(emission, name, holes=False)
    emission.initialise(x, generator())
    where = 0 if name != "autoregressive" else slice(2, 3)
    same = x[where].expand(40, -1).clone()
    if name == "noisy":
        same[:, 2:] = 0.0
    for _ in range(3):
        emission.update(same, posterior(40))
    floor = emission.floor.expand(2)[:2] if name == "linear-full" else emission.floor
    if name == "linear-full":
        assert_close(torch.linalg.eigvalsh(emission.covariance()[0]).detach(), floor)
    else:
        assert_close(emission.log_variance.exp().detach(), floor.expand_as(emission.log_variance))
    with torch.no_grad():
        for key, parameter in emission.named_parameters():
            if key in ("log_variance", "factor"):
                parameter.fill_(-40.0)
    emission.project()
    assert emission(x).isfinite().all()


def test_a_distant_origin_costs_no_precision() -> None:
    x, weights = seen_by(true("linear"), "linear", holes=False), posterior(40)
    near, far = true("linear"), true("linear")
    away = x.clone()
    away[:, 0] += 1.6e9
    away[:, 2] += 1e6
    for emission, data in ((near, x), (far, away)):
        emission.initialise(data, generator())
        emission.update(data, weights)
    assert_close(far.log_variance, near.log_variance, rtol=1e-5, atol=1e-5)
    assert_close(far.coefficients[..., :2], near.coefficients[..., :2], rtol=1e-5, atol=1e-5)


def test_states_side_by_side_are_one_emission(name: str) -> None:
    if not FAMILIES[name].apart:
        assert not FAMILIES[name].make().apart
        return
    one, other = true(name), shaken(true(name), seed=5)
    both = type(one)(**{**one.config, "states": 4}).double()
    x, weights = seen_by(one, name), posterior(40, 4)
    assert both.apart
    with torch.no_grad():
        for key, parameter in both.named_parameters():
            parameter.copy_(torch.cat([one.get_parameter(key), other.get_parameter(key)]))
    assert_close(both(x), torch.cat([one(x), other(x)], -1))
    for emission, share in ((both, weights), (one, weights[:, :2]), (other, weights[:, 2:])):
        emission.update(x, share)
    for key, parameter in both.named_parameters():
        assert_close(parameter, torch.cat([one.get_parameter(key), other.get_parameter(key)]))


def test_a_linear_network_that_moves_means_is_a_linear_regression() -> None:
    regression = true("linear")
    family = emissions.Gaussian(2, 2).double()
    family.log_variance.requires_grad_(False).copy_(regression.log_variance.detach())
    net = nn.Linear(2, 4).double()
    with torch.no_grad():
        family.mean.zero_()
        net.weight.copy_(regression.coefficients[..., :2].flatten(0, 1))
        net.bias.copy_(regression.coefficients[..., 2].flatten())
    x = seen_by(regression, "linear", holes=False)
    x[3] = torch.nan
    emission = emissions.Conditional(net, family, 2)
    assert_close(emission(x), regression(x))
    described = regression.describe()
    assert_close(emission.describe(), {"mean": described["intercept"], "variance": described["variance"]})
    x[5, 1], x[6, :2] = torch.nan, torch.nan
    posterior = torch.rand(len(x), 2, dtype=torch.float64, generator=generator())
    assert_close(emission.fill(x, posterior), regression.fill(x, posterior), equal_nan=True)


def test_a_linear_network_that_moves_logits_is_a_logistic_regression() -> None:
    regression = true("symbols")
    family = emissions.Categorical(2, 4).double()
    net = nn.Linear(2, 8).double()
    with torch.no_grad():
        family.table.logits.zero_()
        net.weight.copy_(regression.coefficients[..., :2].flatten(0, 1))
        net.bias.copy_(regression.coefficients[..., 2].flatten())
    emission = emissions.Conditional(net, family, 2)
    u, symbols = normal(4000, 2), torch.full((4000,), -1)
    x = emission.observed(symbols, u)
    described = regression.describe()["intercept"].softmax(-1)
    assert_close(emission.describe(), {"probability": described})
    with pytest.raises(StructureError, match="Categorical: has no expected observation"):
        emission.fill(x, torch.ones(4000, 2).double())
    drawn = emission.complete(x, torch.ones(4000, dtype=torch.int64), generator())
    assert drawn.dtype == torch.int64 and drawn.min() == 0
    log_prob = emission(emission.observed(drawn, u))
    assert_close(log_prob, regression(regression.observed(drawn, u)))
    assert_close(emission(x), torch.zeros(4000, 2, dtype=torch.float64))
    share = drawn.bincount(minlength=4) / 4000
    expected = torch.stack([regression(regression.observed(torch.full((4000,), v), u))[:, 1] for v in range(4)])
    assert ((share - expected.exp().mean(1)).abs() < 5 * 0.5 / 4000**0.5).all()


# In models


def chain(kind: str, emission: Any) -> Any:
    """A model that stays in each of two states for about ten steps."""
    model: Any
    if kind == "hmm":
        model = HMM(2, emission)
        stay = torch.tensor([[0.9, 0.1], [0.1, 0.9]])
        model.transition.update(stay)
    else:
        model = HSMM(2, emission, durations.Poisson(2, 30), censored="right")
        model.duration.log_rate.data.fill_(np.log(9.0))
    model.initial.update(torch.tensor([0.5, 0.5]))
    return model.double()


def simulated(kind: str, name: str, batch: int, steps: int, seed: int) -> tuple[Any, Tensor, Tensor]:
    """A true model, states drawn from it, and what the emission looks at."""
    truth = chain(kind, true(name))
    silent = truth.structure(torch.zeros(steps, 2, dtype=torch.float64))
    states = semihmm.sample(silent, (batch,), generator=generator(seed)).states
    x, inputs = draw(truth.emission, name, states, seed)
    return truth, states, truth.emission.observed(x, inputs)


def climb(model: Any, x: Tensor, iterations: int, gone: Tensor | None = None) -> list[float]:
    """EM as `fit` does it, on what the emission looks at."""
    history = []
    for _ in range(iterations):
        with torch.no_grad():
            value, counts = expected_counts(model.structure(model.emission(x)))
            history.append(float(value.sum() + model.log_prior()))
            for key, law in model.laws.items():
                law.update(counts[key])
        model.emission.update(x.flatten(0, -2), counts["emission"].flatten(0, -2))
    return history


@pytest.mark.parametrize("kind", ["hmm", "hsmm"])
def test_a_model_is_recovered_from_its_draws(kind: str, name: str) -> None:
    truth, states, x = simulated(kind, name, 10, 200, seed=4)
    found = []
    for seed in range(2):
        model = chain(kind, FAMILIES[name].make().double())
        model.emission.initialise(x.flatten(0, -2), generator(seed))
        history = climb(model, x, 20)
        assert all(b >= a - 1e-7 * abs(a) for a, b in pairwise(history))
        found.append((history[-1], model))
    model = max(found, key=lambda one: one[0])[1]
    with torch.no_grad():
        right = [semihmm.viterbi(m.structure(m.emission(x))).states for m in (truth, model)]
        order = max(permutations(range(2)), key=lambda o: float((torch.tensor(o)[right[1]] == states).double().mean()))
        accuracy = [float((r == states).double().mean()) for r in (right[0], torch.tensor(order)[right[1]])]
        assert accuracy[0] > 0.85 and accuracy[1] > accuracy[0] - 0.02
        _, fresh, y = simulated(kind, name, 10, 200, seed=5)
        own = fresh.unsqueeze(-1)
        place = torch.tensor(order).argsort()[own]
        divergence = (truth.emission(y).gather(-1, own) - model.emission(y).gather(-1, place)).mean()
    assert abs(float(divergence)) < 0.03  # nats a step; about parameters / 2 N in expectation


@pytest.mark.parametrize("name", ["linear-full", "factors", "noisy", "bernoulli", "symbols"])
def test_recovery_with_a_third_of_the_values_missing(name: str) -> None:
    _, states, x = simulated("hmm", name, 20, 200, seed=6)
    features = x.shape[-1] - FAMILIES[name].inputs
    gone = torch.rand(*x.shape[:-1], features, generator=generator(7)) < 0.3
    y = torch.cat([torch.where(gone, torch.nan, x[..., :features]), x[..., features:]], -1)
    model = chain("hmm", true(name))
    with torch.no_grad():
        before = semihmm.log_partition(model.structure(model.emission(y))).sum()
        truth = true(name)(x)
    history = climb(model, y, 30)
    assert history[-1] > float(before)
    with torch.no_grad():
        own = states.unsqueeze(-1)
        divergence = (truth.gather(-1, own) - model.emission(x).gather(-1, own)).mean()
    assert abs(float(divergence)) < 0.02


@pytest.mark.parametrize("kind", ["hmm", "hsmm"])
def test_a_network_of_log_densities_trains_by_em(kind: str) -> None:
    net = Scores().double()
    model = chain(kind, emissions.Neural(net, (2,), density=True))
    assert model.emission.trains_by_em
    x = torch.cat([normal(20, 2) - 3, normal(20, 2, seed=1) + 3]).expand(3, -1, -1)
    history = climb(model, x, 5)
    assert all(b >= a - 1e-9 * abs(a) for a, b in pairwise(history))
    assert_close(net.means.detach(), torch.stack([x[0, :20].mean(0), x[0, 20:].mean(0)]), rtol=1e-3, atol=1e-3)


def test_a_network_of_scores_is_not_trained_by_em() -> None:
    emission = emissions.Neural(nn.Linear(2, 3))
    assert not emission.trains_by_em
    with pytest.raises(StructureError, match=r"Neural\(net, density=True\)"):
        emission.update(torch.zeros(1, 2), torch.ones(1, 3))


# Against statsmodels


def switching(emission: Any) -> Any:
    """A stationary chain, as statsmodels' are."""
    model = HMM(2, emission).double()
    transition = torch.tensor([[0.9, 0.1], [0.25, 0.75]], dtype=torch.float64)
    model.transition.update(transition)
    model.initial.update(torch.tensor([0.25, 0.1]))
    return model


def test_the_likelihood_is_that_of_statsmodels() -> None:
    peer = pytest.importorskip("statsmodels.tsa.regime_switching.markov_regression")

    y = np.cumsum(normal(60).numpy()) / 5
    lags = np.column_stack([y[1:-1], y[:-2]])
    theirs = peer.MarkovRegression(y[2:], k_regimes=2, exog=lags, switching_variance=True)
    model = switching(emissions.Autoregressive(2, 1, 2))
    coefficients = torch.tensor([[[0.5, 0.1, 0.2]], [[-0.3, 0.2, -0.1]]], dtype=torch.float64)
    variance = torch.tensor([[0.3], [0.6]], dtype=torch.float64)
    with torch.no_grad():
        model.emission.coefficients.copy_(coefficients)
        model.emission.log_variance.copy_(variance.log())
        x = model.emission.observed(torch.from_numpy(y).unsqueeze(-1))
        found = semihmm.log_partition(model.structure(model.emission(x[2:])))
        # The first steps say nothing, and the chain is stationary.
        assert_close(semihmm.log_partition(model.structure(model.emission(x))), found)
    c = coefficients[:, 0].numpy()
    parameters = [0.9, 0.25, c[0, 2], c[1, 2], c[0, 0], c[1, 0], c[0, 1], c[1, 1], 0.3, 0.6]
    assert_close(float(found), float(theirs.loglike(np.array(parameters))))


@pytest.mark.parametrize("order", [1, 2])
def test_without_a_constant_the_likelihood_is_that_of_a_markov_autoregression(order: int) -> None:
    """With one variance at order 2, where statsmodels 0.15 takes that of the state before."""
    peer = pytest.importorskip("statsmodels.tsa.regime_switching.markov_autoregression")

    y = np.cumsum(normal(60).numpy()) / 5
    theirs = peer.MarkovAutoregression(
        y, k_regimes=2, order=order, trend="n", switching_ar=True, switching_variance=order == 1
    )
    model = switching(emissions.Autoregressive(2, 1, order, intercept=False))
    coefficients = torch.tensor([[[0.5, 0.1]], [[-0.3, 0.2]]], dtype=torch.float64)[..., :order]
    variance = torch.tensor([[0.3], [0.6 if order == 1 else 0.3]], dtype=torch.float64)
    with torch.no_grad():
        model.emission.coefficients.copy_(coefficients)
        model.emission.log_variance.copy_(variance.log())
        x = model.emission.observed(torch.from_numpy(y).unsqueeze(-1))
        found = semihmm.log_partition(model.structure(model.emission(x)))
    spreads = variance.flatten().unique()
    parameters = np.concatenate([[0.9, 0.25], spreads, coefficients[:, 0].T.flatten()])
    assert_close(float(found), float(theirs.loglike(parameters)), rtol=1e-6, atol=1e-6)


# Draws, and what is missing


def test_draws_have_the_density_of_their_state(name: str) -> None:
    """The mean of log-densities is minus the entropy, whose estimate by other draws has a known error."""
    emission, states = true(name), torch.ones(4000, dtype=torch.int64)
    if name == "autoregressive-full":
        states = states.reshape(40, 100)
    x, inputs = draw(emission, name, states, seed=8)
    found = emission(emission.observed(x, inputs))[..., 1].flatten().detach()
    other = emission(emission.observed(x, inputs))[..., 0].flatten().detach()
    # The mean of the ratio of densities is 1, whatever the state; its logarithm is below 0 (Gibbs).
    assert (other - found).mean() < 0
    ratio = (shaken(emission, 0.02)(emission.observed(x, inputs))[..., 1].flatten() - found).exp().detach()
    assert abs(float(ratio.mean() - 1)) < 5 * float(ratio.std()) / len(ratio) ** 0.5


@pytest.mark.parametrize("name", [n for n, f in FAMILIES.items() if f.partial and n != "symbols"])
def test_what_is_filled_in_is_the_mean_of_what_is_drawn(name: str) -> None:
    emission = true(name)
    x = seen_by(emission, name, steps=8)
    features = emission.event_shape[0]
    if "autoregressive" in name:
        x[1:4, :features], x[4:, :features] = torch.nan, 0.0  # holes that follow on one another are drawn from draws
        x[2, 0] = 1.0
    state = torch.ones(8, dtype=torch.int64)
    filled = emission.fill(x, nn.functional.one_hot(state, 2).double())
    drawn = emission.complete(x.expand(2000, -1, -1), state.expand(2000, -1), generator())
    there = ~x[:, :features].isnan()
    assert torch.equal(filled[there], x[:, :features][there])
    assert torch.equal(drawn[:, there], x[:, :features][there].expand(2000, -1))
    known = ~x[:, features:].isnan().any(-1) if "autoregressive" not in name else torch.ones(8, dtype=torch.bool)
    if name == "autoregressive-full":
        known[5] = False
    gone = ~there & known.unsqueeze(-1)
    assert gone.any() and filled[gone].isfinite().all()
    error = drawn[:, gone].std(0) / 2000**0.5
    assert ((drawn[:, gone].mean(0) - filled[gone]).abs() < 5 * error).all()


@pytest.mark.parametrize("name", ["factors", "linear", "linear-full"])
def test_what_is_drawn_varies_as_the_rest_allows(name: str) -> None:
    emission = true(name)
    x = seen_by(emission, name, steps=1, holes=False)
    x[0, 1 : emission.event_shape[0]] = torch.nan
    drawn = emission.complete(x.expand(20_000, -1), torch.ones(20_000, dtype=torch.int64), generator())[:, 1:]
    whole = emission.covariance()[1].detach()
    expected = whole[1:, 1:] - whole[1:, :1] @ whole[:1, 1:] / whole[0, 0]
    found = torch.atleast_2d(drawn.T.cov())
    size = expected.diagonal().sqrt()
    assert ((found - expected).abs() < 5 * (2 / 20_000) ** 0.5 * size.outer(size)).all()


def test_missing_symbols_are_drawn() -> None:
    emission = true("symbols")
    x = emission.observed(torch.tensor([3, -1, -1]), torch.tensor([[0.0, 0.0], [9.0, 0.0], [torch.nan, 0.0]]))
    found = emission.complete(x, torch.zeros(3, dtype=torch.int64), generator())
    assert found.tolist() == [3, 0, -1]


def test_the_likelihood_begins_after_the_first_steps() -> None:
    emission = true("autoregressive")
    x = normal(2, 6, 2)
    assert (emission(emission.observed(x))[:, :2] == 0).all()
    assert (emission(emission.observed(x))[:, 2:] != 0).all()
    assert torch.equal(emission(emission.observed(x[:, :1])), torch.zeros(2, 1, 2, dtype=torch.float64))


def test_the_expected_observation_repeats_itself() -> None:
    emission = true("autoregressive")
    level = emission.expected()
    for state in range(2):
        again = emission.coefficients[state] @ torch.cat([level[state], level[state], torch.ones(1)])
        assert_close(again.detach(), level[state])


# Files, descriptions and refusals


@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "network"])
def test_a_model_comes_back_from_its_file(name: str, tmp_path: Path) -> None:
    model = chain("hmm", true(name))
    x = seen_by(model.emission, name)
    model.emission.initialise(x, generator())
    model.save(tmp_path / "m")
    again: Any = HMM.load(tmp_path / "m")
    assert torch.equal(again.emission(x), model.emission(x))
    assert again.emission.config == model.emission.config
    model.emission.update(x, posterior(40))
    again.emission.update(x, posterior(40))
    assert torch.equal(again.emission(x), model.emission(x))


def test_descriptions_are_of_states(name: str) -> None:
    if name == "network":
        return
    assert all(len(value) == 2 and not value.requires_grad for value in true(name).describe().values())


def test_rotations_and_shifts_are_not_free() -> None:
    assert emissions.FactorAnalysis(2, 5, 3).free_parameters == 2 * (5 + 15 + 5 - 3)
    assert emissions.LogisticRegression(2, 4, 2).free_parameters == 2 * 3 * 3


@pytest.mark.parametrize("name", DRIVEN)
def test_inputs_of_another_size_are_refused(name: str) -> None:
    emission = true(name)
    x, _ = draw(emission, name, torch.zeros(6, dtype=torch.int64))
    if name != "noisy":
        with pytest.raises(ShapeError, match="inputs"):
            emission.observed(x)
        with pytest.raises(ShapeError, match="inputs"):
            emission.sample(torch.zeros(6, dtype=torch.int64), generator())
    with pytest.raises(ShapeError, match="inputs"):
        emission.observed(x, torch.zeros(6, 7))
    with pytest.raises(ShapeError, match="inputs"):
        emission.observed(x, torch.zeros(5, FAMILIES[name].inputs))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: emissions.FactorAnalysis(2, 3, 3), "factors must be from 1 to 2"),
        (lambda: emissions.LinearRegression(2, 3, 1, covariance=cast(Any, "tied")), "covariance must be"),
        (lambda: emissions.LinearRegression(2, 3, 0, intercept=False), "a regressor or an intercept"),
        (lambda: emissions.LinearRegression(2, 3, 1, ridge=-1.0), "ridge must be at least 0"),
        (lambda: emissions.Autoregressive(2, 3, 0), "order must be at least 1"),
        (lambda: emissions.GLM(2, 3, 1, cast(Any, "gaussian")), "Take LinearRegression"),
        (lambda: emissions.GLM(2, 3, 1, cast(Any, "categorical")), "Take LogisticRegression"),
        (lambda: emissions.GLM(2, 3, 1, ridge=0.0), "ridge must be above 0"),
        (lambda: emissions.LogisticRegression(2, 3, 1, ridge=0.0), "ridge must be above 0"),
        (lambda: emissions.Conditional(nn.Identity(), emissions.Neural(nn.Identity()), 2), "must say its states"),
        (lambda: emissions.Conditional(nn.Identity(), emissions.Laplace(2, 2), 2)(torch.zeros(1, 4)), "one number for"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ShapeError, match=says):
        make()


@pytest.mark.parametrize(
    ("name", "x", "u"),
    [
        ("bernoulli", torch.full((1, 4), 0.5), torch.zeros(1, 2)),
        ("poisson", torch.full((1, 2), -1.0), torch.zeros(1, 2)),
        ("gamma", torch.zeros(1, 2), torch.zeros(1, 2)),
        ("symbols", torch.tensor([4]), torch.zeros(1, 2)),
        ("noisy", torch.zeros(1, 2), torch.full((1, 2), -1.0)),
    ],
)
def test_what_cannot_be_observed_is_refused(name: str, x: Tensor, u: Tensor) -> None:
    emission = true(name)
    with pytest.raises(DataError, match=type(emission).__name__):
        emission(emission.observed(x, u))


# Ways uphill


def test_newton_steps_that_leap_too_far_are_halved() -> None:
    """``-log cosh``: from 3 on, full steps run away."""

    def function(at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return -at.cosh().log().sum(-1), -at.tanh(), (1 / at.cosh().square()).diag_embed()

    start = torch.tensor([[3.0], [-8.0], [0.0]], dtype=torch.float64)
    assert_close(newton(function, start), torch.zeros_like(start))


def test_what_does_not_rise_is_taken_back() -> None:
    parameter = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))

    def back() -> None:
        parameter.data.fill_(5.0)

    ascend([parameter], lambda: -(parameter**2).sum(), 5, back)
    assert parameter.item() == 2.0
    ascend([parameter], lambda: -(parameter**2).sum(), 5, lambda: None)
    assert abs(parameter.item()) < 1e-6 and parameter.grad is None
    parameter.requires_grad_(False)
    ascend([parameter], lambda: -(parameter**2).sum(), 5, back)
    assert abs(parameter.item()) < 1e-6
