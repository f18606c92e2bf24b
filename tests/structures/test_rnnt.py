"""RNNT: every frame for every label."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import semihmm
from semihmm import RNNT
from semihmm.errors import ShapeError
from semihmm.testing import check_structure
from semihmm.testing.paths import rnnt_paths


def eighths(*shape: int) -> Tensor:
    return torch.randint(-16, 17, shape).double() / 8


def test_every_answer_is_that_of_its_paths() -> None:
    rnnt = RNNT(eighths(3, 3, 4), eighths(3, 3, 3), torch.tensor([3, 2, 1]), torch.tensor([3, 1, 0]))
    check_structure(rnnt, paths=rnnt_paths)


def test_every_answer_is_that_of_its_paths_where_blanks_are_shared() -> None:
    check_structure(RNNT(eighths(3, 3), eighths(2, 3, 2), torch.tensor([3, 2])), paths=rnnt_paths, samples=200)


def forward(blank: np.ndarray, label: np.ndarray) -> float:
    """Graves (2012), equations 16 to 18."""
    frames, labels = label.shape
    alpha = np.full((frames, labels + 1), -np.inf)
    alpha[0, 0] = 0.0
    for t in range(frames):
        for u in range(labels + 1):
            if t:
                alpha[t, u] = np.logaddexp(alpha[t, u], alpha[t - 1, u] + blank[t - 1, u])
            if u:
                alpha[t, u] = np.logaddexp(alpha[t, u], alpha[t, u - 1] + label[t, u - 1])
    return float(alpha[-1, -1] + blank[-1, -1])


def test_the_log_partition_is_minus_the_transducer_loss() -> None:
    joiner = torch.randn(5, 9, 7, 6, dtype=torch.float64).log_softmax(-1)  # (B, T, U + 1, V)
    targets = torch.randint(1, 6, (5, 6))
    label = joiner[:, :, :-1].gather(-1, targets[:, None, :, None].expand(-1, 9, -1, 1)).squeeze(-1)
    frames, labels = torch.tensor([9, 9, 4, 1, 6]), torch.tensor([6, 0, 6, 3, 2])
    blank = joiner[..., 0]
    found = semihmm.log_partition(RNNT(blank, label, frames, labels))
    sizes = zip(blank.numpy(), label.numpy(), frames.tolist(), labels.tolist(), strict=True)
    expected = torch.tensor([forward(b[:t, : u + 1], x[:t, :u]) for b, x, t, u in sizes], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_a_wide_grid_in_float32_keeps_its_precision() -> None:
    blank, label = torch.randn(60, 41) - 2, torch.randn(60, 40) - 2
    found = semihmm.log_partition(RNNT(blank, label))
    expected = forward(blank.double().numpy(), label.double().numpy())
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_padding_does_not_count() -> None:
    blank, label = torch.randn(2, 5, 4), torch.randn(2, 5, 3)
    frames, labels = torch.tensor([3, 5]), torch.tensor([2, 3])
    alone = [RNNT(blank[0, :3, :3], label[0, :3, :2]), RNNT(blank[1], label[1])]
    for x, used in ((blank, 3), (label, 2)):
        x[0, 3:], x[0, :, used:] = math.nan, math.nan
        x.requires_grad_()
    rnnt = RNNT(blank, label, frames, labels)
    total = semihmm.log_partition(rnnt)
    torch.testing.assert_close(total, torch.stack([semihmm.log_partition(x) for x in alone]), check_stride=False)
    gradients = torch.autograd.grad(total.sum(), (blank, label))
    torch.testing.assert_close(gradients[0].sum((-1, -2)), frames.float())  # a blank per frame
    torch.testing.assert_close(gradients[1].sum((-1, -2)), labels.float())
    assert semihmm.viterbi(rnnt).event[0, 2] == -1


def test_there_are_as_many_paths_as_choices_with_repetition() -> None:
    assert int(semihmm.total(RNNT(torch.zeros(9, 8), torch.zeros(9, 7)), semihmm.semirings.Count())) == math.comb(15, 7)


def test_what_is_no_path_has_no_score() -> None:
    rnnt = RNNT(torch.zeros(3, 3), torch.zeros(3, 2))
    events = torch.tensor([[0, 2], [1, 1], [2, 1], [-1, 0], [0, 3]])
    assert rnnt.score(events).tolist() == [0.0, 0.0, -math.inf, -math.inf, -math.inf]


@pytest.mark.parametrize(
    ("blank", "label", "lengths", "message"),
    [
        (torch.zeros(3), torch.zeros(3), {}, "label must be"),
        (torch.zeros(3, 2), torch.zeros(3, 2), {}, r"so blank must be \(3, 3\); got"),
        (torch.zeros(3, 3), torch.zeros(3, 2), {"input_lengths": torch.tensor(0)}, "input_lengths must lie between 1"),
        (
            torch.zeros(3, 3),
            torch.zeros(3, 2),
            {"target_lengths": torch.tensor(3)},
            "target_lengths must lie between 0",
        ),
    ],
)
def test_an_error_says_what_is_wrong(blank: Tensor, label: Tensor, lengths: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        RNNT(blank, label, **lengths)
