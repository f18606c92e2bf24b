"""How far the edges of matched labels are apart."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal, TypeVar

from semihmm.speech.intervals import Interval
from semihmm.speech.metrics.durations import DurationErrors
from semihmm.types import Seconds

TOLERANCES: tuple[Seconds, ...] = (0.010, 0.020, 0.025, 0.050, 0.100)
"""How close a boundary must be to count, in seconds."""

PAUSED = "pause"
"""What a label follows on that follows on no label."""

_ROUNDING: Seconds = 1e-9  # 20 ms written in binary must count as within 20 ms
_TOUCHING: Seconds = 1e-3  # labels are rounded; no pause is as short
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class BoundaryErrors:
    """Differences of matched edges, and what found no match.

    Args:
        differences: other minus reference, in seconds.
        missing: items that only the reference has.
        extra: items that only the other has.

    Example:
        >>> errors = BoundaryErrors((0.004, -0.012, 0.030))
        >>> errors.median, round(errors.bias, 4), errors.within(0.020)
        (0.012, 0.0073, 0.6666666666666666)
    """

    differences: tuple[Seconds, ...] = ()
    missing: int = 0
    extra: int = 0

    def __add__(self, other: "BoundaryErrors") -> "BoundaryErrors":
        return BoundaryErrors(
            self.differences + other.differences, self.missing + other.missing, self.extra + other.extra
        )

    @property
    def n(self) -> int:
        """Number of matched items."""
        return len(self.differences)

    @property
    def mean(self) -> Seconds:
        """Mean absolute difference; NaN without items, like the three below."""
        return fmean(map(abs, self.differences)) if self.differences else float("nan")

    @property
    def median(self) -> Seconds:
        """Median absolute difference."""
        return median(map(abs, self.differences)) if self.differences else float("nan")

    @property
    def bias(self) -> Seconds:
        """Mean difference: positive where the other is late."""
        return fmean(self.differences) if self.differences else float("nan")

    def within(self, tolerance: Seconds) -> float:
        """Share of matched items whose difference is at most ``tolerance``, in [0, 1]."""
        close = [abs(difference) <= tolerance + _ROUNDING for difference in self.differences]
        return fmean(close) if close else float("nan")


@dataclass(frozen=True)
class Pair:
    """A label of the reference and its counterpart; one of them is None where it has none.

    Args:
        reference: taken to be right.
        other: measured against it.
        kind: what sort of label it is: a manner of articulation (``"vowel"``, ``"stop"``, ...), or ``"word"``.
        before: the kind of the label that it follows on; ``"pause"`` at the beginning and after a pause.
    """

    reference: Interval | None
    other: Interval | None
    kind: str
    before: str


@dataclass(frozen=True)
class Matches:
    """The labels of a tier with their counterparts in another, of one recording or of many, and all that follows.

    Args:
        pairs: the labels of both, each once.

    Example:
        >>> from semihmm.speech import Interval, Tiers, compare
        >>> left = Tiers(phones=(Interval(0.1, 0.2, "HH"), Interval(0.2, 0.4, "IY")))
        >>> right = Tiers(phones=(Interval(0.1, 0.21, "HH"), Interval(0.21, 0.4, "IY")))
        >>> matches = compare(left, right).phone_matches
        >>> [round(difference, 3) for difference in matches.starts.differences]
        [0.0, 0.01]
        >>> round(matches.internal.mean, 3), round(matches.overlap, 3), list(matches.by_transition)
        (0.01, 0.93, [('pause', 'fricative'), ('fricative', 'vowel')])
    """

    pairs: tuple[Pair, ...] = ()

    @classmethod
    def of(cls, parts: Iterable["Matches | None"]) -> "Matches | None":
        """Put matches together, as of many recordings; None if there are none."""
        there = [part for part in parts if part is not None]
        return cls(tuple(pair for part in there for pair in part.pairs)) if there else None

    def __add__(self, other: "Matches") -> "Matches":
        return Matches(self.pairs + other.pairs)

    @property
    def starts(self) -> BoundaryErrors:
        """Where labels begin."""
        return _errors(self.pairs, "start")

    @property
    def ends(self) -> BoundaryErrors:
        """Where labels end."""
        return _errors(self.pairs, "end")

    @property
    def internal(self) -> BoundaryErrors:
        """Where one label of the reference passes into the next, without a pause or an edge of the recording."""
        return _errors([pair for pair in self.pairs if pair.before != PAUSED], "start")

    @property
    def by_kind(self) -> dict[str, BoundaryErrors]:
        """The errors of `starts` by what begins, the most frequent first."""
        return self._by(lambda pair: pair.kind)

    @property
    def by_transition(self) -> dict[tuple[str, str], BoundaryErrors]:
        """The errors of `starts` by what ends and what begins, the most frequent first."""
        return self._by(lambda pair: (pair.before, pair.kind))

    def _by(self, key: Callable[[Pair], _Key]) -> dict[_Key, BoundaryErrors]:
        groups: dict[_Key, list[Pair]] = defaultdict(list)
        for pair in self.pairs:
            groups[key(pair)].append(pair)
        ranked = sorted(groups.items(), key=lambda item: -len(item[1]))
        return {name: _errors(pairs, "start") for name, pairs in ranked}

    @property
    def overlap(self) -> float:
        """Mean over the reference's labels of shared time over joint time, 0 for a missing one, in [0, 1].

        The overlap rate of Paulo and Oliveira (2004), "Automatic phonetic alignment and its confidence measures",
        EsTAL. NaN without labels.
        """
        shares = [
            0.0 if pair.other is None else _shared(pair.reference, pair.other)
            for pair in self.pairs
            if pair.reference is not None
        ]
        return fmean(shares) if shares else float("nan")

    @property
    def durations(self) -> DurationErrors:
        """How long the matched labels last in both."""
        return DurationErrors(tuple((a.end - a.start, b.end - b.start) for a, b in _matched(self.pairs)))


def _matched(pairs: Sequence[Pair]) -> Iterator[tuple[Interval, Interval]]:
    for pair in pairs:
        if pair.reference is not None and pair.other is not None:
            yield pair.reference, pair.other


def _errors(pairs: Sequence[Pair], edge: Literal["start", "end"]) -> BoundaryErrors:
    return BoundaryErrors(
        differences=tuple(getattr(b, edge) - getattr(a, edge) for a, b in _matched(pairs)),
        missing=sum(pair.other is None for pair in pairs),
        extra=sum(pair.reference is None for pair in pairs),
    )


def _shared(a: Interval, b: Interval) -> float:
    together = max(a.end, b.end) - min(a.start, b.start)
    return max(min(a.end, b.end) - max(a.start, b.start), 0.0) / together if together else 1.0


def kinds_before(labels: Sequence[Interval], kinds: Sequence[str]) -> list[str]:
    """What each label follows on: the kind of the one that ends where it begins, or a pause."""
    return [
        kind if before is not None and follows(item, before) else PAUSED
        for item, before, kind in zip(labels, [None, *labels], [PAUSED, *kinds], strict=False)
    ]


def follows(label: Interval, before: Interval) -> bool:
    """Whether a label begins where the one before it ends, without a pause."""
    return label.start - before.end < _TOUCHING
