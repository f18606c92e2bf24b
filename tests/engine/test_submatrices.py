"""Parts of matrices, other ones at each place: as indexing them one by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from semihmm.engine import tensors
from semihmm.engine.submatrices import gathered, submatrices

SIZES = st.sampled_from([0, 1, 2, 5])


def drawn(size: tuple[int, ...], most: int) -> Tensor:
    return torch.randint(most, size)


@given(st.sampled_from([(), (1,), (3,), (2, 3)]), SIZES, st.booleans(), st.booleans(), st.sampled_from([True, False]))
def test_it_is_each_row_at_each_column(batch: tuple[int, ...], time: int, own: bool, varying: bool, all_: bool) -> None:
    x = torch.randn(*(batch if own else (1,) * len(batch)), time if varying else 1, 4, 3)
    rows, columns = (drawn((*(batch if all_ else ()), time, n), size) for n, size in ((2, 4), (5, 3)))
    found = submatrices(x, rows, columns)
    shape = torch.broadcast_shapes(x.shape[:-2], rows.shape[:-1])
    whole = x.expand(*shape, 4, 3)
    by_row = whole.gather(-2, rows.expand(*shape, -1).unsqueeze(-1).expand(*shape, 2, 3))
    assert_close(found, by_row.gather(-1, columns.expand(*shape, -1).unsqueeze(-2).expand(*shape, 2, 5)))


@pytest.mark.parametrize("size", [(1, 1, 4, 3), (3, 1, 4, 3), (3, 5, 4, 3), (1, 5, 4, 3)], ids=str)
@pytest.mark.parametrize("native", [True, False])
def test_its_derivatives_are_those_of_indexing(
    size: tuple[int, ...], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setattr(tensors, "MODULE", None)
    rows, columns = drawn((3, 5, 2), 4), drawn((3, 5, 6), 3)
    x = torch.randn(size, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: submatrices(x, rows, columns), x, check_batched_grad=True, check_forward_ad=True
    )
    assert torch.autograd.gradgradcheck(lambda x: submatrices(x, rows, columns).square(), x)


def test_what_is_expanded_is_read_where_it_lies_and_has_a_gradient_of_its_own() -> None:
    x = torch.randn(1, 1, 4, 4).expand(3, 1, 4, 4)
    leaf = x.detach().requires_grad_()
    at = drawn((3, 5, 2), 4)
    submatrices(leaf, at, at).sum().backward()
    assert leaf.grad is not None and leaf.grad.shape == x.shape
    assert leaf.grad.sum((-3, -2, -1)).tolist() == [20.0] * 3


def test_threads_change_nothing() -> None:
    x, at = torch.randn(8, 1, 300, 300, requires_grad=True), drawn((8, 40, 40), 300)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            out = submatrices(x, at, at)
            found.append((out, *torch.autograd.grad(out.square().sum(), x)))
        finally:
            torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_numbers_are_counted_through_the_axes_that_they_are_of() -> None:
    x = torch.arange(24.0).reshape(2, 1, 3, 4)
    index = drawn((2, 5, 2, 2), 12)
    assert_close(gathered(x, 2, index), index + torch.tensor([0.0, 12.0]).reshape(2, 1, 1, 1))


@pytest.mark.parametrize("batch", [(2, 3), (0, 3), (3, 0)])
@pytest.mark.parametrize("expanded", [(), (0,), (1,), (0, 1)])
def test_matrices_that_are_expanded_along_some_batch_axes_are_what_they_stand_for(batch, expanded):
    own = [1 if i in expanded else n for i, n in enumerate(batch)]
    x = torch.randn(*own, 1, 4, 4, dtype=torch.float64).expand(*batch, 1, 4, 4)
    rows, columns = torch.randint(4, (*batch, 5, 2)), torch.randint(4, (*batch, 5, 3))
    found = submatrices(x, rows, columns)
    at = (rows.unsqueeze(-1) * 4 + columns.unsqueeze(-2)).flatten(-2)
    expected = x.flatten(-2).expand(*batch, 5, 16).gather(-1, at).unflatten(-1, (2, 3))
    assert torch.equal(found, expected)
