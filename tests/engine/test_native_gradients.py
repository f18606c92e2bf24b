"""Derivatives of smooth totals, of the compiled backend, are those of PyTorch in float64, for every map."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close

from semihmm.engine import Chain, Compose, Dense, Diagonal
from semihmm.semirings import Expectation, Log, Max, Min, SmoothMax, TopK
from semihmm.testing import ChainCase, differentiable, in_float64, random_chain, random_feature, stationary, total_of
from semihmm.testing.chains import KINDS
from semihmm.testing.strategies_chains import cases

pytestmark = pytest.mark.usefixtures("needs_native")
SMOOTH = (Log(), SmoothMax(0.5), Expectation(1))
BEST = (Max(), Min(), TopK(3))
FEW = settings(max_examples=max(settings.default.max_examples // 5, 3))
native_total = partial(total_of, backend="native")


def gradients(chain, semiring, features, backend, blocks, seed):
    """The gradient of a total, and a derivative of that, by all log-weights and features."""
    (chain, *features), held = zip(*(differentiable(c) for c in (chain, *features)), strict=True)
    leaves = [x for xs in held for x in xs]
    total = partial(total_of, chain, semiring, features, backend=backend, blocks=blocks)
    value = total()
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(value.shape, generator=g, dtype=torch.float64).to(value.dtype)
    first = torch.autograd.grad(value, leaves, weight, create_graph=True, materialize_grads=True)
    along = [torch.randn(x.shape, generator=g, dtype=torch.float64).to(x.dtype) for x in leaves]
    moved = sum((x * v).sum() for x, v in zip(first, along, strict=True))
    second = torch.autograd.grad(moved, leaves, materialize_grads=True, allow_unused=True)
    alone = torch.autograd.grad(total(), leaves, weight, materialize_grads=True)
    return [x.detach() for x in first], second, alone


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases(steps=(0, 1, 2, 3, 5, 9)))
def test_first_and_second_derivatives_are_those_of_pytorch_in_float64(kind, case):
    chain = random_chain(kind, case)
    for semiring in SMOOTH:
        features = [random_feature(chain, case)] * (semiring.inputs - 1)
        found = gradients(chain, semiring, features, "native", case.blocks, case.seed)
        expected = gradients(in_float64(chain), semiring, [in_float64(f) for f in features], "torch", None, case.seed)
        for ours, its, order in zip(found, expected, (1, 2, 1), strict=True):
            loose = 10 if order == 2 else 1
            for x, y in zip(ours, its, strict=True):
                assert x.isfinite().all()
                assert_close(x.double(), y, rtol=loose * case.tolerance["rtol"], atol=loose * case.tolerance["atol"])


@pytest.mark.parametrize("kind", ["segmental over time", "segmental arcs over time"])
def test_what_ends_may_begin_something_with_the_last_step(kind):
    """Where a chain's end weighs what begins, too. More steps than have tables at a time, each with its own."""
    chain = random_chain(kind, ChainCase(seed=1, batch=(), steps=80, forbidden=0.0))
    end = torch.randn(chain.steps.slots, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    chain, leaves = differentiable(replace(chain, end=(end,)))
    assert chain.steps.transition.weight.shape[-3] == 80 and native_total(chain, Log()).isfinite()
    slope = torch.autograd.grad(native_total(chain, Log()), leaves)
    for x, by in zip(leaves, slope, strict=True):
        along = torch.where(x.isfinite(), torch.randn(x.shape, dtype=torch.float64), 0.0)
        values = []
        for way in (1e-5, -1e-5):
            moved = [y + way * along if y is x else y for y in leaves]
            rest = iter(moved)
            other = chain.rebuild(next(rest) if y.is_floating_point() else y for y in chain.leaves)
            values.append(native_total(other, Log()).detach())
        assert_close((values[0] - values[1]) / 2e-5, (by * along).sum(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("semiring", [Log(), *BEST, *SMOOTH[1:]], ids=repr)
def test_many_gradients_at_once_are_one_after_the_other(semiring):
    case = ChainCase(seed=1)
    chain = random_chain("dense @ diagonal", case)
    given, leaves = differentiable(chain)
    value = native_total(given, semiring, [random_feature(chain, case)] * (semiring.inputs - 1))
    weights = torch.randn((5, *value.shape), generator=torch.Generator().manual_seed(0), dtype=value.dtype)
    found = torch.autograd.grad(value, leaves, weights, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(value, leaves, w, retain_graph=True) for w in weights]
    assert_close(found, tuple(torch.stack(xs) for xs in zip(*each, strict=True)))


@pytest.mark.parametrize("blocks", [None, 3])
@pytest.mark.parametrize("features", ["one", "own", "repeated"])
@pytest.mark.parametrize("weights", ["one", "own", "repeated"])
def test_weights_and_features_may_be_shared_in_different_ways(weights, features, blocks, assert_moments):
    g = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    for batch, steps, states, spread in ((1, 70, 3, 1.0), (5, 70, 9, 1.0), (17, 40, 2, 1e3)):

        def arcs(how):
            x = drawn(batch if how == "own" else 1, 1, states, states)  # noqa: B023
            return x.expand(batch, 1, states, states) if how == "repeated" else x  # noqa: B023

        lengths = torch.randint(0, steps + 1, (batch,), generator=g)
        start = (drawn(batch, states), drawn(1, states))
        seen = Diagonal(spread * drawn(batch, steps, states))
        chain = Chain(start, Compose(Dense(spread * arcs(weights)), seen), (drawn(1, states),), lengths)
        for times in (1, steps):
            along = Compose(Dense(arcs(features)), Diagonal(drawn(1 if times == 1 else batch, times, states)))
            feature = Chain((drawn(1, states), drawn(batch, states)), along, (drawn(batch, states),), lengths, steps)
            assert_moments(chain, feature, blocks)
            assert_moments(*(replace(c, steps=c.steps.first) for c in (chain, feature)), blocks)


@pytest.mark.parametrize("shared", [True, False])
def test_moments_over_several_blocks_have_the_derivatives_of_finite_differences(shared):
    g = torch.Generator().manual_seed(1)
    given = stationary(3, 35, 2, 1.0, g, shared, form="left to right")
    chain = in_float64(replace(given, lengths=torch.tensor([35, 0, 33])).chain)
    _, leaves = differentiable(chain)
    allowed = [x > -torch.inf for x in leaves]
    free = [x.detach()[ok].requires_grad_() for x, ok in zip(leaves, allowed, strict=True)]
    along = [torch.randn(x.shape, generator=g, dtype=torch.float64, requires_grad=True) for x in leaves]

    def filled(given):
        parts = (
            torch.full_like(x, -torch.inf).masked_scatter(ok, y)
            for x, ok, y in zip(leaves, allowed, given, strict=True)
        )
        return chain.rebuild((*parts, chain.lengths))

    def mass(*given):
        return native_total(filled(given), Log())

    def moments(*given):
        feature = chain.rebuild((*given[len(leaves) :], chain.lengths))
        return native_total(filled(given[: len(leaves)]), Expectation(1), [feature])

    assert torch.autograd.gradcheck(mass, free, fast_mode=True)
    assert torch.autograd.gradgradcheck(mass, free, fast_mode=True)
    assert torch.autograd.gradcheck(moments, free + along, fast_mode=True)


def test_where_there_is_no_path_there_is_no_gradient(assert_survives):
    g = torch.Generator().manual_seed(0)
    given = stationary(9, 40, 5, 1.0, g)
    seen = given.factors[1].clone()
    seen[4, 33] = -math.inf
    chain, leaves = differentiable(replace(given, factors=(given.factors[0], seen)).chain)
    value = native_total(chain, Log())
    assert (value == -math.inf).tolist() == [b == 4 for b in range(9)]
    found = torch.autograd.grad(value, leaves, torch.ones(9))
    assert not any(bool(x[4].any()) for x in found if len(x) == 9)
    assert_survives(replace(given, factors=(given.factors[0], seen)))
