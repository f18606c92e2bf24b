"""tests/decoding/test_spelling.py: a phrase earns its bonus where it occurs, and nowhere else."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from semihmm.decoding.backoff import NONE, Backoff
from semihmm.decoding.scoring import Scoring
from semihmm.decoding.spelling import phrases, trie

WORDS = st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple)
BONUSES = st.dictionaries(WORDS, st.sampled_from([-1.0, 0.5, 2.0]), max_size=5)
TEXTS = st.lists(st.integers(0, 3), max_size=12)
BETWEEN = 0


def occurrences(phrase, text):
    return sum(tuple(text[i : i + len(phrase)]) == phrase for i in range(len(text)))


def weight(automaton, text):
    return Scoring(4, -1, of_tokens=[automaton]).weight(text)


@given(bonus=BONUSES, text=TEXTS)
def test_a_text_weighs_what_its_phrases_are_worth(bonus, text):
    worth = sum(w * occurrences(phrase, text) for phrase, w in bonus.items())
    assert_close(weight(phrases(bonus), text), float(worth))


@given(bonus=BONUSES, text=TEXTS)
def test_between_delimiters_the_ends_are_delimiters_too(bonus, text):
    bonus = {(BETWEEN, *phrase, BETWEEN): w for phrase, w in bonus.items()}
    worth = sum(w * occurrences(phrase, [BETWEEN, *text, BETWEEN]) for phrase, w in bonus.items())
    assert_close(weight(phrases(bonus, BETWEEN), text), float(worth))


@given(bonus=BONUSES, text=TEXTS)
def test_no_step_weighs_more_than_the_most(bonus, text):
    automaton = phrases(bonus)
    state, most = automaton.start, automaton.most()
    for token in text:
        state, step = automaton.step(state, token)
        assert step <= most + 1e-12


def test_what_is_heard_of_a_phrase_counts_at_once():
    automaton = phrases({(1, 2, 3): 3.0})
    steps, state = [], 0
    for token in (1, 2, 3):
        state, step = automaton.step(state, token)
        steps.append(step)
    assert steps == [1.0, 1.0, 1.0]


@given(words=st.sets(WORDS, max_size=6))
def test_a_trie_ends_in_its_words_and_in_no_others(words):
    spelled = trie((word, i) for i, word in enumerate(sorted(words)))
    for word in itertools.chain.from_iterable(itertools.product((1, 2, 3), repeat=n) for n in range(1, 5)):
        state = 0
        for token in word:
            state = state if state == NONE else spelled.automaton.step(state, token)[0]
        ended = NONE if state == NONE else spelled.word[state]
        assert ended == (sorted(words).index(word) if word in words else NONE)


def test_a_state_backs_off_before_it_refuses():
    automaton = Backoff([{1: (0, -1.0)}, {2: (1, -2.0)}], [NONE, 0], [0.0, -0.5], [0.0, 0.0])
    assert automaton.step(1, 2) == (1, -2.0) and automaton.step(1, 1) == (0, -1.5)
    assert automaton.step(1, 3)[0] == NONE and automaton.most() == max(-1.0, -2.0, -1.5)
    assert not math.isfinite(Backoff([{}], [NONE], [0.0], [0.0]).most())
