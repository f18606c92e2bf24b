"""What the parts of a model have in common: parameters that can be told from counts, drawn at random, and saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from semihmm.errors import StructureError
from semihmm.models.arguments import checks_methods


class Part(nn.Module, ABC):
    """A piece of a model with parameters of its own.

    Example:
        >>> part = Gaussian(states=2, features=3)
        >>> part.config
        {'states': 2, 'features': 3, 'variance_floor': 0.001, 'covariance': 'diag'}

    Attributes:
        apart: whether each state has parameters of its own, along the first axis of each parameter.
    """

    apart: bool = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        checks_methods(cls)

    @property
    def config(self) -> Mapping[str, object] | None:
        """The arguments that make another part like this one, parts or of JSON's types; None if they cannot be written.

        A file holds them beside the parameters. Without them, `load` must be given the part.
        """
        return None

    @property
    def dtype(self) -> torch.dtype:
        """That of the parameters."""
        own = next(iter(self._parameters.values()), None)  # `parameters()` walks through all modules: 6 us
        return (next(self.parameters()) if own is None else own).dtype

    def repeated(self, count: int) -> Part | None:
        """A part that is as many of this one side by side, each with parameters of its own; None if there is none.

        Every parameter of it is ``count`` times the one of this part along the first axis, or along an axis before.
        """
        if not self.apart or self.config is None:
            return None
        states = count * int(self.config["states"])  # type: ignore[call-overload]
        made: Part = type(self)(**{**self.config, "states": states})
        return made.to(self.dtype)

    def permute(self, order: Sequence[int]) -> None:
        """Number the states anew: the first one is the one that was ``order[0]``.

        Raises:
            StructureError: its parameters do not say which are whose.
        """
        if not self.apart:
            raise StructureError(f"{type(self).__name__}: its states cannot be numbered anew; fit again with init=.")
        for parameter in self.parameters():
            parameter.data = parameter.data[list(order)]

    @property
    def free_parameters(self) -> int:
        """How many numbers are free to be fitted, those that must sum to 1 counted once less."""
        return sum(x.numel() for x in self.parameters() if x.requires_grad)

    @property
    def has_prior(self) -> bool:
        """Whether `log_prior` can be anything but 0."""
        return type(self).log_prior is not Part.log_prior

    def log_prior(self) -> Tensor:
        """The log-density of the parameters under their prior, up to a constant; EM climbs it with the likelihood."""
        return torch.zeros(())

    def project(self) -> None:
        """Move parameters that a gradient step took out of their bounds back to them, in place."""


class Law(Part):
    """A part whose log-probabilities are a potential of the structure, whatever is observed."""

    @abstractmethod
    def forward(self) -> Tensor:
        """The potential, in nats."""

    @abstractmethod
    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw parameters to start from."""

    @abstractmethod
    def update(self, counts: Tensor) -> None:
        """EM's second step: parameters that make ``sum(counts * forward()) + log_prior()`` greatest, or greater.

        Args:
            counts: how often each entry of the potential was used, in expectation.
        """

    @property
    def searches(self) -> bool:
        """Whether `search` can find anything."""
        return type(self).search is not Law.search

    def search(self, objective: Callable[[], float], least: float) -> bool:
        """Where a fit has converged: find other parameters that `update` and gradients cannot lead to, and keep them.

        Args:
            objective: of the data, under the parameters that the law has when it is called.
            least: what a change must gain, in nats.
        Returns:
            Whether there are any. The objective has not fallen.
        """
        return False


class Driven(Law):
    """A law that inputs change: its potential differs from sequence to sequence, and from step to step.

    Attributes:
        inputs: how many inputs there are at each step.
    """

    inputs: int

    @abstractmethod
    def forward(self, inputs: Tensor | None = None) -> Tensor:
        """The potential of each sequence, in nats, for inputs ``(..., T, inputs)``.

        First states ``(..., S)``, transitions into steps 1 to T - 1 ``(..., T-1, S, S)``, or durations of segments that
        begin at each step ``(..., T, S, D)``.
        """

    @abstractmethod
    def update(self, counts: Tensor, inputs: Tensor | None = None) -> None:
        """EM's second step, for counts in the shape of ``forward(inputs)``."""


def trained(part: Part) -> bool:
    """Whether any parameter of a part may change."""
    return any(x.requires_grad for x in part.parameters())
