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

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NOBODY = -1  # the parent of a root, and of who is not alive


class Survivors:
    """One tree for each of some streams.

    A node is ``time * width + slot``, times from 1 on; node 0 is above those of time 1. What is known of it lies in
    flat tables at its place, in a ring of ``capacity`` times of each stream, which grows if it must.

    Args:
        streams: how many trees.
        memory: how many times a slot may be the predecessor of others.
        onward: which slots may be at all, bool ``(width,)``; the others are ends, which count until the next step.

    Example:
        >>> import numpy as np
        >>> tree, all_of, both = Survivors(1, 1, np.array([True, True])), np.array([0]), np.ones((1, 1, 2), bool)
        >>> tree.grow(all_of, np.array([1]), np.zeros((1, 1, 2), int), np.ones((1, 1, 2), int), both)
        >>> tree.grow(all_of, np.array([1]), np.zeros((1, 1, 2), int), np.ones((1, 1, 2), int), both)
        >>> [node.tolist() for node in tree.settle(all_of)]  # both states came from state 0 at time 1, which is node 2
        [[2]]
    """

    def __init__(self, streams: int, memory: int, onward: Bools, capacity: int = 64) -> None:
        self.memory, self.onward = memory, onward
        self.time: Ints = np.zeros(streams, np.int64)  # the latest
        self.root: Ints = np.zeros(streams, np.int64)
        self._make(capacity)

    def _make(self, capacity: int) -> None:
        shape = (len(self.time), capacity, len(self.onward))
        self.capacity = capacity
        self.parent: Ints = np.full(shape, NOBODY, np.int64)  # its place
        self.children: Ints = np.zeros(shape, np.int64)  # how many
        self.sum: Ints = np.zeros(shape, np.int64)  # of their places: of one child, where it is
        self.closed: Bools = np.ones(shape, bool)  # no more of them will come

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
        self.parent[stream], self.children[stream], self.sum[stream], self.closed[stream] = NOBODY, 0, 0, True

    def widen(self, onward: Bools) -> None:
        """More slots, behind those that there are."""
        self._move(self.capacity, onward)

    def grow(self, streams: Ints, steps: Ints, source: Ints, delay: Ints, alive: Bools) -> None:
        """Take some steps.

        Args:
            streams: whose steps ``(B,)``.
            steps: how many each takes ``(B,)``.
            source: the slot that each slot came from ``(B, T, width)``; at time 1 none counts.
            delay: and how long before.
            alive: whether there is a path at all.
        """
        longest = int((self.time[streams] + steps - self.root_time[streams]).max(initial=0))
        self._reserve(longest + 1)
        if tensors.MODULE is None:
            self._grow(streams, steps, source, delay, alive)
        else:
            made = (np.ascontiguousarray(x) for x in (streams, steps, source, delay, alive))
            tensors.MODULE.grow_survivors(*self._compiled(), *made)

    def _grow(self, streams: Ints, steps: Ints, source: Ints, delay: Ints, alive: Bools) -> None:
        before = self.time[streams]
        times = before[:, None] + 1 + np.arange(source.shape[1])
        used = np.arange(source.shape[1]) < steps[:, None]
        ring = (streams[:, None] * self.capacity + times % self.capacity)[..., None] * self.width
        at = ring + np.arange(self.width)
        alive = alive & used[..., None]
        fresh = at[used]
        for table, nothing in ((self.parent, NOBODY), (self.children, 0), (self.sum, 0), (self.closed, False)):
            table.reshape(-1)[fresh] = nothing
        position = streams[:, None, None] * self.capacity + (times[..., None] - delay) % self.capacity
        came = position * self.width + source
        top = (streams * self.capacity * self.width)[:, None, None]  # the place of node 0
        came = np.where(times[..., None] == 1, top, came)
        self._adopt(at[alive], came[alive])
        self.time[streams] = before + steps
        self._bury(self._close(streams, before))

    def settle(self, streams: Ints) -> list[Ints]:
        """Move roots down as far as all that is alive comes from there; the nodes that they pass, for each stream."""
        if tensors.MODULE is not None:
            found = tensors.MODULE.settle_survivors(*self._compiled(), np.ascontiguousarray(streams))
            return [np.array(nodes, np.int64) for nodes in found]
        passed: list[list[int]] = [[] for _ in streams]
        going = np.arange(len(streams))
        while len(going):
            at = self._place(streams[going], self.root[streams[going]])
            certain = (self.children.reshape(-1)[at] == 1) & self.closed.reshape(-1)[at]
            going, at = going[certain], at[certain]
            below = self.sum.reshape(-1)[at]
            self.parent.reshape(-1)[below] = NOBODY
            nodes = self._node(below)
            self.root[streams[going]] = nodes
            for i, node in zip(going.tolist(), nodes.tolist(), strict=True):
                passed[i].append(node)
        return [np.array(nodes, np.int64) for nodes in passed]

    def first_children(self, streams: Ints) -> Ints:
        """The earliest time of what is alive and comes from the root, of each stream; the root's own for nothing."""
        if tensors.MODULE is not None:
            found = np.empty(len(streams), np.int64)
            tensors.MODULE.first_children(*self._compiled(), np.ascontiguousarray(streams), found)
            return found
        root, latest = self.root[streams], self.time[streams]
        times = root[:, None] // self.width + 1 + np.arange(self.memory)
        above = self.parent[streams[:, None], times % self.capacity]  # (B, memory, width)
        there = (above == self._place(streams, root)[:, None, None]).any(-1) & (times <= latest[:, None])
        earliest: Ints = np.where(there.any(-1), times[:, 0] + there.argmax(-1), times[:, 0] - 1)
        return earliest

    def path(self, stream: int, node: int) -> Ints:
        """The nodes from below the root to a node."""
        at, top = (int(self._place(stream, n)) for n in (node, int(self.root[stream])))
        found, parent = [], self.parent.reshape(-1)
        while at not in (top, NOBODY):
            found.append(at)
            at = int(parent[at])
        return self._node(np.array(found[::-1], np.int64))

    def keep_only(self, stream: int, node: int) -> Bools:
        """Let all die that do not come from a node; which slots of the latest times live, ``(memory, width)``."""
        latest, parent = int(self.time[stream]), self.parent.reshape(-1)
        times = latest - np.arange(self.memory)
        nodes = (times[:, None] * self.width + np.arange(self.width)).reshape(-1)
        there = np.repeat(times >= max(int(self.root_time[stream]), 1), self.width)
        at = self._place(stream, np.where(there, nodes, 0))
        living = there & (parent[at] >= 0)
        origin, going = at.copy(), np.flatnonzero(living)
        while len(going := going[self._node(origin[going]) > node]):
            origin[going] = parent[origin[going]]
        kept: Bools = living & (origin == self._place(stream, node))
        lost = at[living & ~kept]
        self.closed.reshape(-1)[lost] = True
        self._bury(lost[self.children.reshape(-1)[lost] == 0])
        return kept.reshape(self.memory, self.width)

    def tables(self) -> dict[str, npt.NDArray[Any]]:
        """All that there is to save."""
        return {"time": self.time, "root": self.root, "onward": self.onward, **self._tables()}

    def restore(self, tables: dict[str, npt.NDArray[Any]]) -> None:
        """What `tables` said, again."""
        for name, x in tables.items():
            setattr(self, name, x)
        self.capacity = self.parent.shape[1]

    def _tables(self) -> dict[str, npt.NDArray[Any]]:
        return {"parent": self.parent, "children": self.children, "sum": self.sum, "closed": self.closed}

    def _compiled(self) -> tuple[Any, ...]:
        """What the compiled twins take first."""
        return (*self._tables().values(), self.time, self.root, self.onward, self.memory)

    def _place(self, stream: Any, node: Any) -> Any:
        """Where a node lies in the flat tables."""
        time, slot = node // self.width, node % self.width
        return (stream * self.capacity + time % self.capacity) * self.width + slot

    def _node(self, at: Ints) -> Ints:
        """Which node lies at a place: the times of a ring are those from the latest back."""
        row, slot = at // self.width, at % self.width
        latest = self.time[row // self.capacity]
        return (latest - (latest - row) % self.capacity) * self.width + slot

    def _reserve(self, times: int) -> None:
        """A ring of at least so many times."""
        if times > self.capacity:
            self._move(max(times, 2 * self.capacity), self.onward)

    def _move(self, capacity: int, onward: Bools) -> None:
        """Lay out all nodes anew."""
        old, width = self._tables(), self.width
        alive = np.flatnonzero(old["parent"] >= 0)
        roots = self._place(np.arange(len(self.root)), self.root)
        held = np.concatenate([alive, roots])
        stream, nodes = held // (self.capacity * width), self._node(held)
        above = self._node(old["parent"].reshape(-1)[alive])
        self.onward = onward

        def wider(node: Ints) -> Ints:
            return node // width * self.width + node % width

        self.root = wider(self.root)
        self._make(capacity)
        at, parents = self._place(stream, wider(nodes)), self._place(stream[: len(alive)], wider(above))
        self.closed.reshape(-1)[at] = old["closed"].reshape(-1)[held]
        self._adopt(at[: len(alive)], parents)

    def _adopt(self, at: Ints, parents: Ints) -> None:
        """Give nodes their parents, and tell those."""
        self.parent.reshape(-1)[at] = parents
        np.add.at(self.children.reshape(-1), parents, 1)
        np.add.at(self.sum.reshape(-1), parents, at)

    def _close(self, streams: Ints, before: Ints) -> Ints:
        """Nodes that have just left the carry get no more children; those that have none, as places."""
        found = []
        for slots, reach in ((np.flatnonzero(self.onward), self.memory), (np.flatnonzero(~self.onward), 1)):
            first, last = np.maximum(before - reach, 0) + 1, self.time[streams] - reach  # both are closed
            longest = int((last - first).max(initial=-1)) + 1
            if not len(slots) or longest < 1:
                continue
            times = first[:, None] + np.arange(longest)
            inside = (times <= last[:, None]) & (times >= self.root_time[streams][:, None])
            nodes = times[..., None] * self.width + slots
            found.append(self._place(streams[:, None, None], nodes)[inside].reshape(-1))
        at = np.concatenate(found) if found else np.zeros(0, np.int64)
        self.closed.reshape(-1)[at] = True
        childless: Ints = at[(self.children.reshape(-1)[at] == 0) & (self.parent.reshape(-1)[at] >= 0)]
        return childless

    def _bury(self, dead: Ints) -> None:
        """Take nodes out, and their parents where they were the last children."""
        if tensors.MODULE is not None:
            tensors.MODULE.bury_survivors(*self._compiled(), dead)
            return
        parent, children, total = self.parent.reshape(-1), self.children.reshape(-1), self.sum.reshape(-1)
        closed = self.closed.reshape(-1)
        while len(dead):
            above = parent[dead]
            np.subtract.at(children, above, 1)
            np.subtract.at(total, above, dead)
            parent[dead] = NOBODY
            dead = np.unique(above[(children[above] == 0) & closed[above] & (parent[above] >= 0)])
