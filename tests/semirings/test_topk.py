"""TopK against sorting every pair."""

import itertools
import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from semihmm.semirings import TopK
from semihmm.testing.strategies import log_weights

k_and_lists = st.integers(1, 4).flatmap(
    lambda k: st.tuples(st.just(k), st.integers(1, k).flatmap(lambda c: log_weights(c, 2, 3)))
)


def padded(scores, k):
    return (sorted(scores, reverse=True) + [-math.inf] * k)[:k]


@given(k_and_lists)
def test_sum_keeps_the_best_and_choose_says_where_they_were(k_and_lists):
    k, x = k_and_lists
    x = x.sort(0, descending=True).values
    value, index = TopK(k).choose(x, -1)
    assert torch.equal(value, TopK(k).sum(x, -1))
    for b in range(2):
        lists = [x[:, b, s].tolist() for s in range(3)]
        found = [(-score, s * k + rank) for s, scores in enumerate(lists) for rank, score in enumerate(scores)]
        found = [pair for pair in sorted(found) if pair[0] < math.inf][:k]  # by score, then argument, then rank
        assert value[:, b].tolist() == padded([-minus for minus, _ in found], k)
        assert index[:, b].tolist() == [where for _, where in found] + [0] * (k - len(found))


@given(a=log_weights(3, 1), b=log_weights(3, 1))
def test_times_takes_the_best_of_all_pairs(a, b):
    a, b = a.sort(0, descending=True).values, b.sort(0, descending=True).values
    pairs = [x + y for x, y in itertools.product(a[:, 0].tolist(), b[:, 0].tolist())]
    assert TopK(3).times(a, b)[:, 0].tolist() == padded(pairs, 3)
    assert TopK(3).times(a, b[:1])[:, 0].tolist() == (a + b[0])[:, 0].tolist()


def test_a_list_longer_than_what_there_is_ends_in_minus_infinity():
    value, index = TopK(5).choose(TopK(5).lift(torch.tensor([1.0, 3.0])), -1)
    assert value.tolist() == [3.0, 1.0, -math.inf, -math.inf, -math.inf]
    assert index.tolist() == [5, 0, 0, 0, 0]


def test_equal_scores_come_in_the_order_of_their_arguments_each_with_its_own_gradient():
    x = torch.tensor([[2.0, 2.0], [2.0, 1.0]], requires_grad=True)
    value, index = TopK(2).choose(x, -1)
    assert index.tolist() == [0, 1]  # argument 0, rank 0; argument 0, rank 1
    value[1].backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, 0.0], [1.0, 0.0]]


def test_what_is_not_there_has_no_gradient():
    x = torch.tensor([[1.0, -math.inf]], requires_grad=True)
    value = TopK(4).times(TopK(4).sum(x, -1).unsqueeze(-1), torch.zeros(2, 1))
    value.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[2.0, 0.0]]
