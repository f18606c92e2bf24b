"""What a model drew, a fit finds again: every emission in HMMs and HSMMs, every duration law, gaps, a few labels.

A fit has found the truth again if it explains the data at least as well, but no better than chance has it (twice the
gain is chi-squared with as many degrees of freedom as there are free parameters: Wilks 1938), and if no number that is
read off it lies far from the truth, in standard errors. Both say so of any family, without a tolerance of its own.

``python tests/models/test_recovery.py`` prints the figures.
"""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import semihmm
from semihmm.models import HMM, HSMM, durations, emissions
from semihmm.models.describing import matched

S, F = 3, 2  # states, features
FAR, RARE = 5.0, 1e-6  # standard errors, which one number in 1.7 million is off by; how rare a gain may be


class Densities(nn.Module):
    """A network that says densities: Gaussians of variance 1."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return -((x.unsqueeze(-2) - self.mean).square() + math.log(2 * math.pi)).sum(-1) / 2


class Drawing(emissions.Neural):
    """It can draw."""

    net: Densities

    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean = self.net.mean.detach()[states]
        return mean + torch.randn(mean.shape, generator=generator, dtype=mean.dtype)

    def describe(self) -> dict[str, Tensor]:
        return {"mean": self.net.mean.detach()}


@dataclass(frozen=True)
class Case:
    """An emission, and parameters from which three states are told apart.

    Attributes:
        make: a new one.
        truth: parameters by name.
        whole: whether all of an observation is missing, or nothing.
        firm: whether 2,000 steps tell its numbers so well that the likelihood curves down on all sides of the truth; if
            not, they have no standard errors, and likelihood and states alone are compared.
        smooth: whether its density has a derivative in the observation.
        fit: arguments of `fit` that its defaults and four restarts are not enough without.
    """

    make: Callable[[], Any]
    truth: dict[str, Any]
    whole: bool = False
    firm: bool = True
    smooth: bool = True
    fit: dict[str, Any] = field(default_factory=dict)

    def true(self) -> Any:
        emission = self.make().double()
        parameters = dict(emission.named_parameters())
        with torch.no_grad():
            for name, value in self.truth.items():
                parameters[name].copy_(torch.as_tensor(value))
        return emission


def log(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).log()


def switches(values: Any) -> Tensor:
    """The logits of probabilities of 1."""
    one = torch.tensor(values, dtype=torch.float64)
    return torch.stack([1 - one, one], -1).log()


MEANS = [[-2.0, 0.0], [1.0, 2.0], [2.0, -1.5]]
SPREADS = [[0.5, 1.0], [1.0, 0.6], [0.8, 0.8]]
FACTORS = [[[-0.4, 0.0], [0.5, -0.3]], [[0.0, 0.0], [-0.6, -0.5]], [[-0.2, 0.0], [0.0, -0.2]]]
TABLE = log([[0.85, 0.05, 0.05, 0.05], [0.05, 0.45, 0.45, 0.05], [0.05, 0.05, 0.1, 0.8]])
PAIRS = [[[-4.0, 0.0], [-1.5, 1.0]], [[0.5, 3.0], [1.5, 5.0]], [[2.0, -2.0], [4.5, -1.0]]]
WEIGHTS = log([[0.4, 0.6], [0.7, 0.3], [0.5, 0.5]])
GRADIENT = {"iterations": 1000, "tolerance": 1e-6, "restarts": 1}  # it starts from the parameters that it has

EMISSIONS: dict[str, Case] = {
    "Gaussian": Case(lambda: emissions.Gaussian(S, F), {"mean": MEANS, "log_variance": 2 * log(SPREADS)}),
    "Gaussian, spherical": Case(
        lambda: emissions.Gaussian(S, F, covariance="spherical"),
        {"mean": MEANS, "log_variance": 2 * log([[0.5], [1.0], [0.8]])},
    ),
    "Gaussian, full": Case(lambda: emissions.Gaussian(S, F, covariance="full"), {"mean": MEANS, "factor": FACTORS}),
    "Gaussian, tied": Case(lambda: emissions.Gaussian(S, F, covariance="tied"), {"mean": MEANS, "factor": FACTORS[:1]}),
    "FullGaussian": Case(lambda: emissions.FullGaussian(S, F), {"mean": MEANS, "factor": FACTORS}),
    "GaussianMixture": Case(
        lambda: emissions.GaussianMixture(S, F, 2),
        {"mean": PAIRS, "log_variance": 2 * log([[[0.5, 0.5], [0.7, 0.4]]] * S), "weights.logits": WEIGHTS},
    ),
    "StudentT": Case(
        lambda: emissions.StudentT(S, F),
        {"location": MEANS, "log_scale": log(SPREADS), "log_freedom": log([[4.0, 5.0], [3.0, 6.0], [5.0, 4.0]])},
    ),
    "Laplace": Case(lambda: emissions.Laplace(S, F), {"location": MEANS, "log_scale": log(SPREADS)}),
    "Exponential": Case(lambda: emissions.Exponential(S, F), {"log_mean": log([[0.1, 4.0], [3.0, 0.2], [5.0, 5.0]])}),
    "Gamma": Case(
        lambda: emissions.Gamma(S, F),
        {
            "log_shape": log([[3.0, 1.0], [5.0, 8.0], [2.0, 4.0]]),
            "log_mean": log([[1.0, 0.5], [6.0, 3.0], [0.5, 4.0]]),
        },
    ),
    "Beta": Case(
        lambda: emissions.Beta(S, F),
        {
            "log_alpha": log([[2.0, 8.0], [9.0, 1.0], [12.0, 9.0]]),
            "log_beta": log([[9.0, 2.0], [3.0, 5.0], [4.0, 2.0]]),
        },
    ),
    "VonMises": Case(
        lambda: emissions.VonMises(S, F),
        {
            "mean": [[0.0, -1.0], [1.5, 1.0], [3.0, -2.5]],
            "log_concentration": log([[4.0, 9.0], [9.0, 5.0], [3.0, 6.0]]),
        },
    ),
    "Poisson": Case(
        lambda: emissions.Poisson(S, F), {"log_rate": log([[1.0, 9.0], [7.0, 2.0], [12.0, 12.0]])}, smooth=False
    ),
    "NegativeBinomial": Case(
        lambda: emissions.NegativeBinomial(S, F),
        {
            "log_mean": log([[2.0, 20.0], [15.0, 2.0], [25.0, 30.0]]),
            "log_size": log([[2.0, 4.0], [5.0, 2.0], [4.0, 6.0]]),
        },
        smooth=False,
    ),
    "ZeroInflatedPoisson": Case(
        lambda: emissions.ZeroInflatedPoisson(S, F),
        {
            "log_rate": log([[2.0, 12.0], [9.0, 2.0], [15.0, 15.0]]),
            "table.logits": log([[[0.3, 0.7], [0.1, 0.9]], [[0.2, 0.8], [0.4, 0.6]], [[0.1, 0.9], [0.3, 0.7]]]),
        },
        smooth=False,
    ),
    "Bernoulli": Case(
        lambda: emissions.Bernoulli(S, 6),
        {
            "table.logits": switches(
                [[0.9, 0.8, 0.1, 0.2, 0.5, 0.1], [0.1, 0.2, 0.9, 0.8, 0.3, 0.2], [0.2, 0.7, 0.7, 0.1, 0.9, 0.8]]
            )
        },
        smooth=False,
    ),
    "Categorical": Case(lambda: emissions.Categorical(S, 4), {"table.logits": TABLE}),
    "Multinomial": Case(
        lambda: emissions.Multinomial(S, 4, trials=5), {"table.logits": TABLE}, whole=True, smooth=False
    ),
    "FromTorch": Case(
        lambda: emissions.FromTorch(
            torch.distributions.Gumbel, loc=torch.tensor([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), scale=torch.ones(S, F)
        ),
        {"free.loc": MEANS, "free.scale": log(SPREADS)},
        fit=GRADIENT,
    ),
    "Neural": Case(lambda: Drawing(Densities(), (F,)), {"net.mean": MEANS}, whole=True, fit=GRADIENT),
    "Mixed": Case(
        lambda: emissions.Mixed([emissions.Laplace(1, F), emissions.Gaussian(2, F, covariance="full")]),
        {
            "parts.0.location": MEANS[:1],
            "parts.0.log_scale": log(SPREADS[:1]),
            "parts.1.mean": MEANS[1:],
            "parts.1.factor": FACTORS[1:],
        },
        fit={"restarts": 12},  # each ends where the first part has the state that it began with: one of three
    ),
    "Product": Case(
        lambda: emissions.Product([emissions.Gaussian(S, 1), emissions.Categorical(S, 4), emissions.Poisson(S, 1)]),
        {
            "parts.0.mean": [[-2.0], [1.0], [2.0]],
            "parts.0.log_variance": 2 * log([[0.5], [1.0], [0.8]]),
            "parts.1.table.logits": TABLE,
            "parts.2.log_rate": log([[1.0], [7.0], [4.0]]),
        },
        smooth=False,
    ),
}

SLOPES = [[[1.5, 0.0], [-1.0, 1.0]], [[-1.5, 2.0], [0.0, -1.0]], [[0.5, -2.0], [1.5, 2.5]]]
LEVELS = log([[[1.0, 2.0], [2.0, 8.0]], [[0.5, 12.0], [0.5, 4.0]], [[1.5, 4.0], [1.0, 1.0]]])
EMISSIONS |= {
    "LinearRegression": Case(
        lambda: emissions.LinearRegression(S, F, 1), {"coefficients": SLOPES, "log_variance": 2 * log(SPREADS)}
    ),
    "LinearRegression, full": Case(
        lambda: emissions.LinearRegression(S, F, 1, covariance="full"), {"coefficients": SLOPES, "factor": FACTORS}
    ),
    "Autoregressive": Case(
        lambda: emissions.Autoregressive(S, 1, 1),
        {"coefficients": [[[0.8, 1.0]], [[-0.5, 0.0]], [[0.3, -3.0]]], "log_variance": 2 * log([[0.5], [1.0], [0.8]])},
    ),
    "GLM, Bernoulli": Case(
        lambda: emissions.GLM(S, 6, 1, "bernoulli"),
        {
            "coefficients": [
                [[2.0, -1.5], [-1.5, 2.0], [0.0, 1.5], [0.0, -1.5], [1.5, -1.0], [0.5, 1.0]],
                [[-1.5, 2.0], [0.0, -1.5], [1.5, -1.5], [-1.0, 1.5], [0.5, -2.0], [0.0, -1.5]],
                [[0.0, 1.0], [1.5, -1.0], [-1.0, 0.0], [1.5, 0.0], [-1.5, 2.0], [-1.0, -0.5]],
            ]
        },
        smooth=False,
    ),
    "GLM, Poisson": Case(lambda: emissions.GLM(S, F, 1, "poisson"), {"coefficients": LEVELS}, smooth=False),
    "GLM, gamma": Case(
        lambda: emissions.GLM(S, F, 1, "gamma"),
        {"coefficients": LEVELS, "log_shape": log([[3.0, 2.0], [5.0, 8.0], [2.0, 4.0]])},
    ),
    "LogisticRegression": Case(
        lambda: emissions.LogisticRegression(S, 4, 1),
        {
            "coefficients": [
                [[-0.4, 3.0], [0.4, 0.0], [0.0, 0.0], [0.0, 0.0]],
                [[0.0, 0.0], [1.5, 1.0], [-1.5, 4.0], [0.0, 0.0]],
                [[0.0, 0.0], [0.0, 0.0], [-0.4, 0.4], [0.4, 2.0]],
            ]
        },
        firm=False,
    ),
    "NoisyGaussian": Case(lambda: emissions.NoisyGaussian(S, F), {"mean": MEANS, "log_variance": 2 * log(SPREADS)}),
    "Conditional": Case(
        lambda: emissions.Conditional(nn.Linear(1, S * F, bias=False), emissions.Poisson(S, F), 1),
        {  # it begins from states that are told apart without inputs
            "family.log_rate": log([[1.0, 9.0], [7.0, 2.0], [12.0, 12.0]]),
            "net.weight": [[0.4], [-0.4], [-0.3], [0.3], [0.2], [-0.4]],
        },
        smooth=False,
    ),
    "FactorAnalysis": Case(
        lambda: emissions.FactorAnalysis(S, 4, 1),
        {
            "mean": [[-1.0, 0.0, 1.0, 2.0], [1.0, 1.0, -1.0, 0.0], [0.0, -2.0, 2.0, -1.0]],
            "loading": [[[0.9], [0.8], [0.7], [0.9]], [[1.0], [-0.8], [0.6], [-0.7]], [[-0.8], [0.9], [0.9], [0.7]]],
            "log_variance": 2 * log([[0.5, 0.6, 0.7, 0.5], [0.6, 0.5, 0.5, 0.7], [0.5, 0.5, 0.6, 0.6]]),
        },
    ),
    "WithPrior": Case(
        lambda: emissions.WithPrior(emissions.Gaussian(S, F), torch.tensor([[-1.0, -1.0], [1.0, 1.0]]), 0.5),
        {"emission.mean": MEANS, "emission.log_variance": 2 * log(SPREADS)},
    ),
}
MOVES = torch.tensor([[0.85, 0.1, 0.05], [0.05, 0.9, 0.05], [0.1, 0.1, 0.8]]).double()
TURNS = torch.tensor([[0.0, 0.7, 0.3], [0.4, 0.0, 0.6], [0.8, 0.2, 0.0]]).double()
LASTING = [
    durations.Poisson,
    durations.Geometric,
    durations.NegativeBinomial,
    durations.Gamma,
    durations.Gaussian,
    durations.LogNormal,
    durations.Weibull,
    durations.Categorical,
]
MODELS: dict[str, Callable[[Any], Any]] = {
    "HMM": lambda emission: HMM(S, emission),
    "HSMM": lambda emission: HSMM(S, emission, durations.Poisson(S, 12)),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def true(model: Any, rates: Sequence[float] = (2.0, 4.0, 6.0)) -> Any:
    """A model with the transitions and Poisson durations from which data are drawn."""
    model = model.double()
    with torch.no_grad():
        model.initial.logits.zero_()
        model.transition.update(MOVES if isinstance(model, HMM) else TURNS)
        if isinstance(model, HSMM) and isinstance(model.duration, durations.Poisson):
            model.duration.log_rate.copy_(log(rates))
    return model


def reading(model: Any) -> dict[str, Tensor]:
    """What is read off a model of each state, ``(S, ...)``; components of mixtures from left to right.

    Degrees of freedom are read as their inverse, which is nearer to normal.
    """
    emission = model.emission
    if isinstance(emission, emissions.Conditional):
        weight = emission.net.get_parameter("weight").detach().reshape(S, F, 1)
        found = {"weight": weight, **emission.family.describe()}
    else:
        found = dict(emission.describe())
    if isinstance(emission, emissions.LogisticRegression):  # what all symbols have in common says nothing
        found = {n: x - x.mean(1, keepdim=True) for n, x in found.items()}
    if isinstance(emission, emissions.FactorAnalysis):  # a factor may change its sign
        found["loading"] = emission.covariance().detach()
    if isinstance(emission, emissions.GaussianMixture):
        order = found["mean"][..., 0].argsort(-1)
        found = {n: x[torch.arange(S).unsqueeze(-1), order] for n, x in found.items()}
    if "freedom" in found:
        found["freedom"] = 1 / found["freedom"]
    found["transition"] = model.transition.matrix().detach()
    if isinstance(model, HSMM):
        chance, steps = model.duration().detach().exp(), torch.arange(1.0, model.duration.max_duration + 1).double()
        found["duration"] = chance.double() @ steps
        found["deviation of the duration"] = (chance.double() @ steps.square() - found["duration"].square()).sqrt()
    return found


def flat(found: dict[str, Tensor], order: Sequence[int] = range(S)) -> Tensor:
    """All numbers of a reading, the states in another order; 0 where a state has none."""
    moved = {n: x[list(order)][:, list(order)] if n == "transition" else x[list(order)] for n, x in found.items()}
    return torch.cat([x.double().flatten() for x in moved.values()]).nan_to_num(0.0)


def standard_errors(model: Any, x: Tensor, known: dict[str, Tensor], width: float = 0.05) -> Tensor:
    """Of a reading: from the curvature of the log-likelihood, by differences of its gradient, and the delta method.

    Differences, since the density of a Laplace distribution has its curvature in its kinks.
    """
    model = copy.deepcopy(model)
    parameters = [p for n, p in model.named_parameters() if not n.startswith("initial")]
    here = parameters_to_vector(parameters).detach()

    def at(point: Tensor) -> tuple[Tensor, Tensor]:
        vector_to_parameters(point, parameters)
        slope = torch.autograd.grad(
            model.log_prob(x, **known).sum(), parameters, allow_unused=True, materialize_grads=True
        )
        return torch.cat([one.flatten() for one in slope]), flat(reading(model))

    ends = [(at(here + step), at(here - step)) for step in width * torch.eye(len(here), dtype=here.dtype)]
    bend, moved = (torch.stack([up[i] - down[i] for up, down in ends]) / (2 * width) for i in range(2))
    covariance = torch.linalg.pinv(-(bend + bend.T) / 2, rtol=1e-7, hermitian=True)  # logits can be shifted
    found: Tensor = (moved.T @ covariance @ moved).diagonal().clamp(min=0.0).sqrt()
    return found


@dataclass(frozen=True)
class Recovery:
    """A fit beside the truth.

    Attributes:
        gain: how much better than the truth the fit explains the data, in nats.
        free: how many parameters were free.
        distance: of what is read off the model from the truth, at most, in standard errors; 0 if those are not known.
        right: the share of steps of which the fit finds the state.
        best: the same of the truth.
        history: of the objective.
        em: whether it was one of EM, which never lowers it.
    """

    gain: float
    free: int
    distance: float
    right: float
    best: float
    history: tuple[float, ...] = field(repr=False)
    em: bool

    @property
    def chance(self) -> float:
        """Of a gain at least as large."""
        return float(stats.chi2.sf(2 * self.gain, self.free))

    def check(self) -> None:
        assert not self.em or all(after >= before - 1e-5 * abs(before) for before, after in pairwise(self.history))
        assert self.gain >= 0
        assert self.chance > RARE
        assert self.distance < FAR
        assert self.right > self.best - 0.02


def inputs_of(model: Any, steps: int) -> dict[str, Tensor]:
    """Inputs for an emission that takes some, between 0 and 2."""
    shape = (steps, model.emission.inputs)
    return {"inputs": 2 * torch.rand(shape, dtype=torch.float64, generator=generator(3))} if shape[1] else {}


def recovered(
    truth: Any,
    found: Any,
    steps: int = 200,
    *,
    holes: Callable[[Tensor], Tensor] = torch.clone,
    labelled: float | None = None,
    seed: int = 1,
    firm: bool = True,
    **fit: Any,
) -> Recovery:
    """Fit a new model, as a user does, to ten sequences that the truth drew."""
    driven = inputs_of(truth, steps)
    x, states = truth.sample(steps, (10,), generator(), **driven)
    x = holes(x)
    driven = {name: u.expand(10, -1, -1) for name, u in driven.items()}
    known = dict(driven)
    if labelled is not None:
        shown = torch.rand(states.shape, generator=generator(2)) < labelled
        known["labels"] = torch.where(shown, states, -1)
    single = x.float() if x.is_floating_point() else x
    history = found.fit(single, generator=generator(seed), **{"restarts": 4, **known, **fit}).history
    found = copy.deepcopy(found).double()
    order = list(range(S)) if labelled is not None else matched(found.confusion(x, states, **driven))
    error = standard_errors(truth, x, known) if firm else torch.tensor(torch.inf)
    away = (flat(reading(found), order) - flat(reading(truth))).abs()
    named = torch.tensor(order).argsort()[found.predict(x, **driven)]
    return Recovery(
        found.score(x, **known) - truth.score(x, **known),
        found.free_parameters,
        float((away / error.clamp(min=1e-6)).max()),  # what a model says for certain, such as a 0, has no error
        float((named == states).double().mean()),
        float((truth.predict(x, **driven) == states).double().mean()),
        history,
        found.emission.trains_by_em,
    )


def holed(case: Case) -> Callable[[Tensor], Tensor]:
    """Three values in ten are missing."""

    def holes(x: Tensor) -> Tensor:
        shape = (*x.shape[:-1], 1) if case.whole else x.shape
        hidden = torch.rand(shape, generator=generator(7)) < 0.3
        return x.masked_fill(hidden, torch.nan if x.is_floating_point() else -1)

    return holes


def of_emission(kind: str, model: str, gaps: bool = False) -> Recovery:
    case = EMISSIONS[kind]
    truth, found = true(MODELS[model](case.true())), MODELS[model](case.make())
    return recovered(truth, found, holes=holed(case) if gaps else torch.clone, firm=case.firm, **case.fit)


def of_duration(law: Callable[..., Any]) -> Recovery:
    """Lengths that vary more than those of a Poisson law do, as far as the law can say so."""
    truth = HSMM(S, EMISSIONS["Gaussian"].true(), law(S, 25))
    lengths = torch.distributions.NegativeBinomial(torch.tensor([2.0, 3.0, 4.0]), torch.tensor([0.6, 0.65, 0.6]))
    truth.duration.double().update(lengths.log_prob(torch.arange(25.0).unsqueeze(-1)).exp().T)
    found = HSMM(S, emissions.Gaussian(S, F), law(S, 25))
    return recovered(true(truth), found)


KINDS = pytest.mark.parametrize("kind", EMISSIONS)


@pytest.mark.parametrize("model", MODELS)
@KINDS
def test_what_a_model_drew_is_found_again(kind: str, model: str) -> None:
    of_emission(kind, model).check()


@KINDS
def test_with_three_values_in_ten_missing_too(kind: str) -> None:
    of_emission(kind, "HMM", gaps=True).check()


@pytest.mark.parametrize("law", LASTING, ids=lambda law: law.__name__)
def test_how_long_states_last_is_found_again(law: Callable[..., Any]) -> None:
    of_duration(law).check()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("model", MODELS)
def test_one_label_in_ten_numbers_the_states(model: str, seed: int) -> None:
    """Nothing is aligned here."""
    case = EMISSIONS["Gaussian"]
    truth, found = true(MODELS[model](case.true())), MODELS[model](case.make())
    recovered(truth, found, labelled=0.1, seed=seed, restarts=1).check()


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize("model", MODELS)
@KINDS
def test_the_likelihood_of_a_model_has_the_derivatives_of_its_differences(kind: str, model: str, gaps: bool) -> None:
    case = EMISSIONS[kind]
    made = true(MODELS[model](case.true()))
    driven = inputs_of(made, 8)
    x = made.sample(8, (), generator(), **driven).x
    x = holed(case)(x) if gaps else x
    names, parameters = zip(*made.named_parameters(), strict=True)

    def likelihood(x: Tensor, *values: Tensor) -> Tensor:
        structure = torch.func.functional_call(made, dict(zip(names, values, strict=True)), (x,), driven)
        return semihmm.log_partition(structure)

    x = x.requires_grad_(x.is_floating_point() and case.smooth and not gaps)
    assert torch.autograd.gradcheck(likelihood, (x, *parameters), fast_mode=True)


@pytest.mark.parametrize("labelled", [True, False], ids=["labels", "no labels"])
@pytest.mark.parametrize("censored", ["none", "right"])
def test_uniform_lengths_are_found(censored: Any, labelled: bool) -> None:
    ranges = [(2, 5), (4, 9), (6, 12)]

    def made(**arguments: Any) -> Any:
        return HSMM(S, emissions.Gaussian(S, F), durations.Uniform(S, 15, **arguments), censored=censored)

    truth = made(ranges=ranges)
    truth.emission = EMISSIONS["Gaussian"].true()
    x, states = true(truth).sample(200, (10,), generator())
    found = made()
    fit = found.fit(x.float(), restarts=2, generator=generator(), **({"labels": states} if labelled else {}))
    found.align(x.float(), states)
    assert [*zip(found.duration.shortest.tolist(), found.duration.longest.tolist(), strict=True)] == ranges
    assert all(after >= before - 0.01 for before, after in pairwise(fit.history))


def test_ranges_of_lengths_go_with_their_states() -> None:
    model = HSMM(S, emissions.Gaussian(S, F), durations.Uniform(S, 15, ranges=[(2, 5), (4, 9), (6, 12)]))
    before = model.duration().exp()
    model.permute([2, 0, 1])
    assert torch.equal(model.duration().exp(), before[[2, 0, 1]])
    model.duration.initialise()
    assert torch.equal(model.duration().exp(), before[[2, 0, 1]])


def test_every_emission_is_here() -> None:
    classes = {getattr(emissions, name) for name in emissions.__all__} - {emissions.Emission}
    assert {type(case.make()).__mro__[isinstance(case.make(), Drawing)] for case in EMISSIONS.values()} == classes


def test_every_duration_law_without_inputs_is_here() -> None:
    """But for `Uniform`, which has no standard errors: see below."""
    classes = {getattr(durations, name) for name in durations.__all__}
    driven = {law for law in classes if issubclass(law, durations.DrivenDuration)}
    abstract = {durations.Duration, durations.Parametric}
    assert {*LASTING} | {durations.Uniform} == classes - driven - abstract


def main() -> None:
    """Print the figures as tables."""
    laws = [law.__name__ for law in LASTING]
    tables: list[tuple[str, Iterable[str], Callable[[str], Recovery]]] = [
        ("HMM", EMISSIONS, lambda kind: of_emission(kind, "HMM")),
        ("HSMM", EMISSIONS, lambda kind: of_emission(kind, "HSMM")),
        ("HMM, three values in ten missing", EMISSIONS, lambda kind: of_emission(kind, "HMM", gaps=True)),
        ("durations", laws, lambda kind: of_duration(getattr(durations, kind))),
    ]
    for title, kinds, find in tables:
        print(
            f"\n| {title} | gain, nats | free parameters | farthest, in standard errors | states found, by the truth |"
        )
        print("| --- | --- | --- | --- | --- |")
        for kind in kinds:
            torch.manual_seed(0)
            it = find(kind)
            print(
                f"| {kind} | {it.gain:.1f} | {it.free} | {it.distance:.1f} | {it.right:.1%}, {it.best:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
