"""Max, Min, Bottleneck against Python's max and min."""

import math

import pytest
import torch
from hypothesis import given

from semihmm.semirings import Bottleneck, Max, Min
from semihmm.testing.strategies import log_weights


@given(x=log_weights(6), y=log_weights(6))
def test_they_are_what_their_names_say(x, y):
    numbers = x.tolist()
    assert Max().sum(x, -1) == Bottleneck().sum(x, -1) == max(numbers)
    assert Min().sum(Min().lift(x), -1) == min(-number for number in numbers)
    assert Max().choose(x, -1)[1].item() == Bottleneck().choose(x, -1)[1].item() == numbers.index(max(numbers))
    assert Min().choose(x, -1)[1].item() == numbers.index(min(numbers))
    assert Bottleneck().times(x, y).tolist() == [min(pair) for pair in zip(numbers, y.tolist(), strict=True)]


@pytest.mark.parametrize("semiring", [Max(), Min(), Bottleneck()])
def test_a_tie_has_one_winner_the_first(semiring):
    scores = torch.tensor([[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]], requires_grad=True)
    value, index = semiring.choose(scores, -1)
    assert index.tolist() == [[0, 0]]
    for best in (value, semiring.sum(scores, -1)):
        (gradient,) = torch.autograd.grad(best.sum(), scores, retain_graph=True)
        assert gradient.tolist() == [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize("semiring", [Max(), Min(), Bottleneck()])
def test_an_impossible_sum_has_no_gradient(semiring):
    scores = torch.full((3,), -math.inf, requires_grad=True)
    total = semiring.sum(semiring.lift(scores), -1)
    total.backward()
    assert total == semiring.zero
    assert scores.grad is not None
    assert scores.grad.tolist() == [0.0, 0.0, 0.0]


def test_the_widest_path_by_hand():
    left, right = torch.tensor([5.0, 2.0, 9.0]), torch.tensor([1.0, 3.0, 2.5])
    assert Bottleneck().sum(Bottleneck().times(left, right), -1) == 2.5  # of 1, 2, 2.5
