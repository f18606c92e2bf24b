"""What pruning leaves of a structure: at each time the states that are kept, at the cost of those."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm.engine import Chain, Compose, Dense, Diagonal, Form, Map, Path, Sparse
from semihmm.engine.maps.form import check_range, unchecked
from semihmm.engine.submatrices import gathered, submatrices
from semihmm.engine.tensors import usable
from semihmm.engine.tracing import extremes, traced
from semihmm.errors import ShapeError, StructureError
from semihmm.structures.authoring import packed, settle_indices
from semihmm.structures.derived import Derived, check_base

if TYPE_CHECKING:
    from semihmm.structures.base import Structure

FORBIDDEN = -torch.inf


@dataclass(frozen=True, repr=False)
class Pruned(Derived):
    """The paths of another structure that keep to some of its states, other ones at each time: see `semihmm.prune`.

    Work and memory are those of the n states that are kept at each time: n^2 where there are arcs between all states;
    else the arcs into those kept, by any sequence of a batch, since all have the same arcs.

    Args:
        base: the other structure, whose maps look one step back (`Structure.along_arcs`).
        active: the states, as slots of its chain, int64 ``(..., steps + 1, n)`` or the same for all sequences; each at
            most once at a time, and -1 for none. Where arcs are few, what lies in one place at a time is one state in
            all sequences, or -1; `keeping` sees to that.
        bound: the largest score of any state that was pruned, ``(...)``; ``-inf`` if none was, None where nobody scored
            them. By max-marginals of the structure itself, or what is not less: no path that was pruned has more.
        lost: the log of the sum of exp(score) over all states that were pruned, ``(...)``. By log-posteriors: no more
            of the probability was lost, as a log.

    Raises:
        StructureError: the structure's maps look further back than one step.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(3), torch.zeros(3, 3), torch.zeros(2, 3))
        >>> small = Pruned(hmm, torch.tensor([[0, 1], [2, -1]]))  # 0 or 1, then 2
        >>> semihmm.topk(small, 3).event.tolist()
        [[0, 2], [1, 2], [-1, -1]]
    """

    active: Tensor
    bound: Tensor | None = field(default=None, compare=False)
    lost: Tensor | None = field(default=None, compare=False)
    own_indices: ClassVar[dict[str, int]] = {"active": 2, "bound": 0, "lost": 0}

    def __post_init__(self) -> None:
        check_base(self)
        settle_indices(self, "active")
        object.__setattr__(self, "base", self.base.along_arcs())
        chain, active = prunable(self.base), self.active
        batch, times = self.base.batch_shape, chain.length + 1
        if active.ndim < 2 or active.shape[:-2] not in (batch, ()) or active.shape[-2] != times:
            raise ShapeError(
                f"Pruned: active must be the states kept at each time, {(*batch, times, 'n')}, got "
                f"{tuple(active.shape)}."
            )
        check_range("Pruned", "active", active, -1, chain.steps.slots - 1, "the states that there are (-1: none)")
        least = extremes(active)
        object.__setattr__(self, "_full", least is not None and least[0] >= 0)
        in_all = active.ndim > 2 and _few_arcs(chain.steps) and not traced()
        if in_all and bool(((active >= 0) & (active != _in_all(active))).any()):
            raise StructureError(
                "Pruned: all sequences have the same arcs, which are few, so what active has in one place must be one "
                "state in all of them, or -1. Use Pruned.keeping."
            )

    @classmethod
    def keeping(cls, base: Structure, kept: Tensor, **known: Any) -> Pruned:
        """What is left of a structure where ``kept (..., steps + 1, slots)``, bool, is True.

        Example:
            >>> hmm = semihmm.HMM(torch.zeros(3), torch.zeros(3, 3), torch.zeros(2, 3))
            >>> Pruned.keeping(hmm, torch.tensor([[True, True, False], [False, False, True]])).active.tolist()
            [[0, 1], [2, -1]]
        """
        steps = prunable(base).steps
        in_all = kept.ndim > 2 and _few_arcs(steps)
        union = kept.flatten(0, -3).any(0) if in_all else kept
        most = int(union.sum(-1).max()) if union.numel() else 0
        slots = torch.arange(kept.shape[-1], device=kept.device)
        active = packed(slots.expand(union.shape), union, max(most, _least(steps)))
        if in_all:
            active = active.expand(*kept.shape[:-2], -1, -1)
            active = torch.where(kept.gather(-1, active.clamp(min=0)), active, -1)
        return cls(base, active, **known)

    @property
    def full(self) -> bool:
        """Whether it is known that active holds no -1, so that nothing need be hidden."""
        return bool(self.__dict__.get("_full", False))

    @property
    def ragged(self) -> dict[str, dict[str, int]]:  # type: ignore[override]
        """The other structure's; states kept go along with its steps."""
        first, *_ = given = self.base.ragged
        return {name: {**self.base.ragged[name], **({"active": -2} if name == first else {})} for name in given}

    def replace(self, **changes: Tensor) -> Pruned:
        """The same paths with other potentials, of which nobody knows what was lost."""
        return super().replace(**{"bound": None, "lost": None, **changes})  # type: ignore[arg-type]

    def checked_chain(self) -> Chain:
        """As in `Structure`; looks at what is left."""
        chain = self.chain()
        if not usable([x for x in chain.leaves if x.is_floating_point()]):
            self.base.check()
        return chain

    def chain(self) -> Chain:
        """The other structure's, between the states that are kept."""
        whole, active, full = prunable(self.base), self.active, self.full
        slots = _there(active, full)
        first, *others = (gathered(x, 1, slots[..., 0, :]) for x in whole.start)
        return Chain(
            start=(first if full else first.masked_fill(active[..., 0, :] < 0, FORBIDDEN), *others),
            steps=_between(whole.steps, active[..., :-1, :], active[..., 1:, :], full, hide=not full),
            end=tuple(gathered(x, 1, _last(slots, whole.lengths)) for x in whole.end),
            lengths=whole.lengths,
            length=whole.length,
        )

    def event(self, path: Path) -> Tensor:
        """The other structure's, of the states in these places."""
        active = self.active.expand(*path.slots.shape, -1)
        slots = active.gather(-1, path.slots.clamp(min=0).unsqueeze(-1)).squeeze(-1)
        return self.base.event(Path(torch.where(path.slots < 0, -1, slots), path.choices))

    def path(self, event: Tensor) -> Path:
        path = self.base.path(event)
        here = (self.active == path.slots.unsqueeze(-1)) & (self.active >= 0)
        return Path(torch.where(here.any(-1), here.int().argmax(-1), -1), path.choices)

    def filtered(self, vectors: Tensor) -> Tensor:
        """The other structure's, ``-inf`` for what was pruned."""
        slots = self.base.chain().steps.slots
        nowhere = vectors.new_full((*vectors.shape[:-1], slots + 1), FORBIDDEN)
        place = torch.where(self.active < 0, slots, self.active).expand(vectors.shape)
        return self.base.filtered(nowhere.scatter(-1, place, vectors)[..., :slots])


def prunable(structure: Structure) -> Chain:
    """A structure's chain, if each of its paths is in one slot at each time.

    Raises:
        StructureError: its maps look further back, or weigh an arc by several log-weights.
    """
    chain, name = structure.along_arcs().chain(), type(structure).__name__
    for x in _maps(chain.steps):
        if x.memory > 1 or not isinstance(x, Map):
            raise StructureError(
                f"prune: {name} has paths that pass over steps (segments, or cells of a grid), so that they have no "
                "state at each time to keep or not. What steps from state to state can be pruned, such as HMM, CTC and "
                "MonotonicAlignment; forbid the segments or cells that you can do without by condition."
            )
        if not isinstance(x, Dense | Diagonal | Sparse):
            raise StructureError(
                f"prune: {name} moves by {type(x).__name__}, of which no single arcs can be kept; Dense, Diagonal and "
                "Sparse (Banded, Arcs) can be pruned. Make it an HMM of the same states."
            )
    return chain


def _maps(steps: Form) -> list[Form]:
    """The maps that a step takes, one after the other."""
    return [*_maps(steps.first), *_maps(steps.then)] if isinstance(steps, Compose) else [steps]


def _few_arcs(steps: Form) -> bool:
    return any(isinstance(x, Sparse) for x in _maps(steps))


def _least(steps: Form) -> int:
    """The least places there must be: sparse maps have as many before as after, and all slots between two that move."""
    if not isinstance(steps, Compose):
        return 1
    between = steps.first.slots if _both_move(steps) and _few_arcs(steps) else 1
    return max(between, _least(steps.first), _least(steps.then))


def _both_move(steps: Compose) -> bool:
    return bool(steps.first.pointers and steps.then.pointers)


def _there(slots: Tensor, full: bool) -> Tensor:
    """Any slot in place of -1."""
    return slots if full else slots.clamp(min=0)


def _between(steps: Form, before: Tensor, after: Tensor, full: bool, hide: bool) -> Map:
    """A map from the slots ``before (..., T, n)`` to those ``after (..., T, m)``; -1: from or to nowhere.

    Args:
        full: whether there is no -1.
        hide: whether what arrives nowhere is forbidden; not where a later map does so.
    """
    if isinstance(steps, Compose):
        middle = after if steps.first.pointers else before
        both = _both_move(steps)
        if both:  # a path may be in any slot between them
            middle = torch.arange(steps.first.slots, device=before.device).expand(before.shape[-2], -1)
            middle = pad(middle, (0, max(0, before.shape[-1] - middle.shape[-1])), value=-1)
        first = _between(steps.first, before, middle, full and not both, hide=both)
        return unchecked(Compose, first=first, then=_between(steps.then, middle, after, full and not both, hide))
    if isinstance(steps, Diagonal):
        column = _there(after, full)
        weight = gathered(steps.weight, 1, column if steps.index is None else gathered(steps.index, 1, column))
        return Diagonal(weight.masked_fill(after < 0, FORBIDDEN) if hide else weight)
    if isinstance(steps, Dense):
        weight = submatrices(steps.weight, _there(before, full), _there(after, full))
        return Dense(weight.masked_fill((after < 0).unsqueeze(-2), FORBIDDEN) if hide else weight)
    assert isinstance(steps, Sparse)
    return _along(steps, before, after, hide)


def _along(steps: Sparse, before: Tensor, after: Tensor, hide: bool) -> Sparse:
    """The arcs into each slot that come from one of those before."""
    from_, into = _in_all(before), _in_all(after)
    width = steps.source.shape[-1]
    arc = into.clamp(min=0).unsqueeze(-1) * width + torch.arange(width, device=into.device)
    source = gathered(steps.source.reshape(-1, *steps.source.shape[-2:]), 2, arc)
    known, place = from_.expand(source.shape[0], -1).sort(-1)  # those of nothing first
    found = torch.searchsorted(known, source.flatten(-2)).clamp(max=known.shape[-1] - 1)
    there = (known.gather(-1, found).unflatten(-1, source.shape[-2:]) == source) & (source >= 0)
    weight = gathered(steps.weight, 2, arc).masked_fill(~there, FORBIDDEN)
    if hide:
        weight = weight.masked_fill((after < 0).unsqueeze(-1), FORBIDDEN)
    return Sparse(weight, torch.where(there, place.gather(-1, found).unflatten(-1, source.shape[-2:]), -1))


def _in_all(slots: Tensor) -> Tensor:
    """The slot in each place ``(T, n)``, -1 where no sequence has one there."""
    return slots.flatten(0, -3).amax(0) if slots.ndim > 2 else slots


def _last(active: Tensor, lengths: Tensor | None) -> Tensor:
    """The slots in which each sequence may end, ``(..., n)``."""
    if lengths is None:
        return active[..., -1, :]
    at = lengths[..., None, None].expand(*lengths.shape, 1, active.shape[-1])
    return active.expand(*lengths.shape, -1, -1).gather(-2, at).squeeze(-2)
