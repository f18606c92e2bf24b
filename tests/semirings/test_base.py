"""What the base class builds from the rest, and what it refuses."""

import math

import pytest
import torch
from torch.testing import assert_close

from semihmm.errors import SemiringError
from semihmm.semirings import Count, Expectation, Log, Max, Real, TopK


def test_vecmat_and_matmul_are_those_of_linear_algebra():
    a, b = torch.rand(2, 3, 4, dtype=torch.float64), torch.rand(4, 5, dtype=torch.float64)
    for semiring in (Log(), Real()):
        exact = (a @ b).log() if semiring == Log() else a @ b
        a_value, b_value = semiring.lift(a.log()), semiring.lift(b.log())
        assert_close(semiring.matmul(a_value, b_value), exact)
        assert_close(semiring.vecmat(a_value[:, 0], b_value), exact[:, 0])


def test_a_product_without_inner_states_is_zero():
    nothing = torch.zeros(2, 0)
    for semiring in (Log(), Max(), TopK(3), Expectation(1)):
        value = semiring.full(semiring.one, (2, 0), nothing)
        matrix = semiring.full(semiring.one, (0, 4), nothing)
        assert torch.equal(semiring.matmul(value, matrix), semiring.full(semiring.zero, (2, 4), nothing))


def test_plus_takes_lists_of_any_length():
    semiring = TopK(3)
    three, one = torch.tensor([[5.0], [4.0], [-math.inf]]), torch.tensor([[4.5]])
    assert semiring.plus(three, one).squeeze(-1).tolist() == [5.0, 4.5, 4.0]
    assert semiring.plus(one, one).squeeze(-1).tolist() == [4.5, 4.5, -math.inf]


def test_full_follows_its_example():
    value = Expectation(2).full((1.0, 2.0, 3.0), (4, 5), torch.zeros(1, dtype=torch.float16))
    assert value.shape == (3, 4, 5)
    assert value.dtype == torch.float16
    assert value[:, 0, 0].tolist() == [1, 2, 3]
    assert Count().full(1.0, (2,), Count().lift(torch.zeros(1))).tolist() == [1, 1]


def test_a_mixing_semiring_has_no_best_argument():
    with pytest.raises(SemiringError, match="selective"):
        Log().choose(torch.zeros(3), -1)


@pytest.mark.parametrize(
    "ask", [lambda s: s.magnitude(torch.zeros(1)), lambda s: s.scale(torch.zeros(1), torch.zeros(1))]
)
def test_an_unscalable_semiring_says_so(ask):
    with pytest.raises(SemiringError, match="scalable"):
        ask(Real())


@pytest.mark.parametrize("make", [lambda: TopK(0), lambda: Expectation(0)])
def test_a_semiring_of_nothing_is_refused(make):
    with pytest.raises(SemiringError, match="at least 1; got 0"):
        make()
