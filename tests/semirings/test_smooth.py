"""SmoothMax and SparseMax against their definitions as optimisation problems."""

import math

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from torch.testing import assert_close

from semihmm.errors import SemiringError
from semihmm.semirings import Log, Max, SmoothMax, SparseMax
from semihmm.testing.strategies import log_weights


@given(x=log_weights(5))
def test_smooth_max_lies_between_max_and_log(x):
    assert torch.equal(SmoothMax(1.0).sum(x, -1), Log().sum(x, -1))
    best = Max().sum(x, -1)
    for gamma in (1e-3, 0.1, 2.0):
        smooth = SmoothMax(gamma).sum(x, -1)
        assert best <= smooth <= best + gamma * math.log(5) + 1e-12


@given(
    x=st.lists(st.integers(-24, 24).map(lambda n: n / 8), min_size=2, max_size=5),
    gamma=st.sampled_from([0.5, 1.0, 3.0]),
)
def test_sparse_max_solves_its_problem(x, gamma):
    def objective(p):
        return -(numpy.dot(p, x) + gamma * (1 - numpy.dot(p, p)) / 2)

    start = numpy.full(len(x), 1 / len(x))
    simplex = {"type": "eq", "fun": lambda p: p.sum() - 1}
    solved = optimize.minimize(objective, start, bounds=[(0, 1)] * len(x), constraints=simplex, tol=1e-12)
    scores = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    value = SparseMax(gamma).sum(scores, -1)
    value.backward()
    assert scores.grad is not None
    assert_close(value.item(), -solved.fun, rtol=0, atol=1e-6)
    assert_close(scores.grad, torch.tensor(solved.x), rtol=0, atol=1e-3)
    assert_close(scores.grad.sum().item(), 1.0)


def test_sparse_gradients_are_exactly_zero():
    x = torch.tensor([3.0, 2.5, 1.0, -math.inf, 2.0], requires_grad=True)
    SparseMax().sum(x, -1).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.75, 0.25, 0.0, 0.0, 0.0]


def test_sparse_max_is_not_associative():
    s, (a, b, c) = SparseMax(), torch.tensor([0.5, 0.25, 0.0])
    assert not s.associative
    assert abs(s.plus(s.plus(a, b), c) - s.plus(a, s.plus(b, c))) > 0.01


def test_sparse_gradients_do_not_feel_a_shift():
    x = (torch.tensor([0.5, 0.25, 0.0]) - 2**17).requires_grad_()  # exact in float32, where the next number is 1/64 off
    SparseMax().sum(x, -1).backward()
    assert x.grad is not None
    assert_close(x.grad, torch.tensor([7.0, 4.0, 1.0]) / 12)


def test_sparse_max_of_nothing_possible_is_zero_with_no_gradient():
    x = torch.full((3,), -math.inf, requires_grad=True)
    value = SparseMax().sum(x, -1)
    value.backward()
    assert value == -math.inf
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("kind", [SmoothMax, SparseMax])
@pytest.mark.parametrize("gamma", [0.0, -1.0, math.inf, math.nan])
def test_a_temperature_is_positive_and_finite(kind, gamma):
    with pytest.raises(SemiringError, match="gamma is a temperature"):
        kind(gamma)
