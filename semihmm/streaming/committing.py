"""Which states are certain: the best path, as far as all that are in the running agree."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from semihmm.engine import Path
from semihmm.engine.onward import Carried, best, enter, leave, origins, proceed
from semihmm.engine.strategies import State, Trail
from semihmm.errors import SemihmmError, StructureError
from semihmm.semirings import Max
from semihmm.streaming.ranking import Ranking
from semihmm.streaming.survivors import Bools, Ints, Survivors
from semihmm.streaming.window import Window, carried_of, moved, some_of, tensors_of, wide, widened
from semihmm.structures import Structure

T = TypeVar("T")
MAX = Max()
MOST = 256  # times that the tree of paths has from the start, beside a chunk: to grow takes long


class Grown(NamedTuple):
    """What the new frames of a window have brought."""

    carried: Carried
    streams: Ints
    steps: Ints  # how many times each stream has more
    source: Ints  # (B, T, slots)
    delay: Ints
    alive: Bools


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
        batch, _, width = front.state.carry.shape
        source = np.zeros((batch, 0, width), np.int64)
        delay, alive, last = source, np.zeros(source.shape, bool), front
        if window.latest:
            last, trail, _, found = best(window.steps, window.length, window.taken, front, window.latest)
            source, delay = (_by_time(x) for x in (found.slot, found.delay))
            alive = (trail.vectors > -torch.inf).cpu().numpy()
        steps = np.full(batch, window.latest) if window.taken is None else window.taken.cpu().numpy()
        if window.fresh:  # the start is a time of its own
            first = (front.state.carry.select(-2, 0) > -torch.inf).cpu().numpy()[:, None]
            source, delay = (np.concatenate([np.ones_like(first, np.int64), x], 1) for x in (source, delay))
            alive, steps = np.concatenate([first, alive], 1), steps + (window.lengths > 0).cpu().numpy()
        which = np.arange(batch) if window.streams is None else window.streams.cpu().numpy()
        return Grown(last, which, steps, source, delay, alive)

    def take(self, window: Window, new: Grown) -> None:
        """Move on."""
        if self.tree is None:
            onward = window.steps.leads_on.cpu().numpy()
            waiting = min(64 if self.max_delay is None else self.max_delay, MOST) + window.memory + window.frames
            self.tree, self.lead = Survivors(self.streams, window.memory, onward, waiting), window.lead
        self.carried = moved(self.carried, window, new.carried, self.streams)
        self.tree.grow(new.streams, new.steps, new.source, new.delay, new.alive)

    def settled(self, form: Structure, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States that have become certain, or are forced at the most delay: what they are, whether, from which frame.

        Args:
            form: a structure of all streams.
            seen: how many frames each has.
        """
        tree, roots = _there(self.tree), _there(self.tree).root.copy()
        paths = tree.settle(np.arange(self.streams))
        certain = until = self._certain()
        forced = certain.copy()
        late = np.flatnonzero(seen.numpy() - certain > (np.inf if self.max_delay is None else self.max_delay))
        if len(late):
            for stream in late.tolist():
                forced[stream] = self._force(stream, int(seen[stream]))
            for stream, more in zip(late.tolist(), tree.settle(late), strict=True):
                paths[stream] = np.concatenate([paths[stream], more])
            until = self._certain()
        return self._committed(form, np.arange(self.streams), roots, paths, until, certain, forced)

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
        if len(before) and before[int(slot)]:  # the last segment is one that no state vector ends
            path = np.append(tree.path(stream, int(before[int(slot)])), end)
        else:
            path = tree.path(stream, end)
        path = path if bool(score.isfinite()) else path[:0]
        whole = np.full(self.streams, seen)
        return self._committed(window.structure, only, tree.root[only], [path], whole, whole, whole), score

    def _committed(
        self, form: Structure, streams: Ints, roots: Ints, paths: list[Ints], until: Ints, certain: Ints, forced: Ints
    ) -> tuple[Tensor, Tensor, Tensor]:
        """States behind those that are told, up to a frame, and which of them were forced."""
        first, until, certain, forced = (x[streams] for x in (self.told, until, certain, forced))
        above = np.maximum(roots // _there(self.tree).width - 1 + self.lead, 0)
        found = self._read(form, roots, paths, until - above)
        count, skipped = until - first, first - above
        frame = torch.arange(int(count.max(initial=0)), device=found.device) + torch.from_numpy(first).unsqueeze(-1)
        used, low, high = (frame < torch.from_numpy(x).unsqueeze(-1) for x in (until, certain, forced))
        at = (torch.arange(frame.shape[1]) + torch.from_numpy(skipped).unsqueeze(-1)).clamp(max=found.shape[1] - 1)
        states = found.take_along_dim(wide(at, found), 1) if frame.shape[1] else found[:, :0]
        self.told[streams] = until
        return torch.where(wide(used, states), states, -1), used & high & ~low, torch.from_numpy(first)

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
        self.tree.restore(tables)

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
            found.append(self._read(form, head, [later], frames - above)[0, first - frames :])
        nothing = next((torch.full_like(x, -1) for x in found if x is not None), torch.zeros(0, dtype=torch.int64))
        return torch.stack([nothing if x is None else x for x in found]), scores, first

    def _force(self, stream: int, seen: int) -> int:
        """Commit the best path so far as far as it must be; returns until which frame."""
        tree, carried, width = _there(self.tree), _there(self.carried), _there(self.tree).width
        carry = carried.state.carry[stream]
        row = int((carry > -torch.inf).any(-1).int().argmax())
        slot = int(MAX.choose(carry[row], -1)[1])
        if not bool(carry[row, slot] > -torch.inf):
            return int(self.told[stream])  # there is no path
        path = tree.path(stream, (int(tree.time[stream]) - row) * width + slot)
        needed = seen - _there(self.max_delay) + 1 - self.lead
        node = int(path[np.searchsorted(path // width, needed)])
        lost = torch.from_numpy(~tree.keep_only(stream, node)).to(carry.device)  # the latest first
        carry, vectors = carried.state.carry.clone(), carried.recent.vectors.clone()
        carry[stream].masked_fill_(lost, -torch.inf)
        vectors[stream].masked_fill_(lost.flip(0), -torch.inf)
        state, recent = carried.state._replace(carry=carry), carried.recent._replace(vectors=vectors)
        self.carried = Carried(state, recent, carried.scale)
        return node // width - 1 + self.lead

    def _read(self, form: Structure, roots: Ints, paths: list[Ints], counts: Ints) -> Tensor:
        """The states of so many frames behind roots, and on paths from below those, ``(B, L)``; -1 after their ends."""
        width, longest = _there(self.tree).width, int(counts.max(initial=0))
        above = np.maximum(roots // width, 1 - self.lead)
        slots = np.full((len(paths), longest + 1), -1)
        for at, path, root, first in zip(slots, paths, roots.tolist(), above.tolist(), strict=True):
            at[0] = root % width if root else -1
            at[path // width - first] = path % width
        seen = form.observed
        x = form.potentials[seen]
        along = torch.from_numpy(slots[:, self.lead :]).to(x.device)
        if not longest:
            return along[:, :0]
        lengths = torch.from_numpy(counts).to(x.device)
        blank = x.new_zeros(()).expand(len(paths), longest, *x.shape[2:])
        form = form.holding(**{seen: blank, **{n: lengths for n in list(form.ragged)[:1] if n in form.__dict__}})
        try:
            return form.state_sequence(form.event(Path.through(along)))
        except StructureError:  # it has no states but the chain's slots
            return along[:, along.shape[1] - longest :]


def _cut(window: Window, last: Carried, time: int) -> tuple[Carried, Ints]:
    """A stream whose last segment may go on behind its end, and for each slot the node that comes before.

    A segment of the longest duration cannot go on, so that the state vector has it already; 0 stands for that.
    """
    carry, (vectors, offsets) = last.state.carry, last.recent
    latest, older, nothing = carry[:, :1], carry[:, 1:], torch.full_like(carry[:, :1], -torch.inf)
    recent = Trail(torch.cat([nothing, vectors[:, :-1]], 1), torch.cat([offsets[:, :1], offsets[:, :-1]], 1))
    front = Carried(State(torch.cat([older, nothing], 1), last.state.offset), recent, last.scale)
    steps, length = window.last.chain().steps.unrolled(), window.length
    _, trail, _ = proceed(MAX, steps, length, None, front, 1)
    came = origins(MAX, steps, length, front, trail)
    longer = trail.vectors + (trail.offsets - last.state.offset).to(latest.dtype).unsqueeze(-1)
    node = (time - came.delay.movedim(0, -1)) * latest.shape[-1] + came.slot.movedim(0, -1)
    before: Ints = torch.where(longer >= latest, node, 0)[0, 0].cpu().numpy()
    whole = State(torch.cat([torch.maximum(longer, latest), older], 1), last.state.offset)
    return Carried(whole, last.recent, last.scale), before


def _by_time(x: Tensor) -> Ints:
    """Origins ``(slots, B, T)`` as ``(B, T, slots)``."""
    found: Ints = x.movedim(0, -1).cpu().numpy()
    return found


def _there(x: T | None) -> T:
    assert x is not None
    return x
