"""Log-densities of mixtures whose states share Gaussians, many at a time: matrix products in place of log-sums.

With k for a phone's Gaussian and s for its state, the log-density of a frame x is

    log p_s(x) = peak(x) + log sum_k w_sk exp(log N_k(x) - peak(x)),    peak(x) = max_k log N_k(x).

The logarithms of all Gaussians are one product of ``(x^2, x)`` with a matrix, the sums over k another; between them
lies one exponential for each Gaussian, in float32. What that would cost in digits is computed as it is written instead:
Gaussians so narrow that the expanded square cancels, and states that give the nearest Gaussians next to no weight.

Of a model with thousands of states, only those that are asked for are computed, with the Gaussians that these share.
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
    """The mixtures of one stream, made ready: `of_states` gives some of its states.

    Args:
        emission: the mixtures themselves: P codebooks of C Gaussians, and for each state the codebook that it weighs.
        product: ``(P, C, 2 F)`` float32; times ``(x^2, x)``, and with `bias`, the log-densities of the Gaussians.
        bias: ``(P, C)`` float32.
        narrow: ``(P, C)`` which of the Gaussians are too narrow for `product`.
        weights: ``(states, C)`` float32.
    """

    emission: GaussianMixture
    product: Tensor
    bias: Tensor
    narrow: Tensor
    weights: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, emission: GaussianMixture) -> "Densities":
        """Those of a mixture.

        Raises:
            ShapeError: its Gaussians have covariances.
        """
        if emission.kind != "diag":
            raise ShapeError(
                "AcousticModel: streams must be mixtures of Gaussians with variances alone, as tied_mixture makes them."
            )
        mean, log_variance = emission.mean.double(), emission.log_variance.double()
        precision = (-log_variance).exp()
        size = (mean.square() * precision).sum(-1)
        volume = log_variance.sum(-1) + mean.shape[-1] * math.log(2 * math.pi)
        return cls(
            emission,
            torch.cat([-precision / 2, mean * precision], -1).float(),
            (-(size + volume) / 2).float(),
            size > _EXPANDED,
            emission.weights().double().exp().float(),
        )

    def of_states(self, states: Tensor) -> "StateDensities":
        """Those of some states ``(S,)``, in their order."""
        books, book = self.emission.codebook[states].unique(return_inverse=True)
        counts, order = book.bincount(), book.argsort(stable=True)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order)) - (counts.cumsum(0) - counts)[book[order]]
        weights = self.weights.new_zeros(len(books), int(counts.max()), self.weights.shape[1])
        weights[book, rank] = self.weights[states]
        product, bias = self.product[books].flatten(0, 1), self.bias[books].flatten()[:, None]
        return StateDensities(self, states, books, product, bias, weights, book, book * weights.shape[1] + rank)


@dataclass(frozen=True)
class StateDensities:
    """Some states of a stream: call it with frames ``(T, F)`` for their log-densities ``(T, S)``, float32.

    Args:
        whole: the stream.
        states: ``(S,)`` their numbers.
        books: ``(K,)`` the codebooks that they weigh.
        product: ``(K C, 2 F)``, as the stream's.
        bias: ``(K C, 1)``.
        weights: ``(K, most states of one, C)``; zeros fill it up.
        book: ``(S,)`` which of the K is each state's.
        row: ``(S,)`` where its weights are.
    """

    whole: Densities
    states: Tensor
    books: Tensor
    product: Tensor
    bias: Tensor
    weights: Tensor
    book: Tensor
    row: Tensor

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        x = x.float()
        each = torch.addmm(self.bias, self.product, torch.cat([x.square(), x], 1).t())
        each = each.unflatten(0, (len(self.books), -1))
        narrow = self.whole.narrow[self.books]
        if narrow.any():
            each[narrow] = self._as_written(x, narrow)
        peak = each.amax(1, keepdim=True).clamp_(min=torch.finfo(each.dtype).min)
        mass = (self.weights @ each.sub_(peak).exp_()).flatten(0, 1)[self.row]
        faint = (mass < _FAINT).any(0)
        found: Tensor = mass.log_().add_(peak[self.book, 0]).t()
        if faint.any():
            emission = self.whole.emission
            found[faint] = emission(x[faint].to(emission.mean))[:, self.states].float()
        return found

    def _as_written(self, x: Tensor, narrow: Tensor) -> Tensor:
        """Log-densities of the narrow Gaussians, ``(narrow, T)``."""
        emission = self.whole.emission
        mean, log_variance = (of[self.books][narrow][:, None] for of in (emission.mean, emission.log_variance))
        each = (x - mean).square() / log_variance.exp() + log_variance + math.log(2 * math.pi)
        return -each.sum(-1).float() / 2
