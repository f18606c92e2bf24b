"""Monotonic alignment: every way to cut frames into one run for each token."""

import math

import pytest
import torch
from torch import Tensor

import semihmm
from semihmm import MonotonicAlignment
from semihmm.errors import ShapeError
from semihmm.testing import check_structure
from semihmm.testing.paths import monotonic_paths


def test_every_answer_is_that_of_its_paths() -> None:
    emission = torch.randint(-16, 17, (3, 5, 3)).double() / 8
    alignment = MonotonicAlignment(emission, torch.tensor([5, 4, 2]), torch.tensor([3, 1, 3]))  # the last is impossible
    check_structure(alignment, paths=monotonic_paths)


def test_there_are_as_many_alignments_as_ways_to_cut() -> None:
    count = semihmm.total(MonotonicAlignment(torch.zeros(20, 8)), semihmm.semirings.Count())
    assert int(count) == math.comb(19, 7)


def search(value: list[list[float]]) -> list[int]:
    """Monotonic alignment search, as Kim et al. (2020, algorithm 1) have it."""
    frames, tokens = len(value), len(value[0])
    best = [[-math.inf] * tokens for _ in range(frames)]
    best[0][0] = value[0][0]
    for t in range(1, frames):
        for u in range(tokens):
            best[t][u] = value[t][u] + max(best[t - 1][u], best[t - 1][u - 1] if u else -math.inf)
    path = [tokens - 1]
    for t in range(frames - 1, 0, -1):
        u = path[-1]
        path.append(u - 1 if u and best[t - 1][u - 1] > best[t - 1][u] else u)
    return path[::-1]


def test_the_best_alignment_is_that_of_the_published_search() -> None:
    emission = torch.randn(4, 60, 23, dtype=torch.float64)
    frames, tokens = torch.tensor([60, 60, 41, 23]), torch.tensor([23, 9, 23, 23])
    found = semihmm.viterbi(MonotonicAlignment(emission, frames, tokens)).event
    for event, x, t, u in zip(found, emission, frames.tolist(), tokens.tolist(), strict=True):
        assert event[:t].tolist() == search(x[:t, :u].tolist())
        assert bool((event[t:] == -1).all())


def test_padding_does_not_count() -> None:
    clean = torch.randn(2, 6, 4)
    frames, tokens = torch.tensor([5, 6]), torch.tensor([3, 4])
    padded = clean.clone()
    padded[0, 5:], padded[0, :, 3:] = math.nan, math.nan
    padded.requires_grad_()
    total = semihmm.log_partition(MonotonicAlignment(padded, frames, tokens))
    alone = torch.stack(
        [
            semihmm.log_partition(MonotonicAlignment(clean[0, :5, :3])),
            semihmm.log_partition(MonotonicAlignment(clean[1])),
        ]
    )
    torch.testing.assert_close(total, alone)
    (gradient,) = torch.autograd.grad(total.sum(), padded)
    assert gradient.isfinite().all()
    torch.testing.assert_close(gradient.sum((-1, -2)), frames.float())


def test_what_is_no_alignment_has_no_score() -> None:
    alignment = MonotonicAlignment(torch.zeros(2, 4, 3), torch.tensor([4, 3]), torch.tensor([3, 2]))
    good = torch.tensor([[0, 0, 1, 2], [0, 1, 1, -1]])
    assert semihmm.score(alignment, good).tolist() == [0.0, 0.0]
    bad = torch.tensor([[[0, 0, 1, 1], [0, 1, 2, -1]], [[0, 2, 2, 2], [1, 1, 1, -1]], [[0, 1, 0, 2], [0, 0, 0, -1]]])
    assert semihmm.score(alignment, bad).tolist() == [[-math.inf] * 2] * 3


@pytest.mark.parametrize(
    ("emission", "lengths", "message"),
    [
        (torch.zeros(3), {}, "emission must be"),
        (torch.zeros(0, 3), {}, "at least one frame"),
        (torch.zeros(2, 3), {"input_lengths": torch.tensor(0)}, "input_lengths must lie between 1 and 2"),
        (torch.zeros(2, 3), {"target_lengths": torch.tensor([3])}, "target_lengths must be integers"),
    ],
)
def test_an_error_says_what_is_wrong(emission: Tensor, lengths: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        MonotonicAlignment(emission, **lengths)


def test_one_frame_is_the_one_token() -> None:
    emission = torch.randn(2, 1, 1, dtype=torch.float64, requires_grad=True)
    value = semihmm.log_partition(MonotonicAlignment(emission))
    torch.testing.assert_close(value, emission.flatten())
    assert torch.equal(torch.autograd.grad(value.sum(), emission)[0], torch.ones_like(emission))
