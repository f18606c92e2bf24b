"""What an emission is: how likely each observation is in each state."""

from abc import abstractmethod

import torch
from torch import Tensor

from semihmm.errors import StructureError
from semihmm.models.part import Part


class Emission(Part):
    """How likely each observation is in each state. A new one is a subclass; nothing else need know of it.

    A value that is missing is NaN (-1 among symbols), and counts for nothing: what an observation says is what the rest
    of it says.

    Attributes:
        states: S; None if only `forward` can tell.
        event_shape: the axes of one observation, behind time: ``(features,)``, or ``()`` for symbols; None for
            any size.
        inputs: how many inputs it takes with each observation; 0 for none.
        filler: an observation like any other, which takes the place of what lies behind the end of a sequence.
        trains_by_em: whether `update` is there.
        apart: whether each state has parameters of its own, along the first axis of each parameter: then the states of
            several emissions of one kind can stand side by side in one.
    """

    states: int | None
    event_shape: tuple[int | None, ...]
    inputs: int = 0
    filler: float | Tensor = 0
    trains_by_em: bool = True
    apart: bool = False

    def observed(self, x: Tensor, inputs: Tensor | None = None) -> Tensor:
        """What the likelihood of each step looks at, given whole sequences.

        That is the observation; beside it stand, along the last axis, the inputs or earlier observations that it
        depends on. All other methods take what this one returns.

        Args:
            x: ``(..., T, *event_shape)``.
            inputs: ``(..., T, inputs)``.
        """
        return x

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Log-likelihoods ``(..., T, S)`` of observations ``(..., T, *event_shape)``, in nats."""

    @abstractmethod
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Draw parameters to start from, given all observations ``(N, *event_shape)``."""

    def statistics(self, x: Tensor, posterior: Tensor) -> dict[str, Tensor]:
        """What `maximise` must know of observations: sums over them, so that those of two batches are added.

        Args:
            x: observations ``(N, *event_shape)``, without padding.
            posterior: of each state at each observation, ``(N, S)``.
        Raises:
            StructureError: no sums say enough.
        """
        raise StructureError(
            f"{type(self).__name__}: its EM step takes all observations at once. Give fit one tensor or a list instead "
            "of batches, or take fit(method='gradient')."
        )

    def maximise(self, statistics: dict[str, Tensor]) -> None:
        """EM's second step from `statistics`: parameters that are the most probable, or more probable."""
        raise StructureError(f"{type(self).__name__}: has no EM step. Use fit(method='gradient').")

    def update(self, x: Tensor, posterior: Tensor) -> None:
        """EM's second step: parameters that make ``sum(posterior * forward(x)) + log_prior()`` greatest, or greater.

        Args:
            x: all observations ``(N, *event_shape)``, without padding.
            posterior: of each state at each observation, ``(N, S)``.
        """
        if not self.trains_by_em:
            raise StructureError(f"{type(self).__name__}: has no EM step. Use fit(method='gradient').")
        self.maximise(self.statistics(x, posterior))

    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw an observation ``(*states.shape, *event_shape)`` in each of the given states ``(..., T)``."""
        raise StructureError(f"{type(self).__name__}: says how likely an observation is, and cannot draw one.")

    def complete(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Observations with what is missing drawn, given the rest of each and the states ``(..., T)``."""
        drawn = self.sample(states, generator)
        return torch.where(missing(x), drawn.to(x.dtype), x)

    def expected(self) -> Tensor:
        """The expected observation in each state, ``(S, *event_shape)``; of symbols, there is none."""
        raise StructureError(f"{type(self).__name__}: has no expected observation.")

    def fill(self, x: Tensor, posterior: Tensor) -> Tensor:
        """Observations with what is missing at its expectation, given the rest of each and the posterior ``(..., S)``."""
        found = torch.tensordot(posterior.to(x.dtype), self.expected().to(x.dtype), 1)
        return torch.where(missing(x), found, x)

    def describe(self) -> dict[str, Tensor]:
        """What a reader wants to know of each state, by name, ``(S, ...)``: means, spreads, probabilities."""
        raise StructureError(f"{type(self).__name__}: cannot describe itself.")


def missing(x: Tensor) -> Tensor:
    """Which values are missing, bool in the shape of ``x``."""
    return x.isnan() if x.is_floating_point() else x < 0
