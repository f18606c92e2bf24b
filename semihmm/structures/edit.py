"""Edit distance: one sequence turned into another by deletions, insertions and substitutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm.engine import Chain, Grid, Path
from semihmm.errors import ShapeError
from semihmm.structures.authoring import (
    check_lengths,
    check_shape,
    given,
    one_hot,
    only,
    packed,
    settle,
    settle_indices,
    single,
    spread,
    tensor_of,
)
from semihmm.structures.base import Structure


@dataclass(frozen=True, repr=False)
class EditDistance(Structure):
    """Every way to turn N items into M others (Levenshtein 1966; Wagner & Fischer 1974).

    Potentials are costs, so a score is minus a distance: ``-viterbi(...).score`` is the edit distance,
    ``log_partition`` the log of the sum over all alignments of ``exp(-cost)`` (Ristad & Yianilos 1998).

    Args:
        substitution: cost of item ``i`` becoming item ``j``, ``(..., N, M)``; 0 where they match.
        deletion: cost of leaving out each of the N items, ``(..., N)``.
        insertion: cost of putting in each of the M items, ``(..., M)``.
        source_lengths, target_lengths: items in use ``(...)``, from 0 to N and M; None for all.

    An event is the operations in order, int64 ``(..., N + M, 2)``: ``(i, j)`` substitutes, ``(i, -1)`` deletes,
    ``(-1, j)`` inserts, ``(-1, -1)`` comes after the end. N + M steps of at most 3 (N + 1) products.

    Example:
        >>> import torch, semihmm
        >>> edit = semihmm.EditDistance.between(torch.tensor([*b"kitten"]), torch.tensor([*b"sitting"]))
        >>> float(semihmm.viterbi(edit).score)
        -3.0
    """

    substitution: Tensor
    deletion: Tensor
    insertion: Tensor
    source_lengths: Tensor | None = None
    target_lengths: Tensor | None = None
    observed: ClassVar[str] = "substitution"
    ragged: ClassVar[dict[str, dict[str, int]]] = {
        "source_lengths": {"substitution": -2, "deletion": -1},
        "target_lengths": {"substitution": -1, "insertion": -1},
    }
    ranks: ClassVar[dict[str, int]] = {"substitution": 2, "deletion": 1, "insertion": 1}
    sign: ClassVar[float] = -1.0

    def __post_init__(self) -> None:
        settle(self, "substitution", "deletion", "insertion")
        settle_indices(self, "source_lengths", "target_lengths")
        shape = tuple(self.substitution.shape)
        if len(shape) < 2:
            raise ShapeError(f"EditDistance: substitution must be (..., N, M), got {shape}.")
        for name, x, size in (("deletion", self.deletion, shape[-2]), ("insertion", self.insertion, shape[-1])):
            hint = f" One cost for all? Pass torch.full(({size},), cost)."
            check_shape(self, "(..., N, M)", name, x, (size,), hint=hint)
        check_lengths("EditDistance", self.source_lengths, self.batch_shape, shape[-2], 0, "source_lengths")
        check_lengths("EditDistance", self.target_lengths, self.batch_shape, shape[-1], 0, "target_lengths")

    @staticmethod
    def between(
        source: Tensor, target: Tensor, source_lengths: Tensor | None = None, target_lengths: Tensor | None = None
    ) -> EditDistance:
        """Levenshtein's costs between items ``(..., N)`` and ``(..., M)``: 1 for whatever changes something."""
        source, target = (tensor_of("EditDistance", *x) for x in (("source", source), ("target", target)))
        if not source.ndim or not target.ndim:
            raise ShapeError("EditDistance: source and target must be (..., N) and (..., M), got a single number.")
        changed = (source.unsqueeze(-1) != target.unsqueeze(-2)).to(torch.get_default_dtype())
        deletion, insertion = changed.new_ones(source.shape[-1]), changed.new_ones(target.shape[-1])
        return EditDistance(changed, deletion, insertion, source_lengths, target_lengths)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (-1, 2)

    def unknown(self, event: Tensor) -> Tensor:
        """One -1 of a pair is a deletion or an insertion."""
        return (event == -1).all(-1)

    def chain(self) -> Chain:
        """A grid of items done: down by a deletion, right by an insertion, both by a substitution."""
        whole = self.without_padding()
        substitution, deletion, insertion = whole.substitution, whole.deletion, whole.insertion
        height, width = substitution.shape[-2:]
        down = deletion.unsqueeze(-1).expand(*deletion.shape, width + 1)
        right = insertion.unsqueeze(-2).expand(*insertion.shape[:-1], height + 1, width)
        costs = ((down, (0, 0, 1, 0)), (right, (1, 0)), (substitution, (1, 0, 1, 0)))
        rows = given(self.source_lengths, height, deletion)
        ragged = self.source_lengths is not None or self.target_lengths is not None
        return Chain(
            start=(single(0, height + 1, deletion),),
            steps=Grid.of([(1, 0), (0, 1), (1, 1)], torch.stack([pad(x, size) for x, size in costs], -3), factor=-1.0),
            end=(only(one_hot(rows, height + 1), deletion),),
            lengths=rows + given(self.target_lengths, width, deletion) if ragged else None,
            length=height + width,
        )

    def event(self, path: Path) -> Tensor:
        """The moves, by the items that they take."""
        row = path.slots[..., 1:]
        column = torch.arange(1, row.shape[-1] + 1, device=row.device) - row
        taken = (torch.where(path.choices == 1, -1, row - 1), torch.where(path.choices == 0, -1, column - 1))
        return packed(torch.stack(taken, -1), path.choices >= 0, row.shape[-1])

    def path(self, event: Tensor) -> Path:
        """The items done, after each operation."""
        taken = event >= 0
        done, used = taken.cumsum(-2), taken.any(-1)
        fine = ((event == done - 1) | (event == -1)).all((-2, -1)) & (used[..., 1:] <= used[..., :-1]).all(-1)
        (deleted, inserted), (n, m) = taken.sum(-2).unbind(-1), self.substitution.shape[-2:]
        fine = (
            fine
            & (deleted == given(self.source_lengths, n, event))
            & (inserted == given(self.target_lengths, m, event))
        )
        row = spread(done[..., 0], done.sum(-1) - 1, n + m)  # at times 1 to N + M
        return Path.through(torch.where(fine.unsqueeze(-1), pad(row, (1, 0)), -1))
