"""Edit distance: every string of deletions, insertions and substitutions."""

import math

import pytest
import torch
from torch import Tensor

import semihmm
from semihmm import EditDistance
from semihmm.errors import ShapeError
from semihmm.testing import check_structure
from semihmm.testing.paths import edit_paths


def eighths(*shape: int) -> Tensor:
    return torch.randint(-16, 17, shape).double() / 8


def test_every_answer_is_that_of_its_paths() -> None:
    lengths = torch.tensor([2, 1, 0]), torch.tensor([3, 2, 0])
    check_structure(EditDistance(eighths(3, 2, 3), eighths(3, 2), eighths(3), *lengths), paths=edit_paths)


def levenshtein(a: list[int], b: list[int]) -> int:
    """Wagner & Fischer (1974), one row at a time."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return row[-1]


def test_the_best_score_is_minus_the_levenshtein_distance() -> None:
    source, target = torch.randint(0, 4, (8, 30)), torch.randint(0, 4, (8, 26))
    n, m = torch.tensor([30, 30, 12, 1, 0, 0, 17, 25]), torch.tensor([26, 3, 26, 1, 5, 0, 17, 0])
    best = semihmm.viterbi(EditDistance.between(source, target, n, m))
    sizes = zip(source.tolist(), target.tolist(), n.tolist(), m.tolist(), strict=True)
    assert (-best.score).tolist() == [levenshtein(a[:i], b[:j]) for a, b, i, j in sizes]
    assert best.valid.all()


def test_the_operations_turn_one_sequence_into_the_other() -> None:
    source, target = torch.tensor([*b"kitten"]), torch.tensor([*b"sitting"])
    best = semihmm.viterbi(EditDistance.between(source, target))
    operations = [(i, j) for i, j in best.event.tolist() if (i, j) != (-1, -1)]
    assert [i for i, _ in operations if i >= 0] == list(range(6))
    assert [j for _, j in operations if j >= 0] == list(range(7))
    assert sum(i < 0 or j < 0 or source[i] != target[j] for i, j in operations) == 3


def test_there_are_as_many_alignments_as_delannoy_counted() -> None:
    delannoy = sum(math.comb(5, k) * math.comb(4, k) * 2**k for k in range(5))
    costs = EditDistance(torch.zeros(5, 4), torch.zeros(5), torch.zeros(4))
    assert int(semihmm.total(costs, semihmm.semirings.Count())) == delannoy


def test_empty_sequences_have_one_way() -> None:
    for n, m in ((0, 0), (0, 3), (3, 0)):
        edit = EditDistance(torch.zeros(n, m), torch.full((n,), 2.0), torch.full((m,), 0.5))
        assert float(semihmm.log_partition(edit)) == -(2.0 * n + 0.5 * m)
        best = semihmm.viterbi(edit)
        assert best.valid and best.event.shape == (n + m, 2)


def test_padding_does_not_count() -> None:
    substitution, deletion, insertion = torch.randn(2, 4, 3), torch.randn(2, 4), torch.randn(2, 3)
    alone = EditDistance(substitution[0, :2, :1], deletion[0, :2], insertion[0, :1])
    substitution[0, 2:], substitution[0, :, 1:], deletion[0, 2:], insertion[0, 1:] = (math.nan,) * 4
    leaves = [x.clone().requires_grad_() for x in (substitution, deletion, insertion)]
    edit = EditDistance(leaves[0], leaves[1], leaves[2], torch.tensor([2, 4]), torch.tensor([1, 3]))
    total = semihmm.log_partition(edit)
    torch.testing.assert_close(total[0], semihmm.log_partition(alone))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(total.sum(), leaves))


def test_marginals_are_positive_counts() -> None:
    found = semihmm.marginals(EditDistance(torch.rand(3, 3), torch.rand(3), torch.rand(3)))
    assert bool((found.substitution > 0).all())
    torch.testing.assert_close(found.substitution.sum(-1) + found.deletion, torch.ones(3))
    torch.testing.assert_close(found.substitution.sum(-2) + found.insertion, torch.ones(3))


def test_what_is_no_alignment_has_no_score() -> None:
    edit = EditDistance(torch.ones(1, 2), torch.ones(1), torch.ones(2))
    events = [
        [[0, 0], [-1, 1], [-1, -1]],
        [[-1, 0], [-1, 1], [0, -1]],
        [[0, 1], [-1, 0], [-1, -1]],  # out of order
        [[0, 0], [-1, -1], [-1, 1]],  # a gap
        [[0, 0], [-1, -1], [-1, -1]],  # something left over
        [[0, 0], [0, 1], [-1, -1]],  # an item twice
    ]
    assert edit.score(torch.tensor(events)).tolist() == [-2.0, -3.0] + [-math.inf] * 4


@pytest.mark.parametrize(
    ("shapes", "lengths", "message"),
    [
        (((3,), (3,), (3,)), {}, "substitution must be"),
        (((2, 3), (3,), (3,)), {}, "deletion must be"),
        (((2, 3), (2,), (2, 3)), {}, "insertion must be"),
        (((2, 3), (2,), (3,)), {"source_lengths": torch.tensor(3)}, "source_lengths must lie between 0 and 2"),
        (((2, 3), (2,), (3,)), {"target_lengths": torch.tensor(0.5)}, "target_lengths must be integers"),
    ],
)
def test_an_error_says_what_is_wrong(
    shapes: tuple[tuple[int, ...], ...], lengths: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        EditDistance(*(torch.zeros(shape) for shape in shapes), **lengths)
