"""Transitions that depend on the season, the hour or the weekday."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from semihmm.engine.tracing import traced
from semihmm.errors import DataError
from semihmm.models.part import Driven
from semihmm.models.table import Table
from semihmm.models.topology import Allowed, Arcs
from semihmm.models.transitions.base import Transition, transitions


class Periodic(Driven, Transition):
    """A table of transition probabilities for each phase of a period.

    Its input is the phase of each step: 0 to ``period - 1``; a transition has the table of the step that is entered.

    Args:
        states: S.
        period: P, the number of phases.
        allowed, offsets, arcs: which transitions there are, as for `Categorical`.
        pseudo_count: what EM adds to the count of each transition in each phase.

    Example:
        >>> law = Periodic(states=2, period=7)
        >>> weekday = torch.arange(10).remainder(7).unsqueeze(-1)
        >>> law(weekday).shape
        torch.Size([9, 2, 2])
    """

    inputs = 1

    def __init__(
        self,
        states: int,
        period: int,
        *,
        allowed: Allowed | None = None,
        offsets: Sequence[int] | None = None,
        arcs: Arcs | Sequence[Sequence[int]] | None = None,
        pseudo_count: float = 0.0,
    ) -> None:
        super().__init__()
        ends = transitions(states, allowed, offsets, arcs)
        self.place(states, ends, offsets)
        self.period = period
        phase = torch.arange(period).reshape(-1, *(1,) * self.source.ndim)
        self.table = Table(self.source + phase * states, self.allowed.expand(period, *self.source.shape), pseudo_count)

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "period": self.period,
            **self.topology,
            "pseudo_count": self.table.pseudo_count,
        }

    @property
    def free_parameters(self) -> int:
        return self.table.free_parameters

    def forward(self, inputs: Tensor | None = None) -> Tensor:
        log_prob: Tensor = self.table()
        return log_prob[self._phase(inputs)]

    def update(self, counts: Tensor, inputs: Tensor | None = None) -> None:
        phase, each = self._phase(inputs).flatten(), counts.flatten(0, counts.ndim - 1 - self.source.ndim)
        none = counts.new_zeros(self.period, *self.source.shape)
        self.table.update(none.index_add(0, phase, each))

    def initialise(self, generator: torch.Generator | None = None) -> None:
        self.table.initialise(generator)

    @property
    def has_prior(self) -> bool:
        return self.table.has_prior

    def log_prior(self) -> Tensor:
        return self.table.log_prior()

    def reorder(self, moved: Callable[[Tensor], Tensor]) -> None:
        self.table.reorder(lambda x: moved(x.movedim(0, -1)).movedim(-1, 0))

    def _phase(self, inputs: Tensor | None) -> Tensor:
        """That of each step but the first."""
        assert inputs is not None
        given = inputs[..., 1:, 0]
        phase = given.long()
        if not traced() and bool(((phase != given) | (phase < 0) | (phase >= self.period)).any()):
            raise DataError(
                f"Periodic: the input of a step is its phase, 0 to {self.period - 1}, got {float(given.min()):g} to "
                f"{float(given.max()):g}."
            )
        return phase
