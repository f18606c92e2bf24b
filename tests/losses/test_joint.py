"""CTCHMMLoss: the share of the targets' state sequences in the weight of all, beside the CTC loss."""

from itertools import groupby, product
from typing import Any

import pytest
import torch
from torch import Tensor

import semihmm
from semihmm.errors import SemihmmError, ShapeError
from semihmm.losses import CTCHMMLoss, CTCLoss

FRAMES, TOKENS = 5, 3


def learnt(weight: float, **options: Any) -> CTCHMMLoss:
    torch.manual_seed(0)
    loss = CTCHMMLoss(TOKENS, weight, batch_first=True, **options).double()
    with torch.no_grad():
        loss.initial.copy_(torch.randn(TOKENS))
        loss.transition.copy_(torch.randn(TOKENS, TOKENS))
    return loss


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    log_probs = torch.randn(3, FRAMES, TOKENS, dtype=torch.float64).log_softmax(-1)
    return log_probs, torch.tensor([[1, 1], [2, 1], [1, 0]]), torch.tensor([5, 4, 3]), torch.tensor([2, 2, 1])


def enumerated(loss: CTCHMMLoss, emission: Tensor, targets: list[int]) -> Tensor:
    """By every state sequence there is."""
    right, every = [], []
    for path in product(range(TOKENS), repeat=len(emission)):
        at = list(path)
        score = loss.initial[at[0]] + loss.transition[at[:-1], at[1:]].sum() + emission[range(len(at)), at].sum()
        every.append(score)
        if [token for token, _ in groupby(path) if token] == targets:
            right.append(score)
    return torch.stack(every).logsumexp(0) - torch.stack(right).logsumexp(0)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_it_mixes_the_ctc_loss_with_that_of_every_state_sequence(weight: float) -> None:
    loss = learnt(weight, reduction="none")
    log_probs, targets, frames, counts = batch()
    ctc = CTCLoss(reduction="none", batch_first=True)(log_probs, targets, frames, counts)
    hmm = [
        enumerated(loss, x[:t], y[:u].tolist()) for x, y, t, u in zip(log_probs, targets, frames, counts, strict=True)
    ]
    torch.testing.assert_close(loss(log_probs, targets, frames, counts), (1 - weight) * ctc + weight * torch.stack(hmm))


def test_its_gradients_are_exact_in_scores_and_in_what_is_learnt() -> None:
    log_probs, targets, frames, counts = batch()
    loss = learnt(0.4)
    names = ("initial", "transition")

    def of(x: Tensor, *parameters: Tensor) -> Tensor:
        given = dict(zip(names, parameters, strict=True))
        found: Tensor = torch.func.functional_call(loss, given, (x, targets, frames, counts))
        return found

    given = tuple(getattr(loss, n).detach().clone().requires_grad_() for n in names)
    assert torch.autograd.gradcheck(of, (log_probs.requires_grad_(), *given))
    assert torch.autograd.gradgradcheck(of, (log_probs, *given))


def test_where_nothing_is_learnt_it_is_the_ctc_loss() -> None:
    log_probs, targets, frames, counts = batch()
    by_time = log_probs.transpose(0, 1)
    expected = CTCLoss()(by_time, targets, frames, counts)
    torch.testing.assert_close(CTCHMMLoss(TOKENS, 0.7).double()(by_time, targets, frames, counts), expected)


def test_one_sequence_needs_no_batch() -> None:
    loss, (log_probs, targets, *_) = learnt(0.5, reduction="none"), batch()
    torch.testing.assert_close(loss(log_probs[0], targets[0]), loss(log_probs[:1], targets[:1])[0])


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_targets_that_do_not_fit_are_flagged_and_have_no_gradient(zero_infinity: bool) -> None:
    log_probs = torch.randn(2, 2, TOKENS, dtype=torch.float64, requires_grad=True)
    loss = learnt(0.5, reduction="none", zero_infinity=zero_infinity)
    found = loss(log_probs, torch.tensor([[1, 1], [1, 2]]))
    assert found[0] == (0 if zero_infinity else torch.inf) and found[1].isfinite()
    (gradient,) = torch.autograd.grad(found.sum(), log_probs)
    assert not gradient[0].any() and gradient[1].isfinite().all()


@pytest.mark.parametrize("batch_first", [False, True])
def test_its_hmm_is_over_all_texts(batch_first: bool) -> None:
    loss = CTCHMMLoss(TOKENS, batch_first=batch_first)
    log_probs = torch.randn(2, 4, TOKENS)
    hmm = loss.hmm(log_probs if batch_first else log_probs.transpose(0, 1), torch.tensor([4, 2]))
    assert torch.equal(hmm.emission, log_probs) and semihmm.viterbi(hmm).event[1].tolist()[2:] == [-1, -1]


def test_an_error_says_what_is_wrong() -> None:
    with pytest.raises(SemihmmError, match="from 0 to 1, got 2"):
        CTCHMMLoss(3, weight=2)
    with pytest.raises(ShapeError, match="it holds 3 tokens"):
        CTCHMMLoss(3)(torch.zeros(4, 1, 5), torch.tensor([[1]]))
