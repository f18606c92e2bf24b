"""Random chains are what their case says, reach what they are for, and take maps of one's own."""

import math

import pytest
import torch
from hypothesis import find, given
from hypothesis import strategies as st
from torch.testing import assert_close

from semihmm.engine import Banded, Dense
from semihmm.errors import StructureError
from semihmm.semirings import Expectation, Log, Max
from semihmm.testing import (
    ChainCase,
    RandomWeights,
    differentiable,
    forward_backward,
    in_float64,
    paths_of,
    plan_of,
    ragged_stationary,
    random_chain,
    random_feature,
    random_map,
    rounded,
    stationary,
    total_of,
)
from semihmm.testing.chains import KINDS, STRUCTURES
from semihmm.testing.matrices import FORMS
from semihmm.testing.strategies_chains import cases


def band(weights, steps, states):
    return Banded((0, 1), weights.log_weights(steps, states, 2))


@given(kind=st.sampled_from([*KINDS, band]), case=cases())
def test_a_chain_is_what_its_case_says(kind, case):
    chain, again = random_chain(kind, case), random_chain(kind, case)
    assert chain.batch == case.batch
    assert (chain.lengths is not None) >= case.ragged
    assert all(torch.equal(x, y) for x, y in zip(chain.leaves, again.leaves, strict=True))
    assert {x.dtype for x in chain.leaves if x.is_floating_point() and x.numel()} <= {case.dtype, torch.float64}
    assert not any(x.isnan().any() for x in chain.leaves)
    assert kind in STRUCTURES or not any((x == math.inf).any() for x in chain.leaves)  # a cost of inf is forbidden


@given(kind=st.sampled_from(KINDS), case=cases())
def test_a_feature_has_the_form_of_its_chain_and_forbids_nothing(kind, case):
    chain = random_chain(kind, case)
    feature = random_feature(chain, case)
    assert (feature.batch, feature.length, feature.steps.slots) == (chain.batch, chain.length, chain.steps.slots)
    assert all(x.isfinite().all() for x in feature.leaves)
    assert total_of(chain, Expectation(1), [feature]).shape == (2, *case.batch)


@pytest.mark.parametrize(
    "reached",
    [
        lambda x: x.ndim == 2,  # no batch axes
        lambda x: x.shape[:-2] == (1, 1),
        lambda x: x.shape[:-2] == (1, 3),
        lambda x: x.shape[:-2] == (2, 3) and x.is_contiguous(),
        lambda x: x.stride(-2) == 1,
        lambda x: x.ndim > 2 and x.stride(0) == 0,
        lambda x: bool((x == -math.inf).any()),
    ],
)
def test_log_weights_are_shared_and_laid_out_in_every_way(reached):
    case = find(st.builds(ChainCase, st.integers(0, 999), batch=st.just((2, 3))), lambda case: reached(drawn(case)))
    assert reached(drawn(case))


def drawn(case):
    return RandomWeights(case).log_weights(4, 5)


@given(cases(steps=(3,)))
def test_lengths_are_none_or_reach_the_last_step(case):
    chain = random_chain(band, case)
    if case.ragged:
        assert chain.lengths.shape == case.batch and chain.lengths.min() >= 0 and chain.lengths.max() <= chain.length
        assert not case.batch or chain.lengths.flatten()[-1] == chain.length
    else:
        assert chain.lengths is None


def test_an_unknown_kind_is_refused():
    with pytest.raises(StructureError, match=r"random_map: kind must be one of dense, .*, got 'square'"):
        random_map("square", RandomWeights(ChainCase(seed=0)), 3, 2)


@given(case=cases(dtypes=(torch.float32,)))
def test_rounded_log_weights_have_exact_sums(case):
    chain = rounded(random_chain("dense @ diagonal", case), 1024)
    assert torch.equal(total_of(chain, Max()).double(), total_of(in_float64(chain), Max()))


def test_leaves_to_differentiate_by_are_new_ones():
    chain = random_chain("dense @ diagonal", ChainCase(seed=0, ragged=True))
    free, leaves = differentiable(chain)
    assert len(leaves) == sum(x.is_floating_point() for x in chain.leaves)
    assert all(x.requires_grad and x.is_leaf for x in leaves)
    assert not any(x.requires_grad for x in chain.leaves)
    assert all(torch.equal(x, y) for x, y in zip(free.leaves, chain.leaves, strict=True))


def test_blocks_are_no_more_than_the_steps():
    chain = random_chain("dense", ChainCase(seed=0, steps=9))
    blocks = {n: plan_of(chain, Log(), backend="torch", blocks=n).blocks for n in (None, 0, 2, 100)}
    assert blocks == {None: 1, 0: 3, 2: 2, 100: 9}
    assert plan_of(chain, Log(), strategy="chunked").strategy == "chunked"
    assert torch.equal(paths_of(chain, Max(), blocks=2).slots, paths_of(chain, Max(), strategy="associative").slots)


@pytest.mark.parametrize("form", FORMS)
def test_forward_backward_is_the_total_and_its_gradient(form):
    hmm = ragged_stationary(4, 6, 3, spread=5.0, seed=1, form=form)
    chain, leaves = differentiable(in_float64(hmm.chain))
    total = total_of(chain, Log(), backend="torch")
    found = forward_backward(hmm)
    assert found.total[-1] == -math.inf
    assert_close(found.total, total)
    for x, y in zip(found.marginals, torch.autograd.grad(total, leaves, torch.ones_like(total)), strict=True):
        assert_close(x, y.reshape(x.shape))
    assert found.depth.min() >= 0


def test_a_stationary_hmm_has_one_matrix_for_all_steps():
    g = torch.Generator().manual_seed(0)
    hmm = stationary(3, 5, 4, 100.0, g, shared=False, form="left to right")
    assert isinstance(hmm.chain.steps.first, Dense)
    assert hmm.factors[0].shape == (3, 1, 4, 4)
    assert hmm.factors[0].isfinite()[0, 0].tolist() == [[j - i in (0, 1) for j in range(4)] for i in range(4)]
    assert 50 < hmm.factors[1].std() < 150
