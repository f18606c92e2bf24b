"""Decision trees for phones in context."""

import math

import pytest
import torch

from semihmm.speech.training.statistics import Example
from semihmm.speech.training.trees import ContextSums, grow, in_context, likelihood, questions

PHONES = ("AA", "B", "IY", "P", "SIL")
FLOOR = torch.full((2,), 1e-4, dtype=torch.float64)


def contexts(*rows):
    """Sums of contexts given as ``(before, phone, after, state, frames, mean)``, of variance 1 in both features."""
    index = torch.tensor([row[:4] for row in rows])
    count = torch.tensor([float(row[4]) for row in rows], dtype=torch.float64)
    mean = torch.tensor([[float(row[5]), 0.0] for row in rows], dtype=torch.float64)
    sums = torch.stack([count[:, None] * mean, count[:, None] * (mean.square() + 1)], 1)
    return ContextSums(index, count, sums)


def test_likelihood_is_that_of_the_frames_under_their_gaussian():
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 1
    sums = torch.stack([x.sum(0), x.square().sum(0)])
    normal = torch.distributions.Normal(x.mean(0), x.std(0, correction=0))
    common = -50 * 2 / 2 * (math.log(2 * math.pi) + 1)
    found = likelihood(torch.tensor(50.0).double(), sums, FLOOR)
    torch.testing.assert_close(found + common, normal.log_prob(x).sum())


def test_sums_are_those_of_the_frames_of_each_context():
    path = torch.tensor([4, 0, 0, 1, 1, 0, 4])  # SIL AA B AA SIL, of one state
    x = torch.arange(14.0).reshape(7, 2)
    found = ContextSums.of([path, None], [Example(x, ()), Example(x, ())], 1, 4)
    assert found.context.tolist() == [[0, 1, 0, 0], [0, 4, 4, 0], [1, 0, 4, 0], [4, 0, 1, 0], [4, 4, 0, 0]]
    assert found.count.tolist() == [2, 1, 1, 2, 1]
    torch.testing.assert_close(found.sums[0, 0], x[3:5].sum(0).double())
    torch.testing.assert_close(found.sums[3, 1], x[1:3].square().sum(0).double())


def test_phones_that_sound_alike_are_asked_for_together():
    means = enumerate((5, -5, 5.1, -5.1, 20))
    sums = contexts(*((4, phone, 4, 0, 100, mean) for phone, mean in means))
    sets = {tuple(row.nonzero()[:, 0].tolist()) for row in questions(sums, len(PHONES), FLOOR)}
    assert {(0,), (1,), (2,), (3,), (4,), (0, 2), (1, 3)} <= sets


def test_the_question_that_gains_most_is_asked_first():
    """The vowel's state depends on whether a labial precedes, and hardly on what follows."""
    rows = [(before, 0, after, 0, 100, 4 * (before in (1, 3)) + 0.1 * (after == 2))
            for before in (1, 2, 3) for after in (1, 2)]  # fmt: skip
    others = [(4, phone, 4, 0, 100, mean) for phone, mean in ((1, -5), (2, 5), (3, -5.1))]
    found, owner = grow(contexts(*rows, *others), PHONES, 1, 2)
    assert owner.tolist() == [0, 1, 2, 3, 4, 0, 0]
    table = found.table[0, :, 0, :, 0]
    assert (table[1] == table[3]).all() and (table[1] != table[2]).all()
    assert {*table.flatten().tolist()} == {5, 6}


def test_gain_is_its_definition():
    """Every split that is possible, tried one by one."""
    generator = torch.Generator().manual_seed(3)
    rows = [(b, 0, a, 0, 80, float(torch.randn((), generator=generator))) for b in range(4) for a in range(4)]
    sums = contexts(*rows)
    found, _ = grow(sums, PHONES, 1, 2)
    overall = sums.sums.sum(0) / sums.count.sum()
    floor = 0.01 * (overall[1] - overall[0].square())
    best = max(
        (float(likelihood(sums.count[inside].sum(), sums.sums[inside].sum(0), floor)
               + likelihood(sums.count[~inside].sum(), sums.sums[~inside].sum(0), floor)), side, number)
        for side in (0, 2)
        for number, question in enumerate(questions(sums, len(PHONES), floor))
        if 0 < (inside := question[sums.context[:, side]]).sum() < len(inside)
    )  # fmt: skip
    question = questions(sums, len(PHONES), floor)[best[2]]
    table = found.table[0, :4, 0, :4, 0]  # nobody heard a silence there
    expected = question[:4, None].expand(4, 4) if best[1] == 0 else question[:4].expand(4, 4)
    assert torch.equal(table == table[expected][0], expected)


@pytest.mark.parametrize("most", [0, 1, 2, 3, 5, 100])
def test_there_are_no_more_states_than_asked_for(most):
    rows = [(b, p, a, 0, 80, b - 2 * a + p) for b in range(4) for p in (0, 2) for a in range(4)]
    found, owner = grow(contexts(*rows), PHONES, 1, most)
    assert len(owner) - 5 <= most and found.columns <= len(owner)


def test_no_leaf_has_too_few_frames():
    rows = [(b, 0, a, 0, 30, b - 2 * a) for b in range(4) for a in range(4)]
    sums = contexts(*rows)
    found, owner = grow(sums, PHONES, 1, 100, least=100)
    column = found.table[0, sums.context[:, 0], 0, sums.context[:, 2], 0].long()
    assert len(owner) > 6
    assert (torch.zeros(len(owner)).double().index_add_(0, column, sums.count)[5:] >= 100).all()


def test_silence_has_no_context_and_neither_has_a_phone_that_was_not_heard():
    rows = [(b, p, a, 0, 80, b - 2 * a) for b in range(4) for p in (0, 4) for a in range(4)]
    found, _ = grow(contexts(*rows), PHONES, 1, 100)
    assert (found.table[:, :, 4] == 4).all() and (found.table[:, :, 1] == 1).all()


def test_a_path_in_context_takes_the_columns_of_the_table():
    found, _ = grow(contexts(*[(b, 0, a, 0, 80, 9 * b) for b in (1, 2) for a in (1, 2)]), PHONES, 1, 2)
    path = torch.tensor([4, 1, 0, 0, 2, 0, 4])
    own = in_context(path, found, 1, 4).tolist()
    assert own[:2] == [4, 1] and own[2] == own[3] != own[5] and own[2] >= 5 <= own[5]
