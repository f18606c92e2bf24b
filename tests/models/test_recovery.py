"""What a model drew, a fit finds again: every emission in HMMs and HSMMs, every duration law, gaps, a few labels.

Run as a script, this prints the figures.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from semihmm.models import HMM, HSMM, durations, emissions
from semihmm.models.describing import matched

S, F = 3, 2  # states, features
FAR, FALSE_ALARM = 5.0, 1e-6  # standard errors, 6e-7 of a normal number; of a likelihood ratio


class Densities(nn.Module):
    """A network that says densities: Gaussians of variance 1."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return -((x.unsqueeze(-2) - self.mean).square() + math.log(2 * math.pi)).sum(-1) / 2


class Drawing(emissions.Neural):
    """It can draw."""

    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        mean: Tensor = self.net.mean.detach()[states]  # type: ignore[union-attr,index]
        return mean + torch.randn(mean.shape, generator=generator, dtype=mean.dtype)

    def describe(self) -> dict[str, Tensor]:
        return {"mean": self.net.mean.detach()}  # type: ignore[union-attr,dict-item]


@dataclass(frozen=True)
class Case:
    """An emission, and parameters from which three states are told apart.

    Attributes:
        make: a new one.
        truth: parameters by name.
        together: how many of the last axes of an observation are missing together.
        fit: arguments of `fit` other than its own.
    """

    make: Callable[[], Any]
    truth: dict[str, Any]
    together: int = 0
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
TABLE = log([[0.7, 0.1, 0.1, 0.1], [0.1, 0.4, 0.4, 0.1], [0.05, 0.15, 0.1, 0.7]])
PAIRS = [[[-4.0, 0.0], [-1.5, 1.0]], [[0.5, 3.0], [1.5, 5.0]], [[2.0, -2.0], [4.5, -1.0]]]
WEIGHTS = log([[0.4, 0.6], [0.7, 0.3], [0.5, 0.5]])
slow = {"iterations": 1000, "tolerance": 1e-6}

# An emission that inputs drive takes one line here, and `known` below gives its inputs.
EMISSIONS: dict[str, Case] = {
    "Gaussian": Case(lambda: emissions.Gaussian(S, F), {"mean": MEANS, "log_variance": 2 * log(SPREADS)}),
    "Gaussian, spherical": Case(
        lambda: emissions.Gaussian(S, F, covariance="spherical"),
        {"mean": MEANS, "log_variance": 2 * log([[0.5], [1.0], [0.8]])},
    ),
    "Gaussian, full": Case(lambda: emissions.Gaussian(S, F, covariance="full"), {"mean": MEANS, "factor": FACTORS}),
    "Gaussian, tied": Case(
        lambda: emissions.Gaussian(S, F, covariance="tied"), {"mean": MEANS, "factor": FACTORS[:1]}
    ),
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
    "Exponential": Case(
        lambda: emissions.Exponential(S, F), {"log_mean": log([[0.1, 4.0], [3.0, 0.2], [5.0, 5.0]])}
    ),
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
            "log_alpha": log([[2.0, 8.0], [9.0, 1.0], [3.0, 3.0]]),
            "log_beta": log([[6.0, 2.0], [3.0, 3.0], [9.0, 1.0]]),
        },
    ),
    "VonMises": Case(
        lambda: emissions.VonMises(S, F),
        {"mean": [[0.0, -1.0], [1.5, 1.0], [3.0, -2.5]], "log_concentration": log([[4.0, 9.0], [9.0, 5.0], [3.0, 6.0]])},
    ),
    "Poisson": Case(lambda: emissions.Poisson(S, F), {"log_rate": log([[1.0, 9.0], [7.0, 2.0], [12.0, 12.0]])}),
    "NegativeBinomial": Case(
        lambda: emissions.NegativeBinomial(S, F),
        {
            "log_mean": log([[2.0, 20.0], [15.0, 2.0], [25.0, 30.0]]),
            "log_size": log([[2.0, 4.0], [5.0, 2.0], [4.0, 6.0]]),
        },
    ),
    "ZeroInflatedPoisson": Case(
        lambda: emissions.ZeroInflatedPoisson(S, F),
        {
            "log_rate": log([[2.0, 12.0], [9.0, 2.0], [15.0, 15.0]]),
            "table.logits": log([[[0.3, 0.7], [0.1, 0.9]], [[0.2, 0.8], [0.4, 0.6]], [[0.1, 0.9], [0.3, 0.7]]]),
        },
    ),
    "Bernoulli": Case(
        lambda: emissions.Bernoulli(S, 6),
        {
            "table.logits": switches(
                [[0.9, 0.8, 0.1, 0.2, 0.5, 0.1], [0.1, 0.2, 0.9, 0.8, 0.3, 0.2], [0.2, 0.7, 0.7, 0.1, 0.9, 0.8]]
            )
        },
    ),
    "Categorical": Case(lambda: emissions.Categorical(S, 4), {"table.logits": TABLE}),
    "Multinomial": Case(lambda: emissions.Multinomial(S, 4, trials=5), {"table.logits": TABLE}, together=1),
    "FromTorch": Case(
        lambda: emissions.FromTorch(
            torch.distributions.Gumbel, loc=torch.tensor([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), scale=torch.ones(S, F)
        ),
        {"free.loc": MEANS, "free.scale": log(SPREADS)},
        fit=slow,
    ),
    "Neural": Case(lambda: Drawing(Densities(), (F,)), {"net.mean": MEANS}, together=1, fit=slow),
    "Mixed": Case(
        lambda: emissions.Mixed([emissions.Laplace(1, F), emissions.Gaussian(2, F, covariance="full")]),
        {
            "parts.0.location": MEANS[:1],
            "parts.0.log_scale": log(SPREADS[:1]),
            "parts.1.mean": MEANS[1:],
            "parts.1.factor": FACTORS[1:],
        },
    ),
    "Product": Case(
        lambda: emissions.Product([emissions.Gaussian(S, 1), emissions.Categorical(S, 4), emissions.Poisson(S, 1)]),
        {
            "parts.0.mean": [[-2.0], [1.0], [2.0]],
            "parts.0.log_variance": 2 * log([[0.5], [1.0], [0.8]]),
            "parts.1.table.logits": TABLE,
            "parts.2.log_rate": log([[1.0], [7.0], [4.0]]),
        },
    ),
}

MOVES = torch.tensor([[0.85, 0.1, 0.05], [0.05, 0.9, 0.05], [0.1, 0.1, 0.8]]).double()
TURNS = torch.tensor([[0.0, 0.7, 0.3], [0.4, 0.0, 0.6], [0.8, 0.2, 0.0]]).double()
D = 16


def hmm(emission: Any) -> Any:
    return HMM(S, emission)


def hsmm(emission: Any) -> Any:
    return HSMM(S, emission, durations.Poisson(S, D), censored="right")


MODELS = {"HMM": hmm, "HSMM": hsmm}


def true_model(model: str, emission: Any) -> Any:
    made = MODELS[model](emission).double()
    with torch.no_grad():
        made.initial.logits.zero_()
        made.transition.update(MOVES if model == "HMM" else TURNS)
        if model == "HSMM":
            made.duration.log_rate.copy_(log([3.0, 6.0, 9.0]))
    return made


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reading(model: Any) -> dict[str, Tensor]:
    """What is read off a model of each state, ``(S, ...)``; components of mixtures from left to right."""
    found = dict(model.emission.describe())
    if isinstance(model.emission, emissions.GaussianMixture):
        order = found["mean"][..., 0].argsort(-1)
        found = {n: x[torch.arange(S).unsqueeze(-1), order] for n, x in found.items()}
    found["transition"] = model.transition.matrix().detach()
    if hasattr(model, "duration"):
        chance, steps = model.duration().detach().exp(), torch.arange(1.0, model.duration.max_duration + 1)
        mean = chance @ steps.to(chance)
        found["duration"] = mean
        found["duration's deviation"] = (chance @ steps.square().to(chance) - mean.square()).sqrt()
    return found


def flat(found: dict[str, Tensor], order: Sequence[int] = range(S)) -> Tensor:
    """All numbers of a reading, the states in another order."""
    where = list(order)
    moved = {n: x[where][:, where] if n == "transition" else x[where] for n, x in found.items()}
    return torch.cat([x.double().flatten() for x in moved.values()])


def standard_errors(model: Any, x: Tensor, width: float = 0.05) -> Tensor:
    """Of a reading: from the curvature of the log-likelihood, by differences of its gradient, and the delta method.

    Differences, since the density of a Laplace distribution has its curvature in its kinks.
    """
    model = copy.deepcopy(model)
    parameters = [p for n, p in model.named_parameters() if not n.startswith("initial")]
    here = parameters_to_vector(parameters).detach()

    def at(point: Tensor) -> tuple[Tensor, Tensor]:
        vector_to_parameters(point, parameters)
        slope = torch.autograd.grad(model.log_prob(x).sum(), parameters, allow_unused=True, materialize_grads=True)
        return torch.cat([one.flatten() for one in slope]), flat(reading(model))

    ends = [(at(here + step), at(here - step)) for step in width * torch.eye(len(here), dtype=here.dtype)]
    bend = torch.stack([up[0] - down[0] for up, down in ends]) / (2 * width)
    moved = torch.stack([up[1] - down[1] for up, down in ends]) / (2 * width)
    covariance = torch.linalg.pinv(-(bend + bend.T) / 2, rtol=1e-7, hermitian=True)
    return (moved.T @ covariance @ moved).diagonal().sqrt()


@dataclass(frozen=True)
class Recovery:
    """A fit beside the truth.

    Attributes:
        gain: how much better than the truth the fit explains the data, in nats.
        chance: of a gain at least as large (Wilks 1938).
        distance: of what is read off the model from the truth, in standard errors.
        accuracy: the share of states found by the fit, and by the truth.
    """

    gain: float
    chance: float
    distance: float
    accuracy: tuple[float, float]
    history: tuple[float, ...]


def recovered(truth: Any, found: Any, steps: int = 200, batch: int = 10, holes: Any = None, **fit: Any) -> Recovery:
    x, states = truth.sample(steps, (batch,), generator())
    if holes is not None:
        x = holes(x)
    history = found.fit(x.float() if x.is_floating_point() else x, restarts=4, generator=generator(1), **fit).history
    found = copy.deepcopy(found).double()
    order = matched(found.confusion(x, states))
    gain = found.score(x) - truth.score(x)
    error = standard_errors(truth, x)
    away = (flat(reading(found), order) - flat(reading(truth))).abs()
    certain = error < 1e-9
    assert away[certain].max() < 1e-6 if certain.any() else True
    z = (away / error)[~certain]
    global LAST
    LAST = {"truth": flat(reading(truth)), "found": flat(reading(found), order), "error": error, "names": list(reading(truth))}
    right = (torch.tensor(order).argsort()[found.predict(x)] == states).double().mean()
    return Recovery(
        gain,
        float(stats.chi2.sf(2 * gain, found.free_parameters)),
        float(z.max()),
        (float(right), float((truth.predict(x) == states).double().mean())),
        history,
    )
