"""The latest frames of some streams as a structure, and carries of all streams of which some move on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from semihmm.engine import Chain, Grid, Map
from semihmm.engine.onward import Carried
from semihmm.engine.strategies import State, Trail
from semihmm.errors import DataError, StructureError
from semihmm.streaming.source import Frames, Source
from semihmm.structures import HSMM, Structure


@dataclass(frozen=True)
class Window:
    """What some streams, all of which are as old or old enough, have in sight: frames from before, and new ones.

    Attributes:
        structure: of all these frames, and others behind them: no segment is cut short by the last one.
        last: the same, if the last of these frames is the last of all.
        chain: its chain, without ends.
        streams: which ones, int64 ``(B,)``; None for all.
        old: how many of the frames are from before; none where streams begin.
        frames: how many are new.
        lengths: of them, how many each stream has ``(B,)``.
    """

    structure: Structure
    last: Structure
    chain: Chain
    streams: Tensor | None
    old: int
    frames: int
    lengths: Tensor

    @staticmethod
    def of(source: Source, frames: Frames, streams: Tensor | None, old: int, lengths: Tensor) -> Window:
        """The window of frames ``(B, old + n, *event)``.

        Raises:
            StructureError: paths that do not go along with the frames.
            DataError: NaN or infinite potentials.
        """
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
        window = Window(structure, last, chain, streams, old, count - old, lengths)
        window._check()
        return window

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
    def lead(self) -> int:
        """1 where a chain begins with its first frame, 0 where it begins before that."""
        return self.old + self.frames - self.length

    @property
    def fresh(self) -> bool:
        """Whether streams begin here."""
        return not self.old

    @property
    def length(self) -> int:
        """How many steps the chain has."""
        return self.chain.length

    @property
    def latest(self) -> int:
        """How many of them are new."""
        return self.length if self.fresh else self.frames

    @cached_property
    def taken(self) -> Tensor | None:
        """How many of those each stream takes; None for all."""
        if bool((self.lengths == self.frames).all()):
            return None
        return (self.lengths - self.lead).clamp(min=0) if self.fresh else self.lengths

    @cached_property
    def steps(self) -> Map:
        """All steps, as the torch backend takes them."""
        return self.chain.steps.unrolled()

    @property
    def cut(self) -> bool:
        """Whether an end would cut the last segment short."""
        return self.last is not self.structure

    @property
    def memory(self) -> int:
        return self.chain.steps.memory


def chosen(x: Tensor, streams: Tensor | None, dim: int = 0) -> Tensor:
    """Some streams of all."""
    return x if streams is None else x.index_select(dim, streams)


def placed(all_of: Tensor, streams: Tensor | None, some: Tensor, dim: int = 0) -> Tensor:
    """All streams, some of them anew."""
    return some if streams is None else all_of.index_copy(dim, streams, some)


def some_of(carried: Carried, streams: Tensor | None) -> Carried:
    """What is kept of some streams."""
    (carry, offset), (vectors, offsets), scale = carried
    axis = carry.ndim - 3
    recent = Trail(chosen(vectors, streams, axis), chosen(offsets, streams))
    return Carried(State(chosen(carry, streams, axis), chosen(offset, streams)), recent, chosen(scale, streams))


def moved(carried: Carried | None, window: Window, new: Carried, count: int) -> Carried:
    """What is kept of all streams, those of a window moved on."""
    if window.streams is None:
        return new
    axis = new.state.carry.ndim - 3

    def into(old: Tensor | None, x: Tensor, dim: int = 0) -> Tensor:
        if old is None:
            old = x.new_full((*x.shape[:dim], count, *x.shape[dim + 1 :]), -torch.inf if dim or x.ndim > 2 else 0.0)
        return placed(old, window.streams, x, dim)

    (carry, offset), (vectors, offsets), scale = ((None, None), (None, None), None) if carried is None else carried
    return Carried(
        State(into(carry, new.state.carry, axis), into(offset, new.state.offset)),
        Trail(into(vectors, new.recent.vectors, axis), into(offsets, new.recent.offsets)),
        into(scale, new.scale),
    )


def tensors_of(carried: Carried) -> dict[str, Tensor]:
    """All that there is to save."""
    (carry, offset), (vectors, offsets), scale = carried
    return {"carry": carry, "offset": offset, "vectors": vectors, "offsets": offsets, "scale": scale}


def carried_of(held: dict[str, Tensor]) -> Carried:
    """What `tensors_of` said, again."""
    state, recent = State(held["carry"], held["offset"]), Trail(held["vectors"], held["offsets"])
    return Carried(state, recent, held["scale"])


def wider(x: Tensor, slots: int) -> Tensor:
    """State vectors with more slots, which no path has been in."""
    return torch.nn.functional.pad(x, (0, slots - x.shape[-1]), value=-torch.inf)


def widened(carried: Carried, slots: int) -> Carried:
    """The same with more slots."""
    (carry, offset), (vectors, offsets), scale = carried
    return Carried(State(wider(carry, slots), offset), Trail(wider(vectors, slots), offsets), scale)


def wide(x: Tensor, like: Tensor) -> Tensor:
    """With axes of 1 behind, as many as another tensor has."""
    return x.reshape(*x.shape, *(1,) * (like.ndim - x.ndim))
