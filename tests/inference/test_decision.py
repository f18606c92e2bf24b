"""tests/inference/test_decision.py: k best that differ, and decisions of least loss, against all paths listed."""

import math

import pytest
import torch

import semihmm
from semihmm.errors import SemihmmError, ShapeError, StructureError
from semihmm.testing import oracle
from semihmm.testing.examples import small

KINDS = ["HMM", "HMM banded", "HMM tied", "HSMM", "CTC", "MonotonicAlignment"]


def short(event):
    """As the enumeration has it: nothing after the end."""
    over = lambda x: x == -1 if isinstance(x, int) else all(y == -1 for y in x)  # noqa: E731
    while event and over(event[-1]):
        event = event[:-1]
    return event


def listed(item, label):
    """The best path of each label, best first: (label, score)."""
    best = {}
    for path in oracle.paths(item):
        if path.score > -math.inf:
            name = str(label(path.event))
            best[name] = max(best.get(name, -math.inf), path.score)
    return sorted(best.items(), key=lambda x: -x[1])


@pytest.mark.parametrize("batch", [(), (3,)])
@pytest.mark.parametrize("k", [1, 3, 50])
def test_the_k_best_with_distinct_labels_are_those_of_all_paths(batch, k):
    hmm, labels = small("HMM", batch, 4, ragged=True, seed=2), torch.tensor([7, 7, 8][: small("HMM").states])
    found = semihmm.topk(hmm, k, distinct=labels)
    for i, item in enumerate(hmm.unbatch()):
        at = (slice(None), i) if batch else slice(None)
        expected = listed(item, lambda event: tuple(int(labels[s]) for s in event))[:k]
        assert found.valid[at].sum() == len(expected)
        for (name, score), event, got in zip(expected, found.event[at], found.score[at], strict=False):
            assert str(tuple(int(labels[s]) for s in short(event.tolist()))) == name
            assert math.isclose(score, float(got), abs_tol=1e-9)
        assert (found.event[at][len(expected) :] == -1).all() and (found.score[at][len(expected) :] == -math.inf).all()


@pytest.mark.parametrize("kind", KINDS)
def test_labels_may_be_any_function_of_events(kind):
    structure = small(kind, (2,), 4, ragged=True, seed=1)
    found = semihmm.topk(structure, 2, distinct=lambda event: event.flatten(2)[..., :1])
    for i, item in enumerate(structure.unbatch()):
        expected = listed(item, lambda event: torch.tensor(event).flatten()[:1].tolist())[:2]
        assert found.score[:, i][found.valid[:, i]].tolist() == pytest.approx([score for _, score in expected])


def test_no_more_paths_are_looked_through_than_said():
    hmm = semihmm.HMM(
        torch.zeros(2), torch.zeros(2, 2), torch.tensor([[0.0, -100.0], [0.0, -0.1], [0.0, -0.2], [0.0, -0.3]])
    )
    first = lambda event: event[..., :1]  # noqa: E731
    assert semihmm.topk(hmm, 2, distinct=first, most=8).valid.tolist() == [True, False]
    assert semihmm.topk(hmm, 2, distinct=first, most=9).valid.tolist() == [True, True]
    with pytest.raises(SemihmmError, match="distinct must give labels"):
        semihmm.topk(hmm, 2, distinct=lambda event: event[0])
    for wrong in ([1], [0, 1, 1, 0], [0.2, 0.7], [[0, 1], [1, 0]]):  # a label for each step is none for each state
        with pytest.raises(SemihmmError, match="distinct must be a function of events, or a label for each state"):
            semihmm.topk(hmm, 2, distinct=wrong)
    assert semihmm.topk(hmm, 2, distinct=[3, 4]).valid.all()


def filled(event, like):
    """An event with -1 up to the shape of another one."""
    whole = torch.full_like(like, -1)
    whole[: len(event)] = torch.tensor(event, dtype=like.dtype).reshape(len(event), *like.shape[1:])
    return whole


def risk(item, answer, loss):
    chances = oracle.posterior(item)
    return sum(c * loss(answer, p.event) for c, p in zip(chances, oracle.paths(item), strict=True) if c)


def test_states_of_least_hamming_loss():
    for seed in range(5):
        hmm = small("HMM", (), 4, ragged=True, seed=seed)
        wrong = lambda a, b: sum(x != y for x, y in zip(a, b, strict=True))  # noqa: E731
        found = risk(hmm, short(semihmm.minimum_bayes_risk(hmm).tolist()), wrong)
        events = (
            torch.cartesian_prod(*[torch.arange(hmm.states)] * int(hmm.lengths)).reshape(-1, int(hmm.lengths)).tolist()
        )
        assert found <= min(risk(hmm, e, wrong) for e in events) + 1e-9


def test_a_state_of_several_parts_is_one_state():
    pair = small("FactorialHMM", (2,), 3, ragged=True)
    found, joint = semihmm.minimum_bayes_risk(pair), semihmm.smoothing(pair).flatten(2)
    inside = torch.arange(pair.emission.shape[1]) < pair.lengths.unsqueeze(-1)
    assert torch.equal(found, torch.where(inside, joint.argmax(-1), -1))
    assert found.shape == semihmm.viterbi(pair).states.shape


def test_segments_of_least_loss():
    for seed in range(5):
        hsmm = small("HSMM", (), 4, seed=seed)
        wrong = lambda a, b: -len({tuple(x) for x in a if x[0] >= 0} & {tuple(x) for x in b if x[0] >= 0})  # noqa: E731
        found = risk(hsmm, semihmm.minimum_bayes_risk(hsmm, "segment").tolist(), wrong)
        assert found <= min(risk(hsmm, p.event, wrong) for p in oracle.paths(hsmm)) + 1e-9


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("kind", [*KINDS, "DTW", "RNNT"])
def test_any_loss_over_all_paths(kind, batch):
    structure = small(kind, batch, 3, seed=4)

    def loss(a, b):
        return (a - b).reshape(*a.shape[: 1 + len(batch)], -1).square().sum(-1).double()

    found = semihmm.minimum_bayes_risk(structure, loss, k=400)
    for i, item in enumerate(structure.unbatch()):
        mine = found[i] if batch else found
        whole = semihmm.topk(item, 400)
        possible = whole.event[whole.valid]

        def flat(a, b):
            return float((a - filled(b, a)).square().sum())

        assert risk(item, mine, flat) <= min(risk(item, e, flat) for e in possible) + 1e-6


def test_losses_that_say_nothing_are_named():
    dtw = semihmm.DTW(torch.rand(2, 2))
    with pytest.raises(StructureError, match="DTW has no state at each step"):
        semihmm.minimum_bayes_risk(dtw)
    with pytest.raises(StructureError, match="HMM has no segments"):
        semihmm.minimum_bayes_risk(small("HMM"), "segment")
    hsmm = semihmm.HSMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 2), torch.zeros(3, 2), censored="right")
    with pytest.raises(StructureError, match="HSMM has segments that are longer than is seen"):
        semihmm.minimum_bayes_risk(hsmm, "segment")
    for batch, mean in (((), torch.mean), ((2,), lambda x: x.mean(-1).mean(-1))):  # over more than an event's axes
        with pytest.raises(ShapeError, match="Sum over an event's own axes alone"):
            semihmm.minimum_bayes_risk(small("HMM", batch), lambda a, b, mean=mean: mean((a != b).double()))
    with pytest.raises(SemihmmError, match="'hamming', 'segment' or a function"):
        semihmm.minimum_bayes_risk(dtw, "other")
