"""Families of densities, feature by feature: against scipy, against perturbed parameters, and back from their draws."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from scipy.special import ive  # type: ignore[import-untyped]
from torch import Tensor
from torch.testing import assert_close

from semihmm.errors import DataError, ShapeError
from semihmm.models import HMM, emissions


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def exp(x: Tensor) -> np.ndarray:
    return x.detach().double().exp().numpy()


@dataclass(frozen=True)
class Family:
    """One emission: how to make it, what scipy calls it, and parameters far apart.

    Attributes:
        make: from states and features.
        reference: the frozen distributions of scipy, in the shape ``(S, F)``.
        truth: two states that are easily told apart, as values of parameters ``(2, F)`` for F = 2.
        refused: values outside the support.
        tolerance: of recovered parameters, from 8,000 steps.
        exact: whether one EM step is at the maximum.
        constants: what a constant observation may be.
    """

    make: Callable[..., Any]
    reference: Callable[[Any], Any]
    truth: dict[str, Any]
    refused: tuple[float, ...]
    tolerance: float
    exact: bool = True
    constants: tuple[float, ...] = (1.0,)
    discrete: bool = False


class ZeroInflated:
    """Zeros, or a Poisson count, as scipy would have it."""

    def __init__(self, emission: Any) -> None:
        self.none, self.some = np.moveaxis(exp(emission.table()), -1, 0)
        self.poisson = stats.poisson(exp(emission.log_rate))

    def logpmf(self, x: np.ndarray) -> np.ndarray:
        return np.log(self.none * (x == 0) + self.some * self.poisson.pmf(x))

    def mean(self) -> np.ndarray:
        return self.some * self.poisson.mean()

    def var(self) -> np.ndarray:
        return self.some * self.poisson.mean() * (1 + self.none * self.poisson.mean())


FAMILIES = {
    "poisson": Family(
        emissions.Poisson,
        lambda e: stats.poisson(exp(e.log_rate)),
        {"log_rate": np.log([[2.0, 9.0], [7.0, 1.0]])},
        (-1.0, 0.5, np.inf),
        0.06,
        discrete=True,
        constants=(0.0, 1.0),
    ),
    "bernoulli": Family(
        emissions.Bernoulli,
        lambda e: stats.bernoulli(exp(e.table()[..., 1])),
        {"table.logits": np.log([[[0.9, 0.1], [0.3, 0.7]], [[0.2, 0.8], [0.85, 0.15]]])},
        (-1.0, 0.5, 2.0),
        0.03,
        discrete=True,
        constants=(0.0, 1.0),
    ),
    "exponential": Family(
        emissions.Exponential,
        lambda e: stats.expon(scale=exp(e.log_mean)),
        {"log_mean": np.log([[0.1, 5.0], [3.0, 0.2]])},
        (-1.0, np.inf),
        0.1,
        constants=(0.0, 1.0),
    ),
    "gamma": Family(
        emissions.Gamma,
        lambda e: stats.gamma(exp(e.log_shape), scale=exp(e.log_mean - e.log_shape)),
        {"log_shape": np.log([[3.0, 0.5], [5.0, 8.0]]), "log_mean": np.log([[1.0, 0.5], [6.0, 3.0]])},
        (-1.0, 0.0, np.inf),
        0.1,
    ),
    "negative-binomial": Family(
        emissions.NegativeBinomial,
        lambda e: stats.nbinom(exp(e.log_size), 1 / (1 + exp(e.log_mean - e.log_size))),
        {"log_mean": np.log([[3.0, 20.0], [15.0, 2.0]]), "log_size": np.log([[2.0, 4.0], [5.0, 1.0]])},
        (-1.0, 0.5, np.inf),
        0.15,
        discrete=True,
        constants=(0.0, 1.0),
    ),
    "student": Family(
        emissions.StudentT,
        lambda e: stats.t(exp(e.log_freedom), e.location.detach().double().numpy(), exp(e.log_scale)),
        {
            "location": np.array([[-3.0, 0.0], [2.0, 4.0]]),
            "log_scale": np.log([[1.0, 0.5], [0.7, 1.0]]),
            "log_freedom": np.log([[5.0, 6.0], [8.0, 5.0]]),
        },
        (np.inf,),
        0.5,
        exact=False,
    ),
    "laplace": Family(
        emissions.Laplace,
        lambda e: stats.laplace(e.location.detach().double().numpy(), exp(e.log_scale)),
        {"location": np.array([[-3.0, 0.0], [2.0, 4.0]]), "log_scale": np.log([[1.0, 0.5], [0.7, 1.0]])},
        (np.inf,),
        0.08,
    ),
    "von-mises": Family(
        emissions.VonMises,
        lambda e: stats.vonmises(exp(e.log_concentration), e.mean.detach().double().numpy()),
        {"mean": np.array([[0.0, -1.0], [1.0, 1.0]]), "log_concentration": np.log([[4.0, 20.0], [9.0, 8.0]])},
        (np.inf,),
        0.1,
    ),
    "beta": Family(
        emissions.Beta,
        lambda e: stats.beta(exp(e.log_alpha), exp(e.log_beta)),
        {"log_alpha": np.log([[2.0, 8.0], [9.0, 0.5]]), "log_beta": np.log([[6.0, 2.0], [3.0, 0.9]])},
        (-1.0, 0.0, 1.0, 1.5),
        0.1,
        constants=(0.3,),
    ),
    "zero-inflated": Family(
        emissions.ZeroInflatedPoisson,
        ZeroInflated,
        {
            "log_rate": np.log([[2.0, 9.0], [7.0, 1.5]]),
            "table.logits": np.log([[[0.3, 0.7], [0.1, 0.9]], [[0.2, 0.8], [0.5, 0.5]]]),
        },
        (-1.0, 0.5, np.inf),
        0.1,
        discrete=True,
        constants=(0.0, 1.0),
    ),
}

KINDS = pytest.mark.parametrize("kind", FAMILIES)


def made(kind: str, states: int = 3, features: int = 2, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
    """An emission with parameters at random."""
    emission = FAMILIES[kind].make(states, features).to(dtype)
    with torch.no_grad():
        for parameter in emission.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator(seed)))
    emission.project()
    return emission


def drawn(kind: str, *shape: int, features: int = 2, seed: int = 0) -> Tensor:
    emission = made(kind, 1, features, seed=seed)
    x: Tensor = emission.sample(torch.zeros(shape, dtype=torch.int64), generator(seed))
    return x


def truth(kind: str) -> Any:
    emission = FAMILIES[kind].make(2, 2).double()
    parameters = dict(emission.named_parameters())
    with torch.no_grad():
        for name, value in FAMILIES[kind].truth.items():
            parameters[name].copy_(torch.as_tensor(value))
    return emission


def parameters(emission: Any) -> dict[str, Tensor]:
    """What an emission learns; of a table its probabilities, since its logits have one number too many."""
    found = {name: value.detach() for name, value in emission.named_parameters() if name != "table.logits"}
    return found | ({"chance": emission.table().exp().detach()} if hasattr(emission, "table") else {})


def objective(emission: Any, x: Tensor, posterior: Tensor) -> Tensor:
    value: Tensor = (posterior * emission(x)).sum() + emission.log_prior()
    return value


def posterior_of(x: Tensor, states: int = 3) -> Tensor:
    return torch.randn(len(x), states, dtype=torch.float64, generator=generator(5)).mul(2).softmax(-1)


@KINDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(1,), (7,), (2, 5), (2, 3, 4)], ids=str)
def test_the_density_is_that_of_scipy(kind: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    emission = made(kind, dtype=dtype)
    x = drawn(kind, *shape).to(dtype)
    reference = FAMILIES[kind].reference(emission)
    log_density = reference.logpmf if FAMILIES[kind].discrete else reference.logpdf
    expected = log_density(x.double().numpy()[..., None, :]).sum(-1)
    found = emission(x)
    assert found.dtype == dtype and found.shape == (*shape, 3)
    assert_close(found.detach().double().numpy(), expected, rtol=1e-10 if dtype == torch.float64 else 2e-6, atol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if kind != "von-mises"])
def test_draws_have_the_moments_of_the_state(kind: str) -> None:
    """10,000 draws: 6 standard errors, of the variance by its fourth moment."""
    emission = truth(kind)
    states = torch.tensor([0, 1]).repeat(10_000, 1)
    x = emission.sample(states, generator(1))
    assert x.shape == (10_000, 2, 2) and x.dtype == torch.float64 and not x.requires_grad
    reference = FAMILIES[kind].reference(emission)
    away = x - torch.from_numpy(np.asarray(reference.mean()))
    assert (away.mean(0).abs() < 6 * x.std(0) / 100).all()
    square = away.square()
    assert ((square.mean(0) - torch.from_numpy(np.asarray(reference.var()))).abs() < 6 * square.std(0) / 100).all()


@pytest.mark.parametrize("concentration", [1e-6, 1e-3, 0.01, 1.0, 30.0, 1e4])
def test_angles_have_the_moments_of_the_state(concentration: float) -> None:
    emission = emissions.VonMises(1, 1).double()
    with torch.no_grad():
        emission.log_concentration.fill_(np.log(concentration))
    x = emission.sample(torch.zeros(20_000, dtype=torch.int64), generator(1))
    away = x - emission.mean.detach()
    assert x.abs().max() <= np.pi
    for order in (1, 2):
        cosine, sine = (order * away).cos(), (order * away).sin()
        expected = ive(order, concentration) / ive(0, concentration)
        assert abs(cosine.mean() - expected) < 6 * cosine.std() / 20_000**0.5
        assert abs(sine.mean()) < 6 * sine.std() / 20_000**0.5


@KINDS
def test_an_em_step_ends_where_the_gradient_is_0(kind: str) -> None:
    emission, x = made(kind, seed=1), drawn(kind, 200)
    posterior = posterior_of(x)
    emission.initialise(x, generator())
    for _ in range(1 if FAMILIES[kind].exact else 200):
        emission.update(x, posterior)
    emission.zero_grad()
    objective(emission, x, posterior).backward()
    for name, parameter in emission.named_parameters():
        assert parameter.grad is not None
        if (kind, name) == ("laplace", "location"):
            continue  # a median is a kink: the next test looks at it
        assert_close(parameter.grad, torch.zeros_like(parameter), atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("rows", [1, 2, 9, 40])
def test_no_observation_is_a_better_median(rows: int) -> None:
    x = torch.randn(rows, 2, dtype=torch.float64, generator=generator())
    posterior = posterior_of(x).round(decimals=1)  # ties, and some that weigh nothing
    emission = emissions.Laplace(3, 2).double()
    emission.update(x, posterior)
    distance = (posterior.unsqueeze(-1) * (x.unsqueeze(1) - emission.location.detach()).abs()).sum(0)
    of_all = (posterior.reshape(1, rows, 3, 1) * (x.reshape(-1, 1, 1, 2) - x.reshape(1, -1, 1, 2)).abs()).sum(1)
    assert ((of_all.min(0).values - distance).abs() < 1e-12)[posterior.sum(0) > 0].all()


@KINDS
def test_an_em_step_never_lowers_the_objective(kind: str) -> None:
    emission, x = made(kind, seed=1), drawn(kind, 50)
    posterior = posterior_of(x)
    value = objective(emission, x, posterior)
    for _ in range(4):
        emission.update(x, posterior)
        better = objective(emission, x, posterior)
        assert better >= value - 1e-9 * value.abs()
        value = better


@pytest.mark.parametrize(
    ("kind", "constant"), [(kind, constant) for kind, family in FAMILIES.items() for constant in family.constants]
)
@pytest.mark.parametrize("rows", [1, 20])
def test_data_that_do_not_vary_leave_the_objective_bounded(kind: str, constant: float, rows: int) -> None:
    emission = made(kind)
    x = torch.full((rows, 2), constant, dtype=torch.float64)
    posterior = posterior_of(x)
    emission.initialise(x, generator())
    for _ in range(1 if FAMILIES[kind].exact else 200):
        emission.update(x, posterior)
    assert all(p.isfinite().all() or "table" in n for n, p in emission.named_parameters())
    best = objective(emission, x, posterior)
    assert best.isfinite()
    within = copy.deepcopy(emission)
    within.project()
    assert all(torch.allclose(a, b) for a, b in zip(within.parameters(), emission.parameters(), strict=True))
    for seed in range(20):
        other = copy.deepcopy(emission)
        with torch.no_grad():
            for number, parameter in enumerate(other.parameters()):
                g = generator(100 * seed + number)
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=g, dtype=torch.float64))
        other.project()
        assert objective(other, x, posterior) <= best + 1e-7 * best.abs()


def test_the_size_is_the_best_for_a_mean_at_its_floor() -> None:
    emission, x = made("negative-binomial", 1, 1), drawn("negative-binomial", 200, features=1)
    emission.floor.fill_(2 * float(x.mean()))
    emission.update(x, torch.ones(200, 1))
    objective(emission, x, torch.ones(200, 1)).backward()
    assert abs(emission.log_size.grad.item()) < 1e-6


@KINDS
def test_a_state_that_saw_nothing_stays_as_it_is(kind: str) -> None:
    emission, x = made(kind), drawn(kind, 30)
    before = {name: value.clone() for name, value in emission.named_parameters()}
    posterior = torch.zeros(30, 3, dtype=torch.float64)
    posterior[:, 0] = 1.0
    emission.update(x, posterior)
    for name, value in emission.named_parameters():
        assert torch.equal(value[1:], before[name][1:]) and not torch.equal(value[0], before[name][0])


@KINDS
def test_densities_are_differentiable(kind: str) -> None:
    emission, x = made(kind), drawn(kind, 4)
    names = [name for name, _ in emission.named_parameters()]

    def density(x: Tensor, *parameters: Tensor) -> Tensor:
        value: Tensor = torch.func.functional_call(emission, dict(zip(names, parameters, strict=True)), (x,))
        return value

    x.requires_grad_(not FAMILIES[kind].discrete)
    assert torch.autograd.gradcheck(density, (x, *emission.parameters()))


@KINDS
def test_observations_can_be_mapped_over(kind: str) -> None:
    emission, x = made(kind), drawn(kind, 4, 3)
    assert_close(torch.func.vmap(emission)(x), emission(x))


@KINDS
def test_what_cannot_be_observed_is_refused_by_name(kind: str) -> None:
    emission = made(kind)
    for value in FAMILIES[kind].refused:
        x = drawn(kind, 4)
        x[2, 1] = value
        with pytest.raises(DataError, match=rf"{type(emission).__name__}: .* got {value} at \(2, 1\)"):
            emission(x)


@KINDS
def test_parameters_come_back_from_draws(kind: str) -> None:
    """Of two states that are easily told apart, up to their order, within the tolerance said of each family."""
    model = HMM(2, truth(kind)).double()
    model.transition.update(torch.tensor([[0.9, 0.1], [0.15, 0.85]]))
    x = model.sample(400, (20,), generator()).x
    other = HMM(2, FAMILIES[kind].make(2, 2)).double()
    fit = other.fit(x, restarts=2, tolerance=1e-7, generator=generator(1))
    rounding = 1e-9 * abs(fit.objective)
    assert all(after >= before - rounding for before, after in zip(fit.history, fit.history[1:], strict=False))
    assert fit.objective >= model.score(x)
    wanted, found = parameters(model.emission), parameters(other.emission)
    distance = min(
        max(float((found[name][list(order)] - value).abs().max()) for name, value in wanted.items())
        for order in permutations(range(2))
    )
    assert distance < FAMILIES[kind].tolerance


@KINDS
def test_the_gradient_climbs_too(kind: str) -> None:
    model, x = HMM(2, FAMILIES[kind].make(2, 2)).double(), drawn(kind, 3, 20)
    fit = model.fit(x, method="gradient", iterations=5, generator=generator())
    assert fit.history[-1] > fit.history[0]


@KINDS
def test_what_lies_behind_the_end_may_be_anything(kind: str) -> None:
    model, x = HMM(3, made(kind)).double(), drawn(kind, 2, 6)
    cut = model.log_prob(x[1, :4])
    x[1, 4:] = torch.nan
    assert_close(model.log_prob(x, torch.tensor([6, 4]))[1], cut)
    assert model.fit(x, torch.tensor([6, 4]), iterations=2, generator=generator()).iterations <= 2


@KINDS
def test_a_saved_family_is_the_same_family(kind: str, tmp_path: Path) -> None:
    model, x = HMM(3, made(kind)).double(), drawn(kind, 6)
    model.initialise(x, generator=generator())
    model.save(tmp_path / "m")
    again = HMM.load(tmp_path / "m")
    assert torch.equal(again.log_prob(x), model.log_prob(x))
    assert again.emission.config == model.emission.config
    assert all(torch.equal(a, b) for a, b in zip(again.buffers(), model.buffers(), strict=True))


def test_symbols_counted_together_are_multinomial() -> None:
    emission = emissions.Multinomial(3, 4, trials=5).double()
    with torch.no_grad():
        emission.table.logits.normal_(generator=generator())
    x = emission.sample(torch.randint(3, (2, 50), generator=generator()), generator())
    assert x.shape == (2, 50, 4) and (x.sum(-1) == 5).all()
    for state, p in enumerate(exp(emission.table())):
        expected = stats.multinomial(5, p / p.sum()).logpmf(x.numpy())
        assert_close(emission(x)[..., state].detach().numpy(), expected)
    assert (emission(x.long()) == emission(x)).all()
    x, posterior = x.flatten(0, 1), posterior_of(x.flatten(0, 1))
    emission.update(x, posterior)
    counts = posterior.T @ x
    assert_close(emission.table().exp().detach(), counts / counts.sum(-1, keepdim=True))
    with pytest.raises(DataError, match="Multinomial: observations must be counts, got -1"):
        emission(-torch.ones(2, 4, dtype=torch.int64))


def test_a_multinomial_comes_back_from_draws(tmp_path: Path) -> None:
    model = HMM(2, emissions.Multinomial(2, 3, trials=4)).double()
    chance = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]).double()
    model.emission.table.update(chance)
    x = model.sample(200, (20,), generator()).x
    other = HMM(2, emissions.Multinomial(2, 3, trials=4)).double()
    other.fit(x, tolerance=1e-7, generator=generator())
    found = other.emission.table().exp().detach()
    assert min(float((found - chance).abs().max()), float((found.flip(0) - chance).abs().max())) < 0.02
    other.save(tmp_path / "m")
    assert torch.equal(HMM.load(tmp_path / "m").log_prob(x), other.log_prob(x))


@pytest.mark.parametrize("kind", ["bernoulli", "multinomial"])
def test_what_a_state_never_emits_is_impossible_and_has_no_gradient(kind: str) -> None:
    emission = (emissions.Bernoulli(2, 2) if kind == "bernoulli" else emissions.Multinomial(2, 2)).double()
    seen = torch.tensor([[0.0, 1.0], [1.0, 1.0]]).double()
    emission.update(seen[:1] if kind == "multinomial" else seen, torch.eye(2).double()[: 1 + (kind == "bernoulli")])
    found = emission(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert found[0, 0] == 0 and found[1, 0] == -torch.inf
    found[found.isfinite()].sum().backward()
    assert emission.table.logits.grad.isfinite().all()


def test_pseudo_counts_leave_nothing_impossible() -> None:
    emission = emissions.Bernoulli(1, 1, pseudo_count=1.0)
    emission.update(torch.ones(2, 1), torch.ones(2, 1))
    assert_close(emission(torch.tensor([[1], [0]])).exp(), torch.tensor([[0.75], [0.25]]))
    assert emission.log_prior() < 0


@pytest.mark.parametrize("zeros", [0, 1, 9, 40])
def test_zeros_are_inflated_only_where_there_are_too_many(zeros: int) -> None:
    """Against a search over a grid of rates, with the best chance of each."""
    x = torch.cat([torch.zeros(zeros), torch.tensor([1.0, 2.0, 2.0, 3.0, 5.0])]).unsqueeze(-1).double()
    emission = emissions.ZeroInflatedPoisson(1, 1).double()
    emission.update(x, torch.ones(len(x), 1))
    found = float(emission(x).detach().sum())
    rate, none = np.linspace(0.5, 4, 701)[:, None, None], np.linspace(0, 0.95, 96)[:, None]
    chance = none * (x[:, 0].numpy() == 0) + (1 - none) * stats.poisson.pmf(x[:, 0].numpy(), rate)
    best = np.log(chance).sum(-1).max()
    assert best - 1e-9 <= found <= best + 0.01
    assert (emission.table()[0, 0, 0] == -torch.inf) == (zeros == 0)


def product() -> emissions.Product:
    parts = [emissions.Gamma(2, 1), emissions.Categorical(2, 3), emissions.Gaussian(2, 2)]
    return emissions.Product(parts).double()


def mixed() -> emissions.Mixed:
    return emissions.Mixed([emissions.Gamma(1, 2), emissions.Gaussian(2, 2), emissions.Laplace(1, 2)]).double()


COMPOUNDS = {"product": product, "mixed": mixed}


def test_a_product_is_its_parts_side_by_side() -> None:
    emission = product()
    x = emission.sample(torch.randint(2, (3, 7), generator=generator()), generator())
    assert x.shape == (3, 7, 4) and x.dtype == torch.float64
    gamma, categorical, gaussian = emission.each()
    expected = gamma(x[..., :1]) + categorical(x[..., 1].long()) + gaussian(x[..., 2:])
    assert_close(emission(x), expected)
    x[0, 0, 1] = 0.5
    with pytest.raises(DataError, match=r"whole numbers, got 0\.5"):
        emission(x)


def test_mixed_states_are_those_of_its_parts() -> None:
    emission = mixed()
    states = torch.randint(4, (2_000, 3), generator=generator())
    x = emission.sample(states, generator())
    assert x.shape == (2_000, 3, 2)
    x = x.abs() + 0.1
    assert_close(emission(x), torch.cat([part(x) for part in emission.each()], -1))
    assert emission.filler == 1.0  # a Gamma does not take 0
    with pytest.raises(DataError, match="Gamma"):
        emission(-x)
    for number, part in enumerate((0, 1, 1, 2)):
        own = list(emission.each())[part].sample(torch.full((9_000,), int(number == 2)), generator())
        mine = emission.sample(torch.full((9_000,), number), generator(1))
        assert stats.ks_2samp(own[:, 0].numpy(), mine[:, 0].numpy()).pvalue > 1e-6


@pytest.mark.parametrize("kind", COMPOUNDS)
def test_a_compound_learns_and_comes_back_from_a_file(kind: str, tmp_path: Path) -> None:
    emission: Any = COMPOUNDS[kind]()
    model = HMM(emission.states, emission).double()
    x = model.sample(30, (4,), generator()).x
    x = x if kind == "product" else x.abs() + 0.1
    lengths = torch.tensor([30, 12, 30, 1])
    fit = model.fit(x, lengths, iterations=10, generator=generator())
    assert fit.history[-1] > fit.history[0]
    climbed = model.fit(x, lengths, method="gradient", iterations=3, generator=generator())
    assert climbed.history[-1] > climbed.history[0]
    model.save(tmp_path / "m")
    again = HMM.load(tmp_path / "m")
    assert torch.equal(again.log_prob(x, lengths), model.log_prob(x, lengths))
    assert [type(part) for part in again.emission.parts] == [type(part) for part in emission.parts]


@pytest.mark.parametrize("seed", range(4))
def test_the_parts_of_a_product_begin_with_the_same_states(seed: int) -> None:
    low = torch.arange(40) % 2 == 0
    x = torch.stack([torch.where(low, 0.0, 9.0), torch.where(low, 9.0, 0.0)], -1)
    first, second = emissions.Gaussian(2, 1), emissions.Poisson(2, 1)
    emissions.Product([first, second]).initialise(x, generator(seed))
    assert (first.mean[0] < first.mean[1]) == (second.log_rate[0] > second.log_rate[1])


def test_a_product_tells_states_apart_by_all_of_its_columns() -> None:
    parts: Any = [emissions.Gaussian(2, 1), emissions.Poisson(2, 1)]
    model = HMM(2, emissions.Product(parts)).double()
    model.transition.update(torch.tensor([[0.9, 0.1], [0.15, 0.85]]))
    with torch.no_grad():
        parts[0].mean.copy_(torch.tensor([[0.0], [3.0]]))
        parts[1].log_rate.copy_(torch.tensor([[8.0], [2.0]]).log())
    x, states = model.sample(200, (10,), generator())
    other = HMM(2, emissions.Product([emissions.Gaussian(2, 1), emissions.Poisson(2, 1)])).double()
    fit = other.fit(x, generator=generator())
    assert fit.objective >= model.score(x)
    agree = float((other.predict(x) == states).double().mean())
    assert max(agree, 1 - agree) > 0.97


def test_parts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"the same states.* got states \[2, 3\]"):
        emissions.Product([emissions.Gaussian(2, 1), emissions.Poisson(3, 1)])
    with pytest.raises(ShapeError, match=r"one event shape; got .* \[\(1,\), \(2,\)\]"):
        emissions.Mixed([emissions.Gaussian(2, 1), emissions.Poisson(3, 2)])
    with pytest.raises(ShapeError, match="which Beta and Bernoulli do not"):
        emissions.Mixed([emissions.Beta(2, 1), emissions.Bernoulli(3, 1)])


LAWS: dict[str, tuple[Callable[..., Any], dict[str, Tensor], tuple[int, ...]]] = {
    "weibull": (torch.distributions.Weibull, {"scale": torch.ones(2), "concentration": torch.ones(2)}, ()),
    "features": (torch.distributions.Gumbel, {"loc": torch.zeros(2, 3), "scale": torch.ones(2, 3)}, (3,)),
    "event": (torch.distributions.Dirichlet, {"concentration": torch.ones(2, 3)}, (3,)),
    "counts": (torch.distributions.Geometric, {"probs": torch.tensor([0.2, 0.7])}, ()),
    "function": (
        lambda logits, loc: torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(logits=logits), torch.distributions.Normal(loc, 1.0)
        ),
        {"logits": torch.zeros(2, 4), "loc": torch.randn(2, 4, generator=generator())},
        (),
    ),
}


@pytest.mark.parametrize("kind", LAWS)
def test_a_distribution_of_pytorch_is_an_emission(kind: str, tmp_path: Path) -> None:
    make, start, event = LAWS[kind]
    emission = emissions.FromTorch(make, **start).double()
    assert (emission.states, emission.event_shape) == (2, event)
    states = torch.tensor([[0, 1, 1, 0, 1]]).expand(3, -1)
    before = torch.random.get_rng_state()
    x = emission.sample(states, generator())
    assert torch.equal(x, emission.sample(states, generator())) and x.shape == (3, 5, *event)
    assert torch.equal(before, torch.random.get_rng_state())
    for state in range(2):
        law = make(**{name: value[state].double() for name, value in start.items()})
        log_prob = law.log_prob(x)
        assert_close(emission(x)[..., state].detach(), log_prob.sum(-1) if kind == "features" else log_prob)
    model = HMM(2, emission).double()
    lengths = torch.tensor([5, 2, 5])
    fit = model.fit(x, lengths, iterations=3)
    assert fit.history[-1] > fit.history[0]
    model.save(tmp_path / "m")
    with pytest.raises(DataError, match="needs more than its parameters"):
        HMM.load(tmp_path / "m")
    again = HMM.load(tmp_path / "m", emission=emissions.FromTorch(make, **start))
    assert torch.equal(again.log_prob(x, lengths), model.log_prob(x, lengths))


def test_what_a_distribution_does_not_support_is_refused() -> None:
    emission = emissions.FromTorch(torch.distributions.Exponential, rate=torch.ones(2))
    with pytest.raises(DataError, match="FromTorch: observations must be in the support"):
        emission(torch.tensor([1.0, -1.0]))
    with pytest.raises(ShapeError, match="axis for the states"):
        emissions.FromTorch(torch.distributions.Exponential, rate=torch.tensor(1.0))
