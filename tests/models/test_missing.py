"""What is missing is integrated out: against quadrature and enumeration of what it might have been, and scipy."""

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor
from torch.testing import assert_close

from semihmm.errors import DataError, StructureError
from semihmm.models import Emission, FullGaussian, Gaussian, GaussianMixture, Neural, emissions

COUNTS, POSITIVE, REAL, ANGLES, PROPORTIONS, SWITCHES = "counts", "positive", "real", "angles", "proportions", "0 or 1"
F = 3  # features

FAMILIES: dict[str, tuple[Callable[[], Emission], str]] = {
    "diag": (lambda: Gaussian(2, F), REAL),
    "spherical": (lambda: Gaussian(2, F, covariance="spherical"), REAL),
    "full": (lambda: Gaussian(2, F, covariance="full"), REAL),
    "tied": (lambda: FullGaussian(2, F, tied=True), REAL),
    "mixture": (lambda: GaussianMixture(2, F, 2), REAL),
    "mixture-spherical": (lambda: GaussianMixture(2, F, 2, covariance="spherical"), REAL),
    "mixture-full": (lambda: GaussianMixture(2, F, 2, covariance="full"), REAL),
    "mixture-tied": (lambda: GaussianMixture(2, F, 2, covariance="tied"), REAL),
    "codebook": (lambda: GaussianMixture(2, F, 3, codebook=[0, 0], covariance="full"), REAL),
    "student": (lambda: emissions.StudentT(2, F), REAL),
    "laplace": (lambda: emissions.Laplace(2, F), REAL),
    "exponential": (lambda: emissions.Exponential(2, F), POSITIVE),
    "gamma": (lambda: emissions.Gamma(2, F), POSITIVE),
    "beta": (lambda: emissions.Beta(2, F), PROPORTIONS),
    "von-mises": (lambda: emissions.VonMises(2, F), ANGLES),
    "poisson": (lambda: emissions.Poisson(2, F), COUNTS),
    "negative-binomial": (lambda: emissions.NegativeBinomial(2, F), COUNTS),
    "zero-inflated": (lambda: emissions.ZeroInflatedPoisson(2, F), COUNTS),
    "bernoulli": (lambda: emissions.Bernoulli(2, F), SWITCHES),
    "product": (lambda: emissions.Product([Gaussian(2, 2, covariance="full"), emissions.StudentT(2, 1)]), REAL),
    "mixed": (lambda: emissions.Mixed([emissions.Laplace(1, F), FullGaussian(1, F)]), REAL),
}
MATRICES = ("full", "tied", "mixture-full", "mixture-tied", "codebook", "product", "mixed")
KINDS = pytest.mark.parametrize("kind", FAMILIES)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(kind: str, seed: int = 1) -> Any:
    """An emission with parameters at random, in float64."""
    emission = FAMILIES[kind][0]().double()
    with torch.no_grad():
        for number, parameter in enumerate(emission.parameters()):
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator(100 * seed + number)))
            if kind in ("gamma", "beta"):
                parameter.add_(1.0)  # else much of the mass is so near to 0 that no sum over points finds it
    emission.project()
    return emission


def drawn(kind: str, steps: int, seed: int = 2) -> Tensor:
    x: Tensor = made(kind, seed=seed).sample(torch.arange(steps) % 2, generator(seed))
    return x


def holed(x: Tensor, share: float = 0.3) -> Tensor:
    """With so much missing, and the first observation altogether."""
    hidden = torch.rand(x.shape, generator=generator(7)) < share
    hidden[0] = True
    return x.masked_fill(hidden, torch.nan)


def support(kind: str) -> tuple[Tensor, Tensor]:
    """Points all over the support of a feature, and the logarithm of the weight of each in an integral."""
    u = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    step = torch.full_like(u, (60 / 60_000))
    if FAMILIES[kind][1] == COUNTS:
        return torch.arange(150.0, dtype=torch.float64), torch.zeros(150, dtype=torch.float64)
    if FAMILIES[kind][1] == SWITCHES:
        return torch.tensor([0.0, 1.0]).double(), torch.zeros(2, dtype=torch.float64)
    if FAMILIES[kind][1] == POSITIVE:
        return u.exp(), u + step.log()
    if FAMILIES[kind][1] == PROPORTIONS:
        return u.sigmoid(), u.sigmoid().log() + (-u).sigmoid().log() + step.log()
    if FAMILIES[kind][1] == ANGLES:
        angles = torch.linspace(-math.pi, math.pi, 201, dtype=torch.float64)[:-1]
        return angles, torch.full_like(angles, math.log(2 * math.pi / 200))
    return u.sinh(), u.cosh().log() + step.log()


@KINDS
@pytest.mark.parametrize("feature", range(F))
def test_the_likelihood_of_the_rest_is_that_of_all_summed_over_what_is_missing(kind: str, feature: int) -> None:
    emission, x = made(kind), drawn(kind, 4)
    points, weight = support(kind)
    whole = x.unsqueeze(1).repeat(1, len(points), 1)
    whole[..., feature] = points
    x[:, feature] = torch.nan
    expected = (emission(whole) + weight[:, None]).logsumexp(1)
    assert_close(emission(x), expected, rtol=1e-6, atol=1e-6)
    with torch.no_grad():
        assert_close(emission(x.reshape(2, 2, F)), expected.reshape(2, 2, 2), rtol=1e-6, atol=1e-6)


@KINDS
def test_nothing_says_nothing(kind: str) -> None:
    emission = made(kind)
    x = drawn(kind, 5)
    x[[0, 3]] = torch.nan
    found = emission(x)
    assert (found[[0, 3]] == 0).all()
    assert_close(found[[1, 2, 4]], emission(x[[1, 2, 4]]))


@pytest.mark.parametrize("covariance", ["diag", "spherical", "full", "tied"])
def test_of_a_gaussian_it_is_the_density_of_the_coordinates_that_are_there(covariance: str) -> None:
    emission = made(covariance)
    x = holed(drawn("full", 40))
    mean, matrices = emission.mean.detach().numpy(), emission.covariance().detach().numpy()
    for one, found in zip(x.numpy(), emission(x).detach().numpy(), strict=True):
        for state in range(2):
            there = ~torch.from_numpy(one).isnan().numpy()
            expected = (
                stats.multivariate_normal.logpdf(one[there], mean[state][there], matrices[state][there][:, there])
                if there.any()
                else 0.0
            )
            assert found[state] == pytest.approx(float(expected), rel=1e-9, abs=1e-9)


@KINDS
@pytest.mark.parametrize("rows", [2, 60])
def test_em_never_lowers_the_likelihood_of_what_is_there(kind: str, rows: int) -> None:
    emission, x = made(kind, seed=3), holed(drawn(kind, rows))
    emission.initialise(x, generator())
    assert all(not p.isnan().any() for p in emission.parameters())
    values = []
    for _ in range(12):
        log_likelihood = emission(x).detach() - math.log(2)
        values.append(float(log_likelihood.logsumexp(-1).sum() + emission.log_prior()))
        emission.update(x, log_likelihood.softmax(-1))
    assert all(after >= before - 1e-9 * abs(before) for before, after in pairwise(values))
    assert values[-1] > values[0] or rows == 2  # a state of one observation is at its best at once
    assert all(not p.isnan().any() for p in emission.parameters())


@KINDS
def test_an_em_step_given_posteriors_raises_what_it_should(kind: str) -> None:
    emission, x = made(kind, seed=3), holed(drawn(kind, 40))
    posterior = torch.randn(40, 2, dtype=torch.float64, generator=generator(5)).softmax(-1)
    before = (posterior * emission(x)).sum()
    for _ in range(3):
        emission.update(x, posterior)
        after = (posterior * emission(x)).sum()
        assert after >= before - 1e-9 * before.abs()
        before = after


@KINDS
def test_observations_of_which_nothing_is_there_do_not_change_an_em_step(kind: str) -> None:
    one, other, x = made(kind), made(kind), holed(drawn(kind, 30))
    posterior = torch.randn(30, 2, dtype=torch.float64, generator=generator(5)).softmax(-1)
    there = ~x.isnan().all(-1)
    one.update(x, posterior)
    other.update(x[there], posterior[there])
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert_close(a, b)


@KINDS
def test_gradients_know_nothing_of_what_is_missing(kind: str) -> None:
    emission, x = made(kind), holed(drawn(kind, 4), share=0.4)
    names = [name for name, _ in emission.named_parameters()]

    def density(*parameters: Tensor) -> Tensor:
        value: Tensor = torch.func.functional_call(emission, dict(zip(names, parameters, strict=True)), (x,))
        return value

    assert torch.autograd.gradcheck(density, tuple(emission.parameters()))
    emission.zero_grad()
    x.requires_grad_()
    emission(x).sum().backward()
    assert x.grad is not None and (x.grad[x.isnan()] == 0).all() and x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in emission.parameters())


@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if kind not in MATRICES])
def test_gaps_can_be_mapped_over(kind: str) -> None:
    emission, x = made(kind), holed(drawn(kind, 12))
    assert_close(torch.func.vmap(emission)(x.reshape(3, 4, F)), emission(x.reshape(3, 4, F)))


@pytest.mark.parametrize("kind", ["diag", "mixture", "student", "poisson"])
def test_a_compiled_program_takes_gaps(kind: str) -> None:
    emission, x = made(kind), holed(drawn(kind, 12))
    compiled = torch.compile(emission, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), emission(x))


@pytest.mark.parametrize("kind", MATRICES)
def test_steps_without_anything_can_be_mapped_over(kind: str) -> None:
    """Which steps have the same gaps cannot be seen there."""
    emission, x = made(kind), drawn(kind, 12)
    x[[0, 5]] = torch.nan
    assert_close(torch.func.vmap(emission)(x.reshape(3, 4, F)), emission(x.reshape(3, 4, F)))


@KINDS
def test_what_is_there_stays_and_the_rest_is_drawn(kind: str) -> None:
    emission, x = made(kind), holed(drawn(kind, 30)).reshape(5, 6, F)
    states = torch.arange(30).reshape(5, 6) % 2
    found = emission.complete(x, states, generator())
    assert found.dtype == x.dtype and not found.isnan().any()
    assert torch.equal(found[~x.isnan()], x[~x.isnan()])
    assert torch.equal(found, emission.complete(x, states, generator()))
    assert emission(found).isfinite().all()
    filled = emission.fill(x, torch.full((5, 6, 2), 0.5, dtype=torch.float64))
    assert not filled.isnan().any() and torch.equal(filled[~x.isnan()], x[~x.isnan()])


@KINDS
@pytest.mark.parametrize("state", range(2))
def test_draws_of_what_is_missing_have_the_moments_that_quadrature_says(kind: str, state: int) -> None:
    """20,000 draws of one feature given the others: 6 standard errors, a false alarm in 500 million."""
    emission = made(kind)
    x = emission.sample(torch.tensor([state]), generator(3))[0]
    points, weight = support(kind)
    whole = x.repeat(len(points), 1)
    whole[:, 1] = points
    chance = (emission(whole)[:, state].detach() + weight).softmax(0)
    holed = x.clone()
    holed[1] = torch.nan
    states = torch.full((20_000,), state)
    draws = emission.complete(holed.repeat(20_000, 1), states, generator(4))[:, 1]
    chart = torch.atan if FAMILIES[kind][1] == REAL else torch.clone  # heavy tails have no moments of their own
    expected = (chance * chart(points)).sum()
    assert abs(chart(draws).mean() - expected) < 6 * chart(draws).std() / 20_000**0.5
    square = (chart(draws) - expected).square()
    assert abs(square.mean() - (chance * (chart(points) - expected).square()).sum()) < 6 * square.std() / 20_000**0.5


@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if kind not in ("student", "product", "von-mises")])
def test_what_is_filled_in_is_the_mean_that_quadrature_says(kind: str) -> None:
    emission, x = made(kind), drawn(kind, 3)
    points, weight = support(kind)
    whole = x.unsqueeze(1).repeat(1, len(points), 1)
    whole[..., 1] = points
    chance = (emission(whole).detach() + weight[:, None]).softmax(1)
    of_each = (chance * points[:, None]).sum(1)
    posterior = torch.rand(3, 2, dtype=torch.float64, generator=generator()).softmax(-1)
    x[:, 1] = torch.nan
    assert_close(emission.fill(x, posterior)[:, 1], (posterior * of_each).sum(-1), rtol=1e-5, atol=1e-5)


def test_the_expected_moments_of_what_is_missing_make_a_matrix_without_bias() -> None:
    """Of strongly correlated features with a third missing, EM finds the matrix; single imputation would not."""
    root = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.5, 0.0], [-0.8, 0.3, 0.4]]).double()
    x = torch.randn(20_000, 3, dtype=torch.float64, generator=generator()) @ root.T
    emission = Gaussian(1, 3, covariance="full").double()
    x = holed(x, 0.33)
    emission.initialise(x, generator())
    for _ in range(60):
        emission.update(x, torch.ones(len(x), 1))
    assert (emission.covariance()[0] - root @ root.T).abs().max() < 0.03


@pytest.mark.parametrize("features", [12, 40, 70])
def test_many_patterns_and_many_rows_are_the_rows_one_by_one(features: int) -> None:
    emission = GaussianMixture(3, features, 4, covariance="full").double()
    x = holed(torch.randn(300, features, dtype=torch.float64, generator=generator()))
    x = torch.cat([x, x + 1])  # each pattern is met again
    emission.initialise(x, generator())
    emission.update(x, torch.rand(600, 3, dtype=torch.float64, generator=generator(1)))
    alone = torch.cat([emission(one.unsqueeze(0)) for one in x])
    assert_close(emission(x), alone)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32], ids=str)
def test_a_missing_symbol_is_any_of_them(dtype: torch.dtype) -> None:
    emission = emissions.Categorical(2, 4)
    x = torch.tensor([3, -1, 0], dtype=dtype)
    x = x if dtype == torch.int64 else x.masked_fill(x == -1, torch.nan)
    found = emission(x)
    assert (found[1] == 0).all()
    assert_close(found[1], emission(torch.arange(4)).logsumexp(0), atol=1e-6, rtol=0.0)
    assert_close(found[[0, 2]], emission(torch.tensor([3, 0])))
    found.sum().backward()
    assert emission.table.logits.grad is not None and emission.table.logits.grad.isfinite().all()
    whole = copy.deepcopy(emission)
    posterior = torch.rand(3, 2, generator=generator())
    emission.update(x, posterior)
    whole.update(torch.tensor([3, 0]), posterior[[0, 2]])
    assert_close(emission.table().exp(), whole.table().exp())
    filled = emission.fill(x, torch.eye(2)[[0, 1, 1]])
    assert filled[1] == emission.table()[1].argmax() and filled.dtype == dtype
    drawn = emission.complete(x.repeat(1000), torch.ones(3000, dtype=torch.int64), generator())[1::3]
    assert set(drawn.tolist()) <= set((emission.table()[1] > -torch.inf).nonzero().flatten().tolist())
    mapped = torch.func.vmap(emission)(x)
    assert_close(mapped, emission(x))


def test_symbols_of_several_parts_are_not_averaged() -> None:
    emission = emissions.Mixed([emissions.Categorical(1, 3), emissions.Categorical(1, 3)])
    assert (emission(torch.tensor([-1, 2]))[0] == 0).all()
    with pytest.raises(StructureError, match="no expected observation"):
        emission.fill(torch.tensor([-1, 2]), torch.full((2, 2), 0.5))


def test_a_product_takes_a_missing_symbol_as_nan() -> None:
    emission = emissions.Product([emissions.Categorical(2, 3), Gaussian(2, 1)]).double()
    x = torch.tensor([[torch.nan, 0.5], [1.0, torch.nan], [torch.nan, torch.nan]]).double()
    symbol, number = emission.each()
    found = emission(x)
    assert_close(found[0], number(x[0, 1:].unsqueeze(0))[0])
    assert_close(found[1], symbol(torch.tensor([1]))[0])
    assert (found[2] == 0).all()
    emission.initialise(x, generator())
    assert not emission(x).isnan().any()
    assert set(emission.complete(x, torch.tensor([0, 1, 1]), generator())[:, 0].tolist()) <= {0.0, 1.0, 2.0}
    posterior = torch.full((3, 2), 0.5, dtype=torch.float64)
    assert not emission.fill(x, posterior).isnan().any()


def test_a_bag_of_words_is_missing_or_is_not() -> None:
    emission = emissions.Multinomial(2, 3).double()
    x = torch.tensor([[1.0, 0.0, 2.0], [torch.nan] * 3]).double()
    assert (emission(x)[1] == 0).all()
    assert_close(emission(x)[0], emission(x[:1])[0])
    whole = copy.deepcopy(emission)
    emission.update(x, torch.ones(2, 2))
    whole.update(x[:1], torch.ones(1, 2))
    assert_close(emission.table().exp(), whole.table().exp())
    x[0, 1] = torch.nan
    with pytest.raises(DataError, match="Multinomial: all counts of a step must be missing, or none"):
        emission(x)


def test_a_network_sees_the_filler_where_nothing_was_observed() -> None:
    emission = Neural(torch.nn.Linear(2, 3))
    x = torch.tensor([[1.0, 2.0], [torch.nan, torch.nan]])
    found = emission(x)
    assert (found[1] == 0).all()
    assert_close(found[0], emission(x[:1])[0])
    found.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in emission.parameters())
    x[0, 1] = torch.nan
    with pytest.raises(DataError, match=r"Neural: a part of observation \[0\] is missing. A network must be given all"):
        emission(x)


def test_a_distribution_of_pytorch_has_marginals_over_its_batch_alone() -> None:
    gumbel = emissions.FromTorch(torch.distributions.Gumbel, loc=torch.zeros(2, 3), scale=torch.ones(2, 3)).double()
    x = torch.tensor([[0.5, torch.nan, 1.0]]).double()
    expected = stats.gumbel_r.logpdf([0.5, 1.0]).sum()
    assert_close(gumbel(x), torch.full((1, 2), float(expected), dtype=torch.float64))
    dirichlet = emissions.FromTorch(torch.distributions.Dirichlet, concentration=torch.ones(2, 3)).double()
    x = torch.tensor([[0.2, 0.3, 0.5], [torch.nan] * 3]).double()
    assert (dirichlet(x)[1] == 0).all() and (dirichlet(x)[0] != 0).all()
    x[0, 0] = torch.nan
    with pytest.raises(
        DataError, match=r"FromTorch: a part of observation \[0\] is missing. Dirichlet has no marginals"
    ):
        dirichlet(x)
    geometric = emissions.FromTorch(torch.distributions.Geometric, probs=torch.tensor([0.2, 0.7])).double()
    assert (geometric(torch.tensor([1.0, torch.nan]).double())[1] == 0).all()
