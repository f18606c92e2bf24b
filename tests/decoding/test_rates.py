"""tests/decoding/test_rates.py: error rates by the definition of edit distance, second passes by adding up."""

import itertools
import math
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from semihmm.decoding import (
    NGram,
    Vocabulary,
    beam_search,
    character_errors,
    errors,
    exact,
    least_risk,
    second_pass,
    word_errors,
)
from semihmm.decoding.rates import edit_distances
from semihmm.errors import DataError

PAIRS = st.lists(st.tuples(st.text("abc", max_size=7), st.text("abc", max_size=7)), max_size=4)


@cache
def distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    return min(distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0]))


@given(pairs=PAIRS)
def test_the_errors_are_the_fewest_that_turn_one_into_the_other(pairs):
    references, hypotheses = [a for a, _ in pairs], [b for _, b in pairs]
    found = character_errors(references, hypotheses)
    assert found.total.tolist() == [distance(*pair) for pair in pairs]
    assert (found.insertions - found.deletions).tolist() == [len(b) - len(a) for a, b in pairs]
    assert edit_distances(references, hypotheses).tolist() == found.total.tolist()
    assert found.items.tolist() == [len(a) for a in references]


def test_a_rate_is_of_all_items_of_the_references():
    found = word_errors(["the cat sat", "on the mat"], ["the hat sat", "on mat again and"])
    assert found.total.tolist() == [1, 3] and found.insertions.tolist() == [0, 2]
    assert_close(found.rate, 4 / 6)
    assert math.isnan(word_errors([], []).rate)


def test_many_pairs_are_taken_some_at_a_time(monkeypatch):
    pairs = list(itertools.product(["ab", "a", "", "bcab"], repeat=2))
    whole = errors(*zip(*pairs, strict=True))
    monkeypatch.setattr("semihmm.decoding.rates.CELLS", 1)
    assert torch.equal(errors(*zip(*pairs, strict=True)).total, whole.total)


def test_a_reference_without_a_hypothesis_is_refused():
    with pytest.raises(DataError, match=r"got 2 references and 1 hypotheses. To compare all"):
        errors(["a", "b"], ["a"])


def hypotheses(count=12):
    log_probs = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64).log_softmax(-1)
    return log_probs, beam_search(log_probs, beam=60, count=count)


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_least_risk_is_that_of_the_expected_errors(scale):
    _, found = hypotheses()
    places, risks = least_risk(found, scale=scale)
    for b, (items, score) in enumerate(zip(found.tolist(), found.score, strict=True)):
        p = (scale * score).softmax(-1).tolist()
        expected = [sum(q * distance(tuple(x), tuple(y)) for q, y in zip(p, items, strict=True)) for x in items]
        assert_close(risks[b], torch.tensor(expected, dtype=torch.float64))
        assert places[b] == expected.index(min(expected))


def test_the_risk_of_words_counts_words_and_no_hypothesis_has_none():
    vocabulary = Vocabulary([" ", "-", "a", "b"], blank=1, delimiter=" ")
    log_probs = torch.tensor([[0.0, 0.5, 0.5, 0.0], [0.0, 0.4, 0.0, 0.6]]).log()
    found = beam_search(log_probs, beam=5, count=5, blank=1)
    place, risk = least_risk(found, vocabulary)
    assert vocabulary.texts(found) == [["b", "ab", "", "a"]] and risk[-1] == math.inf
    assert_close(risk[:4], torch.tensor([0.7, 0.7, 0.8, 0.8], dtype=torch.float64))
    assert place == 0


def test_a_beam_that_holds_all_is_exact_already():
    log_probs, found = hypotheses()
    again = exact(found, log_probs)
    assert_close(again.log_prob, found.log_prob)
    assert_close(again.score, found.score)
    lengths = torch.tensor([3, 0])
    found = beam_search(log_probs, lengths, beam=60, count=9)
    assert_close(exact(found, log_probs, lengths).log_prob, found.log_prob)


def test_exact_probabilities_put_hypotheses_in_order_again():
    log_probs = torch.randn(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64).log_softmax(-1)
    found = beam_search(log_probs, beam=6, count=6)
    again = exact(found, log_probs)
    assert sorted(again.tolist()[0]) == sorted(found.tolist()[0]) and again.tolist() != found.tolist()
    assert (again.score[1:] <= again.score[:-1]).all()


def test_a_second_pass_adds_what_the_model_says():
    _, found = hypotheses(4)
    vocabulary = Vocabulary(["-", "a", "b", "c"])
    model = NGram({("a",): (-1.0, 0.0), ("b",): (-3.0, 0.0), ("c",): (-0.1, 0.0)})
    again = second_pass(found, vocabulary, model, weight=0.5, word_bonus=0.2)
    for before, log_prob, after, score in zip(
        found.tolist(), found.log_prob.tolist(), again.tolist(), again.score, strict=True
    ):
        added = {
            tuple(x): p + sum(0.5 * model.grams[(vocabulary.tokens[c],)][0] + 0.2 for c in x)
            for x, p in zip(before, log_prob, strict=True)
        }
        assert [tuple(x) for x in after] == sorted(added, key=added.get, reverse=True)
        assert_close(score, torch.tensor([added[tuple(x)] for x in after], dtype=torch.float64))
