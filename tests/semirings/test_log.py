"""Log against math.fsum; Real against it in probability."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from semihmm.semirings import Log, Real

numbers = st.lists(st.one_of(st.floats(-50, 50), st.just(-math.inf)), min_size=1, max_size=8)


@given(numbers)
def test_sum_is_the_log_of_the_sum(x):
    mass = math.fsum(map(math.exp, x))
    assert_close(Log().sum(torch.tensor(x, dtype=torch.float64), -1).item(), math.log(mass) if mass else -math.inf)
    assert_close(Real().sum(Real().lift(torch.tensor(x, dtype=torch.float64)), -1).item(), mass)


def test_a_shift_by_a_million_nats_costs_nothing_but_its_own_rounding():
    x = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64)
    assert_close(Log().sum(x - 1e6, -1) + 1e6, Log().sum(x, -1), rtol=0, atol=1e-9)


def test_a_forbidden_argument_counts_for_nothing_and_has_no_gradient():
    x = torch.tensor([[0.0, -math.inf, 1.0], [-math.inf] * 3], requires_grad=True)
    total = Log().sum(x, -1)
    total.sum().backward()
    assert total[1] == -math.inf
    assert x.grad is not None
    assert_close(x.grad, torch.tensor([[0.26894142, 0.0, 0.73105858], [0.0, 0.0, 0.0]]))


def test_an_infinite_weight_wins():
    assert Log().sum(torch.tensor([0.0, math.inf, -math.inf]), -1) == math.inf


def test_a_product_of_vectors_does_not_underflow():
    left, right = torch.tensor([0.0, -200.0]), torch.tensor([[-200.0], [0.0]])
    assert_close(Log().vecmat(left, right).item(), math.log(2) - 200, rtol=1e-6, atol=0)


@given(st.integers(0, 99))
def test_float32_agrees_with_float64_over_twenty_thousand_nats(seed):
    generator = torch.Generator().manual_seed(seed)
    left, right = ((torch.rand(shape, generator=generator) * 2 - 1) * 1e4 for shape in ((3, 8), (8, 5)))
    assert_close(Log().matmul(left, right).double(), Log().matmul(left.double(), right.double()), rtol=1e-6, atol=2e-3)
