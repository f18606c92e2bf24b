"""How well durations are predicted."""

from dataclasses import dataclass
from math import inf, nan, sqrt
from statistics import StatisticsError, correlation, fmean

from semihmm.types import Seconds


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
