"""No path underflows: log-weights that spread far, in float32, against forward-backward in float64."""

import itertools
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from semihmm.semirings import Log
from semihmm.testing import (
    MatrixChain,
    differentiable,
    forward_backward,
    in_float64,
    ragged_stationary,
    stationary,
    total_of,
)
from semihmm.testing.matrices import FORMS

pytestmark = pytest.mark.usefixtures("needs_native")
SIZES = (1, 2, 4, 7, 8, 9, 16, 17, 40)  # a vector has 2 to 16 lanes
native_total = partial(total_of, backend="native")


@pytest.mark.parametrize("spread", [1.0, 10.0, 100.0, 1e3, 1e4])
@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=max(settings.default.max_examples // 6, 3))
@given(
    batch=st.sampled_from([1, 3, 8, 9, 33]),
    states=st.sampled_from([1, 2, 5, 16, 17]),
    steps=st.integers(1, 70),
    shared=st.booleans(),
    ragged=st.booleans(),
    blocks=st.sampled_from([None, None, 0, 3]),
    forbidden=st.sampled_from([0.0, 0.0, 0.1]),
    seed=st.integers(0, 2**32),
)
def test_a_wide_spread_loses_no_path(
    form, spread, batch, states, steps, shared, ragged, blocks, forbidden, seed, assert_survives
):
    g = torch.Generator().manual_seed(seed)
    hmm = stationary(batch, steps, states, spread, g, shared, forbidden=forbidden, form=form)
    if ragged:
        hmm = replace(hmm, lengths=torch.randint(0, steps + 1, (batch,), generator=g))
    assert_survives(hmm, blocks)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("spread", [1.0, 30.0, 1e3])
@pytest.mark.parametrize("batch, states, steps", [(1, 64, 70), (9, 64, 33), (3, 5, 300), (33, 2, 300), (8, 17, 65)])
def test_long_and_large_ones_lose_no_path(batch, states, steps, spread, shared, assert_survives):
    g = torch.Generator().manual_seed(0)
    for form in ("random", "almost left to right"):
        assert_survives(stationary(batch, steps, states, spread, g, shared, form=form))


@pytest.mark.parametrize("states", SIZES)
def test_float64_agrees_with_forward_backward(states):
    for spread, form in itertools.product((1.0, 30.0, 1e3), FORMS):
        hmm = ragged_stationary(9, 99, states, spread, states, form)
        total, expected, _ = forward_backward(hmm)
        chain, leaves = differentiable(in_float64(hmm.chain))
        value = native_total(chain, Log())
        assert_close(value, total, rtol=1e-12, atol=1e-9)
        for x, y in zip(torch.autograd.grad(value, leaves, torch.ones_like(value)), expected, strict=True):
            assert_close(x, y.reshape(x.shape), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("batch", [1, 9])
@pytest.mark.parametrize("states", [2, 5, 17])
def test_products_of_two_matrices_lose_no_path(states, batch, assert_survives):
    g = torch.Generator().manual_seed(0)
    for spread in (1.0, 100.0, 1e4):
        hmm = stationary(batch, 35, states, spread, g)
        first = spread * torch.randn(1, 1, states, states + 2, generator=g)
        then = spread * torch.randn(batch, 1, states + 2, states, generator=g)
        assert_survives(replace(hmm, factors=(first, then, hmm.factors[1])))
        assert_survives(replace(hmm, factors=(first, then)), blocks=0)


@pytest.mark.parametrize("batch", [1, 3, 9])
def test_forward_and_backward_vectors_that_disagree_lose_no_path(batch, assert_survives):
    """[0, -200] x [-200, 0] is -199.31, not nothing."""
    near, far = torch.tensor([0.0, -200.0]), torch.tensor([-200.0, 0.0])
    stay = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0]])
    for steps in (1, 2, 31, 32, 33, 64, 65):
        for start, end, matrix in ((near, far, stay), (near, far, 1e4 * stay.clamp(min=-1.0)), (0.1 * near, far, stay)):
            factors = (matrix[None, None], torch.zeros(batch, steps, 2))
            hmm = MatrixChain(start.expand(batch, 2).clone(), factors, end.expand(batch, 2).clone())
            assert_survives(hmm)
            assert_survives(replace(hmm, factors=hmm.factors[:1] if steps == 1 else hmm.factors), 0)
    hmm = MatrixChain(near.repeat(batch, 1), (stay[None, None],), far.repeat(batch, 1))
    assert_close(native_total(hmm.chain, Log()), torch.full((batch,), -200 + math.log(2)))


@pytest.mark.parametrize("surprise", [50.0, 90.0, 110.0, 500.0, 1e4])
@pytest.mark.parametrize("at", [0, 1, 31, 32, 100, 149])
def test_one_surprising_step_in_a_long_sequence(at, surprise, assert_survives):
    """A state that all but all mass has left is suddenly the only one that explains what is seen."""
    g = torch.Generator().manual_seed(1)
    for states, batch in ((2, 1), (5, 9), (17, 3)):
        hmm = stationary(batch, 150, states, 1.0, g)
        leaving = hmm.factors[0].clone()
        leaving[..., -1] = -surprise / 2  # hardly ever entered
        emission = hmm.factors[1].clone()
        emission[0, at, :-1] -= surprise
        assert_survives(replace(hmm, factors=(leaving, emission)))
        emission[0, at, -1] = -math.inf  # and now nothing at all is likely
        assert_survives(replace(hmm, factors=(leaving, emission)))
