"""Densities against scipy; EM steps against any other parameters; draws against their distribution."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp  # type: ignore[import-untyped]
from scipy.stats import multivariate_normal, norm  # type: ignore[import-untyped]
from torch import Tensor
from torch.testing import assert_close

from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.models import Emission, FullGaussian, Gaussian, GaussianMixture, Neural, emissions


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator(seed))


def shaken(emission: Emission, size: float, seed: int) -> Any:
    """The same emission with all parameters moved at random."""
    other = copy.deepcopy(emission)
    with torch.no_grad():
        for number, parameter in enumerate(other.parameters()):
            parameter.add_(size * normal(*parameter.shape, seed=1000 * seed + number))
    other.project()
    return other


CONTINUOUS: dict[str, Callable[[], Emission]] = {
    "gaussian": lambda: Gaussian(3, 2),
    "spherical": lambda: Gaussian(3, 2, covariance="spherical"),
    "full": lambda: FullGaussian(3, 2),
    "tied-full": lambda: FullGaussian(3, 2, tied=True),
    "mixture": lambda: GaussianMixture(3, 2, 4),
    "tied": lambda: GaussianMixture(4, 2, 3, codebook=[1, 0, 1, 1]),
}


@pytest.fixture(params=CONTINUOUS)
def emission(request: pytest.FixtureRequest) -> Any:
    made = CONTINUOUS[request.param]().double()
    made.initialise(normal(60, 2), generator(1))
    return shaken(made, 0.3, seed=2)


def test_gaussian_density() -> None:
    emission = shaken(Gaussian(3, 4).double(), 0.5, seed=1)
    x = normal(2, 5, 4)
    deviation = (emission.log_variance / 2).exp().detach().numpy()
    expected = norm.logpdf(x.numpy()[:, :, None], emission.mean.detach().numpy(), deviation).sum(-1)
    assert_close(emission(x).detach().numpy(), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("states", "features"), [(1, 1), (3, 2), (16, 5), (70, 3), (130, 1)])
@pytest.mark.parametrize("shape", [(1,), (7,), (2, 5), (2, 3, 4)])
def test_gaussian_density_without_derivatives(
    shape: tuple[int, ...], states: int, features: int, dtype: torch.dtype
) -> None:
    g = torch.Generator().manual_seed(states)
    emission = Gaussian(states, features).to(dtype)
    emission.mean.data = 100 + torch.randn(states, features, generator=g, dtype=dtype)
    emission.log_variance.data = torch.randn(states, features, generator=g, dtype=dtype)
    x = 100 + torch.randn(*shape, features, generator=g, dtype=dtype)
    mean, sd = emission.mean.detach().double().numpy(), (emission.log_variance.detach().double() / 2).exp().numpy()
    expected = norm.logpdf(x.double().unsqueeze(-2).numpy(), mean, sd).sum(-1)
    with torch.no_grad():
        found = emission(x)
    assert found.dtype == dtype
    assert_close(
        found.double(),
        torch.from_numpy(expected),
        rtol=1e-12 if dtype == torch.float64 else 2e-6,
        atol=1e-5 * (dtype == torch.float32),
    )
    assert_close(found, emission(x).detach())


def test_spherical_gaussian_density() -> None:
    emission = shaken(Gaussian(3, 4, covariance="spherical").double(), 0.5, seed=1)
    x = normal(2, 5, 4)
    deviation = (emission.log_variance / 2).exp().detach().numpy()
    expected = norm.logpdf(x.numpy()[:, :, None], emission.mean.detach().numpy(), deviation).sum(-1)
    assert_close(emission(x).detach().numpy(), expected)
    with torch.no_grad():
        assert_close(emission(x).numpy(), expected)


def test_another_covariance_is_refused_by_name() -> None:
    kind: Any = "x"
    for make in (lambda: Gaussian(2, 3, covariance=kind), lambda: GaussianMixture(2, 3, 4, covariance=kind)):
        with pytest.raises(ShapeError, match="must be 'diag', 'spherical', 'full' or 'tied', got 'x'"):
            make()


@pytest.mark.parametrize("tied", [False, True])
def test_full_gaussian_density(tied: bool) -> None:
    emission = shaken(FullGaussian(3, 4, tied=tied).double(), 0.5, seed=1)
    x = normal(2, 5, 4)
    covariance = emission.covariance().detach().numpy()
    expected = [
        multivariate_normal.logpdf(x.numpy(), m, c)
        for m, c in zip(emission.mean.detach().numpy(), covariance, strict=True)
    ]
    assert_close(emission(x).detach().numpy(), np.stack(expected, -1))


@pytest.mark.parametrize("codebook", [None, [0, 0, 0], [1, 0, 1]])
def test_mixture_density(codebook: list[int] | None) -> None:
    emission = shaken(GaussianMixture(3, 2, 4, codebook).double(), 0.5, seed=1)
    x = normal(5, 2)
    mean, deviation = emission.mean.detach().numpy(), (emission.log_variance / 2).exp().detach().numpy()
    weights = emission.weights().detach().numpy()
    expected = [
        logsumexp(norm.logpdf(x.numpy()[:, None], mean[k], deviation[k]).sum(-1) + weights[s], axis=-1)
        for s, k in enumerate(codebook or [0, 1, 2])
    ]
    assert_close(emission(x).detach().numpy(), np.stack(expected, -1))


def test_a_state_without_weight_on_the_nearest_gaussian_is_still_told_apart() -> None:
    """Two states share two Gaussians and use one each: the other's density is exp(-5000) of the peak."""
    emission = GaussianMixture(2, 1, 2, codebook=[0, 0]).double()
    with torch.no_grad():
        emission.mean.copy_(torch.tensor([[[0.0], [100.0]]]))
        emission.weights.update(torch.eye(2))
    expected = norm.logpdf([[0.0, -100.0]])
    assert_close(emission(torch.zeros(1, 1, dtype=torch.float64)).detach().numpy(), expected)


def test_a_distant_origin_costs_no_precision() -> None:
    emission, moved = Gaussian(2, 1), Gaussian(2, 1)
    with torch.no_grad():
        moved.mean.copy_(emission.mean.round() + 4096)
        emission.mean.copy_(emission.mean.round())
    x = torch.tensor([[0.5], [-1.25]])
    assert_close(emission(x), moved(x + 4096))


def test_the_em_step_of_a_gaussian_is_its_weighted_moments() -> None:
    x, posterior = normal(9, 2), normal(9, 3, seed=1).softmax(-1)
    diagonal, full = Gaussian(3, 2).double(), FullGaussian(3, 2).double()
    diagonal.update(x, posterior)
    full.update(x, posterior)
    for state in range(3):
        weights = posterior[:, state].numpy()
        covariance = np.cov(x.numpy().T, aweights=weights, ddof=0)
        assert_close(full.covariance()[state].detach().numpy(), covariance)
        assert_close(diagonal.log_variance[state].exp().detach().numpy(), covariance.diagonal().copy())
        for mean in (full.mean, diagonal.mean):
            assert_close(mean[state].detach().numpy(), np.average(x.numpy(), axis=0, weights=weights))


@pytest.mark.parametrize("floor", [1e-3, 0.9])
@pytest.mark.parametrize(
    "kind",
    [Gaussian, partial(Gaussian, covariance="spherical"), FullGaussian, partial(FullGaussian, tied=True)],
    ids=["diag", "spherical", "full", "tied"],
)
def test_no_parameters_above_the_floor_are_better_than_the_em_step(kind: Callable[..., Any], floor: float) -> None:
    x, posterior = normal(30, 2), normal(30, 3, seed=1).mul(3).softmax(-1)
    emission = kind(3, 2, variance_floor=floor).double()
    emission.initialise(x, generator())
    emission.update(x, posterior)
    best = (posterior * emission(x)).sum()
    for seed in range(40):
        for size in (1e-3, 0.1):
            assert (posterior * shaken(emission, size, seed)(x)).sum() < best


def test_the_em_step_of_an_emission_raises_what_it_should(emission: Emission) -> None:
    x = normal(40, 2, seed=3)
    posterior = normal(40, int(emission.states or 0), seed=4).softmax(-1)
    emission.initialise(x, generator())
    value = (posterior * emission(x)).sum()
    for _ in range(5):
        emission.update(x, posterior)
        better = (posterior * emission(x)).sum()
        assert better >= value - 1e-9
        value = better


def test_a_state_that_saw_nothing_stays_as_it_is(emission: Emission) -> None:
    posterior = torch.zeros(20, int(emission.states or 0), dtype=torch.float64)
    posterior[:, 0] = 1.0
    before = {n: p.clone() for n, p in emission.named_parameters()}
    emission.update(normal(20, 2, seed=5), posterior)
    assert all(p.isfinite().all() for p in emission.parameters())
    for name, parameter in emission.named_parameters():
        of_states = len(parameter) == emission.states  # else of codebooks, which others share
        assert not of_states or torch.equal(parameter[-1], before[name][-1])


def test_parameters_are_brought_back_to_the_floor(emission: Emission) -> None:
    with torch.no_grad():
        for parameter in emission.parameters():
            parameter.fill_(-40.0)
    emission.project()
    assert torch.isfinite(emission(normal(3, 2))).all()
    before = [p.clone() for p in emission.parameters()]
    emission.project()
    for parameter, value in zip(emission.parameters(), before, strict=True):
        assert_close(parameter.detach(), value)


def test_densities_are_differentiable(emission: Emission) -> None:
    x = normal(4, 2).requires_grad_()
    names = [name for name, _ in emission.named_parameters()]

    def density(x: Tensor, *parameters: Tensor) -> Tensor:
        value: Tensor = torch.func.functional_call(emission, dict(zip(names, parameters, strict=True)), (x,))
        return value

    assert torch.autograd.gradcheck(density, (x, *emission.parameters()))


def test_draws_have_the_moments_of_the_state(emission: Emission) -> None:
    """20,000 draws: 5 standard errors of the mean of log-densities, a false alarm in a million."""
    states = torch.full((20_000,), 1)
    x = emission.sample(states, generator(1))
    assert x.shape == (20_000, 2) and x.dtype == torch.float64
    log_density = emission(x)[:, 1].detach()
    wide = 60 * (torch.rand(400_000, 2, dtype=torch.float64, generator=generator(2)) - 0.5)
    density = emission(wide)[:, 1].detach()
    entropy = -(density.exp() * density).mean() * 3600  # by Monte Carlo over a square that holds all of the mass
    error = (log_density.var() / 20_000 + (density.exp() * density).var() * 3600**2 / 400_000).sqrt()
    assert abs(-log_density.mean() - entropy) < 5 * error


def test_categorical_counts_symbols() -> None:
    emission = emissions.Categorical(2, 3, pseudo_count=0.5).double()
    x = torch.tensor([0, 1, 1, 2, 2])
    posterior = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.0, 1.0], [0.0, 1.0]]).double()
    emission.update(x, posterior)
    expected = torch.tensor([[1.5, 1.5, 0.5], [0.5, 1.5, 2.5]]).double()
    expected = expected / expected.sum(-1, keepdim=True)
    assert_close(emission(torch.tensor([0, 1, 2])).exp(), expected.T)
    drawn = emission.sample(torch.ones(20_000, dtype=torch.int64), generator())
    share = drawn.bincount(minlength=3) / 20_000
    assert (share - expected[1]).abs().max() < 0.018  # 5 standard errors


@pytest.mark.parametrize("x", [torch.tensor([0, 3]), torch.tensor([-2, 0]), torch.tensor([0.5, 1.0])])
def test_what_is_no_symbol_is_refused(x: Tensor) -> None:
    with pytest.raises(DataError, match="from 0 to 2"):
        emissions.Categorical(2, 3)(x)


@pytest.mark.parametrize("codebook", [[0, 2, 2], [0, 1], [0.0, 1.0, 1.0], [-1, 0, 1]])
def test_a_codebook_that_leaves_one_out_is_refused(codebook: list[int]) -> None:
    with pytest.raises(ShapeError, match="codebook"):
        GaussianMixture(3, 2, 4, codebook)


def test_a_network_has_neither_an_em_step_nor_draws() -> None:
    emission = Neural(torch.nn.Linear(2, 3))
    with pytest.raises(StructureError, match="gradient"):
        emission.update(torch.zeros(1, 2), torch.ones(1, 3))
    with pytest.raises(StructureError, match="draw"):
        emission.sample(torch.zeros(1, dtype=torch.int64))


def test_more_gaussians_than_observations_and_constant_features_are_no_trouble() -> None:
    x = torch.tensor([[1.0, 5.0], [2.0, 5.0], [1.0, 5.0]])
    emission = GaussianMixture(3, 2, 4)
    emission.initialise(x, generator())
    emission.update(x, torch.full((3, 3), 1 / 3))
    assert emission(x).isfinite().all()


def test_many_observations_are_thinned_before_the_search_for_means() -> None:
    x = torch.arange(25_000.0).unsqueeze(-1)
    emission = Gaussian(3, 1)
    emission.initialise(x, generator())
    assert emission.mean.detach().flatten().sort().values.diff().min() > 1000
