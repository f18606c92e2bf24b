"""The tree of best paths that are still in the running, and as far as they are all one.

Each slot at each time is a node, which came from another (Šrámek, Brejová & Vinař 2007, "On-line Viterbi algorithm for
analysis of long biological sequences"). A node is open while others may come from it. Where all open nodes come from is
certain: it is the root.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from semihmm.engine import tensors

Codes = npt.NDArray[np.int32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Survivors:
    """One tree for each of some streams.

    A node is ``time * width + slot``, times from 1 on; node 0 is above those of time 1. Where it came from lies in the
    ring of its stream, of ``capacity`` times, which grows if it must. The compiled twin, `MODULE.SurvivorTrees`, knows
    in addition where the ways to open nodes part, so that a step takes time in proportion to its slots, however long
    paths stay apart.

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
        self.onward = onward
        self.time: Ints = np.zeros(streams, np.int64)  # the latest
        self.root: Ints = np.zeros(streams, np.int64)
        self.codes: Codes = np.full((streams, capacity, len(onward)), -1, np.int32)  # as `Progress.came`, by time
        self.open: Bools = np.zeros((streams, memory, len(onward)), bool)  # the latest time first
        self._trees = None if tensors.MODULE is None else tensors.MODULE.SurvivorTrees(streams)

    @property
    def capacity(self) -> int:
        return int(self.codes.shape[1])

    @property
    def memory(self) -> int:
        return int(self.open.shape[1])

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
        self.open[stream] = False

    def widen(self, onward: Bools) -> None:
        """More slots, behind those that there are."""
        more, width = len(onward) - self.width, self.width
        delay, slot = self.codes // width, self.codes % width
        codes = np.where(self.codes < 0, -1, delay * len(onward) + slot).astype(np.int32)
        self.codes = np.pad(codes, [(0, 0), (0, 0), (0, more)], constant_values=-1)
        self.open = np.pad(self.open, [(0, 0), (0, 0), (0, more)])
        self.root, self.onward = self.root // width * len(onward) + self.root % width, onward

    def grow(self, streams: Ints, steps: Ints, came: Codes) -> None:
        """Take some steps.

        Args:
            streams: whose steps ``(B,)``.
            steps: how many each takes ``(B,)``.
            came: where each slot came from ``(B, T, width)``, as `semihmm.engine.onward.Progress` has it: -1 where
                there is no path; at time 1 nothing else counts.
        """
        self._reserve(int((self.time[streams] + steps - self.root_time[streams]).max(initial=0)) + 1)
        if self._trees is not None:
            made = (np.ascontiguousarray(x) for x in (streams, steps, came))
            self._trees.grow(*self._tables(), *made, tensors.threads_for(came.size))
            return
        for stream, count, codes in zip(streams.tolist(), steps.tolist(), came, strict=True):
            for code in codes[:count]:
                self.time[stream] += 1
                self.codes[stream, self.time[stream] % self.capacity] = code
                self.open[stream, 1:] = self.open[stream, :-1] & self.onward
                self.open[stream, 0] = code >= 0

    def settle(self, streams: Ints) -> tuple[Ints, Ints]:
        """Move roots down to where all open nodes come from.

        Returns:
            The nodes that they pass, and before them whose they are: numbers of ``streams``.
        """
        if self._trees is not None:
            which, nodes = self._trees.settle(*self._tables(), np.ascontiguousarray(streams))
            return np.array(which, np.int64), np.array(nodes, np.int64)
        each = []
        for stream in streams.tolist():
            root, _ = self._common(stream)
            each.append(self.path(stream, root))
            self.root[stream] = root
        return np.repeat(np.arange(len(each)), [len(x) for x in each]), np.concatenate(each)

    def first_children(self, streams: Ints) -> Ints:
        """The earliest time of what leads from the root to open nodes, once that is settled; its own for nothing."""
        if self._trees is None:
            return np.array([self._common(stream)[1] for stream in streams.tolist()], np.int64)
        found = np.empty(len(streams), np.int64)
        self._trees.first_children(*self._tables(), np.ascontiguousarray(streams), found)
        return found

    def path(self, stream: int, node: int) -> Ints:
        """The nodes from below the root to a node."""
        if self._trees is not None:
            return np.array(self._trees.path(*self._tables(), stream, node), np.int64)
        found = []
        while node // self.width > self.root_time[stream]:
            found.append(node)
            node = int(self._above(stream, np.array(node)))
        return np.array(found[::-1], np.int64)

    def keep_only(self, streams: Ints, ends: Ints, since: Ints) -> Ints:
        """Close all that do not come from one node of each stream: on the path to an end, the first from a time on.

        Args:
            streams: which ``(B,)``.
            ends: open nodes to which paths lead ``(B,)``.
            since: the earliest times of the nodes that all come from ``(B,)``.

        Returns:
            Those nodes ``(B,)``. What is open now is in `open`.
        """
        nodes = np.empty(len(streams), np.int64)
        if self._trees is not None:
            self._trees.keep(*self._tables(), *(np.ascontiguousarray(x) for x in (streams, ends, since)), nodes)
            return nodes
        for i, (stream, end, first) in enumerate(zip(streams.tolist(), ends.tolist(), since.tolist(), strict=True)):
            path = self.path(stream, end)
            nodes[i] = next((node for node in path.tolist() if node // self.width >= first), end)
            living = self._open_nodes(stream)
            origin = living.copy()
            while len(going := np.flatnonzero(origin > nodes[i])):
                origin[going] = self._above(stream, origin[going])
            lost = living[origin != nodes[i]]
            self.open[stream, self.time[stream] - lost // self.width, lost % self.width] = False
        return nodes

    def leads_up(self, stream: int) -> bool:
        """Whether all open nodes come from the root, as they do unless somebody has written to the tables."""
        nodes, root = self._open_nodes(stream), self.root[stream]
        while len(later := nodes[nodes // self.width > self.root_time[stream]]):
            if (self.codes[stream, later // self.width % self.capacity, later % self.width] < 0).any():
                return False
            nodes = np.unique(np.concatenate([np.setdiff1d(nodes, later), self._above(stream, later)]))
        return bool((nodes == root).all())

    def tables(self) -> dict[str, npt.NDArray[Any]]:
        """All that there is to save, but for what is open."""
        return {"time": self.time, "root": self.root, "onward": self.onward, "codes": self.codes}

    def restore(self, tables: dict[str, npt.NDArray[Any]], alive: Bools) -> None:
        """What `tables` said, again.

        Args:
            alive: which slots of the latest times have a path, ``(streams, memory, width)``, the latest first.
        """
        for name, x in tables.items():
            setattr(self, name, x)
        age = np.arange(self.memory)[:, None]
        self.open = alive & (age < self.time[:, None, None]) & (self.onward | (age == 0))

    def _tables(self) -> tuple[Any, ...]:
        """What the compiled twins take first."""
        return self.codes, self.time, self.root, self.onward, self.open

    def _open_nodes(self, stream: int) -> Ints:
        age, slot = np.nonzero(self.open[stream])
        nodes: Ints = (self.time[stream] - age) * self.width + slot
        return nodes

    def _above(self, stream: int, nodes: Ints) -> Ints:
        """The nodes where others came from."""
        time, slot = nodes // self.width, nodes % self.width
        code = self.codes[stream, time % self.capacity, slot].astype(np.int64)
        above: Ints = np.where(time > 1, (time - 1 - code // self.width) * self.width + code % self.width, 0)
        return above

    def _common(self, stream: int) -> tuple[int, int]:
        """Where all open nodes come from, or the root if there is none; the earliest time of what leads there."""
        nodes, steps = np.unique(self._open_nodes(stream)), dict[int, int]()
        while len(nodes) > 1:
            latest = int(nodes[-1]) // self.width
            here = nodes >= latest * self.width
            above = np.unique(self._above(stream, nodes[here]))
            steps |= dict.fromkeys(above.tolist(), latest)  # times only fall
            nodes = np.union1d(nodes[~here], above)
        root = int(nodes[0]) if len(nodes) else int(self.root[stream])
        return root, steps.get(root, root // self.width)

    def _reserve(self, times: int) -> None:
        """A ring of at least so many times."""
        if times <= self.capacity:
            return
        before, size = self.codes, max(times, 2 * self.capacity)
        self.codes = np.full((len(self.time), size, self.width), -1, np.int32)
        for stream, (root, latest) in enumerate(zip(self.root_time.tolist(), self.time.tolist(), strict=True)):
            kept = np.arange(root, latest + 1)
            self.codes[stream, kept % size] = before[stream, kept % before.shape[1]]
