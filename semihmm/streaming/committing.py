"""Which states are certain: the best path, as far as all that are in the running agree."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from semihmm.engine import Path
from semihmm.engine.onward import Carried, enter, leave, origins, proceed
from semihmm.engine.strategies import State, Trail
from semihmm.errors import SemihmmError, StructureError
from semihmm.streaming.ranking import Ranking
from semihmm.streaming.survivors import Codes, Ints, Survivors
from semihmm.streaming.window import MAX, Window, carried_of, moved, some_of, tensors_of, wide, widened
from semihmm.structures import Structure

T = TypeVar("T")
Paths = tuple[Ints, Ints]  # nodes of the paths of some streams, and before them whose they are
MOST = 256  # times that the tree of paths has from the start, beside a chunk: to grow takes long


class Grown(NamedTuple):
    """What the new frames of a window have brought."""

    carried: Carried
    streams: Ints
    steps: Ints  # how many times each stream has more
    came: Codes  # (B, T, slots), as the engine has it


class Committing:
    """The best path into each slot of some streams, and the tree of those paths.

    Args:
        streams: how many.
        max_delay: how many frames may wait for their state.
    """

    def __init__(self, streams: int, max_delay: int | None) -> None:
        self.streams, self.max_delay = streams, max_delay
        self.carried: Carried | None = None
        self.tree: Survivors | None = None
        self.lead = 0
        self.told: Ints = np.zeros(streams, np.int64)  # how many frames have a state for good

    def of(self, window: Window) -> Grown:
        """What new frames bring. Changes nothing."""
        if self.max_delay is not None and self.max_delay < window.memory:
            raise SemihmmError(
                f"Stream: states last up to {window.memory} frames, so max_delay must be at least as many, or None, "
                f"got {self.max_delay}."
            )
        front = enter(MAX, window.chain) if window.fresh else some_of(_there(self.carried), window.streams)
        last, came = front, np.zeros((*front.state.offset.shape, 0, front.state.carry.shape[-1]), np.int32)
        if window.latest:
            found = window.best(front)
            assert found.came is not None
            last, came = found.last, found.came.cpu().numpy()
        steps = np.full(len(came), window.latest) if window.taken is None else window.taken.cpu().numpy()
        if window.fresh:  # the start is a time of its own
            first = (front.state.carry.select(-2, 0) > -torch.inf).cpu().numpy()[:, None]
            came = np.concatenate([np.where(first, 0, -1).astype(np.int32), came], 1)
            steps = steps + (window.lengths > 0).cpu().numpy()
        which = np.arange(len(came)) if window.streams is None else window.streams.cpu().numpy()
        return Grown(last, which, steps, came)

    def take(self, window: Window, new: Grown) -> None:
        """Move on."""
        if self.tree is None:
            onward = window.steps.leads_on.cpu().numpy()
            waiting = min(64 if self.max_delay is None else self.max_delay, MOST) + window.memory + window.frames
            self.tree, self.lead = Survivors(self.streams, window.memory, onward, waiting), window.lead
        self.carried = moved(self.carried, window, new.carried, self.streams)
        self.tree.grow(new.streams, new.steps, new.came)

    def settled(self, form: Structure, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States that have become certain, or are forced at the most delay: what they are, whether, from which frame.

        Args:
            form: a structure of all streams.
            seen: how many frames each has.
        """
        tree, roots = _there(self.tree), _there(self.tree).root.copy()
        which, nodes = tree.settle(np.arange(self.streams))
        certain = until = self._certain()
        forced = certain.copy()
        late = np.flatnonzero(seen.numpy() - certain > (np.inf if self.max_delay is None else self.max_delay))
        if len(late):
            forced[late] = self._force(late, seen.numpy()[late])
            more = tree.settle(late)
            which, nodes = np.concatenate([which, late[more[0]]]), np.concatenate([nodes, more[1]])
            until = self._certain()
        return self._committed(form, np.arange(self.streams), roots, (which, nodes), until, certain, forced)

    def _certain(self) -> Ints:
        """How many frames of each stream have a certain state.

        What begins lasts at least until the first that may come behind it.
        """
        tree = _there(self.tree)
        time = tree.root_time if tree.onward.all() else tree.first_children(np.arange(self.streams))
        return np.maximum(time - 1 + self.lead, self.told)

    def ended(self, window: Window, stream: int, seen: int) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """The states of all frames of a stream that are left, and the score of the path."""
        tree, only = _there(self.tree), np.array([stream])
        last, before = some_of(_there(self.carried), torch.tensor([stream])), np.zeros(0, np.int64)
        if window.cut:
            last, before = _cut(window, last, int(tree.time[stream]))
        ends, offset = leave(MAX, window.last.chain(), last)
        value, slot = MAX.choose(ends, -1)
        score, end = (value.double() + offset)[0], int(tree.time[stream]) * tree.width + int(slot)
        if not bool(score.isfinite()):
            path = np.zeros(0, np.int64)
        elif len(before) and before[int(slot)]:  # the last segment is one that no state vector ends
            path = np.append(tree.path(stream, int(before[int(slot)])), end)
        else:
            path = tree.path(stream, end)
        whole, paths = np.full(self.streams, seen), (np.zeros_like(path), path)
        return self._committed(window.structure, only, tree.root[only], paths, whole, whole, whole), score

    def _committed(
        self, form: Structure, streams: Ints, roots: Ints, paths: Paths, until: Ints, certain: Ints, forced: Ints
    ) -> tuple[Tensor, Tensor, Tensor]:
        """States behind those that are told, up to a frame, and which of them were forced."""
        first, until, certain, forced = (x[streams] for x in (self.told, until, certain, forced))
        above = np.maximum(roots // _there(self.tree).width - 1 + self.lead, 0)
        found = self._read(form, roots, paths, until - above)
        later = np.arange(int((until - first).max(initial=0)))
        frame = later + first[:, None]
        used, at = frame < until[:, None], np.minimum(frame - above[:, None], found.shape[1] - 1)
        if not used.all() or found.shape[1] != len(later):
            found = found.take_along_dim(wide(torch.from_numpy(at), found), 1) if len(later) else found[:, :0]
            found = torch.where(wide(torch.from_numpy(used), found), found, -1)
        self.told[streams] = until
        late = used & (frame >= certain[:, None]) & (frame < forced[:, None])
        return found, torch.from_numpy(late), torch.from_numpy(first)

    def waiting(self) -> Ints:
        """How many times of each stream are not certain."""
        tree = _there(self.tree)
        return tree.time - tree.root_time

    def restart(self, stream: int) -> None:
        """Begin a stream anew."""
        if self.tree is not None:
            self.tree.restart(stream)
        self.told[stream] = 0

    def widen(self, slots: int) -> None:
        """More slots, behind those that there are."""
        if self.carried is not None and self.tree is not None:
            self.carried = widened(self.carried, slots)
            self.tree.widen(np.ones(slots, bool))

    def tensors(self) -> dict[str, Tensor]:
        """All that there is to save."""
        if self.carried is None or self.tree is None:
            return {}
        tree = {f"tree {n}": torch.from_numpy(x) for n, x in self.tree.tables().items()}
        told, lead = torch.from_numpy(self.told), torch.tensor([self.lead, self.tree.memory])
        return {**tensors_of(self.carried), "told": told, "numbers": lead, **tree}

    def restore(self, held: dict[str, Tensor]) -> None:
        """What `tensors` said, again."""
        tables = {n.removeprefix("tree "): x.numpy() for n, x in held.items() if n.startswith("tree ")}
        self.lead, memory = held["numbers"].tolist()
        self.carried, self.told = carried_of(held), held["told"].numpy()
        self.tree = Survivors(self.streams, memory, tables.pop("onward"), capacity=1)
        self.tree.restore(tables, (self.carried.state.carry > -torch.inf).cpu().numpy())

    def ranked(self, form: Structure, ranking: Ranking, stream: int) -> tuple[Tensor, Tensor, int]:
        """The states of the best paths so far of a stream, at frames that wait for theirs; scores; the first frame.

        Of paths of segments, those whose latest one ends now.

        Args:
            form: a structure of one stream.
        """
        tree = _there(self.tree)
        ends = torch.from_numpy(tree.onward if tree.onward.all() else ~tree.onward)
        paths, scores = ranking.paths(stream, ends, int(tree.time[stream]))
        root, first = int(tree.root_time[stream]), int(self.told[stream])
        found: list[Tensor | None] = []
        frames = int(tree.time[stream]) - 1 + self.lead
        for path in paths:
            if not len(path):
                found.append(None)
                continue
            earlier = path[path // tree.width <= root]
            head, later = earlier[-1:] if len(earlier) else np.zeros(1, np.int64), path[path // tree.width > root]
            above = np.maximum(head // tree.width - 1 + self.lead, 0)
            along = self._read(form, head, (np.zeros_like(later), later), frames - above)
            found.append(along[0, first - frames :])
        nothing = next((torch.full_like(x, -1) for x in found if x is not None), torch.zeros(0, dtype=torch.int64))
        return torch.stack([nothing if x is None else x for x in found]), scores, first

    def _force(self, late: Ints, seen: Ints) -> Ints:
        """Commit the best paths so far of some streams as far as they must be; returns until which frames."""
        tree, carried = _there(self.tree), _there(self.carried)
        until, alive = self.told[late], carried.state.carry[torch.from_numpy(late)] > -torch.inf
        there = alive.flatten(1).any(-1).cpu().numpy()  # who has a path
        late, seen, which = late[there], seen[there], torch.from_numpy(late[there])
        carry, age = carried.state.carry[which], alive.any(-1).int().argmax(-1)[torch.from_numpy(there)]
        slot = MAX.choose(carry.take_along_dim(age[:, None, None], 1)[:, 0], -1)[1][0]
        ends = (tree.time[late] - age.cpu().numpy()) * tree.width + slot.cpu().numpy()
        nodes = tree.keep_only(late, ends, seen - _there(self.max_delay) + 1 - self.lead)
        lost = torch.from_numpy(~tree.open[late]).to(carry.device)  # the latest first
        assert carried.recent is not None
        state = carried.state._replace(carry=_without(carried.state.carry, which, lost))
        recent = carried.recent._replace(vectors=_without(carried.recent.vectors, which, lost.flip(1)))
        self.carried = Carried(state, recent, carried.scale)
        until[there] = nodes // tree.width - 1 + self.lead
        return until

    def _read(self, form: Structure, roots: Ints, paths: Paths, counts: Ints) -> Tensor:
        """The states of so many frames behind roots, and on paths from below those, ``(B, L)``; -1 after their ends."""
        width, longest, (which, nodes) = _there(self.tree).width, int(counts.max(initial=0)), paths
        above = np.maximum(roots // width, 1 - self.lead)
        slots = np.full((len(roots), longest + 1), -1)
        slots[:, 0] = np.where(roots > 0, roots % width, -1)
        slots[which, nodes // width - above[which]] = nodes % width
        seen = form.observed
        x = form.potentials[seen]
        along = torch.from_numpy(slots[:, self.lead :]).to(x.device)
        if not longest:
            return along[:, :0]
        lengths = torch.from_numpy(counts).to(x.device)
        blank = x.new_zeros(()).expand(len(roots), longest, *x.shape[2:])
        form = form.holding(**{seen: blank, **{n: lengths for n in list(form.ragged)[:1] if n in form.__dict__}})
        try:
            return form.state_sequence(form.event(Path.through(along)))
        except StructureError:  # it has no states but the chain's slots
            return along[:, along.shape[1] - longest :]


def _cut(window: Window, last: Carried, time: int) -> tuple[Carried, Ints]:
    """A stream whose last segment may go on behind its end, and for each slot the node that comes before.

    A segment of the longest duration cannot go on, so that the state vector has it already; 0 stands for that.
    """
    assert last.recent is not None
    carry, (vectors, offsets) = last.state.carry, last.recent
    latest, older, nothing = carry[:, :1], carry[:, 1:], torch.full_like(carry[:, :1], -torch.inf)
    recent = Trail(torch.cat([nothing, vectors[:, :-1]], 1), torch.cat([offsets[:, :1], offsets[:, :-1]], 1))
    front = Carried(State(torch.cat([older, nothing], 1), last.state.offset), recent, last.scale)
    steps, length = window.last.chain().steps.unrolled(), window.length
    trail = proceed(MAX, steps, length, None, front, 1).trail
    came = origins(MAX, steps, length, front, trail)
    longer = trail.vectors + (trail.offsets - last.state.offset).to(latest.dtype).unsqueeze(-1)
    node = (time - came.delay.movedim(0, -1)) * latest.shape[-1] + came.slot.movedim(0, -1)
    before: Ints = torch.where(longer >= latest, node, 0)[0, 0].cpu().numpy()
    whole = State(torch.cat([torch.maximum(longer, latest), older], 1), last.state.offset)
    return Carried(whole, last.recent, last.scale), before


def _without(x: Tensor, streams: Tensor, lost: Tensor) -> Tensor:
    """State vectors of all streams, in some of which slots are lost."""
    return x.index_put((streams,), x[streams].masked_fill(lost, -torch.inf))


def _there(x: T | None) -> T:
    assert x is not None
    return x
