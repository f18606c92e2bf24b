"""Which sequences of labels are allowed: automata, the languages they are made from, and ready ones."""

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
