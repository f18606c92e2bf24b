"""Transition laws: how likely each state is to follow each. One file for each.

Example:
    >>> semihmm.models.transitions.Categorical(states=3, offsets=(0, 1))().exp()[0].tolist()
    [1.0, 0.0]
"""

from semihmm.models.transitions.base import Transition
from semihmm.models.transitions.categorical import Categorical

__all__ = ["Categorical", "Transition"]
