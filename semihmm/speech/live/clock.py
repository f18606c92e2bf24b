"""Time: as it passes, or as it would pass if nobody had to wait for sound."""

import time
from collections.abc import Callable
from typing import Protocol

from semihmm.types import Seconds


class Clock(Protocol):
    """What says how late it is, and waits."""

    def now(self) -> Seconds:
        """Seconds since some moment."""
        ...

    def wait_until(self, moment: Seconds) -> None:
        """Return at that moment, or at once where it has passed."""
        ...


class WallClock:
    """The time that passes.

    Example:
        >>> clock = WallClock()
        >>> before = clock.now()
        >>> clock.wait_until(before + 0.01)
        >>> clock.now() - before >= 0.01
        True
    """

    def now(self) -> Seconds:
        return time.perf_counter()

    def wait_until(self, moment: Seconds) -> None:
        while (left := moment - self.now()) > 0:
            time.sleep(left)


class SimulatedClock:
    """A clock on which waiting takes no time, and work takes as long as it takes.

    An hour of sound passes in as long as it takes to process it; who is late is late by as much as on the wall.

    Args:
        work: seconds spent so far; another one than that of the processor makes tests deterministic.

    Example:
        >>> clock = SimulatedClock(work=lambda: 0.0)
        >>> clock.wait_until(3600.0)
        >>> clock.now()
        3600.0
    """

    def __init__(self, work: Callable[[], Seconds] = time.perf_counter) -> None:
        self._work, self._skipped = work, -work()

    def now(self) -> Seconds:
        return self._work() + self._skipped

    def wait_until(self, moment: Seconds) -> None:
        self._skipped += max(moment - self.now(), 0.0)
