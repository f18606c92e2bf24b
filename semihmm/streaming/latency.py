"""How much to wait for, so that answers are in time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from semihmm.errors import DataError, SemihmmError


class AdaptiveLatencyController:
    """Trades lookahead and the size of chunks against the time that processing takes.

    What a caller waits for is the frames of a chunk, those of the lookahead, and the work. While all of it stays below
    the target, the lookahead grows, as better posteriors are what time is best spent on; when it does not, the
    lookahead shrinks, and once there is none left, chunks grow where the work takes longer than the frames do (a chunk
    of many frames costs less for each), and shrink where it does not.

    Args:
        target_ms: the most milliseconds from a frame to its answer.
        frame_ms: how long a frame is.
        max_lookahead: the most frames to look ahead.
        max_chunk: the most frames in a chunk.
        smoothing: how much the latest measurement counts, in ``(0, 1]``.
        clock: seconds; another one makes tests deterministic.

    Attributes:
        lookahead: how many frames to look ahead now: `Stream.lookahead`.
        chunk: how many frames to push at a time now.
        processing_ms: a running mean of how long a push takes.

    Example:
        >>> now = iter([0.000, 0.004, 1.000, 1.090])  # one push takes 4 ms, the next 90 ms
        >>> controller = AdaptiveLatencyController(100.0, frame_ms=10.0, smoothing=1.0, clock=lambda: next(now))
        >>> for _ in range(2):
        ...     with controller.measured():
        ...         pass
        ...     print(controller.lookahead, controller.chunk)
        1 1
        0 2
    """

    def __init__(
        self,
        target_ms: float,
        frame_ms: float = 10.0,
        *,
        max_lookahead: int = 100,
        max_chunk: int = 100,
        smoothing: float = 0.2,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        numbers = all(isinstance(x, int | float) for x in (target_ms, frame_ms, smoothing))
        counts = all(isinstance(x, int) and not isinstance(x, bool) for x in (max_lookahead, max_chunk))
        if not (
            (numbers and counts)
            and (target_ms > 0 and frame_ms > 0 and 0 < smoothing <= 1 and max_lookahead >= 0 and max_chunk >= 1)
        ):
            raise SemihmmError(
                "AdaptiveLatencyController: target_ms and frame_ms must be over 0, smoothing in (0, 1], max_lookahead "
                f"at least 0 and max_chunk at least 1, both whole, got {target_ms!r}, {frame_ms!r}, {smoothing!r}, "
                f"{max_lookahead!r} and {max_chunk!r}."
            )
        self.target_ms, self.frame_ms, self.smoothing, self._clock = target_ms, frame_ms, smoothing, clock
        self.max_lookahead, self.max_chunk = max_lookahead, max_chunk
        self.lookahead, self.chunk, self.processing_ms = 0, 1, 0.0
        self._measured = False

    @property
    def latency_ms(self) -> float:
        """How long the first frame of a chunk waits for its answer, as things are."""
        return (self.chunk + self.lookahead) * self.frame_ms + self.processing_ms

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Time one push, and settle what to wait for next."""
        begun = self._clock()
        yield
        self.observe((self._clock() - begun) * 1e3)

    def observe(self, processing_ms: float) -> None:
        """Settle what to wait for next, given how long the latest push took.

        Raises:
            DataError: no finite number of at least 0; nothing has changed then.
        """
        if not isinstance(processing_ms, int | float) or not math.isfinite(processing_ms) or processing_ms < 0:
            raise DataError(
                "AdaptiveLatencyController: observe takes milliseconds, a finite number of at least 0, got "
                f"{processing_ms!r}."
            )
        share = self.smoothing if self._measured else 1.0
        self.processing_ms += share * (processing_ms - self.processing_ms)
        self._measured = True
        behind = self.processing_ms > self.chunk * self.frame_ms
        if behind and self.chunk < self.max_chunk:
            self.chunk, self.lookahead = self.chunk + 1, max(self.lookahead - 1, 0)
        elif self.latency_ms > self.target_ms:
            if self.lookahead:
                self.lookahead -= 1
            elif self.chunk > 1 and not behind:
                self.chunk -= 1
        elif self.latency_ms + self.frame_ms <= self.target_ms and self.lookahead < self.max_lookahead:
            self.lookahead += 1
