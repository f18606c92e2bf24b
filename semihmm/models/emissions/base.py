"""What an emission is: how likely each observation is in each state."""

import copy
from abc import abstractmethod

import torch
from torch import Tensor, nn

from semihmm.engine.tensors import usable
from semihmm.engine.tracing import plain, traced
from semihmm.errors import DataError, StructureError
from semihmm.models.part import Part
from semihmm.models.table import Table


class Emission(Part):
    """How likely each observation is in each state. A new one is a subclass; nothing else need know of it.

    A value that is missing is NaN (-1 among symbols), and counts for nothing: what an observation says is what the rest
    of it says. A parameter that requires no gradient is frozen: no method changes it.

    Attributes:
        states: S; None if only `forward` can tell.
        event_shape: the axes of one observation, behind time: ``(features,)``, or ``()`` for symbols; None for
            any size.
        inputs: how many inputs it takes with each observation; 0 for none.
        order: how many observations before it each one depends on.
        filler: an observation like any other, which takes the place of what lies behind the end of a sequence.
        trains_by_em: whether `update` is there.
    """

    states: int | None
    event_shape: tuple[int | None, ...]
    inputs: int = 0
    order: int = 0
    filler: float | Tensor = 0
    trains_by_em: bool = True

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

    @property
    def own(self) -> list[nn.Parameter]:
        """The parameters that have the states as their first axis."""
        return list(self.parameters()) if self.apart else []

    @torch.no_grad()
    def reseed(self, states: Tensor, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Draw new parameters for some states, bool ``(S,)``, given all observations; the others stay as they are.

        Raises:
            StructureError: no parameter is a state's own.
        """
        if not self.own:
            raise StructureError(f"{type(self).__name__}: its states share all parameters, so none can start anew.")
        fresh = copy.deepcopy(self)
        fresh.initialise(x, generator)
        for parameter, drawn in zip(self.own, fresh.own, strict=True):
            if parameter.requires_grad:
                parameter[states] = drawn[states]

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
            "of batches, or take fit(method='gradient').",
            see="no-em-step",
        )

    def maximise(self, statistics: dict[str, Tensor]) -> None:
        """EM's second step from `statistics`: parameters that are the most probable, or more probable."""
        raise StructureError(f"{type(self).__name__}: has no EM step. Use fit(method='gradient').", see="no-em-step")

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        """EM's second step: parameters that make ``sum(posterior * forward(x)) + log_prior()`` greatest, or greater.

        Args:
            x: all observations ``(N, *event_shape)``, without padding.
            posterior: of each state at each observation, ``(N, S)``.
        """
        if not self.trains_by_em:
            raise StructureError(
                f"{type(self).__name__}: has no EM step. Use fit(method='gradient').", see="no-em-step"
            )
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
        """Observations with what is missing as expected given the rest of each and the posterior ``(..., S)``."""
        found = torch.tensordot(posterior.to(x.dtype), self.expected().detach().to(x.dtype), 1)
        return torch.where(missing(x), found, x)

    def fill_steps(self, x: Tensor, posterior: Tensor) -> Tensor:
        """As `fill`, of observations each by itself, given what stands beside it."""
        return self.fill(x, posterior)

    def complete_steps(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """As `complete`, of observations each by itself, given what stands beside it."""
        return self.complete(x, states, generator)

    def describe(self) -> dict[str, Tensor]:
        """What a reader wants to know of each state, by name, ``(S, ...)``: means, spreads, probabilities."""
        raise StructureError(f"{type(self).__name__}: cannot describe itself.")

    @property
    def free_parameters(self) -> int:
        """How many numbers are free to be fitted, those that must sum to 1 counted once less."""
        tables = [part for part in self.modules() if isinstance(part, Table) and part.logits.requires_grad]
        return super().free_parameters - sum(table.logits.numel() - _free(table) for table in tables)


def missing(x: Tensor) -> Tensor:
    """Which values are missing, bool in the shape of ``x``."""
    return x.isnan() if x.is_floating_point() else x == -1


def gaps(x: Tensor) -> Tensor | None:
    """The same; None if all are there, as far as can be told now."""
    if plain((x,)) and x.is_floating_point() and usable([x], 0.0):
        return None
    found = missing(x)
    return found if traced() or bool(found.any()) else None


def whole_steps(emission: Emission, x: Tensor, why: str, axes: int | None = None) -> tuple[Tensor, Tensor | None]:
    """Observations with the filler where one is missing, and which are; None if none is.

    Args:
        why: a part of one cannot be missing, for the message.
        axes: how many of the last axes go together; None for those of an observation.
    Raises:
        DataError: some, but not all, of what goes together is missing.
    """
    hidden = gaps(x)
    if hidden is None:
        return x, None
    axes = len(emission.event_shape) if axes is None else axes
    together = hidden.flatten(hidden.ndim - axes) if axes else hidden.unsqueeze(-1)
    silent, any_of = together.all(-1), together.any(-1)
    if not traced() and bool((any_of & ~silent).any()):
        at = tuple((any_of & ~silent).nonzero()[0].tolist())
        raise DataError(
            f"{type(emission).__name__}: a part of observation {list(at)} is missing. {why}: make all of it NaN, or "
            "fill in what is missing.",
            see="missing-observations",
        )
    filler = torch.as_tensor(emission.filler, device=x.device).to(x.dtype)
    return torch.where(silent[(..., *[None] * axes)], filler, x), silent


def _free(table: Table) -> int:
    """How many numbers of a table are free: the entries that are allowed, less one in each group that has any."""
    return int(table.allowed.sum()) - len(table.group[table.allowed].unique())
