"""Every semiring keeps the laws; under autograd, torch.func and torch.compile; in any dtype; on equal terms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from semihmm import semirings as semirings_module
from semihmm.semirings import (
    Boolean,
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
    SecondOrderExpectation,
    SmoothMax,
    SparseMax,
    TopK,
)
from semihmm.testing import check_semiring
from semihmm.testing.strategies import log_weights, semirings

EACH = [
    Real(),
    Log(),
    Max(),
    Min(),
    Bottleneck(),
    TopK(3),
    Sample(2),
    Expectation(2),
    SecondOrderExpectation(),
    SmoothMax(0.5),
    SparseMax(),
    Count(),
    Boolean(),
    Product(Log(), TopK(2)),
    Product(Expectation(), Real()),
    Lexicographic(Max(), Log()),
    Lexicographic(Min(), Max(), own_weights=True),
]
each = pytest.mark.parametrize("semiring", EACH, ids=repr)
differentiable = pytest.mark.parametrize(
    "semiring", [s for s in EACH if s.value_dtype is None], ids=lambda semiring: repr(semiring)
)


def arguments(semiring, *shape, dtype=torch.float64):
    """A log-weight with a row of -inf and one more, and features."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=generator, dtype=dtype) for _ in range(semiring.inputs)]
    drawn[0][0, 0] = -math.inf
    drawn[0][-1, -1, 0] = -math.inf
    return drawn


def total(semiring, *lifted_from):
    a = semiring.lift(*lifted_from)
    b = semiring.lift(*(x.flip(-1) for x in lifted_from))
    return semiring.lower(semiring.sum(semiring.times(a, b), -1))


def test_each_is_each():
    assert {type(semiring).__name__ for semiring in EACH} | {"Semiring"} == set(semirings_module.__all__)


@each
def test_each_keeps_the_laws_on_many_samples(semiring):
    check_semiring(semiring, samples=400)


@given(semiring=semirings(), seed=st.integers(0, 2**32))
def test_any_keeps_the_laws(semiring, seed):
    check_semiring(semiring, seed=seed, samples=20)


@each
def test_vmap_is_a_batch(semiring):
    drawn = arguments(semiring, 4, 3, 5)
    mapped = torch.func.vmap(lambda *x: total(semiring, *x), out_dims=-2)(*drawn)
    assert_close(mapped, total(semiring, *drawn))


@differentiable
def test_gradients_agree_under_torch_func(semiring):
    weight, *features = arguments(semiring, 4, 3, 5)

    def finite_sum(weight):
        answer = total(semiring, weight, *features)
        return torch.where(answer.isfinite(), answer, 0.0).sum()

    def finite_sum_by_vmap(weight):
        answer = torch.func.vmap(lambda *x: total(semiring, *x), out_dims=-2)(weight, *features)
        return torch.where(answer.isfinite(), answer, 0.0).sum()

    tied = torch.where(weight.isfinite(), weight.round(), weight)
    for point in (weight, tied):
        leaf = point.clone().requires_grad_()
        (plain,) = torch.autograd.grad(finite_sum(leaf), leaf)
        assert_close(torch.func.grad(finite_sum)(point), plain)
        assert_close(torch.func.grad(finite_sum_by_vmap)(point), plain)


@each
def test_compiles_without_a_graph_break(semiring):
    torch.compiler.reset()
    drawn = arguments(semiring, 4, 3, 5)
    compiled = torch.compile(lambda *x: total(semiring, *x), fullgraph=True, backend="eager")
    assert torch.equal(compiled(*drawn), total(semiring, *drawn))


@differentiable
def test_first_and_second_derivatives_are_those_of_finite_differences(semiring):
    drawn = [x.requires_grad_() for x in arguments(semiring, 1, 2, 4)]
    drawn[0] = torch.tensor([[[0.3, -0.2, 1.7, -0.9], [0.25, 0.1, -1.1, 2.0]]], dtype=torch.float64, requires_grad=True)

    def free(*x):
        return total(semiring, *x)

    assert torch.autograd.gradcheck(free, drawn)
    assert torch.autograd.gradgradcheck(free, drawn)


@differentiable
def test_no_nan_is_made_on_the_way_back_not_even_one_that_is_masked(semiring):
    weight, *features = arguments(semiring, 2, 2, 3)
    weight.requires_grad_()
    with torch.autograd.set_detect_anomaly(True):
        answer = total(semiring, weight, *features)
        (gradient,) = torch.autograd.grad(answer, weight, torch.ones_like(answer), create_graph=True)
        assert gradient.isfinite().all()
        if gradient.requires_grad:
            (second,) = torch.autograd.grad(gradient.square().sum(), weight, allow_unused=True, materialize_grads=True)
            assert second.isfinite().all()


@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_dtype_is_kept(semiring, dtype):
    answer = total(semiring, *arguments(semiring, 2, 2, 3, dtype=dtype))
    assert answer.dtype == (semiring.value_dtype or dtype)


@each
def test_no_grad_changes_no_bit(semiring):
    drawn = arguments(semiring, 4, 3, 5)
    with torch.no_grad():
        alone = total(semiring, *drawn)
    assert torch.equal(alone, total(semiring, *drawn))


@each
def test_vectors_of_different_rank_broadcast_from_the_right(semiring):
    drawn = arguments(semiring, 4, 3, 5)
    a = semiring.whole(semiring.lift(*drawn))
    b = semiring.whole(semiring.lift(*(x[0, 1] for x in drawn)))
    same = b.reshape(*b.shape[:-1], 1, 1, 5)
    assert torch.equal(semiring.times(a, b), semiring.times(a, same))
    assert torch.equal(semiring.times(b, a), semiring.times(same, a))
    assert torch.equal(semiring.plus(a, b), semiring.plus(a, same))


@settings(max_examples=10)
@given(
    x=log_weights(3, 4), semiring=st.sampled_from([Log(), Max(), SmoothMax(0.5), SparseMax(), TopK(2), Bottleneck()])
)
def test_a_nan_stays_a_nan(x, semiring):
    x[1, 2] = math.nan
    assert semiring.sum(semiring.lift(x), -1).reshape(-1, 3)[0].isnan().tolist() == [False, True, False]


@each
def test_equal_semirings_are_equal_and_hashable(semiring):
    assert semiring == eval(repr(semiring))
    assert hash(semiring) == hash(eval(repr(semiring)))
