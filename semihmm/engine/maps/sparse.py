"""Few arcs into each state: Banded and Arcs are one map, `Sparse`, with different tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from semihmm._shapes import broadcast
from semihmm.engine.maps.base import Look, Map, Measure, Origin, fit
from semihmm.engine.maps.form import (
    FORBIDDEN,
    Transitions,
    as_index,
    check_range,
    check_shared,
    check_weight,
    entries,
    remembered,
    remembered_for,
    unchecked,
)
from semihmm.engine.tracing import extremes, numbers, plain
from semihmm.errors import ShapeError
from semihmm.semirings import Semiring


@dataclass(frozen=True)
class Sparse(Map):
    """Each of N slots sums up at most K predecessors, each any number of steps back.

    Args:
        weight: log-weight of each slot's k-th arc, ``(..., T or 1, N, K)``; ``-inf`` where there is none.
        source: where that arc comes from, int64 ``(T or 1, N, K)``: ``(delay - 1) * N + slot``, -1 where there is none.
        memory: the longest delay. With a memory over 1, ``source`` must be shared over time.
        arcs: how many arcs a step has at most, where they are irregular and the tables mostly padding; None: N times K.
        leaving: how many arcs leave a slot at most, where that is known without a look at ``source``; None: N.

    Example:
        >>> swap = Sparse(torch.zeros(1, 2, 1), torch.tensor([[[1], [0]]]))
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), swap, length=3)
        >>> count = semihmm.semirings.Count()
        >>> int(semihmm.engine.total(semihmm.engine.plan(chain, count), count, chain))
        2
    """

    weight: Tensor
    source: Tensor
    memory: int = 1
    arcs: int | None = None
    leaving: int | None = None
    ranks = (2, 2)
    table_ranks = (2, 2)

    def __post_init__(self) -> None:
        check_weight("Sparse", "weight", self.weight, ("T or 1", "N", "K"))
        object.__setattr__(self, "source", as_index("Sparse", "source", self.source))
        check_shared("Sparse", "source", self.source)
        arcs, known = self.weight.shape[-2:], self.source
        shared = known.ndim >= 3 and known.shape[-3] == 1
        batch_free = known.ndim >= 3 and known.shape[:-3].numel() == 1
        if not batch_free or known.shape[-2:] != arcs or self.memory < 1 or (self.memory > 1 and not shared):
            raise ShapeError(
                f"Sparse: weight is (..., T or 1, N, K) = {tuple(self.weight.shape)}, so source must be (T or 1, "
                f"{arcs[0]}, {arcs[1]}), shared over time if memory is over 1; got {tuple(known.shape)} and memory "
                f"{self.memory}."
            )
        most = self.memory * arcs[0] - 1
        check_range("Sparse", "source", known, -1, most, "the slots of the latest steps (-1: no arc)")

    @property
    def slots(self) -> int:  # type: ignore[override]
        return self.weight.shape[-2]

    @property
    def steady(self) -> tuple[bool, ...]:
        """The weights, unless an arc may pass over steps."""
        return (self.memory == 1, False)

    @property
    def pointers(self) -> int:
        return self.weight.shape[-2]

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return (self.weight, self.source)

    @property
    def work(self) -> int:
        return self.weight.shape[-1] * self.weight.shape[-2]

    def rebuild(self, leaves: tuple[Tensor, ...]) -> "Sparse":
        weight, source = leaves
        return unchecked(Sparse, weight=weight, source=source, memory=self.memory, arcs=self.arcs, leaving=self.leaving)

    def log_weights(self, at: Transitions) -> Tensor:
        arc, there = which_arc(at, self.source, self.slots)
        weight = entries(self.weight, 2, at.after * self.source.shape[-1] + arc)
        return torch.where(at.arrives, torch.where(there, weight, FORBIDDEN), 0.0)

    def tables(self) -> tuple[Tensor, ...]:
        return self.leaves

    def _pull(self, carry: Tensor, source: Tensor) -> Tensor:
        flat = carry.flatten(-2)
        index = source.reshape(-1, *source.shape[-2:])
        if len(index) == 1:  # one topology for all: index once
            return flat[..., index[0]]
        source = source.reshape(*(1,) * (flat.ndim + 1 - source.ndim), *source.shape).clamp(min=0)
        shape = broadcast(flat.shape[:-1], source.shape[:-2])
        return flat.unsqueeze(-2).expand(*shape, source.shape[-2], -1).gather(-1, source.expand(*shape, -1, -1))

    def step(self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...]) -> Tensor:
        """Pull the predecessors, weigh them, add them up."""
        weight, source = tables
        return semiring.sum(semiring.times(self._pull(carry, source), weight), -1)

    def choose(
        self, semiring: Semiring, carry: Tensor, tables: tuple[Tensor, ...], generator: torch.Generator | None
    ) -> Tensor:
        """Which of its K arcs each slot came by."""
        weight, source = tables
        return semiring.choose(semiring.times(self._pull(carry, source), weight), -1, generator)[1]

    def trace(self, look: Look, slot: Tensor, tables: tuple[Tensor, ...]) -> Origin:
        arc, row = look(slot, None)
        source = tables[1].reshape(self.slots, -1)[slot, arc].clamp(min=0)  # -1: the path is impossible anyway
        return Origin(source % self.slots, row, source // self.slots + 1, arc)

    def transpose(self) -> "Sparse":
        """The same arcs by where they leave. An arc that spans several steps belongs to the step it now ends in."""
        source = self.source.reshape(-1, self.work)
        entry = incoming(torch.where(source < 0, -1, source % self.slots), self.slots, self.leaving)
        arcs = self.work
        at = entry.clamp(min=0).expand(*self.weight.shape[:-3], -1, -1, -1)
        if at.shape[-3] == 1 != self.weight.shape[-3]:
            at = at.expand(*at.shape[:-3], self.weight.shape[-3], -1, -1)
        weight = self.weight.flatten(-2)
        weight = (
            weight.expand(*weight.shape[:-2], at.shape[-3], arcs)
            .gather(-1, at.flatten(-2))
            .unflatten(-1, at.shape[-2:])
        )
        weight = torch.where(entry < 0, FORBIDDEN, weight).flip(-3)
        delay = (source // self.slots).gather(-1, entry.clamp(min=0).flatten(-2)).unflatten(-1, entry.shape[-2:])
        landing = entry // self.weight.shape[-1]
        source = torch.where(entry < 0, -1, delay * self.slots + landing).flip(0)
        if self.memory > 1 and weight.shape[-3] != 1:  # a weight of all times stays one
            weight = later(weight, delay[0].clamp(min=0), FORBIDDEN)
        return unchecked(Sparse, weight=weight, source=source, memory=self.memory)

    def contract(
        self, measure: Measure, carry: Tensor, output: Tensor, cost: Tensor, tables: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        term = self._pull(carry, tables[1]) + tables[0] + cost.unsqueeze(-1)
        return (fit(measure, measure.weigh(term), self.weight),)


def which_arc(at: Transitions, source: Tensor, slots: int) -> tuple[Tensor, Tensor]:
    """Which of the arcs into its slot each transition takes, ``(..., T)``, and whether there is one."""
    line = at.after
    if source.ndim > 2 and source.shape[-3] != 1:
        line = line + torch.arange(line.shape[-1], device=line.device) * slots
    found = source.reshape(-1, source.shape[-1])[line] == ((at.delay - 1) * slots + at.before).unsqueeze(-1)
    number = torch.arange(source.shape[-1], device=source.device)
    chosen = at.choice.unsqueeze(-1)
    found = found & ((chosen < 0) | (chosen == number))
    return found.int().argmax(-1), found.any(-1)


def later(x: Tensor, delay: Tensor, fill: float) -> Tensor:
    """Move entry ``[..., t, *event]`` to time ``t + delay[*event]``; ``fill`` comes in at the front."""
    time = x.shape[-1 - delay.ndim]
    at = torch.arange(time, device=x.device).reshape(-1, *(1,) * delay.ndim) - delay
    moved = x.gather(-1 - delay.ndim, at.clamp(min=0).expand(x.shape))
    return torch.where(at < 0, fill, moved)


def Banded(offsets: Sequence[int], weight: Tensor) -> Sparse:
    """Arcs from each state to those a few places further: left-to-right models, CTC, Sakoe-Chiba bands.

    Args:
        offsets: the K distances from state to state, such as ``(0, 1)``.
        weight: ``(..., T or 1, S, K)``; ``[j, k]`` is the log-weight of arriving at ``j`` from ``j - offsets[k]``.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(3),), Banded((0, 1), torch.zeros(1, 3, 2)), length=2)
        >>> count = semihmm.semirings.Count()
        >>> int(semihmm.engine.total(semihmm.engine.plan(chain, count), count, chain))
        8
    """
    check_weight("Banded", "weight", weight, ("T or 1", "S", "K"))
    states = weight.shape[-2]
    if weight.shape[-1] != len(offsets):
        raise ShapeError(
            f"Banded: {len(offsets)} offsets need weights (..., T or 1, S, {len(offsets)}), got {tuple(weight.shape)}."
        )
    source, outside = (torch.from_numpy(x).to(weight.device) for x in _shifted(tuple(offsets), states))
    weight = weight.masked_fill(outside, FORBIDDEN)
    return unchecked(Sparse, weight=weight, source=source, memory=1, leaving=len(offsets))


@remembered
def _shifted(offsets: tuple[int, ...], states: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Where each arc of a band comes from, and whether that is outside."""
    source = np.arange(states, dtype=np.int64)[:, None] - np.array(offsets, np.int64)
    outside = (source < 0) | (source >= states)
    return np.where(outside, -1, source)[None], outside


def Arcs(source: Tensor, target: Tensor, weight: Tensor, slots: int) -> Sparse:
    """Any sparse topology.

    Args:
        source, target: the states ``(A,)`` that arc ``a`` leaves and enters, integers; ``(T, A)`` where arcs differ
            over time, with -1 in both for no arc.
        weight: log-weights ``(..., T or 1, A)``.
        slots: how many states there are.

    Example:
        >>> steps = Arcs(torch.tensor([0, 1]), torch.tensor([1, 1]), torch.zeros(1, 2), slots=2)
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), steps, length=2)
        >>> count = semihmm.semirings.Count()
        >>> int(semihmm.engine.total(semihmm.engine.plan(chain, count), count, chain))
        2
    """
    if source.shape != target.shape or source.shape[-1] != weight.shape[-1] or source.ndim not in (1, 2):
        raise ShapeError(
            f"Arcs: source and target must be (A,) or (T, A) and weight (..., T or 1, A), got {tuple(source.shape)}, "
            f"{tuple(target.shape)} and {tuple(weight.shape)}."
        )
    check_weight("Arcs", "weight", weight, ("T or 1", "A"))
    source, target = as_index("Arcs", "source", source), as_index("Arcs", "target", target)
    if numbers(source) is None or numbers(target) is None:
        entry = _incoming_unseen(target.reshape(-1, target.shape[-1]), slots)
        at, absent = entry.clamp(min=0), entry < 0
        sources = source.reshape(-1, source.shape[-1]).gather(-1, at.flatten(-2)).unflatten(-1, at.shape[-2:])
        sources = torch.where(absent, -1, sources)
    else:
        at, absent, sources = (torch.from_numpy(x).to(weight.device) for x in _places(source, target, slots))
    shape = broadcast(weight.shape[-2:-1], at.shape[:1])
    index = at.flatten(-2).expand(*weight.shape[:-2], *shape, -1)
    table = weight.expand(*weight.shape[:-2], *shape, -1).gather(-1, index).unflatten(-1, at.shape[-2:])
    weight = table.masked_fill(absent, FORBIDDEN)
    return unchecked(Sparse, weight=weight, source=sources, memory=1, arcs=source.shape[-1])


@remembered_for
def _places(source: Tensor, target: Tensor, slots: int) -> tuple[npt.NDArray[Any], ...]:
    """Arcs by the slot they enter, ``(T or 1, slots, K)`` each: their numbers, where there is none, their sources."""
    for name, x in (("source", source), ("target", target)):
        check_shared("Arcs", name, x)
        found = extremes(x)
        if found is not None and found[1] >= slots:
            raise ShapeError(f"Arcs: states must be below slots = {slots}, got {found[1]}.")
        if found is not None and found[0] < (-1 if x.ndim == 2 else 0):
            raise ShapeError(
                f"Arcs: states are numbered from 0 (-1, where arcs differ over time: no arc), got {found[0]}."
            )
    entry = _entries(array_of(target.reshape(-1, target.shape[-1])), slots)
    at, absent = entry.clip(min=0), entry < 0
    sources = np.take_along_axis(
        array_of(source.reshape(-1, source.shape[-1])), at.reshape(len(at), slots * at.shape[-1]), -1
    )
    return at, absent, np.where(absent, -1, sources.reshape(at.shape))


def array_of(x: Tensor) -> npt.NDArray[np.int64]:
    """The numbers of a tensor of integers, under every transform of torch.func."""
    known = numbers(x)
    assert known is not None
    return known.cpu().numpy() if plain((known,)) else np.array(known.tolist(), np.int64).reshape(known.shape)


def incoming(target: Tensor, slots: int, most: int | None = None) -> Tensor:
    """Arcs by the slot they enter, in order: ``(T, slots, K)`` from ``(T, A)``; -1 is no arc in both.

    Args:
        most: how many may enter a slot, where that is known; None: as many as there are slots.
    """
    if numbers(target) is None:
        return _incoming_unseen(target, slots, most)
    return torch.from_numpy(_entries(array_of(target), slots)).to(target.device)


def _entries(target: npt.NDArray[np.int64], slots: int) -> npt.NDArray[np.int64]:
    steps, arcs = np.nonzero(target >= 0)
    entered = steps * slots + target[steps, arcs]
    order = np.argsort(entered, kind="stable")
    count = np.bincount(entered, minlength=len(target) * slots)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    table = np.full((len(target) * slots, max(int(count.max(initial=0)), 1)), -1)
    table[entered[order], rank] = arcs[order]
    return table.reshape(len(target), slots, table.shape[-1])


def _incoming_unseen(target: Tensor, slots: int, most: int | None = None) -> Tensor:
    """The same where numbers are not known, in torch.compile: a place for an arc from every slot into each slot.

    So no slot may be entered by more arcs than there are slots (or ``most``), which it is when none comes twice.
    """
    steps, arcs = target.shape
    width = min(arcs, slots if most is None else most)
    target = torch.where((target < 0) | (target >= slots), slots, target)  # no arc: all into a slot that is cut off
    number = torch.arange(arcs, device=target.device)
    key = (target * arcs + number).sort(dim=-1).values  # no two are equal: a stable sort is no operator of ONNX
    entered, order = key // arcs, key % arcs
    count = target.new_zeros(steps, slots + 1).scatter_add(-1, target, torch.ones_like(target))
    rank = number - (count.cumsum(-1) - count).gather(-1, entered)
    fits = (rank < width) | (entered == slots)
    if not torch.compiler.is_exporting():  # nor is this one
        torch._assert_async(fits.all(), "Arcs: more arcs into a state than there are states")
    at = torch.where(entered == slots, slots * width, entered * width + rank)
    table = target.new_full((steps, slots * width + 1), -1).scatter(-1, at, order)
    return table[:, :-1].reshape(steps, slots, width)
