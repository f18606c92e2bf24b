"""Answers while the data arrive: the state now, a little later, and for good."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from semihmm.errors import DataError, SemihmmError, ShapeError, StructureError
from semihmm.streaming import checking, saving
from semihmm.streaming.committing import Committing
from semihmm.streaming.filtering import Filtering
from semihmm.streaming.ranking import Ranking
from semihmm.streaming.source import Frames, Model, Modelled, Source, Template
from semihmm.streaming.window import Window, chosen, wide
from semihmm.structures import CTC, Structure

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Committed:
    """States that stay as they are, whatever comes.

    Attributes:
        states: one for each frame from ``first`` on, int64 ``(..., L)``, -1 behind those that there are.
        forced: which of them were not certain yet, bool ``(..., L)``.
        first: the frame that they begin with, int64 ``(...)``.

    Example:
        >>> stream = Stream(semihmm.HMM(torch.zeros(2), torch.full((2, 2), -torch.inf).fill_diagonal_(0.0),
        ...                             torch.zeros(1, 2)))
        >>> stream.push(torch.tensor([[0.0, -torch.inf], [0.0, 0.0]])).committed
        Committed(states=tensor([0, 0]), forced=tensor([False, False]), first=tensor(0))
    """

    states: Tensor
    forced: Tensor
    first: Tensor


@dataclass(frozen=True)
class Update:
    """What a chunk of n frames has brought.

    Attributes:
        filtered: log-posterior of the state at each frame given those up to it, ``(..., n, S)``; None where a structure
            has no states that could be told before it ends.
        log_likelihood: of all frames up to each one, float64 ``(..., n)``, in nats; None likewise.
        smoothed: log-posterior of the state ``lookahead`` frames before each frame, given those up to it,
            ``(..., n, S)``; NaN where that was before the first frame. None without a lookahead.
        committed: states that have become certain, or were forced.

    Example:
        >>> stream = Stream(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(1, 2)))
        >>> update = stream.push(torch.tensor([[0.0, 0.0], [1.0, -1.0]]))
        >>> [round(p, 2) for p in update.filtered.exp().flatten().tolist()]
        [0.5, 0.5, 0.88, 0.12]
    """

    filtered: Tensor | None
    log_likelihood: Tensor | None
    smoothed: Tensor | None
    committed: Committed


@dataclass(frozen=True)
class Ranked:
    """The k best paths so far, best first.

    Attributes:
        states: of the frames from ``first`` on, int64 ``(k, L)``; -1 where there are not as many paths.
        score: of whole paths, also before ``first``, float64 ``(k,)``; ``-inf`` for none.
        first: the first frame that is not committed.

    Example:
        >>> stream = Stream(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(1, 2)), best=2)
        >>> _ = stream.push(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
        >>> stream.best_paths().states.tolist()  # of the last frame: before, state 0 is committed
        [[1], [0]]
    """

    states: Tensor
    score: Tensor
    first: int


@dataclass(frozen=True)
class Ending:
    """What the end of a stream has brought.

    Attributes:
        log_likelihood: of the whole sequence, float64: its log-partition.
        smoothed: log-posteriors of the latest frames, at most ``lookahead``, given all, ``(L, S)``; None without a
            lookahead.
        committed: the states of all frames that were left.
        score: that of the best path which has no other states than those that were forced; ``-inf`` for none.

    Example:
        >>> stream = Stream(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(1, 2)))
        >>> _ = stream.push(torch.tensor([[0.0, 0.0], [1.0, -1.0]]))
        >>> end = stream.finish()
        >>> end.committed.states.tolist(), float(end.score)  # the first state was committed before
        ([0], 1.0)
    """

    log_likelihood: Tensor
    smoothed: Tensor | None
    committed: Committed
    score: Tensor


INTEGERS = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
# So many state vectors, or rows of them, are kept from the start.
MOST = {"lookahead": 100_000, "best": 10_000, "streams": 1_000_000}


class Stream:
    """A structure, or a model, whose frames arrive in chunks of any number.

    Whatever the chunks are, answers are those that `semihmm.filtering`, `semihmm.log_partition` and `semihmm.viterbi`
    give of all frames at once.

    Args:
        source: a `Structure`, whose frames do not count: those that are pushed take their place. Or a model of
            semihmm.models, or any other function from observations ``(B, T, *event)`` to a structure, each frame by
            itself. In all of them a step may depend on its own frame and on as many before it as the structure's maps
            have memory: 1, or a HSMM's longest duration.
        lookahead: how many frames later smoothed posteriors are told, at most 100,000.
        max_delay: how many frames at most may wait for their state. At the end of a push that would leave more, states
            of the best path so far are committed, and paths with other states are out of the running. None: states
            wait until all paths agree on them, and as long they take memory.
        best: keep as many best paths, at most 10,000; see `best_paths`.
        streams: how many streams go side by side, those that have been joined; None for one alone.

    A structure of your own can be streamed if its chain has a step for each frame, or for each but the first; if the
    first entry of its `ragged` says which potentials have an axis of time, first behind the batch's; and if
    `Structure.filtered`, `Structure.event` and `Structure.state_sequence` tell its states. What it does not tell is
    told of the chain's slots.

    Example:
        >>> import torch, semihmm
        >>> sticky = torch.tensor([[0.0, -3.0], [-3.0, 0.0]])
        >>> stream = Stream(semihmm.HMM(torch.zeros(2), sticky, torch.zeros(1, 2)), max_delay=20)
        >>> for frame in torch.tensor([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0], [0.0, 9.0]]):
        ...     print(stream.push(frame.unsqueeze(0)).committed.states.tolist())
        []
        [0]
        [0]
        [1]
    """

    def __init__(
        self,
        source: Structure | Model,
        *,
        lookahead: int = 0,
        max_delay: int | None = None,
        best: int = 0,
        streams: int | None = None,
    ) -> None:
        counts = (("lookahead", lookahead, 0), ("best", best, 0), ("max_delay", max_delay, 1), ("streams", streams, 1))
        for name, value, least in counts:
            if not (_counts(value, least) or (value is None and name in ("max_delay", "streams"))):
                raise SemihmmError(f"Stream: {name} must be a number of at least {least}, got {value!r}.")
            if name in MOST and value is not None and value > MOST[name]:
                raise SemihmmError(
                    f"Stream: {name} must be at most {MOST[name]}, as each frame takes work and memory for all of "
                    f"them, got {value}."
                )
        if not isinstance(source, Structure) and not callable(source):
            raise StructureError(
                "Stream: takes a structure, a model of semihmm.models, or a function that makes a structure of "
                f"observations, got {source!r}."
            )
        self.max_delay, self.best, self.streams = max_delay, best, streams
        self.source: Source = Template.of(source, streams or 1) if isinstance(source, Structure) else Modelled(source)
        self._first = self.source.arriving[0] if isinstance(self.source, Template) else "x"
        count = streams or 1
        self.seen = torch.zeros(count, dtype=torch.int64)
        self.joined = torch.full((count,), streams is None)
        self._frames: Frames = {}  # the latest, on the right
        self._reach = 0  # how many of them: as many as a step or a lookahead looks back on
        self._form: Structure | None = None
        self._filtering = Filtering(count, lookahead)
        self._committing = Committing(count, max_delay)
        self._ranking = Ranking(count, best) if best else None

    @property
    def lookahead(self) -> int:
        """How many frames later smoothed posteriors are told; it may be set to less than the stream was made with."""
        return self._filtering.lookahead

    @lookahead.setter
    def lookahead(self, frames: int) -> None:
        if not _counts(frames, 0) or frames > self._filtering.most:
            raise SemihmmError(
                f"Stream: lookahead may be 0 to {self._filtering.most}, what the stream was made with, got {frames!r}."
            )
        self._filtering.lookahead = frames

    # ---- frames

    @torch.no_grad()
    def push(self, chunk: Any = None, /, lengths: Any = None, **known: Any) -> Update:
        """Take n frames: 0, 1 or thousands.

        Args:
            chunk: the observed potential ``(n, *event)``, or observations for a model; ``(streams, n, *event)`` where
                streams go side by side.
            lengths: of streams side by side, how many of these frames each one has, integers ``(streams,)``; None for
                all in those that have joined, and none in the others.
            known: what else arrives: a transition that differs over time, the one into each frame; a model's inputs.
        Raises:
            ShapeError: a chunk of another form than the structure's.
            DataError: NaN, or infinite potentials. The stream is as it was before.
        """
        if chunk is not None and self._first in known:
            raise ShapeError(f"Stream: {self._first} of a chunk was given twice, by place and by name; pass it once.")
        batched = self.streams is not None
        frames = self.source.frames(known if chunk is None else {self._first: chunk, **known}, batched)
        seen = frames[self._first]
        lengths = self._lengths(lengths, seen.shape[1], len(seen))
        if batched and not bool((lengths == seen.shape[1]).all()):
            used = torch.arange(seen.shape[1]) < lengths.unsqueeze(-1)
            frames = {n: torch.where(wide(used, x), x, torch.zeros_like(x)) for n, x in frames.items()}
        found = [
            (w, self._filtering.of(w), self._committing.of(w), None if self._ranking is None else self._ranking.of(w))
            for w in self._windows(frames, lengths)
        ]
        # Nothing has changed until here, and nothing fails from here on.
        for window, now, grown, ranked in found:
            self._reach = window.memory + self._filtering.most
            self._form = window.structure if self._form is None or window.streams is None else self._form
            self._filtering.take(window, now)
            self._committing.take(window, grown)
            if self._ranking is not None and ranked is not None:
                self._ranking.take(window, ranked)
        if found:
            self._keep(frames, lengths)
        answers = self._filtering.joined([(w, f) for w, f, *_ in found], seen.shape[1])
        filtered, likelihood, smoothed = answers
        update = Update(filtered, likelihood, smoothed, self._settled())
        return update if batched else alone(update)

    def _settled(self) -> Committed:
        if self._form is None:
            nothing = torch.zeros(len(self.seen), 0, dtype=torch.int64)
            return Committed(nothing, nothing > 0, torch.zeros(len(self.seen), dtype=torch.int64))
        settled = Committed(*self._committing.settled(self._form_of_all(), self.seen))
        if self._ranking is not None:
            self._ranking.forget(self._committing.waiting() + self._reach)
        return settled

    def _form_of_all(self) -> Structure:
        """A structure of all streams, whose frames do not count."""
        assert self._form is not None
        return self.source.whole if isinstance(self.source, Template) else self._form

    def _windows(self, frames: Frames, lengths: Tensor) -> list[Window]:
        """The new frames behind those from before: streams that have as many of those go together."""
        old, going = np.minimum(self.seen.numpy(), self._reach), lengths.numpy() > 0
        found = []
        for count in sorted(set(old[going].tolist())):
            here = old == count
            streams = None if here.all() else torch.from_numpy(np.flatnonzero(here & going))
            latest = {n: chosen(x, streams) for n, x in frames.items()}
            if count:
                before = {n: chosen(self._frames[n][:, self._reach - count :], streams) for n in latest}
                latest = {n: torch.cat([before[n], x], 1) for n, x in latest.items()}
            found.append(Window.of(self.source, latest, streams, count, chosen(lengths, streams), self._reach))
        return found

    def _keep(self, frames: Frames, lengths: Tensor) -> None:
        """The latest frames, on the right."""
        whole = bool((lengths == next(iter(frames.values())).shape[1]).all())
        for name, x in frames.items():
            before = self._frames.get(name)
            if before is None:
                before = x.new_zeros(len(x), self._reach, *x.shape[2:])
            kept = max(self._reach - x.shape[1], 0)
            if whole and not kept:
                self._frames[name] = x[:, x.shape[1] - self._reach :].clone()
            elif whole:
                self._frames[name] = torch.cat(
                    [before[:, self._reach - kept :], x[:, x.shape[1] + kept - self._reach :]], 1
                )
            else:
                both = torch.cat([before, x], 1)
                at = wide(lengths.unsqueeze(-1) + torch.arange(self._reach), both)
                self._frames[name] = both.take_along_dim(at, 1)
        self.seen = self.seen + lengths

    def _lengths(self, lengths: Any, count: int, streams: int) -> Tensor:
        expected = len(self.seen)
        if streams != expected:
            raise ShapeError(f"Stream: a chunk must be of {expected} streams, got one of {streams}.")
        if lengths is None:
            return torch.where(self.joined, count, 0)
        try:
            found = torch.as_tensor(lengths)
            fits = self.streams is not None and found.shape == (expected,) and found.dtype in INTEGERS
            fits = fits and not bool(((found < 0) | (found > count)).any())
        except (TypeError, ValueError, RuntimeError, OverflowError):
            fits = False
        if not fits:
            raise ShapeError(
                f"Stream: lengths are for streams side by side, one integer for each, from 0 to the {count} frames of "
                f"the chunk, got {lengths!r} for {self.streams}."
            )
        idle = (found > 0) & ~self.joined
        if bool(idle.any()):
            raise DataError(f"Stream: frames for stream {int(idle.nonzero()[0])}, which has not joined; call join().")
        return found.long()

    # ---- what else there is to know

    @torch.no_grad()
    def best_paths(self, stream: int | None = None) -> Ranked:
        """The k best paths so far, best first: the states that are not committed yet, and what whole paths score.

        Raises:
            SemihmmError: the stream keeps no best paths.

        Example:
            >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(1, 2))
            >>> stream = Stream(hmm, best=2)
            >>> _ = stream.push(torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
            >>> stream.best_paths().score.tolist()
            [4.0, 3.0]
        """
        index = self._index(stream)
        if self._ranking is None or not int(self.seen[index]):
            raise SemihmmError("Stream: it keeps no best paths; pass best=k, and push a frame.")
        form = self._form_of_all()[[index if isinstance(self.source, Template) else 0]]
        return Ranked(*self._committing.ranked(form, self._ranking, index))

    # ---- beginnings and ends

    def join(self) -> int:
        """Let one more stream begin; returns its number.

        Raises:
            SemihmmError: all streams are in use.

        Example:
            >>> streams = Stream(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(1, 2)), streams=2)
            >>> streams.join(), streams.join()
            (0, 1)
        """
        free = (~self.joined).nonzero()
        if not len(free):
            raise SemihmmError(f"Stream: all {len(self.joined)} streams are in use; finish one, or make more.")
        stream = int(free[0])
        self.joined[stream] = True
        return stream

    @torch.no_grad()
    def finish(self, stream: int | None = None) -> Ending:
        """End a stream, which may begin anew then.

        Args:
            stream: which one, of streams side by side, that others may join in its place.
        Raises:
            SemihmmError: a stream that has not joined, or has had no frame.
        """
        index = self._index(stream)
        seen = int(self.seen[index])
        if not seen:
            raise SemihmmError("Stream: there is nothing to finish before the first frame.")
        old, streams = min(seen, self._reach), torch.tensor([index])
        frames = {n: x[index : index + 1, self._reach - old :] for n, x in self._frames.items()}
        window = Window.of(self.source, frames, streams if self.streams else None, old, torch.tensor([0]), old)
        likelihood, smoothed = self._filtering.ended(window)
        states, score = self._committing.ended(window, index, seen)
        self.restart(stream)
        return Ending(likelihood, smoothed, Committed(*(x[0] for x in states)), score)

    def restart(self, stream: int | None = None) -> None:
        """Forget a stream; of streams side by side, others may join in its place."""
        index = self._index(stream)
        self.seen[index] = 0
        self.joined[index] = self.streams is None
        self._committing.restart(index)
        if self._ranking is not None:
            self._ranking.restart(index)

    def extend(self, structure: Structure) -> None:
        """Go on with more states, behind those that there are: a target that grows.

        Frames from before could not be of the new ones. So the answers are those of the longer target where they are
        forbidden until now.

        Args:
            structure: the same, but for its new states: a CTC with more targets, a MonotonicAlignment with a wider
                emission, which chunks are to have from now on.
        Raises:
            StructureError: fewer states, or another structure, also in what it says of states that there were, such as
                another text, or other columns of the emission of a CTC; a stream with a lookahead, which would need to
                know of the new ones before.

        Example:
            >>> stream = Stream(semihmm.CTC(torch.zeros(1, 3), torch.tensor([1])))
            >>> _ = stream.push(torch.tensor([[0.0, 9.0, 0.0]]))
            >>> stream.extend(semihmm.CTC(torch.zeros(1, 3), torch.tensor([1, 2])))
            >>> _ = stream.push(torch.tensor([[0.0, 0.0, 9.0]]))
            >>> stream.finish().committed.states.tolist()
            [1, 2]
        """
        before = self.source.whole if isinstance(self.source, Template) else None
        if before is None or type(before) is not type(structure) or self._filtering.most:
            raise StructureError(
                "Stream: extend takes the structure that the stream was made of with as many states or more, and a "
                f"stream with lookahead=0, got {structure!r} for {before!r} and lookahead={self._filtering.most}."
            )
        source = Template.of(structure, len(self.seen))
        slots, memory = structure.chain().steps.slots, structure.chain().steps.memory
        unlike = changed(before, source.whole, slots)
        if memory > 1 or slots < before.chain().steps.slots or unlike:
            raise StructureError(
                "Stream: extend takes the structure that the stream was made of with new states behind its own, each "
                f"lasting one frame, got {structure!r} for {before!r}: "
                f"{', '.join(unlike) or 'how many states'} differ. Keep what there was, and append."
            )
        self.source = source
        for name, x in self._frames.items():
            event = source.whole.potentials[name].shape[2:]
            missing = [n for a, b in zip(reversed(x.shape[2:]), reversed(event), strict=True) for n in (0, b - a)]
            self._frames[name] = torch.nn.functional.pad(x, missing, value=-structure.sign * torch.inf)
        self._filtering.widen(slots)
        self._committing.widen(slots)
        if self._ranking is not None:
            self._ranking.widen(slots)

    # ---- files

    def save(self, path: str | PathLike[str]) -> None:
        """Write all that a stream knows to a safetensors file; the file appears when it is whole.

        Raises:
            DataError: a path that cannot be written.
            DependencyError: safetensors is not installed.
        """
        saving.write(path, saving.described(self.source), self._options(), self._tensors())

    def _options(self) -> dict[str, Any]:
        options = {n: getattr(self, n) for n in ("max_delay", "best", "streams")}
        return options | {"lookahead": self._filtering.most, "reach": self._reach}

    def _tensors(self) -> dict[str, Tensor]:
        """All that a stream knows."""
        tensors = {"seen": self.seen, "joined": self.joined}
        parts = {
            "frames": self._frames,
            "filtering": self._filtering.tensors(),
            "committing": self._committing.tensors(),
        }
        parts["ranking"] = {} if self._ranking is None else self._ranking.tensors()
        return tensors | {f"{part}.{name}": x for part, held in parts.items() for name, x in held.items()}

    @classmethod
    @torch.no_grad()
    def load(cls, path: str | PathLike[str], source: Structure | Model) -> Self:
        """Go on, to the bit, from what `save` wrote, in any process.

        Args:
            source: what the stream was made of.
        Raises:
            DataError: no such file, another kind of file, one that belongs to something else, or one whose numbers no
                stream can have; the message names the field.
            DependencyError: safetensors is not installed.
        """
        note, tensors = saving.read(path)
        try:
            options = note["options"]
            reach = checking.check_header(path, options, tensors)
            made = {n: x for n, x in options.items() if n != "reach"}
            stream = cls(source, **made)
            saving.check_source(path, note["source"], saving.described(stream.source))
            stream.joined = tensors["joined"]
            if bool(tensors["seen"].any()):
                like = cls(source, **made)
                like._replay(path, tensors, reach)
                checking.check_state(path, tensors, like._tensors(), reach)
                stream._restore(tensors, reach)
        except DataError:
            raise
        except (KeyError, TypeError, AttributeError, RuntimeError, ValueError, IndexError, OverflowError) as error:
            raise DataError(f"Stream.load: {path} holds a stream that cannot go on: {error!r}") from error
        return stream

    def _replay(self, path: str | PathLike[str], tensors: dict[str, Tensor], reach: int) -> None:
        """Push the frames that another stream has kept."""
        count, self.joined = tensors["seen"].clamp(max=reach), tensors["joined"].clone()
        self._filtering.lookahead = 0
        frames = {}
        for name, x in _parts(tensors)["frames"].items():
            at = (reach - count).unsqueeze(-1) + torch.arange(reach)
            frames[name] = x.take_along_dim(wide(at.clamp(max=reach - 1), x), 1)
        try:
            if self.streams is None:
                self.push(None, **{n: x[0, : int(count)] for n, x in frames.items()})
            else:
                self.push(None, count, **frames)
        except SemihmmError as error:
            raise checking.wrong(path, "frames", f"are refused: {error}") from error
        if self._reach != reach:
            raise checking.wrong(path, "reach", f"must be {self._reach}, got {reach}")
        posterior, mass, _ = self._filtering.forms
        if self._filtering.most and posterior is not None:
            assert self._form is not None
            event = self._form.potentials[self._form.observed].shape[2:]
            lasting = self._form.chain().steps.memory > 1
            smoothed = posterior.new_zeros(1, 1, *event) if lasting else posterior
            self._filtering.forms = posterior, mass, smoothed

    def _restore(self, tensors: dict[str, Tensor], reach: int) -> None:
        """All that `_tensors` said, again."""
        parts = _parts(tensors)
        self.seen, self._reach, self._frames = tensors["seen"], reach, parts["frames"]
        self._filtering.restore(parts["filtering"])
        self._committing.restore(parts["committing"])
        if self._ranking is not None:
            self._ranking.restore(parts["ranking"])
        self._form = self.source.structure(self._frames, None)

    def _index(self, stream: int | None) -> int:
        known = stream is None if self.streams is None else _counts(stream, 0)
        if not known or (stream or 0) >= len(self.joined):
            wanted = "no number: it is alone" if self.streams is None else f"a number below {self.streams}"
            raise SemihmmError(f"Stream: a stream here has {wanted}, got {stream!r}.")
        if not bool(self.joined[stream or 0]):
            raise SemihmmError(f"Stream: stream {stream} has not joined; call join().")
        return stream or 0


def alone(update: Update) -> Update:
    """What one stream has brought, without the axis of streams."""
    first = update.committed
    filtered, likelihood, smoothed = (
        None if x is None else x[0] for x in (update.filtered, update.log_likelihood, update.smoothed)
    )
    return Update(filtered, likelihood, smoothed, Committed(first.states[0], first.forced[0], first.first[0]))


def changed(before: Structure, after: Structure, slots: int) -> list[str]:
    """Fields of a structure that are not as they were, as far as they reached; none if it has only grown.

    Args:
        slots: how many states it has now: frames may grow along with those, but not in tokens of a CTC.
    """
    seen, counts = before.observed, list(before.ragged)
    unlike = []
    for name, new in after.__dict__.items():
        old = before.__dict__[name]
        if name == seen:
            grown = (
                not isinstance(after, CTC)
                and new.shape[-1] == slots
                and new.shape[-1] >= old.shape[-1]
                and old.shape[:-1] == new.shape[:-1]
            )
            same = old.dtype == new.dtype and (old.shape == new.shape or grown)
        elif name in counts[1:]:
            same = bool((_used(after, name) >= _used(before, name)).all())
        else:
            same = name in counts or _begins(_flags(before, name), _flags(after, name))
        if not same:
            unlike.append(name)
    return unlike


def _used(structure: Structure, lengths: str) -> Tensor:
    """How much of an axis that is no time is in use."""
    held = getattr(structure, lengths)
    name, axis = next((n, a) for n, a in structure.ragged[lengths].items() if getattr(structure, n) is not None)
    return torch.tensor(getattr(structure, name).shape[axis]) if held is None else held


def _flags(structure: Structure, name: str) -> Any:
    """A field; where it is left out and belongs to what another field counts, as ``optional`` of targets, no flag."""
    held = getattr(structure, name)
    others = [getattr(structure, n) for counted in structure.ragged.values() if name in counted for n in counted]
    like = next((x for x in others if x is not None), None)
    return held if held is not None or like is None else torch.zeros_like(like, dtype=torch.bool)


def _begins(old: Any, new: Any) -> bool:
    """Whether what is new begins with what there was."""
    if isinstance(old, tuple) and isinstance(new, tuple):
        return len(old) == len(new) and all(map(_begins, old, new))
    if not isinstance(old, Tensor) or not isinstance(new, Tensor):
        return not isinstance(old, Tensor) and not isinstance(new, Tensor) and bool(old == new)
    fits = old.ndim == new.ndim and all(a <= b for a, b in zip(old.shape, new.shape, strict=True))
    return fits and old.dtype == new.dtype and torch.equal(new[tuple(slice(n) for n in old.shape)], old)


def _counts(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _parts(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """What parts of a stream know, by part."""
    parts: dict[str, dict[str, Tensor]] = {p: {} for p in ("frames", "filtering", "committing", "ranking")}
    for name, x in tensors.items():
        part, dot, rest = name.partition(".")
        if dot and part in parts:
            parts[part][rest] = x
    return parts
