"""How long phones last, and how well that is predicted."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, nan, sqrt
from statistics import StatisticsError, correlation, fmean

from semihmm.speech.intervals import Interval
from semihmm.types import Seconds


@dataclass(frozen=True)
class DurationStatistics:
    """How long the phones of one label last.

    Args:
        n: how many there are.
        mean: of their durations.
        sd: standard deviation, with n - 1; NaN of a single one.
        skewness: third standardised moment; NaN if all are as long.

    Example:
        >>> duration_statistics([(Interval(0.0, 0.5, "AA"),)])["AA"].mean
        0.5
    """

    n: int
    mean: Seconds
    sd: Seconds
    skewness: float


def duration_statistics(tiers: Iterable[Sequence[Interval]]) -> dict[str, DurationStatistics]:
    """How long each phone lasts, by its label, the most frequent first.

    Args:
        tiers: of phones, one per recording.

    Example:
        >>> tier = (Interval(0.0, 0.1, "AA"), Interval(0.1, 0.15, "T"), Interval(0.15, 0.45, "AA"))
        >>> statistics = duration_statistics([tier])
        >>> statistics["AA"].n, round(statistics["AA"].mean, 3), round(statistics["AA"].sd, 3)
        (2, 0.2, 0.141)
    """
    durations = defaultdict(list)
    for tier in tiers:
        for phone in tier:
            durations[phone.label].append(phone.end - phone.start)
    return {label: _statistics(durations[label]) for label in sorted(durations, key=lambda key: -len(durations[key]))}


def _statistics(durations: Sequence[Seconds]) -> DurationStatistics:
    n, mean = len(durations), fmean(durations)
    second, third = (fmean((one - mean) ** power for one in durations) for power in (2, 3))
    sd = sqrt(second * n / (n - 1)) if n > 1 else nan
    return DurationStatistics(n, mean, sd, third / second**1.5 if second > 1e-18 else nan)


@dataclass(frozen=True)
class DurationErrors:
    """Durations of the same units in a reference and elsewhere: an aligner's, a model's, a synthetic voice's.

    Args:
        pairs: ``(reference, other)`` in seconds.

    Example:
        >>> errors = DurationErrors(((0.10, 0.11), (0.05, 0.04), (0.20, 0.26)))
        >>> round(errors.rmse, 4), round(errors.bias, 4), round(errors.within(0.2), 3)
        (0.0356, 0.02, 0.667)
    """

    pairs: tuple[tuple[Seconds, Seconds], ...] = ()

    @property
    def n(self) -> int:
        """How many units."""
        return len(self.pairs)

    @property
    def rmse(self) -> Seconds:
        """Root of the mean squared difference; NaN without units, like all below."""
        return sqrt(fmean((b - a) ** 2 for a, b in self.pairs)) if self.pairs else nan

    @property
    def mean(self) -> Seconds:
        """Mean absolute difference."""
        return fmean(abs(b - a) for a, b in self.pairs) if self.pairs else nan

    @property
    def bias(self) -> Seconds:
        """Mean difference: positive where the others last longer."""
        return fmean(b - a for a, b in self.pairs) if self.pairs else nan

    @property
    def correlation(self) -> float:
        """Pearson's; NaN also where one side's are all the same."""
        try:
            return correlation(*zip(*self.pairs, strict=True))
        except (StatisticsError, TypeError):
            return nan

    def within(self, share: float) -> float:
        """Duration accuracy: the share of units whose duration is off by at most ``share`` of the reference's."""
        off = [abs(b - a) / a if a else (inf if b else 0.0) for a, b in self.pairs]
        return fmean(item <= share + 1e-9 for item in off) if off else nan
