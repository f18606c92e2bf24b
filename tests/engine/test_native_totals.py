"""Totals and state vectors of the compiled backend are those of PyTorch in float64, for every map."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close

import semihmm
from semihmm import engine
from semihmm.engine import Banded, Chain, Compose, Diagonal
from semihmm.errors import ShapeError
from semihmm.semirings import Expectation, Log, Max, Min, SmoothMax, TopK
from semihmm.testing import differentiable, in_float64, plan_of, random_chain, random_feature, total_of
from semihmm.testing.chains import KINDS
from semihmm.testing.examples import small
from semihmm.testing.strategies_chains import cases

pytestmark = pytest.mark.usefixtures("needs_native")
SEMIRINGS = (Log(), Max(), Min(), TopK(3), SmoothMax(0.5), Expectation(1))
FEW = settings(max_examples=max(settings.default.max_examples // 5, 3))
native_total = partial(total_of, backend="native")


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases())
def test_totals_are_those_of_pytorch_in_float64(kind, case):
    chain = random_chain(kind, case)
    for semiring in SEMIRINGS:
        features = [random_feature(chain, case)] * (semiring.inputs - 1)
        found = native_total(chain, semiring, features, blocks=case.blocks)
        assert found.dtype == case.dtype
        expected = total_of(in_float64(chain), semiring, [in_float64(f) for f in features], backend="torch")
        assert_close(found.double(), expected, **case.tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("semiring", [Log(), Max()], ids=repr)
@FEW
@given(case=cases(steps=(0, 1, 3, 9, 33, 70)))
def test_state_vectors_are_those_of_pytorch_in_float64(kind, semiring, case):
    chain = random_chain(kind, case)
    found = engine.vectors(plan_of(chain, semiring, backend="native"), semiring, chain)
    assert found.dtype == torch.float64
    only = torch.arange(chain.batch.numel()).reshape(chain.batch) % chain.steps.slots
    for slots in (None, only):
        one = engine.vectors(plan_of(chain, semiring, backend="native"), semiring, chain, slots)
        wide = in_float64(chain)
        expected = engine.vectors(plan_of(wide, semiring, backend="torch"), semiring, wide, slots)
        assert_close(one, expected, **case.tolerance)
        picked = found if slots is None else found.take_along_dim(only[..., None, None], -1).squeeze(-1)
        assert torch.equal(one, picked)


def test_a_filter_tells_states_apart_that_are_less_likely_than_a_float_holds():
    emission = torch.tensor([[0.0, -300.0], [0.0, 0.0], [0.0, -200.0]])
    never = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0]])
    found = semihmm.filtering(semihmm.HMM(torch.zeros(2), never, emission), backend="native")
    assert torch.equal(found, torch.tensor([[0.0, -300.0], [0.0, -300.0], [0.0, -500.0]]))


@pytest.mark.parametrize("kind", ["HMM", "HSMM", "CTC"])
def test_filters_have_derivatives(kind, native_calls):
    structure = small(kind, (2,), 4, ragged=True)
    name = structure.observed
    x = structure.potentials[name].clone().requires_grad_()

    def slope(**options):
        found = semihmm.filtering(structure.replace(**{name: x}), **options)
        return torch.autograd.grad(torch.where(found.isfinite(), found, 0.0).square().sum(), x)[0]

    assert_close(slope(), slope(backend="torch"))
    filtered = torch.func.vmap(lambda y: semihmm.filtering(structure.replace(**{name: y}), validate=False))
    assert_close(filtered(x.detach().unsqueeze(0))[0], semihmm.filtering(structure, backend="torch"))
    assert native_calls == []


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_an_index_outside_the_columns_is_refused(backend):
    for index in (-1, 3):
        chain = Chain((torch.zeros(2),), Diagonal(torch.zeros(4, 3), torch.tensor([[0, 1]])))
        with pytest.raises(ShapeError, match="index"):
            Diagonal(torch.zeros(4, 3), torch.tensor([[0, index]]))
        behind = chain.rebuild((*chain.start, chain.steps.weight, torch.tensor([[0, index]])))
        with pytest.raises((IndexError, RuntimeError), match="index"):
            total_of(behind, Log(), backend=backend)


@pytest.mark.parametrize("offsets", [(0, 1, 2), (0, -1, -2), (0, 1, -1)])
def test_what_lies_beside_a_vector_gets_nowhere(offsets, vector_bytes):
    slots, steps, g = 2 * vector_bytes // 4, 8, torch.Generator().manual_seed(0)  # whole vectors, side by side
    emission = torch.randn(3, steps, slots, generator=g)
    lengths = torch.tensor([2, steps, 4])
    band = Banded(offsets, torch.randn(1, slots, 3, generator=g))
    start = torch.randn(3, slots, generator=g)
    chain, leaves = differentiable(Chain((start,), Compose(band, Diagonal(emission)), (), lengths))
    expected = total_of(chain, Log(), backend="torch")
    slopes = torch.autograd.grad(expected.sum(), leaves)
    for _ in range(20):
        poison = [torch.full((3, steps + 1, slots), torch.nan) for _ in range(4)]  # for who asks for memory next
        del poison
        value = native_total(chain, Log())
        for ours, its in zip((value, *torch.autograd.grad(value.sum(), leaves)), (expected, *slopes), strict=True):
            assert_close(ours, its, rtol=1e-4, atol=1e-4)
