"""Sequences of about the same length, side by side."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Group(NamedTuple):
    """Some of the sequences that lie one after the other in rows.

    Attributes:
        sequences: which they are.
        size: how many.
        steps: of the longest.
        lengths: of each; None if all are as long.
        rows: the rows of X that the steps inside of them are; a slice if those are neighbours in this order.
        inside: which steps are, bool ``(size, steps)``; None for all.
    """

    sequences: Tensor
    size: int
    steps: int
    lengths: Tensor | None
    rows: Tensor | slice
    inside: Tensor | None

    def cut(self, frames: Tensor) -> Tensor:
        """What each row has ``(N, ...)``, side by side ``(size, steps, ...)``, 0 behind the ends."""
        mine = frames[self.rows]
        if self.inside is None:
            return mine.reshape(self.size, self.steps, *frames.shape[1:])
        padded = frames.new_zeros(self.size, self.steps, *frames.shape[1:])
        padded[self.inside] = mine
        return padded

    def put(self, into: Tensor, found: Tensor) -> Tensor:
        """``into (N, ...)``, with what was found about the steps in their rows."""
        mine = found.flatten(0, 1) if self.inside is None else found[self.inside]
        if len(mine) == len(into) and isinstance(self.rows, slice):
            return mine
        into[self.rows] = mine
        return into


def groups(lengths: NDArray[np.int64]) -> list[Group]:
    """Sequences whose lengths lie between the same powers of two, so that padding less than doubles them.

    Example:
        >>> [group.sequences.tolist() for group in groups(np.array([5, 1, 7]))]
        [[1], [0, 2]]
    """
    ends, magnitude = np.cumsum(lengths), np.frexp(lengths)[1]
    return [_group(np.flatnonzero(magnitude == one), lengths, ends) for one in np.unique(magnitude)]


def _group(sequences: NDArray[np.int64], lengths: NDArray[np.int64], ends: NDArray[Any]) -> Group:
    size = lengths[sequences]
    steps = np.arange(size.max())
    inside = steps < size[:, None]
    rows = ((ends[sequences] - size)[:, None] + steps)[inside]
    whole, neighbours = bool(inside.all()), rows[-1] - rows[0] == len(rows) - 1
    return Group(
        torch.from_numpy(sequences),
        len(sequences),
        len(steps),
        None if whole else torch.from_numpy(size),
        slice(rows[0], rows[-1] + 1) if neighbours else torch.from_numpy(rows),
        None if whole else torch.from_numpy(inside),
    )
