"""Two semirings in one: side by side, or the second where the first ties."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from semihmm.errors import SemiringError
from semihmm.semirings import (
    Bottleneck,
    Count,
    Expectation,
    Lexicographic,
    Log,
    Max,
    Min,
    Product,
    Real,
    Sample,
    SparseMax,
    TopK,
)
from semihmm.testing.strategies import log_weights

x_and_y = st.tuples(log_weights(3, 4), log_weights(4, 2))


@given(x_and_y)
def test_a_product_answers_what_its_parts_answer(x_and_y):
    for a, b in itertools.product([Log(), TopK(2), Real()], repeat=2):
        both = Product(a, b)
        value = both.matmul(*map(both.lift, x_and_y))
        for part, alone in zip(both.split(value), (a, b), strict=True):
            assert torch.equal(part, alone.matmul(*map(alone.lift, x_and_y)))
        assert both.lower(value).shape[0] == len(both.zero)


def test_each_part_gets_its_own_features():
    both = Product(Expectation(1), Product(Max(), Expectation(2)))
    assert both.inputs == 4
    w, f = torch.zeros(2), [torch.tensor([1.0, 3.0]) * 10**n for n in range(3)]
    first, second = both.split(both.sum(both.lift(w, *f), -1))
    assert_close(first, torch.tensor([math.log(2), 2.0]))
    assert_close(second, torch.tensor([0.0, math.log(2), 20.0, 200.0]))


def test_exact_integers_do_not_fit_beside_floats():
    with pytest.raises(SemiringError, match="one dtype"):
        Product(Log(), Count())
    with pytest.raises(SemiringError, match="one dtype"):
        Lexicographic(Max(), Count())


def test_a_product_is_what_both_its_parts_are():
    assert not Product(Log(), SparseMax()).associative
    assert Product(Max(), Min()).idempotent
    assert not Product(Max(), Log()).idempotent
    assert not Product(Max(), Bottleneck()).additive
    assert not Product(Max(), Real()).scalable
    assert not Product(Max(), Max()).selective


@given(x=log_weights(6, low=0, high=0.5), y=log_weights(6))
def test_ties_are_settled_by_the_second(x, y):
    by_score = [pair for pair in zip(x.tolist(), y.tolist(), strict=True) if pair[0] > -math.inf]
    best = max(by_score, default=(-math.inf, -math.inf))
    semiring = Lexicographic(Max(), Max(), own_weights=True)
    value, index = semiring.choose(semiring.lift(x, y), -1)
    assert value.tolist() == list(best)
    assert torch.equal(value, semiring.sum(semiring.lift(x, y), -1))
    if by_score:
        assert index.tolist() == [list(zip(x.tolist(), y.tolist(), strict=True)).index(best)]


@given(x=log_weights(6, low=0, high=0.5))
def test_the_number_of_best_paths(x):
    semiring = Lexicographic(Max(), Real(), own_weights=True)
    best, count = semiring.split(semiring.sum(semiring.lift(x, torch.zeros_like(x)), -1))
    assert best == max(x.tolist())
    assert count == (x.tolist().count(best) if best > -math.inf else 0)


def test_without_own_weights_the_second_sees_the_same_log_weight():
    value = Lexicographic(Max(), Log()).sum(Lexicographic(Max(), Log()).lift(torch.tensor([1.0, 1.0, 0.5])), -1)
    assert_close(value, torch.tensor([1.0, 1.0 + math.log(2)]))


def test_among_the_best_one_can_be_drawn():
    semiring = Lexicographic(Max(), Sample(2000), own_weights=True)
    x, y = torch.tensor([1.0, 2.0, 2.0, 2.0]), torch.tensor([9.0, 0.0, -math.inf, 1.0])
    _, index = semiring.choose(semiring.lift(x, y), -1, torch.Generator().manual_seed(0))
    counts = (index // 2000).bincount(minlength=4)
    p = math.e / (1 + math.e)
    assert counts[[0, 2]].tolist() == [0, 0]
    assert abs(counts[3] / 2000 - p) < 5 * math.sqrt(p * (1 - p) / 2000)  # five standard deviations


def test_what_the_second_forbids_is_still_best_by_the_first():
    semiring = Lexicographic(Max(), Max(), own_weights=True)
    value, index = semiring.choose(semiring.lift(torch.tensor([1.0, 5.0]), torch.tensor([3.0, -math.inf])), -1)
    assert value.tolist() == [5.0, -math.inf]
    assert index.tolist() == [1]


@pytest.mark.parametrize("first", [Bottleneck(), Log(), TopK(1), Sample(1), Product(Max(), Max())])
def test_the_first_must_be_a_strict_order_that_times_keeps(first):
    with pytest.raises(SemiringError, match="like Max"):
        Lexicographic(first, Max())


def test_a_missing_second_weight_is_refused():
    with pytest.raises(SemiringError, match=r"1 feature\(s\), got 0"):
        Lexicographic(Max(), Max(), own_weights=True).lift(torch.zeros(2))
