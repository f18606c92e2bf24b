"""The latest frames of some streams as a structure, and carries of all streams of which some move on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semihmm.engine import Chain, Grid, Map
from semihmm.engine.onward import Carried, Progress, best, onward, proceed
from semihmm.engine.strategies import State, Trail
from semihmm.engine.tensors import usable
from semihmm.errors import DataError, StructureError
from semihmm.semirings import Log, Max
from semihmm.streaming.source import Frames, Source, Template
from semihmm.structures import HSMM, Structure
from semihmm.structures.leaves import numbered

LOG, MAX = Log(), Max()
MOST = 32  # forms of windows that are kept


@dataclass(frozen=True)
class Window:
    """What some streams, all of which are as old or old enough, have in sight: frames from before, and new ones.

    Attributes:
        structure: of all these frames, and others behind them: no segment is cut short by the last one.
        last: the same, if the last of these frames is the last of all.
        near: the steps of the new frames at least, as the torch backend takes them.
        streams: which ones, int64 ``(B,)``; None for all.
        old: how many of the frames are from before; none where streams begin.
        frames: how many are new.
        lengths: of them, how many each stream has ``(B,)``.
        lead: 1 where a chain begins with its first frame, 0 where it begins before that.
        like: another window of the same form.
    """

    structure: Structure
    last: Structure
    near: Map
    streams: Tensor | None
    old: int
    frames: int
    lengths: Tensor
    lead: int
    like: Window | None = None

    @staticmethod
    def of(source: Source, frames: Frames, streams: Tensor | None, old: int, lengths: Tensor, reach: int) -> Window:
        """The window of frames ``(B, old + n, *event)``.

        Args:
            reach: how many frames from before there are in the end, so that what those windows share is worked out
                while the first frames come, not all at once when they are full.

        Raises:
            StructureError: paths that do not go along with the frames.
            DataError: NaN or infinite potentials.
        """
        new = next(iter(frames.values())).shape[1] - old
        known = source.kept if isinstance(source, Template) and streams is None and old and new else None
        kept = known.get((old, new)) if known is not None else None
        window = kept.window(frames, lengths) if kept else Window._made(source, frames, streams, old, lengths)
        window._check()
        if known is not None and not kept and isinstance(source, Template):
            _keep(known, (old, new), source, lambda: window)
            if old < reach:
                empty = {n: x.new_zeros(len(x), reach + new, *x.shape[2:]) for n, x in frames.items()}
                _keep(known, (reach, new), source, lambda: Window._made(source, empty, None, reach, lengths))
        return window

    @staticmethod
    def _made(source: Source, frames: Frames, streams: Tensor | None, old: int, lengths: Tensor) -> Window:
        last = source.structure(frames, streams)
        structure = last
        censored = getattr(last, "censored", "none")
        if isinstance(last, HSMM) and censored in ("right", "both"):
            structure = last.holding(censored="left" if censored == "both" else "none")  # type: ignore[arg-type]
        count = next(iter(frames.values())).shape[1]
        name, chain = type(structure).__name__, structure.chain()
        if structure.batch_shape != lengths.shape:
            raise StructureError(
                f"Stream: a model must make a structure of {tuple(lengths.shape)} sequences of as many streams, got "
                f"{structure!r}."
            )
        if isinstance(chain.steps, Grid) or not isinstance(chain.steps, Map) or chain.length not in (count, count - 1):
            raise StructureError(
                f"Stream: a {name} has {chain.length} steps for {count} frames, so its paths cannot be followed frame "
                "by frame. HMM, HSMM, CTC, MonotonicAlignment, and structures with a step for each frame, can."
            )
        near, lead = chain.steps.unrolled(), count - chain.length
        window = Window(structure, last, near, streams, old, count - old, lengths, lead)
        window.__dict__["chain"] = chain
        return window

    @cached_property
    def chain(self) -> Chain:
        """The chain of the structure, without ends."""
        return self.structure.chain()

    def sums(self, front: Carried) -> Progress:
        """What the new steps lead to in the log semiring."""
        return onward(LOG, self.near, self.taken, front, self.latest, self.going) or proceed(
            LOG, self.steps, self.length, self.taken, front, self.latest, self.going
        )

    def best(self, front: Carried) -> Progress:
        """What is best behind the new steps, and where each slot came from."""
        return onward(MAX, self.near, self.taken, front, self.latest) or best(
            self.steps, self.length, self.taken, front, self.latest
        )

    def _check(self) -> None:
        """Refuse new potentials that are no log-weights, and a transition into a frame that has not come."""
        structure = self.structure
        if not self.old:
            structure.check()
        counted = next(iter(structure.ragged.values()))
        for name, axis in {structure.observed: -structure.ranks[structure.observed], **counted}.items():
            if -axis != structure.ranks.get(name):
                continue
            x = getattr(structure, name)
            count = x.shape[axis]
            if not self.lead and count == self.old + self.frames - 1:
                raise StructureError(
                    f"Stream: {name} of a {type(structure).__name__} leads out of each frame, so that of the latest is "
                    "not known yet. Pass one that is the same at all times."
                )
            new = x.narrow(axis, max(count - self.frames, 0), min(count, self.frames))
            if usable([new], structure.sign):
                continue
            bad = new.isnan() | (structure.sign * new == torch.inf)
            if bad.any():
                at = tuple(int(i) for i in bad.nonzero()[0])
                at = at[x.ndim + axis :]
                raise DataError(
                    f"Stream: {name}{list(at)} of the chunk is {float(new[bad][0])}; {int(bad.sum())} of "
                    f"{new.numel()} entries are like it. Potentials are finite, or {-structure.sign * torch.inf} for "
                    "what is forbidden: mask missing observations to 0. The stream is as it was before this chunk."
                )

    @property
    def fresh(self) -> bool:
        """Whether streams begin here."""
        return not self.old

    @property
    def length(self) -> int:
        """How many steps the chain has."""
        return self.old + self.frames - self.lead

    @property
    def latest(self) -> int:
        """How many of them are new."""
        return self.length if self.fresh else self.frames

    @cached_property
    def whole(self) -> bool:
        """Whether each stream has all new frames."""
        return bool((self.lengths == self.frames).all())

    @cached_property
    def taken(self) -> Tensor | None:
        """How many of those each stream takes; None for all."""
        if self.whole:
            return None
        return (self.lengths - self.lead).clamp(min=0) if self.fresh else self.lengths

    @cached_property
    def steps(self) -> Map:
        """All steps, as the torch backend takes them."""
        return self.near if self.like is None else self.chain.steps.unrolled()

    @cached_property
    def going(self) -> Tensor | None:
        """What segments weigh by how long they have lasted that may go on, of a HSMM that can tell."""
        if self.like is not None:
            return self.like.going
        if not isinstance(self.structure, HSMM):
            return None
        try:
            return self.structure.going()
        except StructureError:
            return None

    @property
    def cut(self) -> bool:
        """Whether an end would cut the last segment short."""
        return self.last is not self.structure

    @property
    def memory(self) -> int:
        return self.near.memory


Regular = tuple[tuple[int, ...], tuple[int, ...], int]
Place = tuple[str, Regular | Tensor] | None


Known = dict[tuple[int, int], Any]  # None: a form that came once; False: its windows share nothing


class Kept(NamedTuple):
    """A window, and where the log-weights of its latest steps come from, so that others of its form need no chain.

    Attributes:
        places: of each leaf the potential that arrives, and which of its entries: by shape, strides and the first one
            where they lie regularly, else by their numbers. None for what stays as it is.
    """

    window_: Window
    source: Template
    near: Map
    places: tuple[Place, ...]

    @staticmethod
    def of(window: Window, source: Template) -> Kept | None:
        """Of a window; None if its log-weights are no entries of what arrives."""
        structure, length = window.structure, window.length
        try:
            found = numbered(structure, unrolled=True)
        except StructureError:
            return None
        chain, ranges, start = window.chain, {}, 0
        for name, x in structure.potentials.items():
            ranges[name], start = (start, start + x.numel()), start + x.numel()
        first = len(chain.start) + len(chain.end)
        steps = window.steps.window(length - window.latest, length)
        numbers = window.steps.rebuild(
            tuple(
                x.new_full(x.shape, -1, dtype=torch.int64) if s is None or s.number is None else s.number
                for x, s in zip(window.steps.leaves, found[first:], strict=False)
            )
        ).window(length - window.latest, length)
        places: list[Place] = []
        for number, s in zip(numbers.leaves, found[first:], strict=False):
            arriving = [] if s is None else [n for n in source.arriving if n in s.potentials]
            if not arriving:
                places.append(None)
                continue
            (low, high), number = ranges[arriving[0]], number.as_subclass(Tensor)
            if len(arriving) > 1 or not number.numel() or int(number.min()) < low or int(number.max()) >= high:
                return None
            places.append((arriving[0], _regular(number - low)))
        kept = Kept(window, source, steps, tuple(places))
        # Numbers do not say by what an entry was multiplied.
        other = structure.holding(**{n: torch.rand_like(structure.potentials[n]) for n in source.arriving})
        expected = other.chain().steps.unrolled().window(length - window.latest, length)
        alike = map(torch.equal, expected.leaves, kept._leaves(other.potentials))
        return kept if all(alike) else None

    def window(self, frames: Frames, lengths: Tensor) -> Window:
        """Of other frames."""
        form = self.window_
        arrived = self.source.arrived(frames)
        structure = form.structure.holding(**arrived)
        last = form.last.holding(**arrived) if form.cut else structure
        near = self.near.rebuild(self._leaves(arrived))
        return Window(structure, last, near, None, form.old, form.frames, lengths, form.lead, form)

    def _leaves(self, arrived: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        found = []
        for leaf, place in zip(self.near.leaves, self.places, strict=True):
            if place is None:
                found.append(leaf)
                continue
            x, at = arrived[place[0]].contiguous(), place[1]
            if isinstance(at, Tensor):
                found.append(x.view(-1)[at])
            else:
                found.append(x.as_strided(at[0], at[1], x.storage_offset() + at[2]))
        return tuple(found)


def _keep(known: Known, form: tuple[int, int], source: Template, window: Callable[[], Window]) -> None:
    """What windows of a form share, once it comes for the second time: then it comes again."""
    seen = form in known
    kept = known.pop(form, None)
    known[form] = Kept.of(window(), source) or False if seen and kept is None else kept
    while len(known) > MOST:
        del known[next(iter(known))]


def _regular(number: Tensor) -> Regular | Tensor:
    """Numbers as shape, strides and the first of them, if that is what they are."""
    first = int(number.flatten()[0])
    stride = tuple(int(number.select(d, min(1, n - 1)).flatten()[0]) - first for d, n in enumerate(number.shape))
    grid = torch.full((), first)
    for d, (n, by) in enumerate(zip(number.shape, stride, strict=True)):
        grid = grid + (torch.arange(n) * by).reshape(-1, *(1,) * (number.ndim - 1 - d))
    return (tuple(number.shape), stride, first) if min(stride) >= 0 and torch.equal(grid, number) else number


def chosen(x: Tensor, streams: Tensor | None, dim: int = 0) -> Tensor:
    """Some streams of all."""
    return x if streams is None else x.index_select(dim, streams)


def placed(all_of: Tensor, streams: Tensor | None, some: Tensor, dim: int = 0) -> Tensor:
    """All streams, some of them anew."""
    return some if streams is None else all_of.index_copy(dim, streams, some)


def some_of(carried: Carried, streams: Tensor | None) -> Carried:
    """What is kept of some streams."""
    return carried if streams is None else _each(carried, lambda x, dim, _: chosen(x, streams, dim))


def moved(carried: Carried | None, window: Window, new: Carried, count: int) -> Carried:
    """What is kept of all streams, those of a window moved on."""
    if window.streams is None:
        return new

    def room(x: Tensor, dim: int, _: str) -> Tensor:
        fill = -torch.inf if dim or x.ndim > 2 else 0.0
        return x.new_full((*x.shape[:dim], count, *x.shape[dim + 1 :]), fill)

    held = tensors_of(_each(new, room) if carried is None else carried)
    axis = new.state.carry.ndim - 3
    return carried_of(
        {n: placed(held[n], window.streams, x, axis * (n in WEIGHTS)) for n, x in tensors_of(new).items()}
    )


WEIGHTS = {"carry", "vectors"}  # what has a value for each slot


def _each(carried: Carried, change: Callable[[Tensor, int, str], Tensor]) -> Carried:
    """Every tensor changed, given its axis of streams and its name."""
    axis = carried.state.carry.ndim - 3
    return carried_of({n: change(x, axis * (n in WEIGHTS), n) for n, x in tensors_of(carried).items()})


def tensors_of(carried: Carried) -> dict[str, Tensor]:
    """All that there is to save."""
    (carry, offset), recent, scale = carried
    held = {"carry": carry, "offset": offset, "scale": scale}
    return held if recent is None else {**held, "vectors": recent.vectors, "offsets": recent.offsets}


def carried_of(held: dict[str, Tensor]) -> Carried:
    """What `tensors_of` said, again."""
    recent = Trail(held["vectors"], held["offsets"]) if "vectors" in held else None
    return Carried(State(held["carry"], held["offset"]), recent, held["scale"])


def wider(x: Tensor, slots: int) -> Tensor:
    """State vectors with more slots, which no path has been in."""
    return torch.nn.functional.pad(x, (0, slots - x.shape[-1]), value=-torch.inf)


def widened(carried: Carried, slots: int) -> Carried:
    """The same with more slots."""
    return carried_of({n: wider(x, slots) if n in WEIGHTS else x for n, x in tensors_of(carried).items()})


def wide(x: Tensor, like: Tensor) -> Tensor:
    """With axes of 1 behind, as many as another tensor has."""
    return x.reshape(*x.shape, *(1,) * (like.ndim - x.ndim))
