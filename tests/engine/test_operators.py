"""The operators of the compiled backend pass PyTorch's own checks, and have derivatives of their own."""

import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close

from semihmm.semirings import Expectation, Log, Max, Sample, SmoothMax, TopK
from semihmm.testing import ChainCase, differentiable, random_chain, random_feature, total_of
from semihmm.testing.chains import KINDS
from semihmm.testing.strategies_chains import cases

pytestmark = pytest.mark.usefixtures("needs_native")
FEW = settings(max_examples=max(settings.default.max_examples // 5, 3))


def drawn(kind, semiring, ragged=True):
    """A random chain, and the features that a semiring takes."""
    case = ChainCase(seed=3, ragged=ragged)
    chain = random_chain(kind, case)
    return chain, [random_feature(chain, case)] * (semiring.inputs - 1)


def check(operator, arguments):
    assert set(torch.library.opcheck(operator, arguments).values()) == {"SUCCESS"}


@pytest.mark.parametrize(
    "kind, semiring, segment, ragged",
    [
        ("dense @ diagonal", Log(), 9, True),
        ("arcs", SmoothMax(0.5), 2, False),
        ("segmental", Expectation(1), 9, True),
        ("segmental arcs", Log(), 2, True),
        ("DTW", Log(), 2, True),
    ],
)
def test_the_operators_of_totals_and_gradients_pass_opcheck(kind, semiring, segment, ragged, operands):
    chain, features = drawn(kind, semiring, ragged)
    given = operands(semiring, chain, features)
    free, plain = given.requiring(True), given.requiring(False)
    check(*free.total(segment))
    if ragged:
        check(*plain.total(0))
    weight = torch.randn(chain.batch, dtype=torch.float64)
    if features:
        check(*plain.gradient(segment, weight))
    else:
        check(*free.gradient(segment, weight.requires_grad_()))


@pytest.mark.parametrize(
    "kind, semiring, segment",
    [
        *[("dense @ diagonal", TopK(3), 9), ("segmental", Sample(2), 2), ("segmental", Max(), 9)],
        *[("segmental banded", Sample(2), 2), ("segmental arcs over time", Max(), 9), ("DTW", Max(), 9)],
    ],
)
def test_the_operators_of_paths_and_their_gradient_pass_opcheck(kind, semiring, segment, operands):
    chain, _ = drawn(kind, semiring)
    given = operands(semiring, chain)
    if isinstance(semiring, Sample):
        uniforms = torch.rand((semiring.rows, *chain.batch, 2 * chain.length + 2), dtype=torch.float64)
        check(*given.requiring(False).paths(segment, semiring.rows, uniforms))
    else:
        check(*given.requiring(True).paths(segment, semiring.rows))
        check(*given.requiring(True).gradient_of_paths(segment, semiring.rows))


@pytest.mark.parametrize("semiring", [Log(), Max()], ids=repr)
@pytest.mark.parametrize("only", [False, True])
def test_the_operator_of_state_vectors_passes_opcheck(operands, only, semiring):
    chain, _ = drawn("segmental", semiring)
    check(*operands(semiring, chain).requiring(True).vectors(only))


def twice(value, chain, seed):
    """The second derivatives of a chain's weighted total, along one direction: by its log-weights and the weights."""
    chain, leaves = differentiable(chain)
    g = torch.Generator().manual_seed(seed)
    total = value(chain)
    weight = torch.randn(total.shape, generator=g, dtype=total.dtype).requires_grad_()
    slope = torch.autograd.grad(total, leaves, weight, create_graph=True)
    along = [torch.randn(x.shape, generator=g, dtype=x.dtype) for x in leaves]
    moved = sum((x * v).sum() for x, v in zip(slope, along, strict=True))
    return torch.autograd.grad(moved, [*leaves, weight], materialize_grads=True)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases(dtypes=(torch.float64,), steps=(0, 1, 2, 3, 5)))
def test_the_operators_have_second_derivatives(kind, case, operands):
    chain = random_chain(kind, case)
    for semiring in (Log(), SmoothMax(0.5)):

        def by_operators(chain, semiring=semiring):
            operator, arguments = operands(semiring, chain).total(segment=2)
            return operator(*arguments)[0][0]

        def by_scans(chain, semiring=semiring):
            return total_of(chain, semiring, backend="torch")

        found, expected = (twice(value, chain, case.seed) for value in (by_operators, by_scans))
        for ours, its in zip(found, expected, strict=True):
            assert_close(ours, its, **case.tolerance)


def test_the_operators_say_that_moments_have_no_second_derivatives(operands):
    chain, features = drawn("dense @ diagonal", Expectation(1))
    given = operands(Expectation(1), chain, features).requiring(True)
    operator, arguments = given.total(segment=9)
    (slope,) = torch.autograd.grad(operator(*arguments)[0].sum(), given.tensors[0], create_graph=True)
    with pytest.raises(NotImplementedError, match=r"semihmm::gradient: .* backend='torch'"):
        torch.autograd.grad(slope.sum(), given.tensors[0])
