"""Tables of log-probabilities."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from semihmm.errors import ShapeError
from semihmm.models import Table


@given(st.lists(st.integers(0, 3), min_size=1, max_size=8), st.integers(0, 1000))
def test_each_group_sums_to_one(groups: list[int], seed: int) -> None:
    table = Table(torch.tensor(groups)).double()
    with torch.no_grad():
        table.logits.normal_(0, 300, generator=torch.Generator().manual_seed(seed))
    mass: dict[int, float] = {}
    for group, chance in zip(groups, table().exp().tolist(), strict=True):
        mass[group] = mass.get(group, 0.0) + chance
    assert list(mass.values()) == pytest.approx([1.0] * len(mass))


def test_rows_are_what_log_softmax_gives() -> None:
    table = Table.rows(3, 4).double()
    table.initialise()
    assert_close(table(), table.logits.log_softmax(-1))


def test_what_is_not_allowed_has_no_probability_and_no_gradient() -> None:
    table = Table(torch.tensor([[0, 0], [1, 1]]), torch.tensor([[True, False], [False, False]]))
    assert table().tolist() == [[0.0, -torch.inf], [-torch.inf, -torch.inf]]
    torch.autograd.backward(table()[0, 0])
    assert table.logits.grad is not None and table.logits.grad.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_a_probability_of_zero_has_no_nan_in_its_gradient() -> None:
    table = Table.rows(1, 3)
    table.update(torch.tensor([[1.0, 1.0, 0.0]]))
    torch.autograd.backward(table()[0, 0])
    assert table.logits.grad is not None and table.logits.grad.tolist() == [[0.5, -0.5, 0.0]]


def test_pseudo_counts_are_added_where_allowed() -> None:
    table = Table(torch.tensor([[0, 0, 0]]), torch.tensor([[True, True, False]]), pseudo_count=1.0)
    table.update(torch.tensor([[2.0, 0.0, 9.0]]))
    assert_close(table().exp(), torch.tensor([[0.75, 0.25, 0.0]]))
    assert_close(table.log_prior(), torch.tensor([0.75, 0.25]).log().sum())


def test_a_group_that_was_never_met_stays_as_it_is() -> None:
    table = Table.rows(2, 2)
    table.initialise()
    before = table()[1].clone()
    table.update(torch.tensor([[1.0, 3.0], [0.0, 0.0]]))
    assert_close(table().exp()[0], torch.tensor([0.25, 0.75]))
    assert_close(table()[1], before)


def test_bad_tables_are_refused() -> None:
    with pytest.raises(ShapeError, match="at least one"):
        Table(torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.bool))
    with pytest.raises(ShapeError, match="pseudo-count"):
        Table.rows(2, 2, pseudo_count=-1.0)
