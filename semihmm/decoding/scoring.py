"""What a label sequence weighs by itself: its tokens, and the words that they spell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from semihmm.decoding.backoff import NONE, Backoff
from semihmm.decoding.spelling import Trie


class States(NamedTuple):
    """Where the automata are, behind a label sequence."""

    of_tokens: tuple[int, ...]
    spelling: int = 0
    words: int = 0


@dataclass(frozen=True, eq=False)
class Scoring:
    """Automata over tokens, and one over words, which a trie spells and a delimiter ends.

    Args:
        tokens: how many there are.
        blank: CTC's.
        delimiter: the token that ends a word, -1 for none.
        of_tokens: each reads every token.
        spelling: how words are spelled; None: only tokens count.
        words: reads every word.
    """

    tokens: int
    blank: int
    delimiter: int = NONE
    of_tokens: Sequence[Backoff] = ()
    spelling: Trie | None = None
    words: Backoff | None = None

    def start(self) -> States:
        """Behind nothing."""
        own = tuple(automaton.start for automaton in self.of_tokens)
        return States(own) if self.words is None else States(own, words=self.words.start)

    def step(self, states: States, token: int) -> tuple[States, float] | None:
        """Behind one token more, and what that weighs; None if it is not allowed."""
        steps = [a.step(state, token) for a, state in zip(self.of_tokens, states.of_tokens, strict=True)]
        if any(state == NONE for state, _ in steps):
            return None
        weight = sum((w for _, w in steps), 0.0)
        states = states._replace(of_tokens=tuple(state for state, _ in steps))
        if self.spelling is None:
            return states, weight
        if token == self.delimiter:
            return self._end_word(states, weight)
        spelled, _ = self.spelling.automaton.step(states.spelling, token)
        return None if spelled == NONE else (states._replace(spelling=spelled), weight)

    def _end_word(self, states: States, weight: float) -> tuple[States, float] | None:
        assert self.spelling is not None and self.words is not None
        if states.spelling == 0:  # between delimiters
            return states, weight
        ended = self.spelling.word[states.spelling]
        words, more = (NONE, 0.0) if ended == NONE else self.words.step(states.words, ended)
        return None if words == NONE else (states._replace(spelling=0, words=words), weight + more)

    def final(self, states: States) -> float:
        """What the end weighs."""
        weight = sum((a.final[state] for a, state in zip(self.of_tokens, states.of_tokens, strict=True)), 0.0)
        if self.words is None:
            return weight
        ended = self._end_word(states, weight)
        return -math.inf if ended is None else ended[1] + self.words.final[ended[0].words]

    def weight(self, labels: Sequence[int]) -> float:
        """What a whole label sequence weighs, -inf if it is not allowed.

        Example:
            >>> from semihmm.decoding.backoff import constant
            >>> Scoring(3, 0, of_tokens=[constant(0.5)]).weight([1, 2, 1])
            1.5
        """
        states, total = self.start(), 0.0
        for token in labels:
            found = self.step(states, token)
            if found is None:
                return -math.inf
            states, total = found[0], total + found[1]
        return total + self.final(states)

    def gain(self) -> float:
        """No token adds more than this, rounding included."""
        if not self.of_tokens and self.words is None:
            return 0.0
        gain = sum(automaton.most() for automaton in self.of_tokens)
        if self.words is not None:
            gain += max(0.0, self.words.most())
        return gain + 1e-9 * (1 + abs(gain)) if math.isfinite(gain) else gain

    def tables(self) -> tuple[Any, ...]:
        """As the compiled search reads it."""
        own = self.tokens, self.blank, self.delimiter, self.gain(), [automaton.tables() for automaton in self.of_tokens]
        if self.spelling is None or self.words is None:
            return *own, None, None, None
        word = torch.tensor(self.spelling.word, dtype=torch.int64)
        return *own, self.spelling.automaton.tables(), self.words.tables(), word
