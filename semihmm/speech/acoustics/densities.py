"""Log-densities of mixtures whose states share Gaussians, many at a time: matrix products in place of log-sums.

With k for a phone's Gaussian and s for its state, the log-density of a frame x is

    log p_s(x) = peak(x) + log sum_k w_sk exp(log N_k(x) - peak(x)),    peak(x) = max_k log N_k(x).

The logarithms of all Gaussians are one product of ``(x^2, x)`` with a matrix, the sums over k another; between them
lies one exponential for each Gaussian, in float32. What that would cost in digits is computed as it is written instead:
Gaussians so narrow that the expanded square cancels, and states that give the nearest Gaussians next to no weight.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.errors import ShapeError
from semihmm.models import GaussianMixture

_EXPANDED = 1e3  # sum of mean^2 / variance up to which float32 holds an expanded square to 1e-4
_FAINT = 1e-20  # a sum of exponentials below this has lost terms that were flushed to zero


@dataclass(frozen=True)
class Densities:
    """The mixtures of one stream: call it with frames ``(T, F)`` for their log-densities ``(T, states)``, float32.

    Args:
        emission: the mixtures themselves: P codebooks of C Gaussians, of as many states each, side by side.
        product: ``(P C, 2 F)`` float32; times ``(x^2, x)``, and with `bias`, the log-densities of the Gaussians.
        bias: ``(P C, 1)`` float32.
        weights: ``(P, states of each, C)`` float32.
        narrow: which of the Gaussians are too narrow for `product`.
    """

    emission: GaussianMixture
    product: Tensor
    bias: Tensor
    weights: Tensor
    narrow: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, emission: GaussianMixture) -> "Densities":
        """Those of a `tied_mixture`.

        Raises:
            ShapeError: states share Gaussians in another way, or Gaussians have covariances.
        """
        books, _, features = emission.mean.shape
        each = emission.states // books
        tied = torch.equal(emission.codebook, torch.arange(books).repeat_interleave(each))
        if emission.kind != "diag" or not tied:
            raise ShapeError(
                "AcousticModel: streams must be mixtures of Gaussians with variances alone, in which as many states "
                "after one another share each codebook, as tied_mixture makes them."
            )
        mean, log_variance = (x.double().flatten(0, 1) for x in (emission.mean, emission.log_variance))
        precision = (-log_variance).exp()
        size = (mean.square() * precision).sum(1, keepdim=True)
        volume = log_variance.sum(1, keepdim=True) + features * math.log(2 * math.pi)
        return cls(
            emission,
            torch.cat([-precision / 2, mean * precision], 1).float(),
            (-(size + volume) / 2).float(),
            emission.weights().double().exp().float().unflatten(0, (books, each)),
            (size[:, 0] > _EXPANDED).nonzero()[:, 0],
        )

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        x = x.float()
        each = torch.addmm(self.bias, self.product, torch.cat([x.square(), x], 1).t())
        if len(self.narrow):
            each[self.narrow] = self._as_written(x)
        each = each.unflatten(0, (len(self.weights), -1))
        peak = each.amax(1, keepdim=True).clamp_(min=torch.finfo(each.dtype).min)
        mass = self.weights @ each.sub_(peak).exp_()
        found: Tensor = mass.log().add_(peak).flatten(0, 1).t()
        faint = (mass < _FAINT).flatten(0, 1).any(0)
        if faint.any():
            found[faint] = self.emission(x[faint].to(self.emission.mean)).float()
        return found

    def _as_written(self, x: Tensor) -> Tensor:
        """Log-densities of the narrow Gaussians, ``(narrow, T)``."""
        mean, log_variance = (
            of.flatten(0, 1)[self.narrow, None] for of in (self.emission.mean, self.emission.log_variance)
        )
        each = (x - mean).square() / log_variance.exp() + log_variance + math.log(2 * math.pi)
        return -each.sum(-1).float() / 2
