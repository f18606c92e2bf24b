"""Which sequences of labels are allowed: automata, the languages they are made from, and ready ones.

Example:
    >>> from semihmm import automata
    >>> twice = automata.exactly(2, 1) & ~(automata.label(1) + automata.any_label.star())  # two 1s, none of them first
    >>> twice.automaton(3).accepts([0, 1, 2, 1]), twice.automaton(3).accepts([1, 1])
    (True, False)
"""

from semihmm.automata.automaton import Automaton
from semihmm.automata.language import Language, any_label, from_networkx, label
from semihmm.automata.ready import at_least, at_most, before, bio, bioes, exactly, must_occur, no_repeat

__all__ = [
    "Automaton",
    "Language",
    "any_label",
    "at_least",
    "at_most",
    "before",
    "bio",
    "bioes",
    "exactly",
    "from_networkx",
    "label",
    "must_occur",
    "no_repeat",
]
