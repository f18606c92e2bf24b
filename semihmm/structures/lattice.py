"""Lattice: every path through an acyclic graph."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm.engine import Chain, Path, Sparse
from semihmm.engine.maps.form import check_shared, unchecked
from semihmm.errors import ShapeError, StructureError
from semihmm.structures.authoring import (
    Labels,
    one_hot,
    only,
    packed,
    settle,
    settle_indices,
    spread,
    tensor_of,
    whole_numbers,
)
from semihmm.structures.base import Structure

_FORBIDDEN, _FREE = -1, -2  # in place of an arc
_BEFORE, _AFTER = -1, -2  # in place of a node: in front of all starts, behind all ends


@dataclass(frozen=True, repr=False)
class Lattice(Structure):
    """Every path through an acyclic graph, from a start to an end: word lattices, task graphs, any dynamic programme.

    Args:
        source, target: the nodes that each arc leaves and enters, integers ``(A,)``, numbered from 0. Two arcs may join
            the same nodes; they are different arcs.
        log_weight: of each arc, ``(..., A)``. A batch shares the graph; ``-inf`` takes an arc away from one sequence.
        start, end: nodes where paths may begin and end; None for all that no arc enters, or leaves.

    An event is the numbers of the arcs in order, int64 ``(..., longest path)``, -1 after the end.

    Cost: a node stands in the state vector from its level (the length of the longest path to it) until its last arc has
    arrived. Steps are levels; slots are the most nodes that stand there at once; work per step is slots times
    the most arcs into one node.

    Raises:
        StructureError: the graph has a cycle; it is named.

    Example:
        >>> import torch, semihmm
        >>> lattice = semihmm.Lattice(torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2]), torch.tensor([1., 2., 3.]))
        >>> best = semihmm.viterbi(lattice)
        >>> best.event.tolist(), float(best.score)
        ([0, 2], 4.0)
    """

    source: Tensor
    target: Tensor
    log_weight: Tensor
    start: Sequence[int] | None = None
    end: Sequence[int] | None = None
    observed: ClassVar[str] = "log_weight"
    ranks: ClassVar[dict[str, int]] = {"log_weight": 1}

    def __post_init__(self) -> None:
        settle(self, "log_weight")
        settle_indices(self, "source", "target")
        arcs = self.log_weight.shape[-1:]
        if not arcs or not arcs[0] or self.source.shape != arcs or self.target.shape != arcs:
            raise ShapeError(
                f"Lattice: log_weight is (..., A) = {tuple(self.log_weight.shape)} with at least one arc, so "
                f"source and target must be integers {tuple(arcs)}, got {tuple(self.source.shape)} "
                f"and {tuple(self.target.shape)}."
            )
        check_shared("Lattice", "source", self.source)
        check_shared("Lattice", "target", self.target)
        self._levels()

    @staticmethod
    def from_networkx(
        graph: Any,
        weight: str = "log_weight",
        start: Sequence[Hashable] | None = None,
        end: Sequence[Hashable] | None = None,
    ) -> Lattice:
        """From a networkx DiGraph or MultiDiGraph; arcs are numbered as in ``list(graph.edges)``.

        Args:
            weight: the edge attribute that holds log-weights: floats, or tensors of one shape for a batch; 0 where it
                is missing.
            start, end: nodes of the graph; None for all that no edge enters, or leaves.

        Example:
            >>> import networkx, semihmm
            >>> graph = networkx.DiGraph([("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
            >>> float(semihmm.log_partition(semihmm.Lattice.from_networkx(graph)).exp())
            2.0
        """
        if not hasattr(graph, "is_directed") or not graph.is_directed() or not graph.number_of_edges():
            raise StructureError(f"Lattice: a graph must be directed and have an edge, got {graph}. Make it a DiGraph.")
        number = {node: i for i, node in enumerate(graph)}
        edges = [(number[u], number[v], data.get(weight, 0.0)) for u, v, data in graph.edges(data=True)]
        source, target = torch.tensor([[e[0] for e in edges], [e[1] for e in edges]])
        values = [_weight(weight, x) for *_, x in edges]
        chosen = (_numbers(name, nodes, number) for name, nodes in (("start", start), ("end", end)))
        return Lattice(source, target, torch.stack(torch.broadcast_tensors(*values), -1), *chosen)

    def _levels(self) -> _Levels:
        names = ("start", "end")
        start, end = (None if (x := getattr(self, n)) is None else whole_numbers("Lattice", n, x) for n in names)
        return _levels(tuple(self.source.tolist()), tuple(self.target.tolist()), start, end)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (-1,)

    def chain(self) -> Chain:
        """Level by level."""
        levels = self._levels()
        arc = levels.arc.to(self.log_weight.device)
        weight = torch.where(arc == _FORBIDDEN, -torch.inf, self.log_weight[..., arc.clamp(min=0)])
        slot = torch.tensor([0, levels.end], device=arc.device)
        first, last = only(one_hot(slot, arc.shape[-2]), self.log_weight)
        return Chain(
            start=(first,),
            steps=unchecked(
                Sparse, weight=weight.masked_fill(arc == _FREE, 0.0), source=levels.slot.to(arc.device), memory=1
            ),
            end=(last,),
            length=len(arc),
        )

    def event(self, path: Path) -> Tensor:
        """The arcs by which nodes are entered."""
        arc = self._levels().arc.to(path.slots.device)
        steps = torch.arange(len(arc), device=arc.device)
        taken = arc[steps, path.slots[..., 1:].clamp(min=0), path.choices.clamp(min=0)]
        return packed(taken, (taken >= 0) & (path.choices >= 0), max(len(arc) - 2, 0))

    def labels(self) -> Labels:
        """The number of each arc."""
        of = self._levels().arc.clamp(min=-1).to(self.log_weight.device)  # what is free says as little as what is not
        return Labels(of, len(self.source), first=False, of_arcs=True)

    def path(self, event: Tensor) -> Path:
        """In front of all starts, in each node from when its arc arrives for as long as it stays, behind all ends."""
        levels, device = self._levels(), event.device
        event = pad(event, (0, 1), value=-1)
        used = (event >= 0) & (event < len(levels.joins))
        source, target, choice = levels.joins.to(device)[event.clamp(0, len(levels.joins) - 1)].unbind(-1)
        first = torch.where(used[..., :1], source[..., :1], levels.alone)
        node = torch.cat([torch.zeros_like(first), first, torch.where(used, target, -1)], -1)  # -1: behind all ends
        arrival = torch.where(node < 0, -1, levels.stays.to(device)[node, 0])
        onward = (event == -1) | (used & (target > 0) & (arrival[..., 2:] > arrival[..., 1:-1]))
        fine = onward.all(-1, keepdim=True) & (used[..., 1:] <= used[..., :-1]).all(-1, keepdim=True) & (first > 0)
        arrival = torch.where(node < 0, arrival.amax(-1, keepdim=True) + 1, arrival)
        time, number = (torch.arange(n, device=device) for n in (len(levels.arc) + 1, node.shape[-1]))
        latest = spread(number.expand(node.shape), arrival, len(time)).cummax(-1).values
        begin, end, offset = levels.stays.to(device)[node.gather(-1, latest)].unbind(-1)
        slots = levels.stands.to(device)[(offset + time - begin).clamp(0, len(levels.stands) - 1)]
        slots = torch.where(fine & (begin <= time) & (time < end), slots, -1)
        return Path(slots, spread(torch.where(used, choice, -1), arrival[..., 2:] - 1, len(levels.arc)))


def _weight(name: str, x: Any) -> Tensor:
    value = tensor_of("Lattice", f"{name} of an edge", x)
    return value if value is x else value.to(torch.get_default_dtype())


def _numbers(name: str, nodes: Sequence[Hashable] | None, number: dict[Any, int]) -> tuple[int, ...] | None:
    """What nodes of a graph are called here."""
    if nodes is None:
        return None
    try:
        unknown = [v for v in nodes if v not in number]
    except TypeError as error:  # what cannot be gone through, or looked up
        raise StructureError(f"Lattice: {name} must be a list of the graph's nodes, got {nodes!r}: {error}.") from None
    if unknown:
        raise StructureError(f"Lattice: {name} must be nodes of the graph, which has no {unknown[0]!r}; got {nodes!r}.")
    return tuple(number[v] for v in nodes)


@dataclass(frozen=True)
class _Levels:
    """A graph as a sequence of levels."""

    slot: Tensor  # where each arc into each slot comes from, (T, N, K); -1 for none
    arc: Tensor  # which arc that is, (T, N, K)
    end: int  # the slot in which all paths end
    joins: Tensor  # for each arc, the rows in `stays` of the nodes that it leaves and enters (-1: of no use), and its k
    stays: Tensor  # for each node, `_BEFORE` first and `_AFTER` last: from when until when, and where in `stands`
    stands: Tensor  # the slots of all nodes, one for each time that they stay
    alone: int  # the node that is a path of no arc, by its row; -1 for none


@lru_cache(maxsize=32)  # a structure is made anew at every `replace`, its graph is not
def _levels(
    source: tuple[int, ...], target: tuple[int, ...], start: tuple[int, ...] | None, end: tuple[int, ...] | None
) -> _Levels:
    nodes = {*source, *target}
    if min(nodes) < 0:
        raise StructureError(f"Lattice: nodes are numbered from 0, got {min(nodes)}.")
    into: dict[int, list[tuple[int, int]]] = {v: [] for v in nodes}  # for each node: what comes in, and where from
    for number, (u, v) in enumerate(zip(source, target, strict=True)):
        into[v].append((number, u))
    order = _in_order(into)
    starts = tuple(sorted(nodes - {*target})) if start is None else tuple(dict.fromkeys(start))
    ends = tuple(sorted(nodes - {*source})) if end is None else tuple(dict.fromkeys(end))
    if not starts or not ends or not nodes.issuperset(starts + ends) or len({*starts} & {*ends}) > 1:
        raise StructureError(
            "Lattice: start and end must be nodes of the graph, at least one each, and no more than one node may be "
            f"both, got start={list(starts)} and end={list(ends)}."
        )
    for v in starts:
        into[v].append((_FREE, _BEFORE))
    order = [_BEFORE, *order, _AFTER]
    into = {_BEFORE: [], **into, _AFTER: [(_FREE, v) for v in ends]}
    reached, useful = {_BEFORE}, {_AFTER}
    for v in order:
        reached |= {v} if any(u in reached for _, u in into[v]) else set()
    for v in reversed(order):
        useful |= {u for _, u in into[v] if u in reached} if v in useful else set()
    alone = next(iter({*starts} & {*ends}), None)
    if _BEFORE not in useful:  # no path at all
        nothing = torch.full((1, 1, 1), _FORBIDDEN)
        return _Levels(
            nothing,
            nothing,
            0,
            torch.full((len(source), 3), -1),
            torch.zeros(1, 3, dtype=torch.int64),
            nothing[0, 0],
            -1,
        )
    return _table({v: [(a, u) for a, u in into[v] if u in useful] for v in order if v in useful}, len(source), alone)


def _in_order(into: dict[int, list[tuple[int, int]]]) -> list[int]:
    """Every node after its predecessors."""
    try:
        return list(TopologicalSorter({v: [u for _, u in came] for v, came in into.items()}).static_order())
    except CycleError as error:
        raise StructureError(
            f"Lattice: a path could go round for ever: {' -> '.join(map(str, error.args[1]))}. "
            "Unroll the cycle, or use HMM with arcs=, which moves in time."
        ) from None


def _table(into: dict[int, list[tuple[int, int]]], count: int, alone: int | None) -> _Levels:
    """The slots: a node stays while arcs of its are to come, paths that have ended stay in ``_AFTER``."""
    onward: dict[int, list[int]] = {v: [] for v in into}
    level: dict[int, int] = {}
    for node, came in into.items():
        level[node] = max((level[u] + 1 for _, u in came), default=0)
        for _, u in came if node != _AFTER else ():
            onward[u].append(node)
    for node in reversed(into):  # what has one predecessor waits there, for company, rather than in a slot of its own
        if len(into[node]) == 1 and node != _AFTER:
            level[node] = min((level[v] - 1 for v in onward[node]), default=level[node])
    stays: list[tuple[int, int, int]] = []
    stands: list[int] = []
    slot: list[dict[int, int]] = [{} for _ in range(level[_AFTER] + 1)]
    for node, first in level.items():
        begin = first if node != _AFTER else 1 + min(level[u] for _, u in into[node])
        end = 1 + max([first, *(level[v] - 1 for v in onward[node])])
        stays.append((begin, end, len(stands)))
        stands += [len(slot[at]) for at in range(begin, end)]
        for at in range(begin, end):
            slot[at][node] = len(slot[at])
    arcs: list[tuple[int, int, int, int, int]] = []  # step, slot, which of its arcs, slot before, number
    for at, (earlier, here) in enumerate(pairwise(slot)):
        for node, number in here.items():
            came = into[node] if level[node] == at + 1 or node == _AFTER else []
            came = [(a, u) for a, u in came if node != _AFTER or level[u] == at]
            came += [(_FREE, node)] if node in earlier else []
            arcs += [(at, number, k, earlier[u], a) for k, (a, u) in enumerate(came)]
    place = torch.from_numpy(np.array(arcs)).unbind(-1)
    shape = (level[_AFTER], max(map(len, slot)), int(place[2].max()) + 1)
    source, arc = torch.full(shape, -1), torch.full(shape, _FORBIDDEN)
    source[place[:3]], arc[place[:3]] = place[3], place[4]
    row = {v: i for i, v in enumerate(into)}
    joins = torch.full((count, 3), -1)
    for v, came in into.items():
        for k, (a, u) in enumerate(came):
            if a >= 0:
                joins[a] = torch.tensor([row[u], row[v], k])
    only_node = -1 if alone is None else row[alone]
    return _Levels(source, arc, slot[-1][_AFTER], joins, torch.tensor(stays), torch.tensor(stands), only_node)
