"""Mixtures of Gaussians while they are learnt: each state has its own."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from semihmm.models import GaussianMixture
from semihmm.speech.acoustics.model import tied_mixture

_APART = 0.2  # standard deviations by which the halves of a Gaussian are moved


@dataclass(frozen=True)
class Mixtures:
    """The mixtures of J states, of up to C Gaussians each.

    Args:
        log_weight: ``(J, C)``; ``-inf`` for a Gaussian that a state lacks.
        mean: ``(J, C, F)``.
        variance: ``(J, C, F)``.
    """

    log_weight: Tensor
    mean: Tensor
    variance: Tensor

    @property
    def sizes(self) -> Tensor:
        """How many Gaussians each state has, ``(J,)``."""
        return self.log_weight.isfinite().sum(1)

    def log_densities(self, features: Tensor, states: Tensor) -> Tensor:
        """Log-densities of the Gaussians of some states, their log-weights added: ``(T, states, C)``, float32."""
        product, bias = (table[states].flatten(0, 1) for table in self._tables)
        found = torch.addmm(bias[:, None], product, torch.cat([features.square(), features], 1).t())
        return found.t().unflatten(1, (len(states), -1))

    @cached_property
    def _tables(self) -> tuple[Tensor, Tensor]:
        precision = self.variance.reciprocal()
        size = (self.mean.square() * precision + (2 * math.pi * self.variance).log()).sum(2)
        return torch.cat([-precision / 2, self.mean * precision], 2).float(), (self.log_weight - size / 2).float()

    def split(self, sizes: Tensor) -> "Mixtures":
        """The same densities, but for little, with more Gaussians: each time the heaviest of a state becomes two.

        Args:
            sizes: ``(J,)`` how many each state shall have; none gets fewer than it has.
        """
        split, rows = self._widened(int(sizes.max())), torch.arange(len(sizes))
        for size in range(int(self.sizes.min()), int(sizes.max())):
            row = rows[(split.sizes == size) & (sizes > size)]
            heaviest = split.log_weight[row].argmax(1)
            step = _APART * split.variance[row, heaviest].sqrt()
            split.log_weight[row, heaviest] -= math.log(2)
            split.log_weight[row, size] = split.log_weight[row, heaviest]
            split.variance[row, size] = split.variance[row, heaviest]
            split.mean[row, size] = split.mean[row, heaviest] - step
            split.mean[row, heaviest] += step
        return split

    def then(self, other: "Mixtures", first: int) -> "Mixtures":
        """These states, and after them those of another from its ``first`` on."""
        size = max(self.log_weight.shape[1], other.log_weight.shape[1])
        one, two = self._widened(size), other._widened(size)
        parts = ("log_weight", "mean", "variance")
        return Mixtures(*(torch.cat([getattr(one, part), getattr(two, part)[first:]]) for part in parts))

    def _widened(self, components: int) -> "Mixtures":
        """A copy with place for so many Gaussians to a state."""
        more = max(components - self.log_weight.shape[1], 0)
        pad = torch.nn.functional.pad
        return Mixtures(
            pad(self.log_weight, (0, more), value=-math.inf),
            pad(self.mean, (0, 0, 0, more)),
            pad(self.variance, (0, 0, 0, more), value=1.0),
        )

    def emission(self) -> GaussianMixture:
        """For an `AcousticModel`; as float32 has them, so that a file holds the same."""
        mean, variance, log_weight = (x.float() for x in (self.mean, self.variance, self.log_weight))
        return tied_mixture(mean, variance, log_weight[:, None])
