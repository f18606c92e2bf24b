"""A chain of semiring-linear maps: what a structure hands to the engine."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import reduce

import torch
from torch import Tensor

from semihmm._shapes import broadcast
from semihmm.engine.maps import Form, Map
from semihmm.engine.maps.form import as_index, check_range
from semihmm.errors import ShapeError


@dataclass(frozen=True)
class Chain:
    """``start * steps[0] * ... * steps[T-1] * end``, for a batch of sequences of their own lengths.

    Everything is in log-weights, which get the widest dtype among them. Each tensor has all batch axes or none, and 1
    among them or over time means shared.

    Args:
        start: the state vector at time 0, ``(..., slots)``, as one or several factors.
        steps: T maps.
        end: what a path gains by ending in each slot, ``(..., slots)``; factors as in ``start``, none for nothing.
        lengths: how many of the T steps each sequence takes, integers ``(...)`` from 0 to T; None for all. Later steps
            do not count.
        length: T; needed only where all of ``steps`` is shared over time, or T is 1.

    Raises:
        ShapeError: tensors that do not fit together, or hold no floating log-weights; lengths outside of 0 to T.

    Example:
        >>> chain = Chain((torch.zeros(2),), Dense(torch.zeros(1, 2, 2)), length=3)  # 4 states in a row
        >>> log = semihmm.semirings.Log()
        >>> round(float(total(plan(chain, log), log, chain).exp()))
        16
    """

    start: tuple[Tensor, ...]
    steps: Form
    end: tuple[Tensor, ...] = ()
    lengths: Tensor | None = None
    length: int = -1
    batch: torch.Size = field(init=False, repr=False, compare=False)  # the batch shape

    def __post_init__(self) -> None:
        given: tuple[object, ...] = (self.start, self.end)
        if any(isinstance(x, Tensor) for x in given):
            raise ShapeError("Chain: start and end are tuples of factors, got a tensor. One factor x alone? Pass (x,).")
        if not self.start:
            raise ShapeError("Chain: start must be a tuple of at least one tensor (..., slots), got none.")
        if not isinstance(self.steps, Form):
            raise ShapeError(
                f"Chain: steps must be one map, which holds all steps, got {type(self.steps).__name__}. Several maps "
                "in each step? Join them: first @ then."
            )
        steps, borders = self.steps, self.start + self.end
        leaves, ranks, slots = steps.leaves, steps.ranks, steps.slots
        object.__setattr__(self, "length", self._steps())
        if self._mixed(borders + leaves):
            self._promote()
            steps, borders = self.steps, self.start + self.end
            leaves = steps.leaves
        if self.lengths is not None:
            object.__setattr__(self, "lengths", as_index("Chain", "lengths", self.lengths))
            check_range("Chain", "lengths", self.lengths, 0, self.length, "the steps that there are", see="lengths")
        rows = [x.ndim for x in borders] + [x.ndim - r for x, r in zip(leaves, ranks, strict=True)]
        axes = max(max(rows) - 1, 0 if self.lengths is None else self.lengths.ndim)
        if min(rows) != axes + 1:
            object.__setattr__(self, "start", tuple([aligned(x, axes + 1) for x in self.start]))
            object.__setattr__(self, "end", tuple([aligned(x, axes + 1) for x in self.end]))
            leaves = tuple([aligned(x, axes + 1 + r) for x, r in zip(leaves, ranks, strict=True)])
            object.__setattr__(self, "steps", steps.rebuild(leaves))
        object.__setattr__(self, "batch", self._batch(axes, leaves))
        if any(x.shape[-1] != slots for x in borders):
            raise ShapeError(
                f"Chain: start and end must be (..., {self.steps.slots}), one log-weight for each slot of its maps, "
                f"got {[tuple(x.shape) for x in self.start + self.end]}."
            )
        if steps.inputs != slots:
            raise ShapeError(
                f"Chain: each step takes what the one before it gives, so steps must have as many slots before as "
                f"after, got {steps.inputs} and {slots}."
            )

    def _steps(self) -> int:
        """T, from the maps or from the caller."""
        held, said = self.steps.steps, self.length
        if held is None and said < 0:
            raise ShapeError(
                "Chain: its maps are shared over time (or have one step), so they do not say how many steps there are. "
                "Pass length=."
            )
        if held is not None and said >= 0 and held != said:
            raise ShapeError(f"Chain: its maps have {held} steps, so length must be {held} or be left out, got {said}.")
        return said if held is None else held

    def _mixed(self, tensors: tuple[Tensor, ...]) -> bool:
        """Whether log-weights are of several floating dtypes; maps have refused integers where those belong."""
        kind, mixed = tensors[0].dtype, False
        for i, x in enumerate(tensors):
            if x.dtype != kind or not i:
                if x.is_floating_point():
                    mixed = mixed or x.dtype != kind
                elif i < len(self.start) + len(self.end):
                    raise ShapeError(
                        f"Chain: start and end must hold floating log-weights, got {x.dtype}. Convert them, as to "
                        "torch.get_default_dtype()."
                    )
        return mixed

    def _promote(self) -> None:
        """Give all log-weights the widest dtype among them: constants are often of the default one."""
        kinds = {x.dtype for x in (*self.start, *self.end, *self.steps.leaves) if x.is_floating_point()}
        widest = reduce(torch.promote_types, kinds)
        object.__setattr__(self, "start", tuple([x.to(widest) for x in self.start]))
        object.__setattr__(self, "end", tuple([x.to(widest) for x in self.end]))
        leaves = tuple([x.to(widest) if x.is_floating_point() else x for x in self.steps.leaves])
        object.__setattr__(self, "steps", self.steps.rebuild(leaves))

    def _batch(self, axes: int, leaves: tuple[Tensor, ...]) -> torch.Size:
        if not axes:
            return torch.Size()
        shapes = [x.shape[:axes] for x in (*self.start, *self.end, *leaves)]
        shapes += [] if self.lengths is None else [self.lengths.shape]
        shared = (1,) * axes
        own = [s for s in shapes if s != shared] or shapes
        if all(s == own[0] for s in own):
            return own[0]
        try:
            return broadcast(*shapes)
        except RuntimeError as error:
            given = [tuple(s) for s in shapes]
            raise ShapeError(
                f"Chain: its tensors must agree on the batch axes (1: shared by all), got {given}."
            ) from error

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """All its log-weights (and indices): start, end, steps, lengths."""
        return self.start + self.end + self.steps.leaves + (() if self.lengths is None else (self.lengths,))

    def rebuild(self, leaves: Iterable[Tensor]) -> "Chain":
        """The same chain with other log-weights."""
        given, held = tuple(leaves), self.leaves
        m, n = len(self.start), len(self.start) + len(self.end)
        stop = n + len(self.steps.leaves)
        lengths = None if self.lengths is None else given[stop]
        start, steps, end = given[:m], self.steps.rebuild(given[n:stop]), given[m:n]
        if torch.compiler.is_compiling() or any(x.shape != y.shape for x, y in zip(given, held, strict=True)):
            return Chain(start, steps, end, lengths, self.length)
        same = object.__new__(Chain)  # of the same form: nothing to find out
        same.__dict__.update(self.__dict__, start=start, steps=steps, end=end, lengths=lengths)
        return same

    def unrolled(self) -> "Chain":
        """The chain with maps that can be taken step by step: what every scan of the torch backend begins with."""
        steps = self.steps.unrolled()
        return self if steps is self.steps else replace(self, steps=steps)

    @property
    def maps(self) -> Map:
        """The steps of an unrolled chain."""
        assert isinstance(self.steps, Map)
        return self.steps

    def active(self, batch: torch.Size) -> Tensor | None:
        """Which steps each sequence takes, ``(..., T)``; None for all."""
        if self.lengths is None:
            return None
        return torch.arange(self.length, device=self.lengths.device) < self.lengths.expand(batch).unsqueeze(-1)


def aligned(x: Tensor, ndim: int) -> Tensor:
    """The tensor with axes of size 1 in front, so that it has ``ndim``."""
    return x if x.ndim == ndim else x[(None,) * (ndim - x.ndim)]
