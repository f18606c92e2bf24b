"""The compiled backend gives the same bits whatever the number of threads and whichever sequences go together."""

import itertools
from functools import partial

import pytest
import torch

from semihmm import engine
from semihmm.semirings import Expectation, Log, Max, Min, Sample, SmoothMax, TopK
from semihmm.testing import (
    ChainCase,
    MatrixChain,
    differentiable,
    paths_of,
    plan_of,
    ragged_stationary,
    random_chain,
    random_feature,
    total_of,
)
from semihmm.testing.chains import SEVERAL_STEPS

pytestmark = pytest.mark.usefixtures("needs_native")
SIZES = (1, 2, 4, 7, 8, 9, 16, 17, 40)  # a vector has 2 to 16 lanes
native_total = partial(total_of, backend="native")


def everything(chain, case):
    """All that is computed natively."""
    for semiring, blocks in itertools.product((Log(), SmoothMax(0.5), Expectation(1)), (None, 0)):
        features = [random_feature(chain, case)] * (semiring.inputs - 1)
        (one, *more), leaves = zip(*(differentiable(c) for c in (chain, *features)), strict=True)
        value = native_total(one, semiring, more, blocks=blocks)
        yield value.detach()
        yield from torch.autograd.grad(value.sum(), [x for xs in leaves for x in xs])
    yield engine.vectors(plan_of(chain, Log(), backend="native"), Log(), chain)
    for semiring in (Max(), Min(), TopK(3)):
        given, leaves = differentiable(chain)
        value = native_total(given, semiring)
        yield value.detach()
        weight = torch.randn(value.shape, generator=torch.Generator().manual_seed(0))
        yield from torch.autograd.grad(value, leaves, weight)
    for semiring in (Max(), TopK(3), Sample(4)):
        path = paths_of(chain, semiring, torch.Generator().manual_seed(0), backend="native")
        yield from (path.slots, path.choices, path.value)


@pytest.mark.parametrize("kind", ["dense @ diagonal", "banded @ tied", "sparse with memory", *SEVERAL_STEPS])
def test_the_number_of_threads_changes_no_bit(kind, native_threads):
    for seed, batch in ((0, (1,)), (1, (5, 8)), (2, (37,))):
        case = ChainCase(seed=seed, batch=batch, steps=70, dtype=torch.float32, ragged=seed > 0, forbidden=0.0)
        chain = random_chain(kind, case)
        expected = None
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            native_threads.clear()
            found = list(everything(chain, case))
            assert native_threads == {threads}
            expected = expected or found
            assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


def bits(hmm):
    """Log-partitions, their gradient by each sequence's own weights, and the best paths."""
    chain, leaves = differentiable(hmm.chain)
    value = native_total(chain, Log())
    own = [x for x in leaves if len(x) == len(hmm.start) and x.ndim < 4]
    return (
        value.detach(),
        torch.autograd.grad(value, own, torch.ones_like(value)),
        paths_of(hmm.chain, Max(), backend="native"),
    )


@pytest.mark.parametrize("spread", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("states", SIZES)
def test_a_sequence_has_the_same_bits_in_any_company(states, spread):
    hmm = ragged_stationary(33, 70, states, spread, states)
    value, slopes, path = bits(hmm)
    for first, count in ((0, 1), (5, 1), (32, 1), (3, 2), (7, 9), (16, 17)):
        some = slice(first, first + count)
        few = MatrixChain(hmm.start[some], (hmm.factors[0], hmm.factors[1][some]), hmm.end[some], hmm.lengths[some])
        alone = bits(few)
        assert torch.equal(alone[0], value[some])
        assert all(torch.equal(x, y[some]) for x, y in zip(alone[1], slopes, strict=True))
        assert torch.equal(alone[2].slots, path.slots[:, some])
        assert torch.equal(alone[2].value, path.value[:, some])
