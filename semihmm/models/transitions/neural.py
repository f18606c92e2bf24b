"""Transitions that a network computes from inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.models.topology import Allowed, Arcs
from semihmm.models.transitions.gradual import Gradual


class Neural(Gradual):
    """A network says what follows, given the inputs of the step that is entered.

    Args:
        net: from inputs ``(..., U)`` to log-weights ``(..., E)``, one for each entry of the table, S S of them without
            offsets or arcs; normalised over what may follow each state.
        states: S.
        inputs: U.
        allowed, offsets, arcs: which transitions there are, as for `Categorical`.

    It trains by gradient, and within EM by a few steps of L-BFGS.

    Example:
        >>> law = Neural(torch.nn.Linear(3, 4), states=2, inputs=3)
        >>> law(torch.zeros(5, 3)).exp().sum(-1).shape
        torch.Size([4, 2])
    """

    def __init__(
        self,
        net: nn.Module,
        states: int,
        inputs: int,
        *,
        allowed: Allowed | None = None,
        offsets: Sequence[int] | None = None,
        arcs: Arcs | Sequence[Sequence[int]] | None = None,
    ) -> None:
        super().__init__(states, inputs, allowed, offsets, arcs)
        self.net = net

    def log_weights(self, inputs: Tensor) -> Tensor:
        found: Tensor = self.net(inputs)
        entries = self.source.numel()
        if found.shape != (*inputs.shape[:-1], entries):
            raise ShapeError(
                f"transitions.Neural: the network must give {entries} log-weights for each step, one for each entry of "
                f"{tuple(self.source.shape)}, so {(*inputs.shape[:-1], entries)}; got {tuple(found.shape)}."
            )
        return torch.unflatten(found, -1, self.source.shape)

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """The network starts from the weights that it has."""
