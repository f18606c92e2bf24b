"""Joint states of several chains, each of which moves along an axis of its own: factorial and coupled chains."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from operator import mul

import torch
from torch import Tensor

from semihmm.engine.maps.base import Look, Map, Measure, Origin, fit
from semihmm.engine.maps.form import Transitions, check_weight, entries, unchecked
from semihmm.errors import ShapeError
from semihmm.semirings import Semiring


@dataclass(frozen=True)
class Axes(Map):
    """Each axis of a joint state moves, one after the other: d S^(d + 1) products for d axes, not S^(2 d).

    A slot is a joint state of ``N = S_1 * ... * S_d``, numbered with the last axis fastest.

    Args:
        weights: for each axis ``(..., T or 1, S_k, S_k)``, the log-weight of its move ``[from, to]``; or, where it
            depends on the other axes, ``(..., T or 1, N, S_k)``, of ``[joint, to]``: in that joint state, the axes
            before have moved already, and those behind have not.
        backward: the last axis moves first. Then it is the axes behind that have moved already.

    Example:
        >>> steps = Axes((torch.zeros(1, 2, 2), torch.zeros(1, 3, 3)))
        >>> chain = semihmm.engine.Chain((torch.zeros(6),), steps, length=1)
        >>> count = semihmm.semirings.Count()
        >>> int(semihmm.engine.total(semihmm.engine.plan(chain, count), count, chain)), steps.work
        (36, 30)
    """

    weights: tuple[Tensor, ...]
    backward: bool = False
    memory = 1

    def __post_init__(self) -> None:
        if not self.weights:
            raise ShapeError("Axes: give the log-weights of at least one axis.")
        for k, x in enumerate(self.weights):
            check_weight("Axes", f"weights[{k}]", x, ("T or 1", "S or N", "S"))
        for k, x in enumerate(self.weights):
            if x.shape[-2] not in (x.shape[-1], self.slots):
                raise ShapeError(
                    f"Axes: axis {k} has {x.shape[-1]} states, of {self.slots} joint ones, so weights[{k}] must be "
                    f"(..., T or 1, {x.shape[-1]}, {x.shape[-1]}), or (..., T or 1, {self.slots}, {x.shape[-1]}) where "
                    f"it depends on the other axes, got {tuple(x.shape)}."
                )

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many states each axis has."""
        return tuple([x.shape[-1] for x in self.weights])

    @property
    def inner(self) -> tuple[int, ...]:
        """How many slots apart the states of each axis are."""
        return tuple(accumulate(reversed(self.sizes[1:]), mul, initial=1))[::-1]

    @property
    def coupled(self) -> tuple[bool, ...]:
        """Which axes' moves depend on the others."""
        return tuple([x.shape[-2] != x.shape[-1] for x in self.weights])

    @property
    def order(self) -> tuple[int, ...]:
        """The axes as they move."""
        axes = tuple(range(len(self.weights)))
        return axes[::-1] if self.backward else axes

    @property
    def slots(self) -> int:  # type: ignore[override]
        return prod(self.sizes)

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return self.weights

    @property
    def ranks(self) -> tuple[int, ...]:
        return (2,) * len(self.weights)

    @property
    def table_ranks(self) -> tuple[int, ...]:
        return self.ranks

    @property
    def steady(self) -> tuple[bool, ...]:
        return (True,) * len(self.weights)

    @property
    def pointers(self) -> int:
        """Where each slot came from, axis by axis."""
        return len(self.weights) * self.slots

    @property
    def work(self) -> int:
        return self.slots * sum(self.sizes)

    def rebuild(self, leaves: tuple[Tensor, ...]) -> "Axes":
        return unchecked(Axes, weights=leaves, backward=self.backward)

    def log_weights(self, at: Transitions) -> Tensor:
        """The sum of all moves."""
        found = None
        for x, size, inner, coupled in zip(self.weights, self.sizes, self.inner, self.coupled, strict=True):
            row, column = at.before // inner % size, at.after // inner % size
            if coupled and self.backward:
                row = at.before // inner * inner + at.after % inner
            elif coupled:
                row = at.after // (size * inner) * (size * inner) + at.before % (size * inner)
            move = entries(x, 2, row * size + column)
            found = move if found is None else found + move
        assert found is not None
        return found

    def tables(self) -> tuple[Tensor, ...]:
        return self.weights

    def _apart(self, x: Tensor, axis: int) -> Tensor:
        """Values of slots ``(..., N)`` as ``(..., axes before, axes behind, S)``."""
        size, inner = self.sizes[axis], self.inner[axis]
        whole: Tensor = x.unflatten(-1, (self.slots // (size * inner), size, inner))
        return whole.mT

    def _joined(self, x: Tensor) -> Tensor:
        """And back."""
        return x.mT.flatten(-3)

    def _matrices(self, table: Tensor, axis: int) -> Tensor:
        """An axis's moves ``(..., axes before or 1, axes behind or 1, S, S)``."""
        if not self.coupled[axis]:
            return table.unsqueeze(-3).unsqueeze(-3)
        size, inner = self.sizes[axis], self.inner[axis]
        whole: Tensor = table.unflatten(-2, (self.slots // (size * inner), size, inner))
        return whole.movedim(-3, -2)

    def _moves(self, semiring: Semiring, vector: Tensor, tables: tuple[Tensor, ...]) -> Iterator[tuple[int, Tensor]]:
        """Each axis, and the values of slots before it moves; last of all -1, and those after all have moved."""
        for axis in self.order:
            yield axis, vector
            moved = semiring.vecmat(self._apart(vector, axis), self._matrices(tables[axis], axis))
            vector = self._joined(moved)
        yield -1, vector

    def step(self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...]) -> Tensor:
        *_, (_, vector) = self._moves(semiring, carry.select(-2, 0), tables)
        return vector

    def choose(
        self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...], generator: torch.Generator | None
    ) -> Tensor:
        found = [torch.empty(0)] * len(self.weights)
        for axis, vector in self._moves(semiring, carry.select(-2, 0), tables):
            if axis >= 0:
                terms = semiring.times(self._apart(vector, axis).unsqueeze(-1), self._matrices(tables[axis], axis))
                found[axis] = self._joined(semiring.choose(terms, -2, generator)[1])
        return torch.cat(found, -1)

    def trace(self, look: Look, slot: Tensor, tables: tuple[Tensor, ...]) -> Origin:
        row = None
        for axis in reversed(self.order):
            size, inner = self.sizes[axis], self.inner[axis]
            state, row = look(axis * self.slots + slot, row)
            slot = slot + (state - slot // inner % size) * inner
        return Origin(slot, row, 1, slot)

    def transpose(self) -> Map:
        """Each axis the other way, the last one first."""
        turned = [
            self._matrices(x, k).movedim(-1, -3).flatten(-4, -2) if coupled else x.mT
            for k, (x, coupled) in enumerate(zip(self.weights, self.coupled, strict=True))
        ]
        return unchecked(Axes, weights=tuple(turned), backward=not self.backward).flip()

    def contract(
        self, measure: Measure, carry: Tensor, output: Tensor, cost: Tensor, tables: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """Before an axis moves, its move, and after; the last axis to move first."""
        semiring, found = measure.semiring, [cost] * len(self.weights)
        for axis, vector in reversed(list(self._moves(semiring, carry.select(-2, 0), tables))[:-1]):
            onward = self._matrices(tables[axis], axis) + self._apart(cost, axis).unsqueeze(-2)
            through = measure.weigh(self._apart(vector, axis).unsqueeze(-1) + onward)
            if self.coupled[axis]:
                through = through.movedim(-2, -3).flatten(-4, -2)
            else:
                through = measure.reduce(through, (-4, -3)).squeeze(-3).squeeze(-3)
            found[axis] = fit(measure, through, self.weights[axis])
            cost = self._joined(semiring.sum(onward, -1))
        return tuple(found)
