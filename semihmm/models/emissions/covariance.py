"""How Gaussians spread around their means: a variance for each feature, one for all, or a matrix."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from semihmm.engine import tensors
from semihmm.engine.tracing import followed, plain, traced, transformed
from semihmm.models.emissions.learning import mean_of

Kind = Literal["diag", "spherical", "full", "tied"]
_CACHED = 1 << 17  # numbers that a core keeps at hand
_BITS = 32  # features whose gaps are written as one number
_HELD = 1 << 21  # numbers of matrices that exist at a time where values are missing


class Covariance(ABC):
    """What a parameter says of how Gaussians spread. There are as many Gaussians as means ``(*G, F)``.

    Sums over observations are about a ``centre (F,)``, so that the squares of data far from 0 keep their digits.

    Attributes:
        parameter: what it is called.
        shared: whether features, or the Gaussians along the last axis of ``G``, have theirs in common.
    """

    parameter: ClassVar[str]

    def __init__(self, shared: bool) -> None:
        self.shared = shared

    @abstractmethod
    def start(self, *shape: int) -> Tensor:
        """The parameter of standard Gaussians, given ``(*G, F)``."""

    @abstractmethod
    def at(self, variance: Tensor) -> Tensor:
        """The parameter of one Gaussian without correlations, given its variances ``(F,)``."""

    @abstractmethod
    def floor(self, variance: Tensor) -> Tensor:
        """A bound for all variances, given one for those of each feature ``(F,)``."""

    @abstractmethod
    def clipped(self, value: Tensor, floor: Tensor) -> Tensor:
        """The parameter, with no variance below the floor."""

    @abstractmethod
    def matrices(self, value: Tensor, shape: torch.Size) -> Tensor:
        """``(*G, F, F)``, given the shape of the means."""

    @abstractmethod
    def free(self, value: Tensor) -> int:
        """How many numbers of the parameter are free."""

    @abstractmethod
    def log_density(self, x: Tensor, mean: Tensor, value: Tensor, gaps: Tensor | None) -> Tensor:
        """Log-densities ``(..., *G)`` of what is there of observations ``(..., F)``."""

    @abstractmethod
    def sums(
        self, x: Tensor, share: Tensor, mean: Tensor, value: Tensor, centre: Tensor, gaps: Tensor | None
    ) -> dict[str, Tensor]:
        """The weight, and the first and second moments about the centre, of ``x (N, F)`` with ``share (N, *G)``."""

    @abstractmethod
    def mean(self, sums: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Means about the centre ``(*G, F)``, and the weight that speaks for each."""

    @abstractmethod
    def best(self, sums: Mapping[str, Tensor], mean: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
        """The parameter given means about the centre, and the weight that speaks for each."""

    @abstractmethod
    def noise(self, value: Tensor, standard: Tensor) -> Tensor:
        """Standard normal numbers ``(..., F)``, given the covariance of ``value (..., F or 1[, F])``."""

    @abstractmethod
    def regression(self, away: Tensor, value: Tensor, gaps: Tensor) -> Tensor:
        """Deviations from the means, of what is missing as expected given the rest, ``(G, N, F)``.

        Args:
            away: ``(G or 1, N, F)``; anything where something is missing.
            value: of G Gaussians along one axis.
            gaps: ``(N, F)``.
        """


class Diagonal(Covariance):
    """Independent features: ``log_variance (*G, F)``, or ``(*G, 1)`` for one of all features."""

    parameter = "log_variance"

    def start(self, *shape: int) -> Tensor:
        return torch.zeros(*shape[:-1], 1 if self.shared else shape[-1])

    def at(self, variance: Tensor) -> Tensor:
        return self.floor(variance).log()

    def floor(self, variance: Tensor) -> Tensor:
        return variance.mean(-1, keepdim=True) if self.shared else variance

    def clipped(self, value: Tensor, floor: Tensor) -> Tensor:
        return value.clamp(min=floor.log())

    def matrices(self, value: Tensor, shape: torch.Size) -> Tensor:
        return value.exp().expand(shape).diag_embed()

    def free(self, value: Tensor) -> int:
        return value.numel()

    def log_density(self, x: Tensor, mean: Tensor, value: Tensor, gaps: Tensor | None) -> Tensor:
        *groups, features = mean.shape
        found = log_density(x, mean.reshape(-1, features), value.expand_as(mean).reshape(-1, features), gaps)
        return found.reshape(*x.shape[:-1], *groups)

    def sums(
        self, x: Tensor, share: Tensor, mean: Tensor, value: Tensor, centre: Tensor, gaps: Tensor | None
    ) -> dict[str, Tensor]:
        if gaps is None:
            found = _moments(x, share.flatten(1), centre, mixed=False)
            weight, first, second = (one.unflatten(0, mean.shape[:-1]) for one in found)
            return {"weight": weight.unsqueeze(-1).expand_as(mean).contiguous(), "first": first, "second": second}
        away, there, share = torch.where(gaps, 0.0, x.double() - centre), (~gaps).double(), share.double()
        powers = {"weight": there, "first": away, "second": away.square()}
        return {name: torch.tensordot(share, power, ([0], [0])) for name, power in powers.items()}

    def mean(self, sums: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        return mean_of(sums["first"], sums["weight"]), sums["weight"]

    def best(self, sums: Mapping[str, Tensor], mean: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
        weight = sums["weight"]
        squares = sums["second"] - 2 * mean * sums["first"] + mean.square() * weight
        if self.shared:
            weight, squares = weight.sum(-1, keepdim=True), squares.sum(-1, keepdim=True)
        return mean_of(squares, weight).maximum(floor).log(), weight

    def noise(self, value: Tensor, standard: Tensor) -> Tensor:
        return standard * (value / 2).exp()

    def regression(self, away: Tensor, value: Tensor, gaps: Tensor) -> Tensor:
        return torch.where(gaps, 0.0, away).expand(len(value), -1, -1)


class Matrix(Covariance):
    """Correlated features: ``factor (*G, F, F)``, the Cholesky factor with the logarithm of its diagonal.

    Shared by all Gaussians along the last axis of ``G``, it has size 1 there.
    """

    parameter = "factor"

    def start(self, *shape: int) -> Tensor:
        *others, last, features = shape
        return torch.zeros(*others, 1 if self.shared else last, features, features)

    def at(self, variance: Tensor) -> Tensor:
        return (variance.log() / 2).diag()

    def floor(self, variance: Tensor) -> Tensor:
        return variance.min()

    def clipped(self, value: Tensor, floor: Tensor) -> Tensor:
        root = _root(value.double())
        least = torch.linalg.eigvalsh(root @ root.mT)[..., :1, None]
        return torch.where(least < floor, _factor(root @ root.mT, floor), value.double())

    def matrices(self, value: Tensor, shape: torch.Size) -> Tensor:
        root = _root(value)
        return (root @ root.mT).expand(*shape, -1)

    def free(self, value: Tensor) -> int:
        features = value.shape[-1]
        return value.numel() // features * (features + 1) // 2

    def log_density(self, x: Tensor, mean: Tensor, value: Tensor, gaps: Tensor | None) -> Tensor:
        *groups, features = mean.shape
        if gaps is None and _as_numbers(x, mean, value):
            each = value.expand(*groups, -1, -1).reshape(-1, features, features)
            compiled = tensors.gaussian_densities(x.reshape(-1, features), mean.reshape(-1, features), each)
            if compiled is not None:
                return compiled.reshape(*x.shape[:-1], *groups)
        root = _root(value.double()).expand(*groups, -1, -1).reshape(-1, features, features)
        rows, means = x.double().reshape(-1, features), mean.double().reshape(-1, features)
        if gaps is None or traced():  # a traced program cannot tell which frames have the same gaps
            whole = gaps.all(-1, keepdim=True) if gaps is not None else None
            rows = rows if whole is None else torch.where(whole.reshape(-1, 1), means.detach()[0], rows)
            found = _log_density(rows, means, root).reshape(*x.shape[:-1], *groups)
            return found if whole is None else torch.where(whole.reshape(*x.shape[:-1], *[1] * len(groups)), 0.0, found)
        found = torch.cat([part.log_density(means) for part in _parts(rows, gaps.reshape(-1, features), root)])
        return found.reshape(*x.shape[:-1], *groups)

    def sums(
        self, x: Tensor, share: Tensor, mean: Tensor, value: Tensor, centre: Tensor, gaps: Tensor | None
    ) -> dict[str, Tensor]:
        *groups, features = mean.shape
        share = share.flatten(1)
        if gaps is None:
            found = _moments(x, share, centre, mixed=True)
        else:
            rows, share = x.double(), share.double()
            root = _root(value.double()).expand(*groups, -1, -1).reshape(-1, features, features)
            means = mean.double().reshape(-1, features)
            found = torch.zeros_like(means[:, 0]), torch.zeros_like(means), torch.zeros_like(root)
            for part, mine in zip(_parts(rows, gaps, root), share.split(_rows(len(means), features)), strict=True):
                for total, more in zip(found, part.moments(means, mine, centre), strict=True):
                    total += more
        return {
            name: total.unflatten(0, groups) for name, total in zip(("weight", "first", "second"), found, strict=True)
        }

    def mean(self, sums: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        weight = sums["weight"].unsqueeze(-1)
        return mean_of(sums["first"], weight), weight

    def best(self, sums: Mapping[str, Tensor], mean: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
        weight = sums["weight"].unsqueeze(-1).unsqueeze(-1)
        mixed = mean.unsqueeze(-1) * sums["first"].unsqueeze(-2)
        scatter = sums["second"] - mixed - mixed.mT + weight * mean.unsqueeze(-1) * mean.unsqueeze(-2)
        if self.shared:
            weight, scatter = weight.sum(-3, keepdim=True), scatter.sum(-3, keepdim=True)
        return _factor(mean_of(scatter, weight), floor), weight

    def noise(self, value: Tensor, standard: Tensor) -> Tensor:
        return (_root(value) @ standard.unsqueeze(-1)).squeeze(-1)

    def regression(self, away: Tensor, value: Tensor, gaps: Tensor) -> Tensor:
        root = _root(value.double())
        each = away.double().split(_rows(len(root), away.shape[-1]), 1)
        return torch.cat([p.regression(one) for p, one in zip(_parts(away[0], gaps, root), each, strict=True)], 1)


KINDS: dict[Kind, Covariance] = {
    "diag": Diagonal(shared=False),
    "spherical": Diagonal(shared=True),
    "full": Matrix(shared=False),
    "tied": Matrix(shared=True),
}


def log_density(x: Tensor, mean: Tensor, log_variance: Tensor, gaps: Tensor | None = None) -> Tensor:
    """Log-densities ``(..., G)`` of ``x (..., F)`` under G diagonal Gaussians ``(G, F)``.

    Where no derivative is asked for, by compiled code, as sums of squares in the dtype of ``x``. Otherwise in float64,
    the square multiplied out, so that the cost is a few matrix products and no ``(..., G, F)`` exists; what cancels is
    kept small by putting the origin among the means.

    Args:
        gaps: what is missing of ``x``; None for nothing.
    """
    if gaps is None and _as_numbers(x, mean, log_variance):
        found = tensors.squared_distances(x, mean, log_variance)
        if found is not None:
            return found
    centre = mean.detach().double().mean(0)
    x, mean, log_variance = x.double() - centre, mean.double() - centre, log_variance.double()
    precision = (-log_variance).exp()
    bias = mean.square() * precision + log_variance + math.log(2 * math.pi)
    if gaps is None:
        return x @ (mean * precision).T - (x.square() @ precision.T + bias.sum(-1)) / 2
    x, there = torch.where(gaps, 0.0, x), (~gaps).double()
    return x @ (mean * precision).T - (x.square() @ precision.T + there @ bias.T) / 2


def _root(factor: Tensor) -> Tensor:
    root: Tensor = factor.tril(-1) + factor.diagonal(dim1=-2, dim2=-1).exp().diag_embed()
    return root


def _factor(covariance: Tensor, floor: Tensor) -> Tensor:
    """The factor of matrices, their eigenvalues clipped."""
    compiled = tensors.cholesky_factors(covariance, float(floor))
    if compiled is not None:
        return compiled
    low = floor.double() * torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    if bool(torch.linalg.cholesky_ex(covariance - low).info.any()):  # else none is below the floor
        size, axes = torch.linalg.eigh(covariance)
        covariance = (axes * size.clamp(min=floor.double()).unsqueeze(-2)) @ axes.mT
    found: Tensor = torch.linalg.cholesky(covariance)
    found.diagonal(dim1=-2, dim2=-1).log_()
    return found


def _log_density(x: Tensor, mean: Tensor, root: Tensor) -> Tensor:
    """``(N, G)``: whitened by one matrix product for all Gaussians, a cached part of the observations at a time."""
    count, features = mean.shape
    centre = mean.detach().mean(0)
    white = torch.linalg.solve_triangular(root, torch.eye(features, dtype=x.dtype, device=x.device), upper=False)
    middle = (white @ (mean - centre).unsqueeze(-1)).reshape(-1, 1)
    distance = [
        torch.addmm(middle, white.reshape(-1, features), (part - centre).T, beta=-1)
        .unflatten(0, (count, features))
        .square()
        .sum(1)
        for part in x.split(max(1, _CACHED // (count * features)))
    ]
    volume = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1) + features * math.log(2 * math.pi)
    return -(torch.cat(distance, 1).T.contiguous() + volume) / 2


def _moments(x: Tensor, share: Tensor, centre: Tensor, mixed: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The weight, first and second moments about the centre of complete observations ``(N, F)`` with shares ``(N, G)``.

    Args:
        mixed: whether the second are of all pairs of features.
    """
    if plain((x, share)):
        alike = (x, share) if x.dtype == share.dtype else (x.double(), share.double())
        compiled = tensors.weighted_moments(*alike, centre, mixed)
        if compiled is not None:
            return compiled
    away, share, features = x.double() - centre, share.double(), x.shape[-1]
    if not mixed:
        return share.sum(0), share.T @ away, share.T @ away.square()
    rows = max(1, _CACHED // features**2)
    second = away.new_zeros(share.shape[-1], features**2)
    for part, mine in zip(away.split(rows), share.split(rows), strict=True):
        second += mine.T @ (part.unsqueeze(-1) * part.unsqueeze(-2)).flatten(1)
    return share.sum(0), share.T @ away, second.unflatten(-1, (features, features))


def _as_numbers(*of: Tensor) -> bool:
    """Whether compiled code may take tensors: nothing but their numbers counts, and they are of one dtype."""
    return not followed(of) and not transformed() and plain(of) and len({x.dtype for x in of}) == 1


def _rows(count: int, features: int) -> int:
    """How many observations are looked at together where values are missing: each may have gaps of its own."""
    return max(1, _HELD // (count * features**2))


def _parts(x: Tensor, gaps: Tensor, root: Tensor) -> Iterator["_Part"]:
    rows = _rows(len(root), root.shape[-1])
    for part, hidden in zip(x.split(rows), gaps.split(rows), strict=True):
        patterns, place = _patterns(hidden)
        order = place.argsort()
        yield _Part(part[order], hidden[order], place[order], order, patterns, root)


def _patterns(hidden: Tensor) -> tuple[Tensor, Tensor]:
    """The different rows of bool ``(N, F)``, and the place of each among them."""
    place = torch.zeros(len(hidden), dtype=torch.int64, device=hidden.device)
    for some in hidden.split(_BITS, -1):
        powers = 1 << torch.arange(some.shape[-1], device=hidden.device)
        place = (place << _BITS | (some * powers).sum(-1)).unique(return_inverse=True)[1]
    patterns = hidden.new_zeros(int(place.max()) + 1 if len(place) else 0, hidden.shape[-1])
    patterns[place] = hidden
    return patterns, place


class _Part(NamedTuple):
    """Some observations, in the order of what is missing of them.

    Of each pattern of gaps, G matrices stand for the marginals of G Gaussians: the covariance with rows and columns of
    what is missing put to those of the identity, so that they meet nothing else in a factorisation.

    Attributes:
        x: ``(N, F)``.
        hidden: bool ``(N, F)``.
        place: of each observation among the patterns.
        order: where each of them was.
        patterns: bool ``(P, F)``.
        root: Cholesky factors ``(G, F, F)``.
    """

    x: Tensor
    hidden: Tensor
    place: Tensor
    order: Tensor
    patterns: Tensor
    root: Tensor

    def log_density(self, mean: Tensor) -> Tensor:
        """``(N, G)``, where they were."""
        root = self._marginal()
        away = torch.where(self.hidden, 0.0, self.x - mean.unsqueeze(1))
        distance = self._each(away, _inverse(root)).square().sum(-1).T
        volume = 2 * root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        there = (~self.hidden).sum(-1, keepdim=True, dtype=distance.dtype)
        return (-(distance + volume[self.place] + there * math.log(2 * math.pi)) / 2)[self.order.argsort()]

    def regression(self, away: Tensor) -> Tensor:
        """Deviations ``(G or 1, N, F)``, where they were, with what is missing as expected ``(G, N, F)``."""
        return self._regression(away[:, self.order])[0][:, self.order.argsort()]

    def moments(self, mean: Tensor, share: Tensor, centre: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The weight, and the expected first and second moments about the centre, with shares ``(N, G)``."""
        share = torch.where(self.hidden.all(-1, keepdim=True), 0.0, share[self.order])
        away, rest = self._regression(self.x - mean.unsqueeze(1))
        away = away + (mean - centre).unsqueeze(1)
        weighted = away * share.T.unsqueeze(-1)
        met = share.new_zeros(len(self.patterns), share.shape[-1]).index_add(0, self.place, share)
        second = weighted.mT @ away + torch.einsum("pg,pgij->gij", met, rest)
        return share.sum(0), weighted.sum(1), second

    def _regression(self, away: Tensor) -> tuple[Tensor, Tensor]:
        """Of deviations in order, and the covariance of what is missing, ``(P, G, F, F)``."""
        off = self.patterns.unsqueeze(1)
        white = torch.where(off.unsqueeze(-1), 0.0, _inverse(self._marginal()))  # of what is there
        covariance = self.root @ self.root.mT
        gain = covariance @ white.mT @ white
        rest = torch.where(off.unsqueeze(-1) & off.unsqueeze(-2), covariance - gain @ covariance, 0.0)
        away = torch.where(self.hidden, 0.0, away).expand(len(self.root), -1, -1)
        return torch.where(self.hidden, self._each(away, gain), away), rest

    def _marginal(self) -> Tensor:
        """Cholesky factors ``(P, G, F, F)``."""
        off = self.patterns.unsqueeze(1)
        covariance = torch.where(off.unsqueeze(-1) | off.unsqueeze(-2), 0.0, self.root @ self.root.mT)
        found: Tensor = torch.linalg.cholesky(covariance + off.to(covariance.dtype).diag_embed())
        return found

    def _each(self, away: Tensor, matrices: Tensor) -> Tensor:
        """The matrix of its pattern, ``(P, G, F, F)``, times each of ``(G, N, F)``."""
        counts = self.place.bincount(minlength=len(self.patterns)).tolist()
        found = [one @ matrix.mT for one, matrix in zip(away.split(counts, 1), matrices, strict=True)]
        return torch.cat([away[:, :0], *found], 1)


def _inverse(root: Tensor) -> Tensor:
    one = torch.eye(root.shape[-1], dtype=root.dtype, device=root.device)
    found: Tensor = torch.linalg.solve_triangular(root, one, upper=False)
    return found
