"""Duration laws: how long each state lasts. One file for each.

Example:
    >>> semihmm.models.durations.Poisson(states=3, max_duration=20)().shape
    torch.Size([3, 20])
"""

from semihmm.models.durations.base import Duration
from semihmm.models.durations.categorical import Categorical
from semihmm.models.durations.poisson import Poisson

__all__ = ["Categorical", "Duration", "Poisson"]
