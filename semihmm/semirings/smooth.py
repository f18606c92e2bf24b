"""Smoothed maxima (Mensch & Blondel 2018, "Differentiable Dynamic Programming"): SmoothMax and SparseMax."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.errors import SemiringError
from semihmm.semirings.base import Semiring
from semihmm.semirings.log import Log


@dataclass(frozen=True)
class SmoothMax(Semiring):
    """``max(x) = gamma log sum exp(x / gamma)``, the maximum smoothed by entropy; times is ``+``.

    ``gamma`` -> 0 is `Max`, ``gamma = 1`` is `Log`. On the negated costs of a DTW grid a total is minus soft-DTW
    (Cuturi & Blondel 2017). The gradient of a total is the Gibbs distribution over paths at temperature ``gamma``.

    Args:
        gamma: the temperature, in nats; positive and finite.
    Example:
        >>> SmoothMax(0.1).sum(torch.tensor([1.0, 1.0]), -1)
        tensor(1.0693)
    """

    gamma: float = 1.0

    zero = -math.inf
    one = 0.0
    scalable = True

    def __post_init__(self) -> None:
        _check_gamma(self, self.gamma)

    @property
    def temperature(self) -> float:
        return self.gamma

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        return log_weight

    def lower(self, value: Tensor) -> Tensor:
        return value

    def times(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """``gamma log sum exp(x / gamma)``."""
        return Log().sum(x / self.gamma, dim) * self.gamma

    def magnitude(self, value: Tensor) -> Tensor:
        return value

    def scale(self, value: Tensor, log_factor: Tensor) -> Tensor:
        return value + log_factor


@dataclass(frozen=True)
class SparseMax(Semiring):
    """``max(x) = max over p of <p, x> + gamma (1 - |p|^2) / 2``, p a distribution; times is ``+``.

    The gradient of a sum is ``p = sparsemax(x / gamma)``, exactly 0 at all arguments but the few best (Martins &
    Astudillo 2016), so a total's gradient lies on few paths. The constant ``gamma / 2``, which Mensch & Blondel
    leave out, makes the smoothing vanish where p is certain: the sum of one argument is that argument, and adding
    ``-inf`` changes nothing. Gradients are the same with and without.

    Not associative: ``max(max(a, b), c)`` differs from ``max(a, b, c)``. A total therefore depends on the order in
    which a scan combines arcs, is defined by the one from left to right, and is no sum over paths. The other
    laws hold. (``associative`` is False; a parallel scan refuses it.)

    Args:
        gamma: how smooth, in nats; positive and finite. ``gamma`` -> 0 is `Max`.
    Example:
        >>> x = torch.tensor([0.5, 0.0, -2.0], requires_grad=True)
        >>> SparseMax().sum(x, -1).backward()
        >>> x.grad
        tensor([0.7500, 0.2500, 0.0000])
    """

    gamma: float = 1.0

    zero = -math.inf
    one = 0.0
    associative = False
    scalable = True

    def __post_init__(self) -> None:
        _check_gamma(self, self.gamma)

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        return log_weight

    def lower(self, value: Tensor) -> Tensor:
        return value

    def times(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """The sparse maximum, by sorting: O(n log n) in the arguments."""
        if not x.shape[dim]:
            return self.empty(x, dim)
        x = x.movedim(dim, -1) / self.gamma
        peak = x.detach().amax(-1, keepdim=True)
        empty = peak == -math.inf  # not a test on the support: a NaN must stay a NaN
        x = x - peak
        inside = _support(x.detach())
        size = inside.sum(-1, keepdim=True)
        x = torch.where(inside, x, 0.0)  # what is outside has no gradient, not even a NaN
        threshold = (x.sum(-1, keepdim=True) - 1.0) / size.clamp(min=1)
        chance = torch.where(inside, x - threshold, 0.0)
        # <p, x> - |p|^2 / 2 is sum p (x + threshold) / 2, which does not cancel.
        best = ((chance * (x + threshold)).sum(-1, keepdim=True) + 1.0) / 2.0 + peak
        return torch.where(empty, self.zero, best).squeeze(-1) * self.gamma

    def magnitude(self, value: Tensor) -> Tensor:
        return value

    def scale(self, value: Tensor, log_factor: Tensor) -> Tensor:
        return value + log_factor


def _support(x: Tensor) -> Tensor:
    """Where sparsemax is positive, along the last axis (Martins & Astudillo 2016, Algorithm 1); all False at -inf."""
    ordered = x.sort(-1, descending=True).values
    rank = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    total = ordered.cumsum(-1)
    inside = 1.0 + rank * ordered > total
    size = inside.sum(-1, keepdim=True)
    threshold = (torch.where(inside, ordered, 0.0).sum(-1, keepdim=True) - 1.0) / size
    return x > threshold


def _check_gamma(semiring: Semiring, gamma: float) -> None:
    if not 0.0 < gamma < math.inf:
        raise SemiringError(
            f"{type(semiring).__name__}: gamma is a temperature in nats, positive and finite; got {gamma}. "
            "The limit gamma -> 0 is semihmm.semirings.Max()."
        )
