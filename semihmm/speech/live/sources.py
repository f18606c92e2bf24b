"""Where sound comes from, a block at a time: a microphone, or a file that is played as if it were one.

A sample that was lost is a NaN: it takes its time, and nothing is known of it. So times stay right whatever is lost.
"""

import math
import queue
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semihmm._optional import require
from semihmm.audio import read_audio
from semihmm.errors import DataError, DependencyError
from semihmm.speech.live.clock import Clock, WallClock
from semihmm.types import Seconds

BLOCK: Seconds = 0.010


class SourceLost(DataError):
    """A source of sound delivers no more, and may come back.

    Example:
        >>> raise SourceLost("the microphone was pulled out.")
        Traceback (most recent call last):
        semihmm.speech.live.sources.SourceLost: the microphone was pulled out.
    """


@dataclass(frozen=True)
class Block:
    """Sound as it is delivered.

    Args:
        samples: ``(N,)`` one channel, full scale = 1; NaN for those that were lost.
        sample_rate: in Hz; it may be another one after a source was lost and came back.
        delivered: when the last of them came, on the source's clock.
        lost: why samples were lost, if all of them were.

    Example:
        >>> Block(torch.zeros(160), 16000, delivered=0.01).duration
        0.01
    """

    samples: Tensor
    sample_rate: int
    delivered: Seconds
    lost: str = ""

    @property
    def duration(self) -> Seconds:
        return len(self.samples) / self.sample_rate

    @classmethod
    def gap(cls, duration: Seconds, sample_rate: int, delivered: Seconds, lost: str) -> "Block":
        """Sound that was lost."""
        return cls(torch.full((max(round(duration * sample_rate), 0),), math.nan), sample_rate, delivered, lost)


class FileSource:
    """Sound that is there already, delivered as if it were just said.

    Args:
        sound: ``(N,)`` samples; a file; or pieces, one after the other.
        sample_rate: of samples; a file knows its own.
        clock: a `SimulatedClock` for one that does not wait.
        block: seconds of sound delivered at a time.

    Example:
        >>> from semihmm.speech.live import SimulatedClock
        >>> source = FileSource(torch.zeros(400), 16000, clock=SimulatedClock(work=lambda: 0.0))
        >>> [(len(block.samples), block.delivered) for block in source]
        [(160, 0.01), (160, 0.02), (80, 0.025)]
    """

    def __init__(
        self,
        sound: Tensor | Path | Iterable[Tensor],
        sample_rate: int = 16000,
        *,
        clock: Clock | None = None,
        block: Seconds = BLOCK,
    ) -> None:
        if isinstance(sound, Path):
            sound, sample_rate = read_audio(sound)
        self.pieces: Iterable[Tensor] = [sound] if isinstance(sound, Tensor) else sound
        self.sample_rate, self.clock, self.size = sample_rate, clock or WallClock(), max(round(block * sample_rate), 1)

    def __iter__(self) -> Iterator[Block]:
        begun, count = self.clock.now(), 0
        for piece in self.pieces:
            for samples in piece.split(self.size):
                count += len(samples)
                delivered = begun + count / self.sample_rate
                self.clock.wait_until(delivered)
                yield Block(samples, self.sample_rate, delivered)


class MicrophoneSource:
    """A microphone, or whatever else the system records from.

    Args:
        device: its name, a part of it, or its number, as ``python -m sounddevice`` lists them. Default: the system's.
        sample_rate: the rate wanted; where the device does not have it, blocks come at the device's own.
        clock: says when blocks came.
        block: seconds of sound in each.
        patience: seconds without a block after which the microphone is lost.
        backlog: seconds of sound that may wait to be taken; what comes then is lost.

    Raises:
        DependencyError: ``sounddevice``, or the library PortAudio that it needs, is not installed.

    Iterating raises `SourceLost` where there is no such device, or it stops to deliver.

    Example:
        ``for block in MicrophoneSource(): ...`` goes on until the microphone is pulled out.
    """

    def __init__(
        self,
        device: str | int | None = None,
        sample_rate: int = 16000,
        *,
        clock: Clock | None = None,
        block: Seconds = BLOCK,
        patience: Seconds = 2.0,
        backlog: Seconds = 5.0,
    ) -> None:
        self.device, self.sample_rate, self.block = device, sample_rate, block
        self.clock, self.patience, self.backlog = clock or WallClock(), patience, backlog
        self._sounddevice = _sounddevice()

    def __iter__(self) -> Iterator[Block]:
        audio = self._sounddevice
        waiting: queue.Queue[Block] = queue.Queue(max(round(self.backlog / self.block), 1))
        missing = 0
        due: Seconds | None = None  # when the next block should begin, by the device's own time

        def take(data: Any, count: int, when: Any, status: Any) -> None:
            nonlocal missing, due
            now, begun = self.clock.now(), when.inputBufferAdcTime
            if status.input_overflow:
                missing += max(round((begun - due) * rate), 0) if due is not None else 0
            due = begun + count / rate
            try:
                if missing or status.input_overflow:
                    waiting.put_nowait(Block.gap(missing / rate, rate, now - count / rate, "overrun"))
                    missing = 0
                waiting.put_nowait(Block(torch.from_numpy(data[:, 0].copy()), rate, now))
            except queue.Full:
                missing += count

        try:
            rate = self._rate()
            stream = audio.InputStream(rate, round(self.block * rate), self.device, 1, "float32", "low", callback=take)
            try:
                stream.start()
                while True:
                    try:
                        yield waiting.get(timeout=self.patience)
                    except queue.Empty:
                        raise SourceLost(f"the microphone has delivered nothing for {self.patience:g} s.") from None
            finally:
                stream.abort()  # to stop it would wait for what is lost
                stream.close()
        except (audio.PortAudioError, ValueError) as error:
            if isinstance(error, SourceLost):
                raise
            known = [item["name"] for item in audio.query_devices() if item["max_input_channels"]]
            raise SourceLost(
                f"the microphone {'' if self.device is None else f'{self.device!r} '}cannot be opened ({error}). "
                f"There are {', '.join(known) or 'none'}."
            ) from error

    def _rate(self) -> int:
        """The rate wanted, or the device's own."""
        audio = self._sounddevice
        audio._terminate()  # PortAudio knows only the devices that were there when it began
        audio._initialize()
        own = int(audio.query_devices(self.device, "input")["default_samplerate"])
        try:
            audio.check_input_settings(self.device, 1, "float32", samplerate=self.sample_rate)
        except audio.PortAudioError:
            return own
        return self.sample_rate


def reconnecting(
    connect: Callable[[], Iterable[Block]],
    say: Callable[[str], None],
    *,
    clock: Clock,
    first_wait: Seconds = 0.5,
    longest_wait: Seconds = 8.0,
) -> Iterator[Block]:
    """The blocks of a source that is connected again each time it is lost, with gaps for the time in between.

    Args:
        connect: makes the source anew.
        say: is told what happens.
        clock: the source's.
        first_wait: seconds until the first attempt; each further one waits twice as long.
        longest_wait: and no longer than this.

    Raises:
        SourceLost: before the first block has come: then there is nothing to go on with.

    Example:
        >>> from semihmm.speech.live import SimulatedClock
        >>> clock, sources = SimulatedClock(work=lambda: 0.0), [1, 2]
        >>> def connect():
        ...     yield from FileSource(torch.zeros(160), clock=clock)
        ...     if sources.pop() == 2:
        ...         raise SourceLost("the plug was pulled.")
        >>> [(round(block.duration, 2), block.lost) for block in reconnecting(connect, print, clock=clock)]
        the plug was pulled. Trying again in 0.5 s.
        the sound is back; 0.5 s are lost.
        [(0.01, ''), (0.5, 'device lost'), (0.01, '')]
    """
    known: Block | None = None  # the latest
    wait, lost = first_wait, 0.0
    while True:
        try:
            for block in connect():
                if lost and known is not None:
                    rest = block.delivered - block.duration - known.delivered
                    say(f"the sound is back; {lost + max(rest, 0.0):.1f} s are lost.")
                    if rest > 0:
                        yield Block.gap(rest, block.sample_rate, block.delivered, "device lost")
                    wait, lost = first_wait, 0.0
                yield block
                known = block
            return
        except SourceLost as error:
            if known is None:
                raise
            say(f"{error} Trying again in {wait:g} s.")
            clock.wait_until(clock.now() + wait)
            wait, now = min(2 * wait, longest_wait), clock.now()
            gap = Block.gap(now - known.delivered, known.sample_rate, now, "device lost")
            yield gap
            known, lost = gap, lost + gap.duration


def _sounddevice() -> Any:
    try:
        return require("sounddevice", extra="live", purpose="Listening to a microphone")
    except OSError as error:
        raise DependencyError(
            f"Listening to a microphone needs the library PortAudio ({error}). Install it with\n"
            f"    apt-get install libportaudio2        (Debian, Ubuntu; dnf install portaudio on Fedora)"
        ) from error
