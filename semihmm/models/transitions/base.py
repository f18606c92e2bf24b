"""What a transition law is: how likely each state is to follow each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from semihmm.errors import ShapeError, StructureError
from semihmm.models.part import Driven, Law
from semihmm.models.topology import Allowed, Arcs, banded, dense, sparse


class Transition(Law):
    """How likely each state is to follow each. A new law is a subclass; nothing else need know of it.

    `forward` gives log-probabilities of one step, in the shape of ``source``; one that inputs change is a `Driven`
    besides, and gives those of steps 1 to T - 1, ``(..., T - 1, *source.shape)``. `update` takes expected counts in the
    same shape.

    Attributes:
        states: S.
        source: where each entry leads from, int64: ``(S, S)``, ``(S, K)`` with offsets, ``(A,)`` with arcs.
        target: where each entry leads to.
        allowed: bool, whether there is such a transition; the others have probability 0.
        offsets: the only distances from a state to the next, if those are given.
        sparse: whether arcs are.
    """

    states: int
    offsets: tuple[int, ...] | None
    sparse: bool
    source: Tensor
    target: Tensor
    allowed: Tensor

    @property
    def arcs(self) -> tuple[Tensor, Tensor] | None:
        """``(source, target)``, if arcs are given."""
        return (self.source, self.target) if self.sparse else None

    @property
    def forward_only(self) -> bool:
        """Whether no transition leads to a lower-numbered state."""
        return bool((self.target >= self.source)[self.allowed].all())

    @property
    def topology(self) -> dict[str, object]:
        """The arguments of a constructor that say which transitions there are, of JSON's types."""
        plain = not self.sparse and self.offsets is None
        return {
            "allowed": self.allowed.tolist() if plain else None,
            "offsets": None if self.offsets is None else list(self.offsets),
            "arcs": [self.source.tolist(), self.target.tolist()] if self.sparse else None,
        }

    def leaving(self, counts: Tensor) -> Tensor:
        """How often each state is left ``(..., S)``, given counts of transitions ``(..., *source.shape)``."""
        none = counts.new_zeros(*counts.shape[: counts.ndim - self.source.ndim], self.states)
        return none.index_add(-1, self.source.flatten(), counts.flatten(-self.source.ndim))

    def permute(self, order: Sequence[int]) -> None:
        if self.sparse or self.offsets is not None:
            raise StructureError(
                f"{type(self).__name__}: transitions along arcs or of a few distances belong to the numbers that "
                "states have. Use allowed=."
            )
        at = list(order)
        self.reorder(lambda x: x[at][:, at])
        self.allowed = self.allowed[at][:, at]

    def reorder(self, moved: Callable[[Tensor], Tensor]) -> None:
        """Move the entries ``(S, S, ...)`` of the parameters."""
        raise StructureError(f"{type(self).__name__}: its states cannot be numbered anew; fit again with init=.")

    def matrix(self) -> Tensor:
        """The probabilities ``(S, S)`` in float64, 0 where there is no transition.

        Raises:
            StructureError: they differ from step to step.
        """
        if isinstance(self, Driven):
            raise StructureError(f"{type(self).__name__}: its probabilities differ from step to step.")
        chance = self().detach().double().exp()[self.allowed]
        found: Tensor = chance.new_zeros(self.states, self.states)
        return found.index_put((self.source[self.allowed], self.target[self.allowed]), chance)

    def place(self, states: int, ends: tuple[Tensor, Tensor, Tensor], offsets: Sequence[int] | None) -> None:
        """Say which transitions there are, where the law is made.

        Args:
            ends: what `transitions` returned.
        """
        source, target, allowed = ends
        self.states, self.sparse = states, source.ndim == 1
        self.offsets = None if offsets is None else tuple(offsets)
        for name, x in (("source", source), ("target", target), ("allowed", allowed)):
            self.register_buffer(name, x.clone(), persistent=False)  # whoever loads a model makes them again


def transitions(
    states: int,
    allowed: Allowed | None = None,
    offsets: Sequence[int] | None = None,
    arcs: Arcs | Sequence[Sequence[int]] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Where each entry of a law leads from and to, and whether there is such a transition.

    Example:
        >>> source, target, allowed = transitions(2, offsets=(0, 1))
        >>> source.tolist(), target.tolist(), allowed.tolist()
        ([[0, 0], [1, 0]], [[0, 0], [1, 1]], [[True, False], [True, True]])
    """
    if (allowed is not None) + (offsets is not None) + (arcs is not None) > 1:
        raise ShapeError("give one of allowed, offsets and arcs: each says which transitions there are.")
    if arcs is not None:
        return sparse(states, arcs)
    return dense(states, allowed) if offsets is None else banded(states, offsets)


def every_other(states: int) -> Tensor | None:
    """Bool ``(S, S)``: which states may follow where none follows itself; None where there is but one."""
    return None if states == 1 else ~torch.eye(states, dtype=torch.bool)
