"""Transition laws: how likely each state is to follow each. One file for each.

Example:
    >>> semihmm.models.transitions.Categorical(states=3, offsets=(0, 1))().exp().tolist()
    [[0.5, 0.0], [0.5, 0.5], [1.0, 0.5]]
"""

from semihmm.models.transitions.base import Transition
from semihmm.models.transitions.categorical import Categorical
from semihmm.models.transitions.continuous import ContinuousTime, waits
from semihmm.models.transitions.logit import Logit
from semihmm.models.transitions.neural import Neural
from semihmm.models.transitions.periodic import Periodic

__all__ = ["Categorical", "ContinuousTime", "Logit", "Neural", "Periodic", "Transition", "waits"]
