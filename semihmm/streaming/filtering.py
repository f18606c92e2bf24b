"""What state it is now, and a little later: sums over paths."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from semihmm.engine import Chain, plan, vectors
from semihmm.engine.onward import Carried, enter, leave, proceed
from semihmm.engine.strategies import State, Trail
from semihmm.engine.strategies.sequential import sequential
from semihmm.engine.total import posteriors
from semihmm.errors import StructureError
from semihmm.semirings import Log
from semihmm.streaming.window import (
    Window,
    carried_of,
    chosen,
    moved,
    placed,
    some_of,
    tensors_of,
    wide,
    widened,
    wider,
)
from semihmm.structures import HSMM, Structure

LOG = Log()


class Filtered(NamedTuple):
    """What the new frames of a window have brought."""

    carried: Carried
    rows: Tensor  # the state vectors that later ones look back on
    posterior: Tensor | None
    mass: Tensor | None
    smoothed: Tensor | None


class Filtering:
    """The state vectors of some streams in the log semiring: each one's latest, and ``lookahead`` before.

    Args:
        streams: how many.
        lookahead: how many frames later to look back, at most: less at any time.
    """

    def __init__(self, streams: int, lookahead: int) -> None:
        self.streams, self.lookahead, self.most = streams, lookahead, lookahead
        self.carried: Carried | None = None
        self.forms: tuple[Tensor | None, ...] = (None, None, None)  # of what is told of a frame
        self.rows: Tensor | None = None  # (streams, memory + lookahead + 1, slots): in nats, float64, the latest last

    def of(self, window: Window) -> Filtered:
        """What new frames bring. Changes nothing."""
        carried, new = self._forward(window)
        kept = window.memory + self.most + 1
        before = new.new_full((len(new), kept, new.shape[-1]), -torch.inf)
        if not window.fresh:
            assert self.rows is not None
            before = chosen(self.rows, window.streams)
        rows = torch.cat([before, new], -2)
        weights = told(window.structure, rows, window.length + 1, window.frames)
        posterior = mass = smoothed = None
        if weights is not None:
            mass = LOG.sum(weights.flatten(2), -1)
            posterior = normalised(weights, mass).to(carried.state.carry.dtype)
        if self.lookahead and weights is not None:
            smoothed = self._smoothed(window, rows)
            smoothed = None if smoothed is None else smoothed.to(carried.state.carry.dtype)
        return Filtered(carried, self._latest(window, rows, kept), posterior, mass, smoothed)

    def take(self, window: Window, found: Filtered) -> None:
        """Move on."""
        if window.streams is not None and self.rows is None:
            self.rows = found.rows.new_full((self.streams, *found.rows.shape[1:]), -torch.inf)
        self.carried = moved(self.carried, window, found.carried, self.streams)
        self.rows = found.rows if self.rows is None else placed(self.rows, window.streams, found.rows)

    def joined(self, found: list[tuple[Window, Filtered]], count: int) -> tuple[Tensor | None, ...]:
        """Log-posteriors, log-likelihoods and smoothed log-posteriors of all streams, from those of windows."""
        for _, one in found[:1]:
            self.forms = tuple(None if x is None else x[:1, :1] for x in (one.posterior, one.mass, one.smoothed))
        answers: list[Tensor | None] = []
        for kind, (form, fill) in enumerate(zip(self.forms, (-torch.inf, torch.nan, torch.nan), strict=True)):
            whole = None if form is None else form.new_full((self.streams, count, *form.shape[2:]), fill)
            for window, one in found:
                x = (one.posterior, one.mass, one.smoothed)[kind]
                if whole is None or x is None:
                    continue
                used = torch.arange(count, device=x.device) < window.lengths.unsqueeze(-1)
                whole = placed(whole, window.streams, torch.where(wide(used, x), x, fill))
            answers.append(whole)
        return tuple(answers)

    def widen(self, slots: int) -> None:
        """More slots, behind those that there are."""
        if self.carried is not None and self.rows is not None:
            self.carried, self.rows = widened(self.carried, slots), wider(self.rows, slots)

    def tensors(self) -> dict[str, Tensor]:
        """All that there is to save."""
        if self.carried is None or self.rows is None:
            return {}
        forms = {f"form {i}": x for i, x in enumerate(self.forms) if x is not None}
        return {**tensors_of(self.carried), "rows": self.rows, **forms}

    def restore(self, held: dict[str, Tensor]) -> None:
        """What `tensors` said, again."""
        self.carried, self.rows = carried_of(held), held["rows"]
        self.forms = tuple(held.get(f"form {i}") for i in range(len(self.forms)))

    def _forward(self, window: Window) -> tuple[Carried, Tensor]:
        """What is kept behind a window, and the new state vectors, float64 in nats; of fresh streams also the first."""
        if window.memory == 1:
            return self._by_engine(window)
        last, new = self._front(window), []
        if window.fresh:
            new.append((last.state.carry.select(-2, 0).double() + last.offset.unsqueeze(-1)).unsqueeze(-2))
        if window.latest:
            last, trail, scale = proceed(LOG, window.steps, window.length, window.taken, last, window.latest)
            new.append(trail.vectors.double() + (trail.offsets + scale).unsqueeze(-1))
        return last, torch.cat(new, -2)

    def _by_engine(self, window: Window) -> tuple[Carried, Tensor]:
        """The same of maps that look one step back, for which every backend has a way."""
        chain, length, taken = window.chain, window.length, window.taken
        offset: Tensor | float = 0.0
        if not window.fresh:
            front = self._front(window)
            steps = chain.steps.window(length - window.latest, length)  # type: ignore[attr-defined]
            chain = Chain((front.state.carry.select(-2, 0),), steps, length=window.latest)
            offset = front.offset[..., None, None]
        chain = chain if taken is None else replace(chain, lengths=taken)
        found = vectors(plan(chain, LOG), LOG, chain) + offset
        last = found[:, -1] if taken is None else found.take_along_dim(taken[:, None, None], -2).squeeze(-2)
        peak = last.amax(-1).nan_to_num(0.0, 0.0, 0.0)
        carry = (last - peak.unsqueeze(-1)).to(window.chain.start[0].dtype).unsqueeze(-2)
        last_one = Carried(State(carry, peak), Trail(carry, peak.unsqueeze(-1)), torch.zeros_like(peak))
        return last_one, found if window.fresh else found[:, 1:]

    def _front(self, window: Window) -> Carried:
        return enter(LOG, window.chain) if window.fresh else some_of(_there(self.carried), window.streams)

    def _latest(self, window: Window, rows: Tensor, kept: int) -> Tensor:
        """Of each stream, the latest rows that it has."""
        if window.taken is None:
            return rows[:, -kept:]
        first = window.taken + (window.fresh & (window.lengths > 0)).long()
        at = first.unsqueeze(-1) + torch.arange(kept)
        return rows.take_along_dim(at.unsqueeze(-1), 1)

    # ---- looking back

    def _smoothed(self, window: Window, rows: Tensor) -> Tensor | None:
        """The log-posterior of the state ``lookahead`` frames before each new frame, NaN where there was none."""
        ahead, frames = self.lookahead, window.frames
        known = min(window.old + frames - ahead, frames)  # as many of the frames look back on one
        if known < 1:
            return none_told(window, rows)
        found = looked_back(window, rows, ahead, known)
        if found is None:
            return None
        nothing = found.new_full((len(found), frames - known, *found.shape[2:]), torch.nan)
        return torch.cat([nothing, found], 1)

    def ended(self, window: Window) -> tuple[Tensor, Tensor | None]:
        """The log-partition of a stream that ends, and log-posteriors of its latest ``lookahead`` states."""
        assert self.rows is not None
        if window.cut:
            weights = told(window.structure, chosen(self.rows, window.streams), window.length + 1, 1)
            assert weights is not None
            value = LOG.sum((weights[:, 0] + _final(window.last)).flatten(1), -1)[0]
        else:
            ends, offset = leave(LOG, window.last.chain(), some_of(_there(self.carried), window.streams))
            value = (LOG.sum(ends, -1).double() + offset)[0]
        if not self.lookahead or self.forms[0] is None:
            return value, None
        rows = chosen(self.rows, window.streams)
        found = [looked_back(window, rows, k, 1, ends=True) for k in reversed(range(min(self.lookahead, window.old)))]
        each = [x[0] for x in found if x is not None]
        return value, torch.cat(each).to(window.chain.start[0].dtype) if each else None


def told(structure: Structure, rows: Tensor, count: int, frames: int) -> Tensor | None:
    """The weights of the states at the latest frames, from state vectors of which the structure has ``count``.

    Of its slots where it has no states; None where states last, and it cannot tell before they end.
    """
    missing = count - rows.shape[-2]
    if missing > 0:
        rows = torch.cat([rows.new_full((len(rows), missing, rows.shape[-1]), -torch.inf), rows], -2)
    rows = rows[:, rows.shape[-2] - count :]
    try:
        found = structure.filtered_last(rows, frames) if isinstance(structure, HSMM) else structure.filtered(rows)
    except StructureError:
        if structure.chain().steps.memory > 1:
            return None
        found = rows
    return found[:, found.shape[1] - frames :]


def normalised(weights: Tensor, mass: Tensor) -> Tensor:
    """Log-posteriors ``(B, T, *states)``; ``-inf`` where nothing is possible."""
    mass = mass.reshape(*mass.shape, *(1,) * (weights.ndim - mass.ndim))
    return torch.where(mass == -torch.inf, -torch.inf, weights - torch.where(mass == -torch.inf, 0.0, mass))


def none_told(window: Window, rows: Tensor) -> Tensor:
    """NaN for each frame."""
    form = told(window.structure, rows, window.length + 1, min(window.frames, 1) or 1)
    shape = rows.shape[-1:] if form is None else form.shape[2:]
    return rows.new_full((len(rows), window.frames, *shape), torch.nan)


def looked_back(window: Window, rows: Tensor, ahead: int, count: int, ends: bool = False) -> Tensor | None:
    """The log-posterior of the state ``ahead`` frames before each of the latest ``count``, given those up to it.

    Args:
        rows: the latest state vectors.
        ends: whether streams end with the last frame.
    """
    if window.memory == 1:
        return _from_start(window, rows, ahead, count, ends)
    return _from_frames(window, rows, ahead, count, ends)


def _from_start(window: Window, rows: Tensor, ahead: int, count: int, ends: bool) -> Tensor | None:
    """A state vector is where a chain of the frames behind it starts: its posterior is the gradient there."""
    start = rows[:, rows.shape[1] - ahead - count : rows.shape[1] - ahead]
    start = (start - start.amax(-1, keepdim=True).nan_to_num(0.0, 0.0, 0.0)).to(window.chain.start[0].dtype)
    steps = window.steps.window(window.length - ahead - count + 1, window.length)
    leaves = []
    for x, rank in zip(steps.leaves, steps.ranks, strict=True):
        time = x.ndim - 1 - rank
        shared = x.shape[time] == 1 or not ahead
        if not shared and not x.is_floating_point():
            raise StructureError("Stream: arcs that differ over time leave no lookahead; pass lookahead=0.")
        leaves.append(x.unsqueeze(time) if shared else x.unfold(time, ahead, 1).movedim(-1, time + 1))
    end = tuple(x.unsqueeze(-2) for x in window.structure.chain().end) if ends else ()
    chain = Chain((start,), steps.rebuild(tuple(leaves)), end, length=ahead)
    found = posteriors(plan(chain, LOG), chain, [True] + [False] * (len(chain.leaves) - 1))
    assert found is not None and found[1][0] is not None
    return told(window.structure, found[1][0].double().log(), window.length + 1, count)


def _from_frames(window: Window, rows: Tensor, ahead: int, count: int, ends: bool) -> Tensor | None:
    """Where segments lie across times, the posterior is the gradient in the frame, as in smoothing."""
    structure, memory = window.structure, window.memory
    seen = structure.potentials[structure.observed]
    width = memory + ahead + 1  # frames from before, the one in question, and those behind it
    short = max(width + count - 1 - seen.shape[1], 0)  # a young stream has no such frames from before
    padded = torch.cat([seen.new_zeros(len(seen), short, *seen.shape[2:]), seen], 1)
    padded = padded[:, padded.shape[1] - width - count + 1 :]
    frames = padded.unfold(1, width, 1).movedim(-1, 2).flatten(0, 1)  # (B * count, width, *event)
    if short and getattr(structure, "censored", "none") == "left":
        raise StructureError("Stream: a HSMM whose first segment is cut short, as censored='left', needs lookahead=0.")
    carry = rows[:, rows.shape[1] - ahead - memory - count : rows.shape[1] - ahead - 1]
    carry = carry.unfold(1, memory, 1).mT.flatten(0, 1)  # before the frame in question, oldest first
    offset = carry.amax((-2, -1)).nan_to_num(0.0, 0.0, 0.0)
    many = structure[torch.arange(len(seen)).repeat_interleave(count)]
    with torch.enable_grad():
        frames = frames.detach().requires_grad_()
        whole = many.holding(**{structure.observed: frames})
        chain = whole.chain()
        front = State((carry - offset[:, None, None]).to(frames.dtype).flip(-2), torch.zeros_like(offset))
        steps = (chain.steps.unrolled().window(memory, width),)
        _, trail = sequential(LOG, steps, ahead + 1, front, None, True)
        assert trail is not None
        new = trail.vectors.double() + trail.offsets.unsqueeze(-1)
        if ends and not window.cut:
            value = LOG.sum(new[:, -1] + sum(chain.end), -1)
        else:
            last = told(whole, torch.cat([front.carry.flip(-2).double(), new], 1), width + 1, 1)
            if last is None:
                return None
            last = last[:, 0] + _final(many) if ends else last
            value = LOG.sum(last.flatten(1), -1)
        (gradient,) = torch.autograd.grad(torch.where(value.isfinite(), value, 0.0).sum(), frames)
    posterior: Tensor = gradient[:, memory].double().clamp(min=0).log().unflatten(0, (len(seen), count))
    return posterior


def _final(structure: Structure) -> Tensor | float:
    """What ending in each state weighs."""
    final: Tensor | None = getattr(structure, "final", None)
    return 0.0 if final is None else final


def _there(carried: Carried | None) -> Carried:
    assert carried is not None
    return carried
