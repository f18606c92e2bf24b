"""Conjugate distributions of a part's parameters: what is believed before the data, and after.

One class for each kind of part. Each holds hyperparameters as tensors, adds sums over the data to them, and then says:
the expected log-probabilities that variational Bayes takes in place of log-probabilities, how far the belief has moved
from the prior, a draw of the parameters, and their mean.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from semihmm.errors import ShapeError, StructureError
from semihmm.models.durations import Categorical as CategoricalDuration
from semihmm.models.emissions import Categorical, Emission, Gaussian, Poisson
from semihmm.models.emissions.base import missing
from semihmm.models.part import Law, Part
from semihmm.models.table import Table
from semihmm.models.transitions import Categorical as CategoricalTransition
from semihmm.structures.authoring import tensor_of


class Belief(ABC):
    """A distribution of the parameters of one part.

    `observe` replaces what the data said before: the prior is kept.
    """

    @abstractmethod
    def observe(self, sums: Mapping[str, Tensor]) -> None:
        """Believe the prior and these sums: counts of a law as ``counts``, the statistics of an emission."""

    @abstractmethod
    def divergence(self) -> Tensor:
        """The Kullback-Leibler divergence from the prior, in nats."""

    @abstractmethod
    def draw(self, generator: torch.Generator | None = None) -> None:
        """Set the part's parameters to a draw."""

    @abstractmethod
    def settle(self) -> None:
        """Set the part's parameters to what is expected of them."""


class TableBelief(Belief):
    """Dirichlet distributions of the groups of a table.

    Args:
        table: what is believed of; its pseudo-count adds to the prior.
        concentration: of the prior, one number or one for each entry.

    Example:
        >>> belief = TableBelief(Table.rows(1, 2), concentration=1.0)
        >>> belief.observe({"counts": torch.tensor([[3.0, 1.0]])})
        >>> belief.settle()
        >>> belief.table().exp().double().round(decimals=4).tolist()
        [[0.6667, 0.3333]]
    """

    def __init__(self, table: Table, concentration: float | Tensor = 1.0) -> None:
        if isinstance(table, CategoricalTransition) and table.ties is not None:
            raise StructureError("bayes: fixed and tied transitions have no conjugate prior.")
        self.table = table
        own = tensor_of("bayes", "concentration", concentration).double() + table.added
        if own.ndim > table.group.ndim or any(
            n not in (1, m) for n, m in zip(reversed(own.shape), reversed(table.group.shape), strict=False)
        ):
            raise ShapeError(
                f"bayes: concentration is one number or one for each entry, {tuple(table.group.shape)}, got "
                f"{tuple(own.shape)}."
            )
        self.prior = torch.where(table.allowed, own.expand(table.group.shape), 0.0)
        self.concentration = self.prior.clone()

    def observe(self, sums: Mapping[str, Tensor]) -> None:
        counts = torch.where(self.table.allowed, sums["counts"].double(), 0.0)
        self.concentration = self.prior + counts

    def expected_log(self) -> Tensor:
        """``E[log p]`` of each entry, in float64; ``-inf`` where there is none."""
        allowed = self.table.allowed
        total = self._groups(self.concentration)
        found = torch.digamma(torch.where(allowed, self.concentration, 1.0)) - torch.digamma(total)
        return torch.where(allowed, found, -torch.inf)

    def divergence(self) -> Tensor:
        allowed = self.table.allowed
        after, before = (torch.where(allowed, x, 1.0) for x in (self.concentration, self.prior))
        each = torch.lgamma(before) - torch.lgamma(after) + (after - before) * torch.digamma(after)
        moved = (self.concentration - self.prior) * torch.digamma(self._groups(self.concentration))
        whole = torch.lgamma(self._sums(self.concentration)) - torch.lgamma(self._sums(self.prior))
        return torch.where(allowed, each - moved, 0.0).sum() + whole.sum()

    @torch.no_grad()
    def draw(self, generator: torch.Generator | None = None) -> None:
        self._set(log_gamma_draw(torch.where(self.table.allowed, self.concentration, 1.0), generator))

    @torch.no_grad()
    def settle(self) -> None:
        self._set(torch.where(self.table.allowed, self.concentration, 1.0).log())

    def _set(self, log_weight: Tensor) -> None:
        self.table.logits.copy_(log_weight)
        self.table.logits.copy_(torch.where(self.table.allowed, self.table(), 0.0))  # normalised

    def _sums(self, x: Tensor) -> Tensor:
        """The sum of each group that has entries."""
        group = self.table.group.flatten()
        sums = x.new_zeros(self.table.groups).index_add(0, group, x.flatten())
        there = x.new_zeros(self.table.groups).index_add(0, group, self.table.allowed.flatten().to(x))
        return torch.where(there > 0, sums, 1.0)

    def _groups(self, x: Tensor) -> Tensor:
        return self._sums(x)[self.table.group]


class EmissionBelief(Belief):
    """A distribution of an emission's parameters."""

    @abstractmethod
    def expected_log(self, x: Tensor) -> Tensor:
        """``E[log p(x)]`` in each state, ``(..., T, S)``. It sets the emission's parameters."""


class CategoricalBelief(EmissionBelief):
    """Dirichlet distributions of the symbols of each state.

    Example:
        >>> belief = CategoricalBelief(semihmm.models.emissions.Categorical(1, 2))
        >>> belief.observe({"counts": torch.tensor([[3.0, 1.0]])})
        >>> belief.own.concentration.tolist()
        [[4.0, 2.0]]
    """

    def __init__(self, emission: Categorical, concentration: float | Tensor = 1.0) -> None:
        self.own = TableBelief(emission.table, concentration)

    def observe(self, sums: Mapping[str, Tensor]) -> None:
        self.own.observe(sums)

    def expected_log(self, x: Tensor) -> Tensor:
        absent = missing(x)
        found = self.own.expected_log().T[torch.where(absent, 0, x).long()]
        return torch.where(absent.unsqueeze(-1), 0.0, found).to(self.own.table.dtype)

    def divergence(self) -> Tensor:
        return self.own.divergence()

    def draw(self, generator: torch.Generator | None = None) -> None:
        self.own.draw(generator)

    def settle(self) -> None:
        self.own.settle()


class PoissonBelief(EmissionBelief):
    """Gamma distributions of rates.

    Args:
        emission: what is believed of.
        count, steps: of the prior: ``Gamma(count, steps)``, as if so many events had been met in so many steps.

    Example:
        >>> emission = semihmm.models.emissions.Poisson(1, features=1)
        >>> belief = PoissonBelief(emission, count=1.0, steps=1.0)
        >>> belief.observe({"weight": torch.tensor([[9.0]]), "total": torch.tensor([[29.0]])})
        >>> belief.settle()
        >>> round(emission.log_rate.exp().item(), 3)
        3.0
    """

    def __init__(self, emission: Poisson, count: float = 1.0, steps: float = 0.1) -> None:
        self.emission, self.prior = emission, (count, steps)
        like = emission.log_rate.detach().double()
        self.count, self.steps = torch.full_like(like, count), torch.full_like(like, steps)

    def observe(self, sums: Mapping[str, Tensor]) -> None:
        self.count, self.steps = self.prior[0] + sums["total"], self.prior[1] + sums["weight"]

    def expected_log(self, x: Tensor) -> Tensor:
        self.settle()
        more = (torch.digamma(self.count) - self.count.log()).T
        log_prob: Tensor = self.emission(x)
        return log_prob + (torch.where(missing(x), 0.0, x.double()) @ more).to(log_prob)

    def divergence(self) -> Tensor:
        (a, b), (p, q) = (self.count, self.steps), self.prior
        return gamma_divergence(a, b, torch.tensor(p).double(), torch.tensor(q).double()).sum()

    @torch.no_grad()
    def draw(self, generator: torch.Generator | None = None) -> None:
        self.emission.log_rate.copy_(log_gamma_draw(self.count, generator) - self.steps.log())

    @torch.no_grad()
    def settle(self) -> None:
        self.emission.log_rate.copy_((self.count / self.steps).log())


class GaussianBelief(EmissionBelief):
    """Normal-Gamma distributions of the mean and the precision of each feature (Murphy 2007, section 3).

    Of spherical Gaussians, all features of a state have one precision.

    Args:
        emission: Gaussians with diagonal or spherical covariance.
        mean, variance: of the prior ``(F,)``: where means and variances are expected to be.
        weight: how many observations of the mean the prior is worth.
        freedom: of the variance.

    Example:
        >>> emission = Gaussian(1, features=1, covariance="diag")
        >>> belief = GaussianBelief(emission, torch.zeros(1), torch.ones(1), weight=1.0)
        >>> belief.observe(emission.statistics(torch.full((3, 1), 4.0), torch.ones(3, 1)))
        >>> belief.now["mean"].tolist()  # three observations of 4, and one of 0
        [[3.0]]
    """

    def __init__(
        self, emission: Gaussian, mean: Tensor, variance: Tensor, weight: float = 0.1, freedom: float = 2.0
    ) -> None:
        self.emission = emission
        like, each = emission.mean.detach().double(), emission.log_variance.detach().double()
        self.prior = {
            "mean": mean.double().expand_as(like) - emission.centre,
            "weight": torch.full_like(like, weight),
            "shape": torch.full_like(each, freedom / 2),
            "scale": emission.spread.floor(variance.double()).expand_as(each) * freedom / 2,
        }
        self.now = dict(self.prior)

    def observe(self, sums: Mapping[str, Tensor]) -> None:
        prior, seen = self.prior, sums["weight"]
        weight = prior["weight"] + seen
        mean = (prior["weight"] * prior["mean"] + sums["first"]) / weight
        spread = sums["second"] + prior["weight"] * prior["mean"].square() - weight * mean.square()
        if self.emission.spread.shared:
            seen, spread = seen.sum(-1, keepdim=True), spread.sum(-1, keepdim=True)
        self.now = {
            "mean": mean,
            "weight": weight,
            "shape": prior["shape"] + seen / 2,
            "scale": prior["scale"] + spread.clamp(min=0.0) / 2,
        }

    def expected_log(self, x: Tensor) -> Tensor:
        self.settle()
        shape, weight = self.now["shape"], self.now["weight"]
        more = (torch.digamma(shape) - shape.log()) / 2 - 1 / (2 * weight)
        log_prob: Tensor = self.emission(x)
        return log_prob + ((~missing(x)).double() @ more.T).to(log_prob)

    def divergence(self) -> Tensor:
        now, prior = self.now, self.prior
        precision = now["shape"] / now["scale"]
        ratio = prior["weight"] / now["weight"]
        away = (now["mean"] - prior["mean"]).square()
        normal = (ratio - 1 - ratio.log() + prior["weight"] * precision * away) / 2
        return normal.sum() + gamma_divergence(now["shape"], now["scale"], prior["shape"], prior["scale"]).sum()

    @torch.no_grad()
    def draw(self, generator: torch.Generator | None = None) -> None:
        log_precision = log_gamma_draw(self.now["shape"], generator) - self.now["scale"].log()
        noise = torch.randn(self.now["mean"].shape, generator=generator, dtype=torch.float64)
        mean = self.now["mean"] + noise * (-log_precision / 2).exp() / self.now["weight"].sqrt()
        self._set(mean, -log_precision)

    @torch.no_grad()
    def settle(self) -> None:
        self._set(self.now["mean"], (self.now["scale"] / self.now["shape"]).log())

    def _set(self, mean: Tensor, log_variance: Tensor) -> None:
        self.emission.mean.copy_(mean + self.emission.centre)
        self.emission.log_variance.copy_(log_variance)


class FullGaussianBelief(EmissionBelief):
    """Normal-Wishart distributions of means and precision matrices (Murphy 2007, section 8).

    Args:
        emission: Gaussians with full or tied covariance. Observations are whole, or missing as a whole.
        mean, variance: of the prior ``(F,)``.
        weight: how many observations of the mean the prior is worth.
        freedom: of the matrix, beyond F - 1, the least that there is.

    Example:
        >>> emission = Gaussian(1, features=1, covariance="full")
        >>> belief = FullGaussianBelief(emission, torch.zeros(1), torch.ones(1), weight=1.0)
        >>> belief.observe(emission.statistics(torch.full((3, 1), 4.0), torch.ones(3, 1)))
        >>> belief.now["mean"].tolist()  # three observations of 4, and one of 0
        [[3.0]]
    """

    def __init__(
        self, emission: Gaussian, mean: Tensor, variance: Tensor, weight: float = 0.1, freedom: float = 2.0
    ) -> None:
        self.emission = emission
        states, size = emission.mean.shape
        degrees, matrices = size - 1 + freedom, len(emission.factor)
        self.prior = {
            "mean": (mean.double() - emission.centre).expand(states, size),
            "weight": torch.full((states,), weight, dtype=torch.float64),
            "degrees": torch.full((matrices,), degrees, dtype=torch.float64),
            "scale": (variance.double() * degrees).diag().expand(matrices, size, size),
        }
        self.now = dict(self.prior)

    def observe(self, sums: Mapping[str, Tensor]) -> None:
        prior, seen = self.prior, sums["weight"]
        weight = prior["weight"] + seen
        mean = (prior["weight"].unsqueeze(-1) * prior["mean"] + sums["first"]) / weight.unsqueeze(-1)
        spread = sums["second"] + _outer(prior["mean"], prior["weight"]) - _outer(mean, weight)
        if self.emission.spread.shared:
            seen, spread = seen.sum(0, keepdim=True), spread.sum(0, keepdim=True)
        scale = prior["scale"] + (spread + spread.mT) / 2
        self.now = {"mean": mean, "weight": weight, "degrees": prior["degrees"] + seen, "scale": scale}

    def expected_log(self, x: Tensor) -> Tensor:
        self.settle()
        absent = missing(x)
        if bool((absent.any(-1) & ~absent.all(-1)).any()):
            raise StructureError(
                "bayes: of a full Gaussian, observations that are missing in part have no conjugate update. Fill them "
                "in by impute, or take covariance='diag'."
            )
        size, degrees = x.shape[-1], self.now["degrees"]
        more = (_digammas(degrees, size) + size * math.log(2) - size * degrees.log()) / 2
        more = more - size / (2 * self.now["weight"])
        log_prob: Tensor = self.emission(x)
        return log_prob + torch.where(absent.all(-1, keepdim=True), 0.0, more).to(log_prob)

    def divergence(self) -> Tensor:
        now, prior, size = self.now, self.prior, self.emission.mean.shape[-1]
        ratio = prior["weight"] / now["weight"]
        away = now["mean"] - prior["mean"]
        precision = now["degrees"].reshape(-1, 1, 1) * torch.linalg.inv(now["scale"])
        apart = (away.unsqueeze(-2) @ precision @ away.unsqueeze(-1)).flatten()
        normal = (size * (ratio - 1 - ratio.log()) + prior["weight"] * apart) / 2
        log_now, log_prior = torch.logdet(now["scale"]), torch.logdet(prior["scale"])
        inner = torch.einsum("sfg,sgf->s", prior["scale"], torch.linalg.inv(now["scale"]))
        gained = now["degrees"] - prior["degrees"]
        wishart = (
            prior["degrees"] / 2 * (log_now - log_prior)
            + now["degrees"] / 2 * (inner - size)
            + torch.mvlgamma(prior["degrees"] / 2, size)
            - torch.mvlgamma(now["degrees"] / 2, size)
            + gained / 2 * _digammas(now["degrees"], size)
        )
        found: Tensor = normal.sum() + wishart.sum()
        return found

    @torch.no_grad()
    def draw(self, generator: torch.Generator | None = None) -> None:
        """By Bartlett's decomposition of the precision."""
        states, size = self.now["mean"].shape
        lower = torch.randn(self.now["scale"].shape, generator=generator, dtype=torch.float64).tril(-1)
        half = (self.now["degrees"].unsqueeze(-1) - torch.arange(size)) / 2
        lower = lower + (2 * torch._standard_gamma(half, generator=generator)).sqrt().diag_embed()
        root = torch.linalg.cholesky(self.now["scale"])
        factor = torch.linalg.solve_triangular(lower, root.mT, upper=False).mT  # covariance = factor @ factor.mT
        covariance = factor @ factor.mT
        noise = torch.randn(states, size, 1, generator=generator, dtype=torch.float64)
        away = (torch.linalg.cholesky(covariance) @ noise).squeeze(-1) / self.now["weight"].sqrt().unsqueeze(-1)
        self._set(self.now["mean"] + away, covariance)

    @torch.no_grad()
    def settle(self) -> None:
        self._set(self.now["mean"], self.now["scale"] / self.now["degrees"].reshape(-1, 1, 1))

    def _set(self, mean: Tensor, covariance: Tensor) -> None:
        self.emission.mean.copy_(mean + self.emission.centre)
        root = torch.linalg.cholesky(covariance)
        value = root.tril(-1) + root.diagonal(dim1=-2, dim2=-1).log().diag_embed()
        self.emission.factor.copy_(value)


def belief(part: Part, x: Tensor, concentration: float | Tensor = 1.0) -> Belief:
    """The belief about a part before the data.

    Args:
        part: a table, a categorical duration law, or an emission that is Categorical, Poisson or Gaussian.
        x: all observations ``(N, *event_shape)``, whose mean and variance the priors of Gaussians have, and whose mean
            count those of rates.
        concentration: of Dirichlet priors.
    Raises:
        StructureError: a part that has no conjugate prior here.

    Example:
        >>> type(belief(semihmm.models.emissions.Poisson(2, features=1), torch.ones(5, 1))).__name__
        'PoissonBelief'
    """
    if isinstance(part, CategoricalDuration):
        return TableBelief(part.table, concentration)
    if isinstance(part, Table):
        return TableBelief(part, concentration)
    if isinstance(part, Categorical):
        return CategoricalBelief(part, concentration)
    if isinstance(part, Poisson):
        steps = 0.1
        return PoissonBelief(part, max(float(x.double().nanmean()), 1e-3) * steps, steps)
    if isinstance(part, Gaussian):
        mean = x.double().nanmean(0)
        variance = (x.double() - mean).square().nanmean(0)
        variance = torch.where(variance > 0, variance, 1.0)
        return (GaussianBelief if part.kind in ("diag", "spherical") else FullGaussianBelief)(part, mean, variance)
    what = "an emission" if isinstance(part, Emission) else "a law" if isinstance(part, Law) else "a part"
    raise StructureError(
        f"bayes: {type(part).__name__} is {what} without a conjugate prior here. There are ones for tables, "
        "durations.Categorical, emissions.Categorical, Poisson, and Gaussian."
    )


def gamma_divergence(a: Tensor, b: Tensor, p: Tensor, q: Tensor) -> Tensor:
    """From ``Gamma(p, q)`` to ``Gamma(a, b)``, shapes and rates, in nats."""
    return (a - p) * torch.digamma(a) - torch.lgamma(a) + torch.lgamma(p) + p * (b.log() - q.log()) + a * (q / b - 1)


def log_gamma_draw(shape: Tensor, generator: torch.Generator | None) -> Tensor:
    """The logarithm of a draw from ``Gamma(shape, 1)``; exact for shapes so small that the draw itself would be 0."""
    uniform = torch.rand(shape.shape, generator=generator, dtype=torch.float64).clamp(min=1e-300)
    return torch._standard_gamma(shape.double() + 1, generator=generator).log() + uniform.log() / shape.double()


def _outer(x: Tensor, weight: Tensor) -> Tensor:
    return weight.reshape(-1, 1, 1) * x.unsqueeze(-1) * x.unsqueeze(-2)


def _digammas(degrees: Tensor, size: int) -> Tensor:
    """``sum_i digamma((degrees - i) / 2)`` for i from 0 to size - 1."""
    return torch.digamma((degrees.unsqueeze(-1) - torch.arange(size)) / 2).sum(-1)
