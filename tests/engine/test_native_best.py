"""Derivatives of best totals, and best scores through each weight, are those of PyTorch, for every map."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import semihmm
from semihmm import engine
from semihmm.semirings import Max, Min, TopK
from semihmm.testing import differentiable, in_float64, plan_of, random_chain, rounded, total_of
from semihmm.testing.chains import KINDS
from semihmm.testing.examples import small
from semihmm.testing.strategies_chains import cases

pytestmark = pytest.mark.usefixtures("needs_native")
BEST = (Max(), Min(), TopK(3))
FEW = settings(max_examples=max(settings.default.max_examples // 5, 3))


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases(), scale=st.sampled_from([1, 1024]))
def test_best_totals_have_the_derivatives_that_pytorch_gives_them(kind, case, scale):
    """First and second ones of their squares; of best paths that tie, by the same."""
    chain = rounded(random_chain(kind, case), scale)

    def derivatives(chain, semiring, backend, blocks=None):
        given, leaves = differentiable(chain)
        g = torch.Generator().manual_seed(case.seed)
        along = [torch.randn(x.shape, generator=g, dtype=torch.float64).to(x.dtype) for x in leaves]
        for again in (False, True):
            value = total_of(given, semiring, strategy="sequential", backend=backend, blocks=blocks)
            assert value.dtype == chain.start[0].dtype
            squares = torch.where(value.isfinite(), value, 0.0).square().sum()
            first = torch.autograd.grad(squares, leaves, create_graph=again, materialize_grads=True)
            yield from (x.detach() for x in first)
        moved = sum((x * v).sum() for x, v in zip(first, along, strict=True))
        yield from torch.autograd.grad(moved, leaves, materialize_grads=True, allow_unused=True)

    for semiring in BEST:
        found = derivatives(chain, semiring, "native", case.blocks)
        for ours, its in zip(found, derivatives(in_float64(chain), semiring, "torch"), strict=True):
            scale = max(float(its.abs().max()), 1.0) if its.numel() else 1.0
            assert_close(ours.double() / scale, its / scale, **case.tolerance)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases())
def test_the_best_scores_through_each_weight_are_those_of_pytorch_in_float64(kind, case):
    chain = random_chain(kind, case).unrolled()
    form, found = engine.best_through(plan_of(chain, Max(), backend="native", blocks=case.blocks), chain)
    assert form is chain
    expected = engine.best_through(plan_of(in_float64(chain), Max(), backend="torch"), in_float64(chain))[1]
    for leaf, ours, its in zip([x for x in chain.leaves if x.is_floating_point()], found, expected, strict=True):
        assert ours.shape == leaf.shape and ours.dtype == case.dtype
        assert_close(ours.double(), its, **case.tolerance)


@pytest.mark.parametrize("kind", ["DTW", "DTW open", "RNNT", "EditDistance", "CTC", "HSMM"])
@pytest.mark.parametrize("checkpoint", [None, True])
def test_max_marginals_of_long_sequences_are_those_of_pytorch(kind, checkpoint, native_calls):
    structure = small(kind, (2, 2), 150, ragged=True, seed=2)
    found = semihmm.max_marginals(structure, checkpoint=checkpoint)
    assert native_calls == ["gradient"]
    assert_close(found.potentials, semihmm.max_marginals(structure, backend="torch").potentials)


def test_the_best_scores_of_many_small_steps_are_not_rounded_off():
    scores = torch.full((2, 30_000, 2), -100.25)  # 3 million nats in all: floats there are 1/4 apart
    scores[:, :, 1] -= 0.25 * torch.arange(30_000) % 8
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), scores)
    found, score = semihmm.max_marginals(hmm).emission, semihmm.viterbi(hmm).score
    assert torch.equal(found[..., 0], score.unsqueeze(-1).expand(2, 30_000))
    assert torch.equal(found[..., 1], found[..., 0] + (scores[..., 1] - scores[..., 0]))


def test_the_gradient_of_a_best_total_is_that_of_its_own_paths_score():
    for kind in ("HMM", "HMM banded", "HMM arcs", "HSMM", "CTC", "DTW", "RNNT", "EditDistance"):
        structure = small(kind, (2,), 4, ragged=True, seed=2)
        structure = structure.replace(**{n: x.round() for n, x in structure.potentials.items()})  # ties
        free = structure.replace(**{n: x.clone().requires_grad_() for n, x in structure.potentials.items()})
        leaves = list(free.potentials.values())
        total, best = semihmm.total(free, Max(), backend="native"), semihmm.viterbi(structure, backend="native")
        weight = best.valid.double()
        found, expected = (
            torch.autograd.grad(x.where(best.valid, 0.0), leaves, weight, materialize_grads=True)
            for x in (total, free.score(best.event))
        )
        for ours, its in zip(found, expected, strict=True):
            assert torch.equal(ours, its)
