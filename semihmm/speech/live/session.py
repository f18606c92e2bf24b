"""The whole chain, from blocks of sound to what is known of each frame, and how long that takes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.files.results import Alignment
from semihmm.speech.intervals import Interval
from semihmm.speech.live.clock import Clock, WallClock
from semihmm.speech.live.features import LiveFrontEnd
from semihmm.speech.live.loop import FreeLoop
from semihmm.speech.live.resampling import Resampler
from semihmm.speech.live.script import ScriptFollower
from semihmm.speech.live.sources import Block
from semihmm.speech.live.tasks import Found, Now, Task
from semihmm.speech.live.watch import Watch
from semihmm.types import Seconds


@dataclass(frozen=True)
class Moment:
    """One frame.

    Args:
        time: where it begins, in seconds of sound.
        now: what is known of it.
        phones: ``(phones,)`` probability of each of the model's phones, given the frames so far.
        lost: whether some of its sound was lost.

    Example:
        >>> Moment(0.0078, Now("yes", 0, 0.9), torch.ones(1)).lost
        False
    """

    time: Seconds
    now: Now
    phones: Tensor
    lost: bool = False


class Latencies:
    """How long frames took, as a histogram: it takes no more memory after an hour than after a second.

    Example:
        >>> latencies = Latencies()
        >>> for milliseconds in range(1, 101):
        ...     latencies.add(milliseconds / 1000)
        >>> len(latencies), round(latencies.quantile(0.5), 4), round(latencies.longest, 4)
        (100, 0.0501, 0.1)
    """

    _WIDTH, _BINS = 1e-4, 100_000

    def __init__(self) -> None:
        self._counts, self.longest = np.zeros(self._BINS, np.int64), 0.0

    def __len__(self) -> int:
        return int(self._counts.sum())

    def add(self, latency: Seconds) -> None:
        """One more frame."""
        self._counts[min(int(max(latency, 0.0) / self._WIDTH), self._BINS - 1)] += 1
        self.longest = max(self.longest, latency)

    def quantile(self, share: float) -> Seconds:
        """What this share of the frames took at most, to 0.1 ms; 0 if there were none."""
        total = self._counts.cumsum()
        return float(np.searchsorted(total, share * total[-1]) + 1) * self._WIDTH if total[-1] else 0.0


class Session:
    """Hears sound, block by block, and says what is known of each frame, as soon as it is.

    Args:
        model: the acoustic model.
        task: what to listen for: a `ScriptFollower`, a `KeywordSpotter` or a `PhoneListener`.
        clock: that of the source.
        say: is told, in a sentence, what is wrong with the sound.
        mean: ``(cepstra,)`` of an earlier session (its ``front_end.mean``), for the running mean to begin with.

    Attributes:
        latencies: of frames, from when the last sample of each was delivered to when the caller asked for the next.
        delays: from the end of what was found to when that was certain.
        busy: seconds that it took to hear, the caller's work with each frame included.
        watch: what was wrong with the sound.

    Example:
        >>> from pathlib import Path
        >>> from semihmm.speech import load_acoustic_model
        >>> from semihmm.speech.live import FileSource, PhoneListener, SimulatedClock
        >>> session = Session(model := load_acoustic_model(), PhoneListener(model), clock=SimulatedClock())
        >>> moments = list(session.play(FileSource(Path("examples/data/austen-0880.wav"), clock=session.clock)))
        >>> len(moments) - len(session.latencies)  # the last is for what is known at the end
        1
    """

    def __init__(
        self,
        model: AcousticModel,
        task: Task,
        *,
        clock: Clock | None = None,
        say: Callable[[str], None] = print,
        mean: Tensor | None = None,
    ) -> None:
        if model.splice or model.network is not None:
            raise DataError(
                f"Session: {model.name} hears each frame with others around it, which are not there yet. Choose a "
                f"model of Gaussians without LDA: one of 'semihmm train' without --adaptive and --network."
            )
        self.model, self.task, self.clock, self.say = model, task, clock or WallClock(), say
        self.front_end, self.loop = LiveFrontEnd(model.front_end, prior=mean), FreeLoop(model)
        self.watch, self.latencies, self.delays = Watch(say), Latencies(), Latencies()
        self.frames, self.duration, self.busy, self.sample_rate = 0, 0.0, 0.0, 0
        self._resampler = Resampler(round(model.front_end.sample_rate), round(model.front_end.sample_rate))
        self._warm_up()
        self._delivered: deque[tuple[Seconds, Seconds]] = deque()  # how far blocks reach, and when they came

    def _warm_up(self) -> None:
        """Pass some silence through copies of all parts: what is loaded and planned once takes longer than a frame."""
        front_end, loop, task = LiveFrontEnd(self.model.front_end), deepcopy(self.loop), deepcopy(self.task)
        for row in self.model.log_likelihood(
            front_end.push(torch.zeros(round(0.1 * self.model.front_end.sample_rate)))
        ):
            task.push(loop.push(row))

    def play(self, source: Iterable[Block]) -> Iterator[Moment]:
        """All that a source delivers, and the end."""
        for block in source:
            yield from self.hear(block)
        yield from self.finish()

    def hear(self, block: Block) -> Iterator[Moment]:
        """The frames that are known with this block; it is heard as far as they are asked for."""
        begun = self.clock.now()
        if block.sample_rate != self.sample_rate:
            yield from self._change(block.sample_rate)
        self.duration += block.duration
        self._delivered.append((self.duration, block.delivered))
        samples = self._resampler(self.watch(block).float())
        yield from self._moments(self.front_end.push(samples))
        self.busy += self.clock.now() - begun

    def finish(self) -> Iterator[Moment]:
        """The last frames, and then all that has become certain with the end."""
        yield from self._moments(self.front_end.push(self._resampler.finish()))
        yield from self._moments(self.front_end.finish())
        if self.frames:
            found = self.task.finish()
            yield Moment(self.duration, Now("", -1, 0.0, found=found), torch.zeros(len(self.model.phones)))

    def alignment(self, found: Sequence[Found], text: str = "") -> Alignment:
        """What was found, as an alignment that can be written to a file."""
        words = [
            Interval(item.start, min(item.end, self.duration), item.label, match=item.match)
            for item in (one.item for one in found if one.said)
        ]
        phones = [phone for one in found for phone in one.phones]
        otherwise = [
            Interval(one.item.start, one.item.end, f"something else than {one.item.label!r}")
            for one in found
            if not one.said
        ]
        ratio = self.task.log_likelihood_ratio if isinstance(self.task, ScriptFollower) else 0.0
        return Alignment(
            text,
            self.duration,
            tuple(words),
            tuple(phones),
            frames=self.frames,
            log_likelihood=self.loop.log_likelihood + ratio,
            free_log_likelihood=self.loop.log_likelihood,
            suspicious=tuple(otherwise),
            sample_rate=self.sample_rate,
        )

    def _change(self, sample_rate: int) -> Iterator[Moment]:
        """Sound at another rate than before."""
        target = round(self.model.front_end.sample_rate)
        yield from self._moments(self.front_end.push(self._resampler.finish()))
        self._resampler, self.sample_rate = Resampler(sample_rate, target), sample_rate
        if sample_rate != target:
            missed = self.model.front_end.misses(sample_rate)
            self.say(
                f"the sound comes at {sample_rate} Hz and is resampled to the model's {target}, which takes "
                f"{1000 * self._resampler.delay:.1f} ms{'; ' + missed if missed else '.'}"
            )

    def _moments(self, features: Tensor) -> Iterator[Moment]:
        """What the frames with these features ``(n, F)`` say."""
        if not len(features):
            return
        heard = ~features.isnan().any(1)
        log_likelihood = features.new_full((len(features), len(self.model.phones) * self.model.states), torch.nan)
        if heard.any():
            log_likelihood[heard] = self.model.log_likelihood(features[heard])
        front_end = self.model.front_end
        for row, usable in zip(log_likelihood, heard.tolist(), strict=True):
            sounds = self.loop.push(row)
            now, frame = self.task.push(sounds), self.frames
            self.frames += 1
            for found in now.found:
                self.delays.add(self.duration - found.item.end)
            yield Moment(front_end.boundary(frame) if frame else 0.0, now, sounds.phones, not usable)
            if usable:
                said = frame / front_end.frame_rate + front_end.window
                while len(self._delivered) > 1 and self._delivered[0][0] < said - 1e-9:
                    self._delivered.popleft()
                self.latencies.add(self.clock.now() - self._delivered[0][1])
