"""CTC: every string of tokens and blanks that collapses to the targets."""

import math
from itertools import groupby
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import ctc_loss

import semihmm
from semihmm import CTC
from semihmm.errors import ShapeError, StructureError
from semihmm.testing import check_structure
from semihmm.testing.paths import ctc_paths


def eighths(*shape: int) -> Tensor:
    return torch.randint(-16, 17, shape).double() / 8


def test_every_answer_is_that_of_its_paths() -> None:
    targets, input_lengths = torch.tensor([[1, 1], [2, 1], [1, 2]]), torch.tensor([4, 3, 0])
    ctc = CTC(eighths(3, 4, 3), targets, input_lengths, torch.tensor([2, 1, 0]))
    check_structure(ctc, paths=ctc_paths)


def test_every_answer_is_that_of_its_paths_where_targets_are_optional() -> None:
    targets = torch.tensor([[3, 1, 3, 2], [1, 3, 1, 2], [3, 1, 2, 3]])
    optional = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 1]]).bool()
    ctc = CTC(eighths(3, 5, 4), targets, torch.tensor([5, 5, 4]), None, 0, optional)
    check_structure(ctc, paths=ctc_paths, samples=500)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(6))
def test_minus_log_partition_is_the_ctc_loss_of_pytorch(seed: int, dtype: torch.dtype) -> None:
    torch.manual_seed(seed)
    batch, frames, tokens, labels, blank = 12, 14, 4, 6, seed % 4
    logits = torch.randn(batch, frames, tokens, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, tokens - 1, (batch, labels))
    targets = targets + (targets >= blank)  # few tokens: many repeats
    input_lengths, target_lengths = torch.randint(1, frames + 1, (batch,)), torch.randint(0, labels + 1, (batch,))
    ours = -semihmm.log_partition(CTC(logits.log_softmax(-1), targets, input_lengths, target_lengths, blank))
    by_time = logits.log_softmax(-1).transpose(0, 1)
    theirs = ctc_loss(by_time, targets, input_lengths, target_lengths, blank, reduction="none")
    assert theirs.isinf().any() and theirs.isfinite().any()
    torch.testing.assert_close(ours, theirs)
    weight = torch.rand(batch, dtype=dtype)
    finite = ctc_loss(by_time, targets, input_lengths, target_lengths, blank, reduction="none", zero_infinity=True)
    (expected,) = torch.autograd.grad((weight * finite).sum(), logits)
    (gradient,) = torch.autograd.grad((weight * torch.where(theirs.isinf(), 0.0, ours)).sum(), logits)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5 if dtype == torch.float32 else 1e-10)


def test_too_few_frames_are_impossible_and_have_no_gradient() -> None:
    emission = torch.randn(3, 3, requires_grad=True)
    ctc = CTC(emission, torch.tensor([1, 1, 2]))  # three tokens and a blank between the equal ones
    total = semihmm.log_partition(ctc)
    assert total == -math.inf
    assert torch.equal(torch.autograd.grad(total, emission)[0], torch.zeros(3, 3))
    best = semihmm.viterbi(ctc)
    assert not best.valid and bool((best.event == -1).all())


def test_the_best_path_collapses_to_the_targets() -> None:
    targets = torch.tensor([[2, 2, 1, 3], [1, 3, 3, 1]])
    best = semihmm.viterbi(CTC(torch.randn(2, 12, 4), targets))
    for event, wanted in zip(best.event.tolist(), targets.tolist(), strict=True):
        assert [token for token, _ in groupby(t for t, _ in event) if token] == wanted
        assert [place for place, _ in groupby(p for _, p in event) if place >= 0] == [0, 1, 2, 3]


def test_an_optional_target_is_there_or_not() -> None:
    emission = torch.randn(9, 5, dtype=torch.float64)
    optional = CTC(emission, torch.tensor([1, 4, 2]), optional=torch.tensor([False, True, False]))
    either = [semihmm.log_partition(CTC(emission, torch.tensor(t))) for t in ([1, 4, 2], [1, 2])]
    torch.testing.assert_close(semihmm.log_partition(optional), torch.logaddexp(*either))


def test_a_wildcard_is_a_column_of_its_own() -> None:
    emission = torch.randn(8, 4, dtype=torch.float64).log_softmax(-1)
    wild = torch.cat([emission, emission[:, 1:].logsumexp(-1, keepdim=True)], -1)
    any_token = semihmm.log_partition(CTC(wild, torch.tensor([1, 4, 2])))
    each = [semihmm.log_partition(CTC(emission, torch.tensor([1, token, 2]))) for token in (1, 2, 3)]
    assert all(any_token > one for one in each)


def test_padding_does_not_count() -> None:
    emission, targets = torch.randn(2, 6, 4, dtype=torch.float64), torch.tensor([[1, 2, -7], [3, 3, 99]])
    emission[0, 4:], emission[1, 5:] = math.nan, math.nan
    emission.requires_grad_()
    ctc = CTC(emission, targets, torch.tensor([4, 5]), torch.tensor([2, 2]))
    alone = [CTC(emission[0, :4], targets[0, :2]), CTC(emission[1, :5], targets[1, :2])]
    total = semihmm.log_partition(ctc)
    torch.testing.assert_close(total, torch.stack([semihmm.log_partition(x) for x in alone]))
    (gradient,) = torch.autograd.grad(total.sum(), emission)
    assert gradient.isfinite().all() and not gradient[0, 4:].any() and not gradient[1, 5:].any()
    best = semihmm.viterbi(ctc)
    assert torch.equal(best.event[0, :4], semihmm.viterbi(alone[0]).event)
    assert bool((best.event[0, 4:] == -1).all())


def test_what_is_no_alignment_has_no_score() -> None:
    ctc = CTC(torch.zeros(3, 3), torch.tensor([1, 2]))
    one, blank, two = [1, 0], [0, -1], [2, 1]
    good = [[one, blank, two], [blank, one, two], [one, two, blank], [one, one, two], [one, two, two]]
    bad = [[two, one, blank], [one, one, one], [one, blank, one], [blank] * 3, [[2, 0], blank, two], [one, two, [2, 5]]]
    assert semihmm.score(ctc, torch.tensor(good)).tolist() == [0.0] * 5
    assert semihmm.score(ctc, torch.tensor(bad)).tolist() == [-math.inf] * 6


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"emission": torch.zeros(3)}, ShapeError, "emission must be"),
        ({"targets": torch.zeros(2, 2).long()}, ShapeError, "targets must be integers"),
        ({"targets": torch.zeros(2)}, ShapeError, "targets must be integers"),
        ({"optional": torch.zeros(2)}, ShapeError, "optional must be bool"),
        ({"input_lengths": torch.tensor(9)}, ShapeError, "input_lengths must lie between 0 and 4"),
        ({"target_lengths": torch.tensor(3)}, ShapeError, "target_lengths must lie between 0 and 2"),
        ({"targets": torch.tensor([1, 0])}, StructureError, "no target the blank"),
        ({"targets": torch.tensor([1, 3])}, StructureError, "a target of 3"),
        ({"blank": 3}, StructureError, "blank=3"),
        ({"optional": torch.tensor([True, True])}, StructureError, "side by side"),
    ],
)
def test_an_error_says_what_is_wrong(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CTC(**{"emission": torch.zeros(4, 3), "targets": torch.tensor([1, 2]), **given})
