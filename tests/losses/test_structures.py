"""CRFLoss and RNNTLoss: of any structure, minus the log of the share of what is true."""

import math
from itertools import combinations_with_replacement

import pytest
import torch

import semihmm
from semihmm.errors import SemihmmError, ShapeError
from semihmm.losses import CRFLoss, RNNTLoss


def test_the_loss_of_an_event_and_of_labels_known_in_part() -> None:
    hmm = semihmm.HMM(torch.randn(2), torch.randn(2, 2), torch.randn(3, 4, 2))
    events = torch.randint(0, 2, (3, 4))
    expected = -semihmm.log_prob(hmm, events)
    for reduction, value in (("none", expected), ("sum", expected.sum()), ("mean", expected.mean())):
        torch.testing.assert_close(CRFLoss(reduction)(hmm, events), value)
    only = torch.nn.functional.one_hot(events, 2).bool()
    torch.testing.assert_close(CRFLoss("none")(hmm, semihmm.condition(hmm, only)), expected)


def test_what_is_forbidden_has_an_infinite_loss() -> None:
    hmm = semihmm.HMM(torch.tensor([0.0, -math.inf]), torch.zeros(2, 2), torch.zeros(1, 2, 2))
    nothing = semihmm.condition(hmm, torch.tensor([[[False, True], [True, True]]]))
    assert CRFLoss()(hmm, torch.tensor([[1, 0]])) == CRFLoss()(hmm, nothing) == math.inf


@pytest.mark.parametrize("blank", [-1, 0])
@pytest.mark.parametrize("fused", [True, False])
def test_the_transducer_loss_is_the_sum_over_the_frames_of_labels(blank: int, fused: bool) -> None:
    logits = torch.randn(2, 3, 3, 4, dtype=torch.float64)
    targets, frames, counts = torch.tensor([[1, 2], [2, 9]]), torch.tensor([3, 2]), torch.tensor([2, 1])
    log_probs = logits.log_softmax(-1) if fused else logits
    expected = []
    for x, y, t, u in zip(log_probs, targets.tolist(), frames.tolist(), counts.tolist(), strict=True):
        scores = []
        for when in combinations_with_replacement(range(t), u):
            labels = sum(x[frame, i, y[i]] for i, frame in enumerate(when))
            blanks = sum(x[frame, sum(w <= frame for w in when), blank] for frame in range(t))
            scores.append(labels + blanks)
        expected.append(-torch.stack(scores).logsumexp(0))
    found = RNNTLoss(blank, "none", fused)(logits, targets, frames, counts)
    torch.testing.assert_close(found, torch.stack(expected))


def test_errors_say_what_is_wrong() -> None:
    with pytest.raises(ShapeError, match=r"logits must be \(B, T, U \+ 1, V\)"):
        RNNTLoss()(torch.zeros(1, 3, 2, 4), torch.tensor([[1, 2]]))
    with pytest.raises(SemihmmError, match="reduction must be"):
        CRFLoss("average")
    with pytest.raises(SemihmmError, match="reduction must be"):
        RNNTLoss(reduction="average")
