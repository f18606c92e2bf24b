"""What an emission is: how likely each observation is in each state."""

from abc import abstractmethod

import torch
from torch import Tensor

from semihmm.errors import StructureError
from semihmm.models.part import Part


class Emission(Part):
    """How likely each observation is in each state. A new one is a subclass; nothing else need know of it.

    Attributes:
        states: S; None if only `forward` can tell.
        event_shape: the axes of one observation, behind time: ``(features,)``, or ``()`` for symbols; None for
            any size.
        filler: an observation like any other, which takes the place of what lies behind the end of a sequence.
        trains_by_em: whether `update` is there.
    """

    states: int | None
    event_shape: tuple[int | None, ...]
    filler: float | Tensor = 0
    trains_by_em: bool = True

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Log-likelihoods ``(..., T, S)`` of observations ``(..., T, *event_shape)``, in nats."""

    @abstractmethod
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Draw parameters to start from, given all observations ``(N, *event_shape)``."""

    def update(self, x: Tensor, posterior: Tensor) -> None:
        """EM's second step: parameters that make ``sum(posterior * forward(x)) + log_prior()`` greatest, or greater.

        Args:
            x: all observations ``(N, *event_shape)``, without padding.
            posterior: of each state at each observation, ``(N, S)``.
        """
        raise StructureError(f"{type(self).__name__}: has no EM step. Use fit(method='gradient').")

    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw an observation ``(*states.shape, *event_shape)`` in each of the given states."""
        raise StructureError(f"{type(self).__name__}: says how likely an observation is, and cannot draw one.")
