"""Right structures pass, broken ones are refused with the question that they answer wrongly."""

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import find, given

import semihmm
from semihmm import HMM, MonotonicAlignment
from semihmm.engine import Chain, Map, Path
from semihmm.errors import LawError, StructureError
from semihmm.testing import check_structure, oracle
from semihmm.testing.examples import KINDS, small
from semihmm.testing.state_paths import hmm_paths, log_sum
from semihmm.testing.strategies_structures import options, structures
from semihmm.testing.walk import chain_paths


@pytest.mark.parametrize("kind", KINDS)
def test_right_structures_pass_in_float32(kind):
    check_structure(small(kind, (2,), 2, ragged=True, dtype=torch.float32, forbidden=0.1, seed=1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_walk_along_the_chain_finds_the_paths_of_the_definition(kind):
    for seed in range(4):
        item = small(kind, (), 3, ragged=True, forbidden=0.2, seed=seed)
        known = {p.event: p.score for p in oracle.paths(item) if p.score > -math.inf}
        walked = {p.event: p.score for p in oracle.paths(item, chain_paths) if p.score > -math.inf}
        assert walked.keys() == known.keys()
        assert all(walked[event] == pytest.approx(score) for event, score in known.items())


def test_a_structure_never_seen_before_is_walked():
    @dataclass(frozen=True)
    class Loud(HMM):
        """The same under another name."""

    hmm = small("HMM varying", (2,), 3, ragged=True)
    check_structure(Loud(hmm.initial, hmm.transition, hmm.emission, hmm.final, hmm.lengths))


@dataclass(frozen=True)
class EventLate(HMM):
    def event(self, path):
        return path.slots.roll(1, -1)


@dataclass(frozen=True)
class EventBlind(HMM):
    def event(self, path):
        return torch.where(path.slots < 0, -1, 0)


@dataclass(frozen=True)
class PathLate(HMM):
    def path(self, event):
        return Path.through(event.roll(-1, -1))


@dataclass(frozen=True)
class ChainForgetful(HMM):
    def chain(self):
        chain = super().chain()
        return type(chain)(chain.start, chain.steps, (), chain.lengths, chain.length)


@dataclass(frozen=True)
class SignTurned(MonotonicAlignment):
    sign = -1.0


BROKEN = [
    (EventLate, None, "score of event"),
    (EventBlind, None, "two paths with one event"),
    (PathLate, None, "score of event"),
    (ChainForgetful, hmm_paths, "score of event"),
]


@pytest.mark.parametrize(("broken", "paths", "question"), BROKEN, ids=lambda x: getattr(x, "__name__", None))
def test_a_broken_structure_is_refused_with_the_question(broken, paths, question):
    hmm = small("HMM varying", (2,), 3, seed=2)
    with pytest.raises(StructureError, match=f"check_structure: {broken.__name__}.*{question}"):
        check_structure(broken(hmm.initial, hmm.transition, hmm.emission, hmm.final), paths=paths)


def test_a_wrong_sign_is_refused():
    with pytest.raises(StructureError, match="SignTurned: log_partition under condition"):
        check_structure(SignTurned(small("MonotonicAlignment", (), 3).emission))


def test_a_biased_sampler_is_refused(monkeypatch):
    def biased(structure, shape, generator):
        best = semihmm.viterbi(structure)
        return semihmm.Paths(*(x.expand(*shape, *x.shape) for x in (best.event, best.score, best.valid)), structure)

    monkeypatch.setattr(semihmm, "sample", biased)
    with pytest.raises(LawError, match="do not fit its posterior"):
        check_structure(small("HMM", (), 2))


def test_more_paths_than_can_be_listed_are_refused():
    with pytest.raises(StructureError, match="more than 20,000 paths"):
        check_structure(small("HMM", (), 15))


def test_a_map_of_an_unknown_kind_is_refused():
    nothing = dict.fromkeys(Map.__abstractmethods__, ()) | {"memory": 1, "slots": 2, "steps": 1}
    nothing["rebuild"] = lambda self, leaves: self
    unknown = type("Spiral", (Map,), nothing)()

    @dataclass(frozen=True)
    class Odd(HMM):
        def chain(self):
            return Chain((self.initial,), unknown)

    hmm = small("HMM", (), 2)
    with pytest.raises(StructureError, match=r"cannot walk through a Spiral.*Pass paths="):
        oracle.paths(Odd(hmm.initial, hmm.transition, hmm.emission))


def test_a_log_weight_of_several_potentials_has_no_owner():
    def mixed(hmm):
        for event, weights in hmm_paths(hmm):
            yield event, [log_sum(weights[:2]), *weights[2:]]

    with pytest.raises(StructureError, match="mixes several potentials"):
        oracle.marginals(small("HMM"), mixed)


def test_a_kind_that_there_is_not_is_refused():
    with pytest.raises(StructureError, match="kind must be one of HMM"):
        small("HMMM")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn(kind):
    expected = type(small(kind))
    assert isinstance(find(structures(), lambda s: type(s) is expected), expected)


@given(structures(dtypes=[torch.float32], steps=3, forbidden=False), options(associative=False))
def test_draws_are_as_asked_for(structure, way):
    assert all(x.dtype == torch.float32 and x.isfinite().all() for x in structure.potentials.values())
    assert way["strategy"] in {"sequential", None}


def test_ragged_batches_and_forbidden_weights_are_drawn():
    ragged = find(structures(kinds=["HMM"]), lambda s: s.lengths is not None and len(s.lengths.unique()) > 1)
    assert ragged.batch_shape
    shut = find(structures(kinds=["HMM"]), lambda s: bool((s.emission == -math.inf).any()))
    assert shut.emission.isinf().any()
