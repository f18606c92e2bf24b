"""Marginals, max-marginals, filtering, smoothing and conditioning: against enumeration, and as they must relate."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import semihmm
from semihmm.errors import StructureError
from semihmm.testing import oracle
from semihmm.testing.examples import KINDS, small
from semihmm.testing.strategies_structures import options, structures

each_kind = pytest.mark.parametrize("kind", KINDS)
WITH_FINAL = [
    *("HMM", "HMM varying", "HMM arcs", "HMM banded", "HMM tied", "FactorialHMM", "FactorialHMM coupled"),
    *("HSMM", "HSMM arcs", "HSMM banded"),
]
FILTERED = [*WITH_FINAL, "HMM constrained", "HMM pruned", "CTC", "CTC optional", "MonotonicAlignment"]


@settings(max_examples=60)
@given(structure=structures(), way=options())
def test_marginals_are_expected_counts(structure, way):
    assert_close(semihmm.marginals(structure, **way).potentials, oracle.marginals(structure))


@settings(max_examples=60)
@given(structure=structures(), way=options())
def test_max_marginals_are_the_best_scores_through_each_potential(structure, way):
    assert_close(semihmm.max_marginals(structure, **way).potentials, oracle.max_marginals(structure))


@given(structure=structures(), way=options())
def test_the_best_max_marginal_is_the_best_score(structure, way):
    found = semihmm.max_marginals(structure, **way).potentials[structure.observed]
    best = semihmm.viterbi(structure, **way).score
    top = found.flatten(len(structure.batch_shape)).amax(-1)
    if structure.observed == "emission" and not isinstance(structure, semihmm.CTC):  # each path has an emission
        assert_close(top, best)
    assert (top <= best + 1e-12).all()


@given(
    structure=structures(kinds=[kind for kind in FILTERED if not kind.startswith("CTC")]),
    way=options(),
)
def test_marginals_sum_to_one_at_each_step_in_use(structure, way):
    found = semihmm.marginals(structure, **way).emission.flatten(len(structure.batch_shape) + 1).sum(-1)
    used = torch.ones_like(found)
    if structure.lengths is not None:
        used = (torch.arange(found.shape[-1]) < structure.lengths.unsqueeze(-1)).double()
    possible = semihmm.log_partition(structure).isfinite()
    assert_close(found, used * possible.unsqueeze(-1))


@given(structure=structures(kinds=["HMM varying", "HMM banded"], forbidden=False), way=options())
def test_transitions_marginalise_to_states(structure, way):
    found = semihmm.marginals(structure, **way)
    assert_close(found.initial, found.emission[..., 0, :])
    sums = found.transition.sum(-2 if structure.offsets is None else -1)
    assert_close(sums, found.emission[..., 1:, :])


@each_kind
def test_a_shared_potential_gets_the_sum_of_its_gradients(kind):
    structure = small(kind, (3,), 4, ragged=True, seed=2)
    counts = semihmm.marginals(structure).potentials
    leaves = {n: x.clone().requires_grad_() for n, x in structure.potentials.items()}
    semihmm.log_partition(structure.replace(**leaves)).sum().backward()
    for name, x in leaves.items():
        expected = structure.sign * counts[name]
        assert_close(x.grad, expected.sum(0) if x.ndim < expected.ndim else expected)


@each_kind
def test_marginals_differentiate_to_covariances(kind):
    structure = small(kind, (), 3, seed=6).expanded()
    name = structure.observed
    x = structure.potentials[name].clone().requires_grad_()
    found = semihmm.marginals(structure.replace(**{name: x})).potentials[name]
    direction = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    (row,) = torch.autograd.grad((found * direction).sum(), x)
    zeros = {n: torch.zeros_like(v) for n, v in structure.potentials.items()}
    along = structure.replace(**{**zeros, name: direction})
    expected = torch.zeros(x.numel(), dtype=x.dtype)
    for i in range(x.numel()):
        one = torch.zeros(x.numel(), dtype=x.dtype)
        one[i] = 1.0
        unit = structure.replace(**{**zeros, name: one.reshape(x.shape)})
        expected[i] = structure.sign * oracle.covariance(structure, along, unit)
    assert_close(row.flatten(), expected)


@pytest.mark.parametrize("kind", FILTERED)
@settings(max_examples=12)
@given(data=st.data())
def test_filtering_looks_no_further_than_the_present(kind, data):
    structure, way = data.draw(structures(kinds=[kind])), data.draw(options())
    assert_close(semihmm.filtering(structure, **way), oracle.filtering(structure), equal_nan=True)


@pytest.mark.parametrize("kind", WITH_FINAL)
def test_filtering_ends_where_smoothing_does(kind):
    structure = small(kind, (3,), 5, seed=1)
    if structure.final is not None:
        structure = structure.replace(final=torch.zeros_like(structure.final))
    if kind.startswith("HSMM"):  # the last segment may not go on
        first = torch.arange(structure.longest) == 0
        structure = structure.replace(duration=torch.where(first, structure.duration, -math.inf))
    assert_close(semihmm.filtering(structure)[:, -1], semihmm.smoothing(structure)[:, -1])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in FILTERED])
def test_what_has_no_state_at_each_moment_cannot_be_filtered(kind):
    with pytest.raises(StructureError, match="cannot be filtered"):
        semihmm.filtering(small(kind))


@settings(max_examples=60)
@given(structure=structures(), way=options(), seed=st.integers(0, 99))
def test_conditioning_keeps_the_paths_that_the_mask_allows(structure, way, seed):
    shape = structure.potentials[structure.observed].shape
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.7
    found = semihmm.log_partition(semihmm.condition(structure, mask), **way)
    assert_close(found, oracle.condition(structure, mask))
    assert (found <= semihmm.log_partition(structure, **way) + 1e-12).all()


def test_a_mask_for_a_potential_by_name_or_for_none():
    hmm = small("HMM", (2,), 3)
    stay = semihmm.condition(hmm, transition=torch.eye(2, dtype=torch.bool))
    assert (semihmm.viterbi(stay).event.diff(dim=-1) == 0).all()
    with pytest.raises(StructureError, match="there is no colour"):
        semihmm.condition(hmm, colour=torch.ones(2, dtype=torch.bool))


def test_smoothing_reaches_below_what_float32_holds():
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.tensor([[0.0, -300.0], [0.0, 0.0]]))
    assert hmm.emission.dtype == torch.float32
    assert_close(semihmm.smoothing(hmm)[0], torch.tensor([0.0, -300.0]))
