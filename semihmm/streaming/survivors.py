"""The tree of best paths that are still in the running, and as far as they are all one.

Each slot at each time is a node, and its predecessor's node is its parent (Šrámek, Brejová & Vinař 2007, "On-line
Viterbi algorithm for analysis of long biological sequences"). A node that may get no more children and has none left
dies, and so may its parent then. A root with one child, which may get no other, is certain: the child is the next root.
Each node is made once and dies once, so that a step takes time in proportion to its slots, however long paths stay
apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from semihmm.engine import tensors

Codes = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NOBODY = -1  # the parent of a root, and of who is not alive
PENDING, PARENT, SUM = range(3)  # what is known of a node


class Survivors:
    """One tree for each of some streams.

    A node is ``time * width + slot``, times from 1 on; node 0 is above those of time 1. What is known of it lies at its
    place in the ring of its stream, of ``capacity`` times, which grows if it must: how many children it has, and one
    more while others may come; the place of its parent; and the sum of those of its children, which of one is where it
    is.

    Args:
        streams: how many trees.
        memory: how many times a slot may be the predecessor of others.
        onward: which slots may be at all, bool ``(width,)``; the others are ends, which count until the next step.

    Example:
        >>> import numpy as np
        >>> tree, all_of = Survivors(1, 1, np.array([True, True])), np.array([0])
        >>> tree.grow(all_of, np.array([1]), np.zeros((1, 1, 2), np.int32))
        >>> tree.grow(all_of, np.array([1]), np.zeros((1, 1, 2), np.int32))
        >>> tree.settle(all_of)[1].tolist()  # both states came from state 0 at time 1, which is node 2
        [2]
    """

    def __init__(self, streams: int, memory: int, onward: Bools, capacity: int = 64) -> None:
        self.memory, self.onward = memory, onward
        self.time: Ints = np.zeros(streams, np.int64)  # the latest
        self.root: Ints = np.zeros(streams, np.int64)
        self._make(capacity)

    def _make(self, capacity: int) -> None:
        self.nodes: Codes = np.zeros((len(self.time), capacity, len(self.onward), 3), np.int32)
        self.nodes[..., PARENT] = NOBODY

    @property
    def capacity(self) -> int:
        return int(self.nodes.shape[1])

    @property
    def width(self) -> int:
        return len(self.onward)

    @property
    def root_time(self) -> Ints:
        """The time until which all is certain, of each stream."""
        return self.root // self.width

    def restart(self, stream: int) -> None:
        """Begin a stream anew."""
        self.time[stream] = self.root[stream] = 0
        self.nodes[stream] = 0, NOBODY, 0

    def widen(self, onward: Bools) -> None:
        """More slots, behind those that there are."""
        self._move(self.capacity, onward)

    def grow(self, streams: Ints, steps: Ints, came: Codes) -> None:
        """Take some steps.

        Args:
            streams: whose steps ``(B,)``.
            steps: how many each takes ``(B,)``.
            came: where each slot came from ``(B, T, width)``, as `semihmm.engine.onward.Progress` has it: -1 where
                there is no path; at time 1 nothing else counts.
        """
        longest = int((self.time[streams] + steps - self.root_time[streams]).max(initial=0))
        self._reserve(longest + 1)
        if tensors.MODULE is None:
            for each in zip(streams.tolist(), steps.tolist(), came, strict=True):
                self._grow(*each)
        else:
            made = (np.ascontiguousarray(x) for x in (streams, steps, came))
            tensors.MODULE.grow_survivors(*self._compiled(), *made, tensors.threads_for(came.size))

    def _grow(self, stream: int, steps: int, came: Codes) -> None:
        before, ring = int(self.time[stream]), self._ring(stream)
        for now, code in enumerate(came[:steps].astype(np.int64), before + 1):
            at = self._place(now * self.width) + np.arange(self.width)
            ring[at] = 0, NOBODY, 0
            above = (
                self._place((now - 1 - code // self.width) * self.width + code % self.width) if now > 1 else 0 * code
            )
            self._adopt(ring, at[code >= 0], above[code >= 0])
            ring[at, PENDING] += code >= 0
        self.time[stream] = before + steps
        self._bury(stream, self._close(stream, before))

    def settle(self, streams: Ints) -> tuple[Ints, Ints]:
        """Move roots down as far as all that is alive comes from there.

        Returns:
            The nodes that they pass, and before them whose they are: numbers of ``streams``.
        """
        if tensors.MODULE is not None:
            which, nodes = tensors.MODULE.settle_survivors(*self._compiled(), np.ascontiguousarray(streams))
            return np.array(which, np.int64), np.array(nodes, np.int64)
        each = [self._settle(stream) for stream in streams.tolist()]
        return np.repeat(np.arange(len(each)), [len(x) for x in each]), np.concatenate(each)

    def _settle(self, stream: int) -> Ints:
        ring, passed = self._ring(stream), list[int]()
        while True:
            root = int(self.root[stream])
            time, slot = divmod(root, self.width)
            pending, _, below = ring[self._place(root)].tolist()
            if pending != 1 or (time and time > self.time[stream] - (self.memory if self.onward[slot] else 1)):
                return np.array(passed, np.int64)
            ring[below, PARENT] = NOBODY
            self.root[stream] = self._node(stream, below)
            passed.append(int(self.root[stream]))

    def first_children(self, streams: Ints) -> Ints:
        """The earliest time of what is alive and comes from the root, of each stream; the root's own for nothing."""
        if tensors.MODULE is not None:
            found = np.empty(len(streams), np.int64)
            tensors.MODULE.first_children(*self._compiled(), np.ascontiguousarray(streams), found)
            return found
        root, latest = self.root[streams], self.time[streams]
        times = root[:, None] // self.width + 1 + np.arange(self.memory)
        above = self.nodes[streams[:, None], times % self.capacity, :, PARENT]  # (B, memory, width)
        there = (above == self._place(root)[:, None, None]).any(-1) & (times <= latest[:, None])
        earliest: Ints = np.where(there.any(-1), times[:, 0] + there.argmax(-1), times[:, 0] - 1)
        return earliest

    def path(self, stream: int, node: int) -> Ints:
        """The nodes from below the root to a node."""
        at, top = (int(self._place(n)) for n in (node, int(self.root[stream])))
        found, ring = [], self._ring(stream)
        while at not in (top, NOBODY):
            found.append(at)
            at = int(ring[at, PARENT])
        nodes: Ints = self._node(stream, np.array(found[::-1], np.int64))
        return nodes

    def keep_only(self, streams: Ints, ends: Ints, since: Ints) -> tuple[Ints, Bools]:
        """Let all die that do not come from one node of each stream: on the path to an end, the first from a time on.

        Args:
            streams: which ``(B,)``.
            ends: nodes to which paths lead ``(B,)``.
            since: the earliest times of the nodes that all come from ``(B,)``.

        Returns:
            Those nodes ``(B,)``, and which slots of the latest times live, the latest first, ``(B, memory, width)``.
        """
        nodes, kept = np.empty(len(streams), np.int64), np.empty((len(streams), self.memory, self.width), bool)
        if tensors.MODULE is not None:
            given = (np.ascontiguousarray(x) for x in (streams, ends, since))
            tensors.MODULE.keep_survivors(*self._compiled(), *given, nodes, kept)
            return nodes, kept
        for i, (stream, end, first) in enumerate(zip(streams.tolist(), ends.tolist(), since.tolist(), strict=True)):
            path = self.path(stream, end)
            nodes[i] = next((node for node in path.tolist() if node // self.width >= first), end)
            kept[i] = self._keep(stream, int(nodes[i]))
        return nodes, kept

    def _keep(self, stream: int, node: int) -> Bools:
        latest, ring = int(self.time[stream]), self._ring(stream)
        times = latest - np.arange(self.memory)
        nodes = (times[:, None] * self.width + np.arange(self.width)).reshape(-1)
        there = np.repeat(times >= max(int(self.root_time[stream]), 1), self.width)
        at = self._place(np.where(there, nodes, 0))
        living = there & (ring[at, PARENT] >= 0)
        origin, going = at.copy(), np.flatnonzero(living)
        while len(going := going[self._node(stream, origin[going]) > node]):
            origin[going] = ring[origin[going], PARENT]
        kept: Bools = living & (origin == self._place(node))
        lost = at[living & ~kept]
        ring[lost, PENDING] -= 1
        self._bury(stream, lost[ring[lost, PENDING] == 0])
        return kept.reshape(self.memory, self.width)

    def tables(self) -> dict[str, npt.NDArray[Any]]:
        """All that there is to save."""
        return {"time": self.time, "root": self.root, "onward": self.onward, "nodes": self.nodes}

    def restore(self, tables: dict[str, npt.NDArray[Any]]) -> None:
        """What `tables` said, again."""
        for name, x in tables.items():
            setattr(self, name, x)

    def _compiled(self) -> tuple[Any, ...]:
        """What the compiled twins take first."""
        return self.nodes, self.time, self.root, self.onward, self.memory

    def _ring(self, stream: int) -> Codes:
        """What is known of a stream's nodes, by place."""
        ring: Codes = self.nodes[stream].reshape(-1, 3)
        return ring

    def _place(self, node: Any) -> Any:
        """Where a node lies in the ring of its stream."""
        return node // self.width % self.capacity * self.width + node % self.width

    def _node(self, stream: int, at: Any) -> Any:
        """Which node lies at a place: the times of a ring are those from the latest back."""
        row, slot = at // self.width, at % self.width
        latest = self.time[stream]
        return (latest - (latest - row) % self.capacity) * self.width + slot

    def _reserve(self, times: int) -> None:
        """A ring of at least so many times."""
        if times > self.capacity:
            self._move(max(times, 2 * self.capacity), self.onward)

    def _move(self, capacity: int, onward: Bools) -> None:
        """Lay out all nodes anew."""
        width, known = self.width, []
        for stream, root in enumerate(self.root.tolist()):
            ring = self._ring(stream)
            at = np.append(np.flatnonzero(ring[:, PARENT] >= 0), self._place(root))
            above = self._node(stream, ring[at[:-1], PARENT].astype(np.int64))
            children = np.bincount(ring[at[:-1], PARENT], minlength=len(ring))[at]
            known.append((self._node(stream, at), above, ring[at, PENDING] - children))
        self.onward = onward

        def wider(node: Any) -> Any:
            return node // width * self.width + node % width

        self.root = wider(self.root)
        self._make(capacity)
        for stream, (nodes, above, others) in enumerate(known):
            ring, at = self._ring(stream), self._place(wider(nodes))
            ring[at, PENDING] = others  # 1 while more children may come
            self._adopt(ring, at[:-1], self._place(wider(above)))

    @staticmethod
    def _adopt(ring: Codes, at: Ints, parents: Ints) -> None:
        """Give nodes their parents, and tell those."""
        ring[at, PARENT] = parents
        np.add.at(ring[:, PENDING], parents, 1)
        np.add.at(ring[:, SUM], parents, at.astype(np.int32))

    def _close(self, stream: int, before: int) -> Ints:
        """Nodes that have just left the carry get no more children; those that have none, as places."""
        found, ring = [np.zeros(0, np.int64)], self._ring(stream)
        for slots, reach in ((np.flatnonzero(self.onward), self.memory), (np.flatnonzero(~self.onward), 1)):
            first = max(before - reach + 1, 1, int(self.root_time[stream]))
            times = np.arange(first, int(self.time[stream]) - reach + 1)  # both are closed
            found.append(self._place(times[:, None] * self.width + slots).reshape(-1))
        at = np.concatenate(found)
        at = at[ring[at, PENDING] > 0]
        ring[at, PENDING] -= 1
        childless: Ints = at[(ring[at, PENDING] == 0) & (ring[at, PARENT] >= 0)]
        return childless

    def _bury(self, stream: int, dead: Ints) -> None:
        """Take nodes out, and their parents where they were the last children."""
        ring = self._ring(stream)
        while len(dead):
            above = ring[dead, PARENT]
            np.subtract.at(ring[:, PENDING], above, 1)
            np.subtract.at(ring[:, SUM], above, dead.astype(np.int32))
            ring[dead, PARENT] = NOBODY
            last = (ring[above, PENDING] == 0) & (ring[above, PARENT] >= 0)
            dead = np.unique(above[last]).astype(np.int64)
