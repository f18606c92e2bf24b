"""The best path, the k best, and draws: against the list of all paths."""

import math

import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close

import semihmm
from semihmm.errors import SemihmmError, SemiringError
from semihmm.inference.viterbi import decode
from semihmm.semirings import Log
from semihmm.testing import oracle
from semihmm.testing.examples import KINDS, small
from semihmm.testing.laws import fits
from semihmm.testing.strategies_structures import options, structures

each_kind = pytest.mark.parametrize("kind", KINDS)


def events_and_scores(structure):
    """For each sequence: its possible events and their scores."""
    items = structure.unbatch() if structure.batch_shape else [structure]
    return [{p.event: p.score for p in oracle.paths(item) if p.score > -math.inf} for item in items]


def repeated(structure, times):
    """A batch of one sequence, several times."""
    names = {*structure.ranks, *structure.indices}
    changes = {n: getattr(structure, n) for n in names}
    return structure.replace(
        **{n: x.expand(times, *x.shape) for n, x in changes.items() if isinstance(x, torch.Tensor)}
    )


@settings(max_examples=80)
@given(structure=structures(), way=options())
def test_the_best_path_is_a_path_and_the_best(structure, way):
    best = semihmm.viterbi(structure, **way)
    assert_close(best.score, oracle.viterbi(structure))
    assert torch.equal(best.valid, best.score > -math.inf)
    events = best.event.reshape(-1, *best.event.shape[len(structure.batch_shape) :])
    for event, score, known in zip(events, best.score.flatten(), events_and_scores(structure), strict=True):
        if known:
            assert known[oracle.plain_event(event)] == pytest.approx(float(score))
        else:
            assert (event == -1).all()


@settings(max_examples=80)
@given(structure=structures(), way=options())
def test_the_best_path_weighs_no_more_than_all_together(structure, way):
    assert (semihmm.viterbi(structure, **way).score <= semihmm.log_partition(structure, **way) + 1e-12).all()


@settings(max_examples=60)
@given(structure=structures(), way=options())
def test_the_k_best_paths_are_the_k_best_and_differ(structure, way):
    k = 6
    best = semihmm.topk(structure, k, **way)
    assert_close(best.score, oracle.topk(structure, k))
    assert torch.equal(best.valid, best.score > -math.inf)
    events = best.event.reshape(k, -1, *best.event.shape[1 + len(structure.batch_shape) :])
    for i, known in enumerate(events_and_scores(structure)):
        found = [oracle.plain_event(event) for event in events[:, i]][: len(known)]
        assert set(found) <= set(known)
        assert len(set(found)) == len(found) == min(k, len(known))


@each_kind
def test_fewer_of_the_k_best_are_the_first_of_them(kind):
    structure = small(kind, (2,), 4, ragged=True, seed=8)
    many = semihmm.topk(structure, 7)
    for k in (1, 3, 6):
        few = semihmm.topk(structure, k)
        assert torch.equal(few.event, many.event[:k])
        assert torch.equal(few.score, many.score[:k])
    assert torch.equal(semihmm.viterbi(structure).event, many.event[0])
    assert torch.equal(semihmm.argmax(structure), many.event[0])


@each_kind
@pytest.mark.parametrize("k", [20, 100])
def test_many_best_paths_are_those_of_all_that_there_are(kind, k):
    structure = small(kind, (2,), 4, ragged=True, seed=3)
    best = semihmm.topk(structure, k)
    assert_close(best.score, oracle.topk(structure, k))
    for i, known in enumerate(events_and_scores(structure)):
        found = [oracle.plain_event(event) for event in best.event[:, i]][: len(known)]
        assert len(set(found)) == len(found) == min(k, len(known))
        assert [known[event] for event in found] == pytest.approx(best.score[: len(found), i].tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [20, 100])
def test_many_best_paths_are_those_of_pytorch(k, dtype):
    g = torch.Generator().manual_seed(k)
    for states in (5, 17):
        initial, transition, emission = (torch.randn(x, generator=g) for x in ((states,), (states,) * 2, (9, states)))
        hmm = semihmm.HMM(*(x.to(dtype) for x in (initial, transition, emission)))
        best, expected = semihmm.topk(hmm, k), semihmm.topk(hmm, k, backend="torch")
        assert_close(best.score, expected.score)
        if dtype == torch.float64:
            assert torch.equal(best.event, expected.event)


@each_kind
def test_more_than_there_are_is_minus_infinity_and_not_valid(kind):
    structure = small(kind, (), 2, forbidden=0.2, seed=1)
    count = len(events_and_scores(structure)[0])
    best = semihmm.topk(structure, count + 3)
    assert best.valid.tolist() == [True] * count + [False] * 3
    assert (best.score[count:] == -math.inf).all()
    assert (best.event[count:] == -1).all()


@each_kind
def test_the_score_of_a_path_has_the_gradient_of_its_potentials(kind):
    structure = small(kind, (), 3, seed=3)
    leaves = {n: x.clone().requires_grad_() for n, x in structure.potentials.items()}
    best = semihmm.viterbi(structure.replace(**leaves))
    best.score.backward()
    along = sum((x.grad * x.detach()).sum() for x in leaves.values())  # a score is linear in what it adds up
    assert_close(along, best.score.detach())


@each_kind
def test_ties_are_settled_the_same_way_each_time(kind):
    structure = small(kind, (), 4)
    flat = repeated(structure.replace(**{n: torch.zeros_like(x) for n, x in structure.potentials.items()}), 3)
    first = semihmm.topk(flat, 4)
    for strategy in ("sequential", "associative", "chunked"):
        again = semihmm.topk(flat, 4, strategy=strategy)
        assert torch.equal(first.event, again.event)
        assert (first.event[:, :1] == first.event).all()  # equal sequences, equal paths


def test_ties_go_to_the_lowest_index():
    hmm = semihmm.HMM(torch.zeros(3), torch.zeros(3, 3), torch.zeros(4, 3))
    assert semihmm.viterbi(hmm).event.tolist() == [0, 0, 0, 0]
    assert semihmm.topk(hmm, 2).event.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]


@each_kind
def test_draws_fit_the_posterior(kind):
    structure = small(kind, (2,), 3, ragged=True, forbidden=0.1, seed=9)
    drawn = semihmm.sample(structure, (40, 50), torch.Generator().manual_seed(1))
    assert drawn.event.shape[:3] == (40, 50, 2)
    events = drawn.event.reshape(2000, 2, *drawn.event.shape[3:])
    for i, item in enumerate(structure.unbatch()):
        chance = {p.event: c for p, c in zip(oracle.paths(item), oracle.posterior(item), strict=True) if c}
        if not chance:
            assert not drawn.valid[..., i].any()
            continue
        seen = [oracle.plain_event(event) for event in events[:, i]]
        assert set(seen) <= set(chance)
        # A chi-square test that fails a right sampler once in 10^4 seeds; this one is fixed.
        assert fits([seen.count(event) for event in chance], list(chance.values())) > 1e-4


@pytest.mark.parametrize(
    "way", [{"strategy": s, "checkpoint": c} for s in ("sequential", "chunked") for c in (False, True)]
)
def test_draws_fit_the_posterior_in_every_way(way):
    structure = small("HSMM", (), 5, seed=2)
    drawn = semihmm.sample(structure, (4000,), torch.Generator().manual_seed(3), **way)
    seen = [oracle.plain_event(event) for event in drawn.event]
    listed = oracle.paths(structure)
    assert fits([seen.count(p.event) for p in listed], oracle.posterior(structure)) > 1e-4  # as above
    assert_close(drawn.score[:50], torch.stack([semihmm.score(structure, event) for event in drawn.event[:50]]))


def test_a_wrong_sampler_would_not_fit():
    assert fits([400, 600], [0.5, 0.5]) < 1e-6
    assert fits([500, 500], [0.5, 0.5]) > 0.5
    assert fits([7], [1.0]) == 1.0


@each_kind
def test_equal_rows_of_a_batch_get_draws_of_their_own(kind):
    drawn = semihmm.sample(repeated(small(kind, (), 4, seed=1), 2), (50,), torch.Generator().manual_seed(0))
    assert not torch.equal(drawn.event[:, 0], drawn.event[:, 1])


def test_draws_come_from_the_generator():
    hmm = small("HMM", (3,), 5)

    def draw(seed):
        return semihmm.sample(hmm, (20,), torch.Generator().manual_seed(seed)).event

    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
    assert semihmm.sample(hmm).event.shape == (3, 5)


@settings(max_examples=60)
@given(structure=structures(), way=options())
def test_log_prob_is_the_score_less_the_log_partition(structure, way):
    best = semihmm.viterbi(structure, **way)
    expected = torch.where(best.valid, best.score - oracle.log_partition(structure), math.nan)
    found = torch.where(best.valid, semihmm.log_prob(structure, best.event, **way), math.nan)
    assert_close(found, expected, equal_nan=True)
    assert (best.score[best.valid] == semihmm.score(structure, best.event)[best.valid]).all()


@each_kind
def test_probabilities_of_all_events_add_up_to_one(kind):
    structure = small(kind, (), 3, seed=4)
    shape = semihmm.viterbi(structure).event.shape
    events = []
    for path in oracle.paths(structure):
        event = torch.full(shape, -1)
        if path.event:
            event[: len(path.event)] = torch.tensor(path.event)
        events.append(event)
    total = semihmm.log_prob(structure, torch.stack(events)).exp().sum()
    assert_close(total, torch.tensor(1.0, dtype=torch.float64))


def test_what_cannot_be_asked_is_refused():
    hmm = small("HMM")
    with pytest.raises(SemihmmError, match="at least 1"):
        semihmm.topk(hmm, 0)
    with pytest.raises(SemihmmError, match="at least one draw"):
        semihmm.sample(hmm, (0,))
    with pytest.raises(SemiringError, match="no best or drawn one"):
        decode(hmm, Log())
