"""Transition laws that inputs change, and whose EM step climbs: what they share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from semihmm.models.climbing import climb
from semihmm.models.part import Driven
from semihmm.models.topology import Allowed, Arcs
from semihmm.models.transitions.base import Transition, transitions


class Gradual(Driven, Transition):
    """Log-weights that depend on the inputs of the step that is entered, normalised over what may follow.

    The EM step is some iterations of L-BFGS, which never lower what it climbs.

    Args:
        states: S.
        inputs: U.
        allowed, offsets, arcs: which transitions there are, as for `Categorical`.
    """

    def __init__(
        self,
        states: int,
        inputs: int,
        allowed: Allowed | None = None,
        offsets: Sequence[int] | None = None,
        arcs: Arcs | Sequence[Sequence[int]] | None = None,
    ) -> None:
        super().__init__()
        ends = transitions(states, allowed, offsets, arcs)
        self.place(states, ends, offsets)
        self.inputs = inputs

    @abstractmethod
    def log_weights(self, inputs: Tensor) -> Tensor:
        """``(..., *source.shape)`` for inputs ``(..., U)``; need not be normalised."""

    def forward(self, inputs: Tensor | None = None) -> Tensor:
        assert inputs is not None
        weights = torch.where(self.allowed, self.log_weights(inputs[..., 1:, :]), -torch.inf)
        if self.source.ndim == 2 and self.offsets is None:
            none = ~self.allowed.any(-1, keepdim=True)  # a state that nothing follows
            return torch.where(none, -torch.inf, torch.where(none, 0.0, weights).log_softmax(-1))
        peak = weights.detach().amax(tuple(range(-self.source.ndim, 0)), keepdim=True)
        mass = self.leaving((weights - peak).exp())
        total = torch.where(mass > 0, mass, 1.0).log()[..., self.source]
        return weights - peak - total

    def update(self, counts: Tensor, inputs: Tensor | None = None) -> None:
        climb(self, counts, inputs)
