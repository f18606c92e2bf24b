"""Labelled stretches of time, the currency of everything that reads, writes and compares labels."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from semihmm.errors import DataError
from semihmm.types import Seconds


@dataclass(frozen=True)
class Interval:
    """A label from ``start`` to ``end``, in seconds.

    Args:
        start: where it begins.
        end: where it ends; not before ``start``.
        label: a phone, a word, or nothing for a pause.
        confidence: posterior probability of the label over its time, where an aligner gave one.
        speaker: whose it is, where a recording has several.
        match: probability that the label was said at all, where an aligner gave one: it does not take the transcript
            for granted.
        start_sd: standard deviation of ``start``.
        end_sd: standard deviation of ``end``.
        entropy: in nats: of a word's pronunciations, 0 where one is sure, None where it cannot have been said; of a
            phone, how unsure it is, over its time, which phone of the transcript is said.

    Example:
        >>> interval = Interval(0.1, 0.25, "HH")
        >>> interval.end, interval.label, interval.confidence
        (0.25, 'HH', None)
    """

    start: Seconds
    end: Seconds
    label: str
    confidence: float | None = None
    speaker: str | None = None
    match: float | None = None
    start_sd: Seconds | None = None
    end_sd: Seconds | None = None
    entropy: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise DataError(
                f"Interval: 0 <= start <= end must hold for {self.label!r}, got {self.start} and {self.end}."
            )


@dataclass(frozen=True)
class Tiers:
    """What a label file says about one recording; a tier that the file lacks is None.

    Args:
        words: the words in order of time, pauses left out.
        phones: the phones in order of time, pauses left out.
    """

    words: tuple[Interval, ...] | None = None
    phones: tuple[Interval, ...] | None = None


def ordered(intervals: Iterable[Interval], source: str) -> tuple[Interval, ...]:
    """The intervals as a tuple, refused where one starts before its predecessor."""
    items = tuple(intervals)
    for before, after in pairwise(items):
        if after.start < before.start:
            raise DataError(f"{source}: labels go back in time, from {before} to {after}. Sort them, or mend the file.")
    return items
