"""First and second derivatives of totals, in every way to compute them; torch.func, torch.compile, autocast."""

import math
from itertools import count, product

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm import semirings as sr
from semihmm.testing import oracle
from semihmm.testing.examples import KINDS, small

each_kind = pytest.mark.parametrize("kind", KINDS)
WAYS = [{"strategy": s, "checkpoint": c} for s, c in product(("sequential", "associative", "chunked"), (False, True))]


def of_potentials(structure, question):
    """A question as a function of the potentials; 0 where its answer is -inf."""
    names = list(structure.potentials)

    def answer(*potentials):
        found = question(structure.replace(**dict(zip(names, potentials, strict=True))))
        return torch.where(found.isfinite(), found, 0.0)

    return answer


def leaves(structure):
    return tuple(x.clone().requires_grad_() for x in structure.potentials.values())


@pytest.mark.parametrize("checkpoint", [False, True])
@each_kind
def test_first_and_second_derivatives_are_those_of_finite_differences(kind, checkpoint):
    structure = small(kind, (2,), 3, ragged=True, seed=5)
    answer = of_potentials(structure, lambda s: semihmm.log_partition(s, checkpoint=checkpoint))
    assert torch.autograd.gradcheck(answer, leaves(structure), fast_mode=True)
    assert torch.autograd.gradgradcheck(answer, leaves(structure), fast_mode=True)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("kind", ["HMM banded", "HSMM varying", "DTW"])
def test_every_way_has_the_same_derivatives(kind, way):
    structure = small(kind, (2,), 5, ragged=True, seed=6)
    found = []
    for options in ({"strategy": "sequential"}, way):
        x = leaves(structure)
        total = semihmm.log_partition(structure.replace(**dict(zip(structure.potentials, x, strict=True))), **options)
        first = torch.autograd.grad(total.sum(), x, create_graph=True)
        second = torch.autograd.grad(sum((g**2).sum() for g in first), x, create_graph=True)
        third = torch.autograd.grad(sum((g**2).sum() for g in second), x)
        assert any(g.abs().max() > 1e-3 for g in third)  # not silently 0
        found.append((first, second, third))
    assert_close(found[0], found[1])


@pytest.mark.parametrize(
    "semiring",
    [sr.SmoothMax(0.5), sr.SparseMax(), sr.Real(), sr.Max(), sr.Min(), sr.Bottleneck(), sr.TopK(2)],
    ids=repr,
)
@pytest.mark.parametrize("kind", ["HMM", "HMM arcs", "HSMM", "CTC", "DTW"])
def test_totals_have_the_derivatives_of_finite_differences(kind, semiring):
    structure = small(kind, (2,), 3, seed=7)
    generator = torch.Generator().manual_seed(0)  # off the grid, where there are no ties
    moved = {n: x + 0.05 * torch.randn(x.shape, generator=generator) for n, x in structure.potentials.items()}
    structure = structure.replace(**moved)
    for checkpoint in (False, True):
        answer = of_potentials(structure, lambda s: semihmm.total(s, semiring, checkpoint=checkpoint))  # noqa: B023
        assert torch.autograd.gradcheck(answer, leaves(structure), fast_mode=True)
        assert torch.autograd.gradgradcheck(answer, leaves(structure), fast_mode=True)


@pytest.mark.parametrize("kind", ["HMM", "HSMM", "RNNT"])
def test_expectations_have_the_derivatives_of_finite_differences(kind):
    structure = small(kind, (), 3, seed=8)
    feature = small(kind, (), 3, seed=9)
    answer = of_potentials(structure, lambda s: semihmm.expectation(s, feature, checkpoint=True))
    assert torch.autograd.gradcheck(answer, leaves(structure), fast_mode=True)
    assert torch.autograd.gradgradcheck(answer, leaves(structure), fast_mode=True)


@pytest.mark.parametrize("way", WAYS, ids=str)
@each_kind
def test_forbidden_and_impossible_have_gradients_of_zero(kind, way):
    drawn = (small(kind, (3,), 3, forbidden=0.5, seed=seed) for seed in count())
    structure = next(s for s in drawn if 0 < int(semihmm.viterbi(s).valid.sum()) < 3)
    x = leaves(structure)
    total = semihmm.log_partition(structure.replace(**dict(zip(structure.potentials, x, strict=True))), **way)
    assert (total == -math.inf).any()
    first = torch.autograd.grad(total.sum(), x, create_graph=True, materialize_grads=True)
    second = torch.autograd.grad(sum((g**2).sum() for g in first), x, materialize_grads=True)
    for value, g, gg in zip(x, first, second, strict=True):
        assert g.isfinite().all()
        assert gg.isfinite().all()
        assert (g[value.isinf()] == 0).all()
        if value.ndim and g.shape[0] == 3:
            axes = tuple(range(1, g.ndim))
            assert (g.abs().amax(axes)[total == -math.inf] == 0).all()


@pytest.mark.parametrize("way", [{}, {"checkpoint": True}, {"strategy": "associative"}], ids=str)
@each_kind
def test_functional_derivatives_are_those_of_autograd(kind, way):
    structure = small(kind, (), 3, ragged=True, seed=11)
    name = structure.observed
    x = structure.potentials[name]

    def total(x):
        return semihmm.log_partition(structure.replace(**{name: x}), validate=False, **way)

    expected = oracle.marginals(structure)[name] * structure.sign
    assert_close(torch.func.grad(total)(x), expected)
    assert_close(torch.func.jacrev(total)(x), expected)
    (by_autograd,) = torch.autograd.grad(total(y := x.clone().requires_grad_()), y)
    assert_close(by_autograd, expected)
    hessian = torch.func.jacrev(torch.func.grad(total))(x)
    by_autograd = torch.autograd.functional.hessian(total, x)
    assert_close(hessian, by_autograd)


@each_kind
def test_vmap_is_a_batch(kind):
    structure = small(kind, (), 3, seed=12)
    name = structure.observed
    x = torch.stack([structure.potentials[name] + i for i in range(3)])

    def total(x):
        return semihmm.log_partition(structure.replace(**{name: x}))

    assert_close(torch.func.vmap(total)(x), torch.stack([total(y) for y in x]))
    mapped = torch.func.vmap(torch.func.grad(total))(x)
    assert_close(mapped, torch.stack([torch.func.grad(total)(y) for y in x]))


def test_compiles_without_a_graph_break():
    torch.compiler.reset()
    hmm = small("HMM", (2,), 4)

    def total(emission):
        return semihmm.log_partition(semihmm.HMM(hmm.initial, hmm.transition, emission), strategy="sequential")

    compiled = torch.compile(total, fullgraph=True, backend="aot_eager")
    x = hmm.emission.clone().requires_grad_()
    y = hmm.emission.clone().requires_grad_()
    assert_close(compiled(x), total(y))
    compiled(x).sum().backward()
    total(y).sum().backward()
    assert_close(x.grad, y.grad)


@pytest.mark.parametrize("kind", ["HMM", "HSMM", "CTC"])
def test_autocast_keeps_the_precision_of_the_potentials(kind):
    structure = small(kind, (2,), 5, dtype=torch.float32, seed=13)
    expected = semihmm.log_partition(structure)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = semihmm.log_partition(structure)
        counts = semihmm.marginals(structure).potentials
    assert found.dtype == torch.float32
    assert_close(found, expected)
    assert_close(counts, semihmm.marginals(structure).potentials)


@pytest.mark.parametrize("kind", ["HMM", "HSMM"])
def test_sixteen_bits_give_marginals_that_sum_to_one(kind):
    structure = small(kind, (2,), 6, dtype=torch.bfloat16, seed=14)
    sums = semihmm.marginals(structure).emission.float().sum(-1)
    assert_close(sums, torch.ones_like(sums), atol=5e-2, rtol=0)


@pytest.mark.parametrize("kind", ["HMM", "HMM arcs", "HSMM", "CTC", "DTW", "RNNT", "Lattice"])
def test_forward_mode_is_reverse_mode(kind):
    structure = small(kind, (), 3, ragged=True, seed=15)
    name = structure.observed
    x = structure.potentials[name]
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)

    def total(x):
        return semihmm.log_partition(structure.replace(**{name: x}))

    _, moved = torch.func.jvp(total, (x,), (direction,))
    assert_close(moved, (torch.func.grad(total)(x) * direction).sum())
    _, curved = torch.func.jvp(torch.func.grad(total), (x,), (direction,))
    y = x.clone().requires_grad_()
    (first,) = torch.autograd.grad(total(y), y, create_graph=True)
    (second,) = torch.autograd.grad((first * direction).sum(), y)
    assert_close(curved, second)


def test_a_hessian_product_of_a_long_float32_chain_is_that_of_float64():
    draw = torch.Generator().manual_seed(0)
    shapes = ((3,), (3, 3), (3000, 3))
    given = [torch.randn(s, generator=draw) for s in shapes]
    along = [torch.randn(s, generator=draw) for s in shapes]

    def product(dtype):
        leaves = [x.to(dtype).requires_grad_() for x in given]
        value = semihmm.log_partition(semihmm.HMM(*leaves))
        slopes = torch.autograd.grad(value, leaves, create_graph=True)
        moved = sum((g * v.to(dtype)).sum() for g, v in zip(slopes, along, strict=True))
        return torch.autograd.grad(moved, leaves)

    for single, double in zip(product(torch.float32), product(torch.float64), strict=True):
        assert_close(single.double(), double, rtol=1e-3, atol=1e-3 * float(double.abs().max()))
