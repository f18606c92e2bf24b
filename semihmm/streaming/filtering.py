"""What state it is now, and a little later: sums over paths."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from semihmm.engine import Chain, plan
from semihmm.engine.onward import Carried, enter, leave
from semihmm.engine.strategies import State
from semihmm.engine.strategies.sequential import sequential
from semihmm.engine.tensors import log_normalised
from semihmm.engine.total import posteriors
from semihmm.errors import StructureError
from semihmm.streaming.window import (
    LOG,
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
from semihmm.structures import HMM, HSMM, Structure


class Filtered(NamedTuple):
    """What the new frames of a window have brought."""

    carried: Carried
    rows: Tensor | None  # the state vectors that later ones look back on, where they do
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
        front = enter(LOG, window.chain) if window.fresh else some_of(_there(self.carried), window.streams)
        carried, vectors, offsets, weights = front, front.state.carry[:, :0], front.offset[:, None][:, :0], None
        if window.latest:
            new = window.sums(front)
            carried, vectors, offsets, weights = new.last, new.trail.vectors, new.offsets, new.going
        if window.fresh:
            vectors = torch.cat([front.state.carry[:, :1], vectors], 1)
            offsets = torch.cat([front.offset[:, None], offsets], 1)
        rows = self._rows(window, vectors, offsets)
        if window.memory == 1:
            weights = told(window.structure, vectors, window.length + 1, window.frames)
        elif window.going is None and rows is not None:
            weights, offsets = told(window.structure, rows, window.length + 1, window.frames), torch.zeros_like(offsets)
        posterior = mass = smoothed = None
        if weights is not None:
            shares, value = log_normalised(weights.flatten(2))
            mass = value.double() + offsets[:, offsets.shape[1] - window.frames :]
            posterior = shares.view(weights.shape).to(carried.state.carry.dtype)
        if self.lookahead and weights is not None and rows is not None:
            smoothed = self._smoothed(window, rows)
            smoothed = None if smoothed is None else smoothed.to(carried.state.carry.dtype)
        return Filtered(carried, None if rows is None else self._latest(window, rows), posterior, mass, smoothed)

    def take(self, window: Window, found: Filtered) -> None:
        """Move on."""
        self.carried = moved(self.carried, window, found.carried, self.streams)
        if found.rows is None:
            return
        if window.streams is not None and self.rows is None:
            self.rows = found.rows.new_full((self.streams, *found.rows.shape[1:]), -torch.inf)
        self.rows = found.rows if self.rows is None else placed(self.rows, window.streams, found.rows)

    def joined(self, found: list[tuple[Window, Filtered]], count: int) -> tuple[Tensor | None, ...]:
        """Log-posteriors, log-likelihoods and smoothed log-posteriors of all streams, from those of windows."""
        for _, one in found[:1]:
            self.forms = tuple(None if x is None else x[:1, :1] for x in (one.posterior, one.mass, one.smoothed))
        if len(found) == 1 and found[0][0].whole and found[0][0].streams is None:
            return found[0][1][2:]
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
        self.carried = None if self.carried is None else widened(self.carried, slots)
        self.rows = None if self.rows is None else wider(self.rows, slots)

    def tensors(self) -> dict[str, Tensor]:
        """All that there is to save."""
        if self.carried is None:
            return {}
        forms = {f"form {i}": x for i, x in enumerate(self.forms) if x is not None}
        return {**tensors_of(self.carried), **({} if self.rows is None else {"rows": self.rows}), **forms}

    def restore(self, held: dict[str, Tensor]) -> None:
        """What `tensors` said, again."""
        self.carried, self.rows = carried_of(held), held.get("rows")
        self.forms = tuple(held.get(f"form {i}") for i in range(len(self.forms)))

    def _rows(self, window: Window, vectors: Tensor, offsets: Tensor) -> Tensor | None:
        """The state vectors from before and new ones, in nats, where anything looks back on them."""
        if not self.most and (window.memory == 1 or (window.going is not None and not window.cut)):
            return None
        new = vectors.double() + offsets.unsqueeze(-1)
        if window.fresh:
            before = new.new_full((len(new), self._kept(window), new.shape[-1]), -torch.inf)
        else:
            assert self.rows is not None
            before = chosen(self.rows, window.streams)
        return torch.cat([before, new], -2)

    def _kept(self, window: Window) -> int:
        return window.memory + self.most + 1

    def _latest(self, window: Window, rows: Tensor) -> Tensor:
        """Of each stream, the latest rows that it has."""
        if window.taken is None:
            return rows[:, -self._kept(window) :]
        first = window.taken + (window.fresh & (window.lengths > 0)).long()
        at = first.unsqueeze(-1) + torch.arange(self._kept(window))
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
        if window.cut:
            assert self.rows is not None
            weights = told(window.structure, chosen(self.rows, window.streams), window.length + 1, 1)
            assert weights is not None
            value = LOG.sum((weights[:, 0] + _final(window.last)).flatten(1), -1)[0]
        else:
            ends, offset = leave(LOG, window.last.chain(), some_of(_there(self.carried), window.streams))
            value = (LOG.sum(ends, -1).double() + offset)[0]
        if not self.lookahead or self.forms[0] is None:
            return value, None
        assert self.rows is not None
        rows = chosen(self.rows, window.streams)
        found = [looked_back(window, rows, k, 1, ends=True) for k in reversed(range(min(self.lookahead, window.old)))]
        each = [x[0] for x in found if x is not None]
        return value, torch.cat(each).to(window.chain.start[0].dtype) if each else None


def told(structure: Structure, rows: Tensor, count: int, frames: int) -> Tensor | None:
    """The weights of the states at the latest frames, from state vectors of which the structure has ``count``.

    Of its slots where it has no states; None where states last, and it cannot tell before they end.
    """
    if isinstance(structure, HMM):  # whose slots are its states, so that no others need be there
        return rows[:, rows.shape[1] - frames :]
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
