"""A batch of no sequences: every question has an empty answer, of the right shape."""

import pytest
import torch

import semihmm
from semihmm import semirings as sr
from semihmm.engine.backends import native
from semihmm.errors import StructureError
from semihmm.testing.examples import KINDS, small

WAYS = [{}, {"backend": "torch"}, {"strategy": "associative"}, {"checkpoint": True}]
WAYS += [{"backend": "native"}] if native() is not None else []

each_kind = pytest.mark.parametrize("kind", KINDS)
each_way = pytest.mark.parametrize("way", WAYS, ids=str)
each_batch = pytest.mark.parametrize("batch", [(0,), (2, 0)])


def shared(structure):
    """The same with axes of 1 where potentials may have them."""
    axes, whole = len(structure.batch_shape), structure.expanded()
    others = {n: x for n, x in whole.potentials.items() if n != structure.observed}
    return whole.replace(**{n: x.new_zeros((*x.shape[: axes - 1], 1, *x.shape[axes:])) for n, x in others.items()})


def alike(kind, batch):
    """The structure, and where there are several potentials one that shares them."""
    structure = small(kind, batch, 3, ragged=True)
    return [structure] if len(structure.potentials) == 1 else [structure, shared(structure)]


@each_kind
@each_batch
@each_way
def test_numbers_of_no_sequences(kind, batch, way):
    for s in alike(kind, batch):
        feature = s.feature()
        found = [semihmm.log_partition(s, **way), semihmm.log_count(s, **way), semihmm.entropy(s, **way)]
        found += [semihmm.renyi_entropy(s, 2.0, **way), semihmm.kl_divergence(s, s, **way)]
        found += [semihmm.cross_entropy(s, s.expanded(), **way), semihmm.expectation(s, feature, **way)]
        found += [semihmm.total(s, semiring, **way) for semiring in (sr.Max(), sr.SmoothMax(0.5))]
        if way.get("backend") != "native":
            found += [
                semihmm.total(s, semiring, **way) for semiring in (sr.Real(), sr.Boolean(), sr.Count(), sr.Bottleneck())
            ]
            found += [semihmm.variance(s, feature, **way)]
        assert all(x.shape == batch for x in found)


@each_kind
@each_batch
@each_way
def test_marginals_of_no_sequences(kind, batch, way):
    for s in alike(kind, batch):
        for ask in (semihmm.marginals, semihmm.max_marginals):
            found = ask(s, **way).potentials
            assert {n: x.shape for n, x in found.items()} == {n: x.shape for n, x in s.expanded_potentials.items()}
        counts = semihmm.expected_counts(s, **way)[1]
        assert {n: x.shape for n, x in counts.items()} == {n: x.shape for n, x in s.potentials.items()}
        assert not any(x.any() for x in counts.values())
        assert semihmm.smoothing(s, **way).shape == s.potentials[s.observed].shape
        try:
            assert semihmm.filtering(s, **way).shape[: len(batch)] == batch
        except StructureError as error:
            assert "filter" in str(error)
        x = s.potentials[s.observed].clone().requires_grad_()
        semihmm.log_partition(s.replace(**{s.observed: x}), **way).sum().backward()
        assert x.grad.shape == x.shape


@each_kind
@each_batch
@each_way
def test_paths_of_no_sequences(kind, batch, way):
    one = semihmm.viterbi(small(kind, (1,) * len(batch), 3, ragged=True)).event.shape[len(batch) :]
    for s in alike(kind, batch):
        best = semihmm.viterbi(s, **way)
        assert (best.event.shape, best.score.shape, best.valid.shape) == ((*batch, *one), batch, batch)
        assert semihmm.topk(s, 3, **way).event.shape == (3, *batch, *one)
        drawn = semihmm.sample(s, (2, 4), **way)
        assert drawn.event.shape == (2, 4, *batch, *one)
        assert semihmm.score(s, drawn.event).shape == (2, 4, *batch)
        assert semihmm.log_prob(s, best.event, **way).shape == batch
        allowed = torch.ones(s.potentials[s.observed].shape, dtype=torch.bool)
        assert semihmm.log_partition(semihmm.condition(s, allowed), **way).shape == batch
        assert s.unbatch() == []
