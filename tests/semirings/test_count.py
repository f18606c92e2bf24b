"""Count and Boolean against counting."""

import math

import torch
from hypothesis import given

from semihmm.semirings import Boolean, Count
from semihmm.testing.strategies import log_weights


@given(x=log_weights(3, 4), y=log_weights(4, 2))
def test_they_count_two_step_paths(x, y):
    allowed = x.isfinite().int().tolist(), y.isfinite().int().tolist()
    paths = [[sum(row[s] * allowed[1][s][r] for s in range(4)) for r in range(2)] for row in allowed[0]]
    assert Count().matmul(Count().lift(x), Count().lift(y)).tolist() == paths
    exists = [[count > 0 for count in row] for row in paths]
    assert Boolean().matmul(Boolean().lift(x), Boolean().lift(y)).tolist() == exists


def test_counts_are_exact_where_floats_are_not():
    three = torch.full((), 3)
    total = torch.ones((), dtype=torch.int64)
    for _ in range(39):
        total = Count().times(total, three)
    assert total.item() == 3**39  # more than 2**61
    assert float(3**39 + 1) == float(3**39)
    assert Count().plus(total, torch.ones_like(total)).item() == 3**39 + 1


def test_log_weights_do_not_matter_but_for_minus_infinity():
    x = torch.tensor([-math.inf, -1e30, 0.0, math.inf])
    assert Count().lift(x).tolist() == [0, 1, 1, 1]
    assert Boolean().lift(x).tolist() == [False, True, True, True]


def test_boolean_chooses_the_first_that_exists():
    value, index = Boolean().choose(torch.tensor([[False, True, True], [False, False, False]]), -1)
    assert value.tolist() == [True, False]
    assert index.tolist() == [[1, 0]]
