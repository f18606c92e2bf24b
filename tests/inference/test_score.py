"""Scores of events that say -1: not known, not in use, or no event at all."""

import math

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm.distributions import StructureDistribution
from semihmm.errors import DataError
from semihmm.testing.examples import KINDS, small

each_kind = pytest.mark.parametrize("kind", KINDS)
STEPWISE = ("HMM", "FactorialHMM", "CTC", "Mono", "RNNT")  # kinds whose events have an item for each step


def ends(structure, event):
    """How many items of an event are in use."""
    items = event if event.ndim == 1 + len(structure.batch_shape) else event.amax(-1)
    return (items >= 0).sum(-1)


@each_kind
@pytest.mark.parametrize("ragged", [False, True])
def test_what_is_not_known_is_refused_before_the_end_and_nowhere_else(kind, ragged):
    refused = 0
    for seed in range(4):
        structure = small(kind, (2,), 4, ragged=ragged, seed=seed)
        best = semihmm.viterbi(structure)
        assert_close(semihmm.score(structure, best.event)[best.valid], best.score[best.valid])
        for i, end in enumerate(ends(structure, best.event).tolist()):
            for at in range(end):
                event = best.event.clone()
                event[i, at] = -1
                last = at == end - 1 and not kind.startswith(STEPWISE)  # then it ends earlier
                if end == 1 or last:
                    assert semihmm.score(structure, event)[i] == -math.inf
                    continue
                refused += 1
                for ask in (semihmm.score, semihmm.log_prob):
                    with pytest.raises(DataError, match=rf"event\[{i}, {at}\] .* is -1 before its end.*condition"):
                        ask(structure, event)
    assert refused


@each_kind
def test_what_is_no_event_at_all_has_no_weight(kind):
    structure = small(kind, (2,), 4, ragged=True, seed=1)
    nothing = torch.full_like(semihmm.viterbi(structure).event, -1)
    event = semihmm.topk(structure, 60)
    scores = semihmm.score(structure, event.event)
    assert (~event.valid).any()
    possible = semihmm.log_count(structure) > -math.inf
    if (ends(structure, semihmm.viterbi(structure).event) > 0).all():  # where the empty event is none
        assert (semihmm.log_prob(structure, nothing)[possible] == -math.inf).all()
        assert_close(scores, event.score)


@pytest.mark.parametrize("kind", [k for k in KINDS if k.startswith(("HMM", "Mono", "CTC"))])
def test_after_the_end_anything_may_stand(kind):
    structure = small(kind, (3,), 4, ragged=True, seed=2)
    best = semihmm.viterbi(structure).event
    after = torch.arange(4) >= structure.lengths.unsqueeze(-1)
    after = after.reshape(*after.shape, *(1,) * (best.ndim - 2)).expand_as(best)
    for value in (-1, 0, 7, -100):
        assert_close(semihmm.score(structure, torch.where(after, value, best)), semihmm.score(structure, best))


def test_segments_and_pairs_are_known_as_a_whole():
    hsmm = semihmm.HSMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 3), torch.zeros(4, 2))
    for event in ([[0, 0, 2], [-1, 2, 2]], [[-1, 0, 2], [0, 2, 2]], [[0, 0, 2], [-1, -1, -1], [1, 3, 1]]):
        with pytest.raises(DataError, match="before its end"):
            semihmm.score(hsmm, torch.tensor(event + [[-1, -1, -1]] * (4 - len(event))))
    dtw = semihmm.DTW(torch.zeros(2, 2), "symmetric1")
    with pytest.raises(DataError, match="before its end"):
        semihmm.score(dtw, torch.tensor([[0, 0], [-1, 1], [1, 1]]))
    edit = semihmm.EditDistance.between(torch.tensor([1, 2]), torch.tensor([1]))
    assert semihmm.score(edit, torch.tensor([[0, 0], [1, -1], [-1, -1]])) == -1.0


def test_condition_sums_over_what_is_not_known():
    hmm = small("HMM", (), 3)
    known = torch.tensor([[0, s, 1] for s in range(2)])
    mask = torch.tensor([[True, False], [True, True], [False, True]])
    found = semihmm.log_partition(semihmm.condition(hmm, mask)) - semihmm.log_partition(hmm)
    assert_close(found, semihmm.log_prob(hmm, known).logsumexp(0))


def test_transforms_and_compiled_programs_do_not_look():
    hmm = small("HMM", (), 3)
    events = torch.tensor([[0, 1, 1], [0, -1, 1]])
    found = torch.func.vmap(lambda event: semihmm.score(hmm, event))(events)
    assert found[0].isfinite() and found[1] == -math.inf
    compiled = torch.compile(lambda event: semihmm.score(hmm, event), fullgraph=True, backend="aot_eager")
    assert_close(compiled(events[0]), found[0])


def test_a_distribution_says_the_same():
    hmm = small("HMM", (), 3)
    with pytest.raises(DataError, match="condition"):
        StructureDistribution(hmm, validate_args=True).log_prob(torch.tensor([0, -1, 1]))
