"""Squared distances between all items of two sequences."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import semihmm
from semihmm import squared_distances
from semihmm.engine import tensors
from semihmm.errors import ShapeError


def plainly(x: Tensor, y: Tensor) -> Tensor:
    return (x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ((5, 1), (7, 1)),
        ((130, 13), (65, 13)),
        ((2, 1, 9, 3), (3, 33, 3)),
        ((4, 1, 2), (1, 2)),
        ((3, 0), (4, 0)),
        ((0, 3, 2), (0, 4, 2)),
        ((2, 8, 5), (2, 64, 5)),
        ((0, 3), (4, 3)),
    ],
)
def test_they_are_sums_of_squared_differences(x: tuple[int, ...], y: tuple[int, ...], dtype: torch.dtype) -> None:
    a, b = torch.randn(x).to(dtype), torch.randn(y).to(dtype)
    found = squared_distances(a, b)
    assert found.dtype == dtype
    assert_close(
        found,
        plainly(a, b),
        rtol=None if dtype != torch.bfloat16 else 0.05,
        atol=None if dtype != torch.bfloat16 else 0.05,
    )


def test_as_the_items_lie() -> None:
    x, y = torch.randn(3, 6, 8).double(), torch.randn(8, 5).double()
    for a, b in (
        (x.mT, x.mT),
        (x, y.mT),
        (x[:, ::2, :5], y[:, :5]),
        (x[:1].expand(4, -1, -1), x[1]),
        (x._neg_view(), x),
    ):
        assert_close(squared_distances(a, b), plainly(a, b))


def test_without_the_compiled_module(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = torch.randn(2, 9, 4).double(), torch.randn(7, 4).double()
    expected = squared_distances(x, y)
    monkeypatch.setattr(tensors, "MODULE", None)
    assert_close(squared_distances(x, y), expected)


def test_nothing_cancels_far_from_the_origin() -> None:
    x, y = 1e4 + torch.randn(30, 3), 1e4 + torch.randn(20, 3)
    x.requires_grad_()
    found = squared_distances(x, y)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    exact = x.detach().double().requires_grad_()
    expected = plainly(exact, y.double())
    assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    assert_close(gradient.double(), torch.autograd.grad(expected.sum(), exact)[0], rtol=1e-4, atol=1e-4)


def test_derivatives_of_any_order_and_transforms() -> None:
    x, y = torch.randn(2, 4, 3).double().requires_grad_(), torch.randn(5, 3).double().requires_grad_()
    torch.autograd.gradcheck(squared_distances, (x, y), check_forward_ad=True)
    torch.autograd.gradgradcheck(squared_distances, (x, y))
    torch.autograd.gradgradcheck(lambda x: squared_distances(x, x), (x,))
    mapped = torch.func.vmap(torch.func.grad(lambda x: squared_distances(x, y.detach()).sin().sum()))(x.detach())
    (expected,) = torch.autograd.grad(plainly(x, y).sin().sum(), x)
    assert_close(mapped, expected)
    empty = torch.zeros(4, 3, requires_grad=True)
    (nothing,) = torch.autograd.grad(squared_distances(empty, torch.zeros(0, 3)).sum(), empty)
    assert not nothing.any()


def test_torch_compile_takes_them_whole() -> None:
    torch.compiler.reset()
    x, y = torch.randn(6, 2), torch.randn(5, 2)
    assert_close(torch.compile(squared_distances, fullgraph=True, backend="aot_eager")(x, y), squared_distances(x, y))


def test_the_number_of_threads_changes_no_bit() -> None:
    x, y = torch.randn(2, 301, 7), torch.randn(500, 7)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(squared_distances(x, y))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_soft_dtw_of_series_has_their_gradient() -> None:
    x, y = torch.randn(2, 6, 2).double().requires_grad_(), torch.randn(2, 5, 2).double().requires_grad_()

    def distance(x: Tensor, y: Tensor) -> Tensor:
        dtw = semihmm.DTW(squared_distances(x, y), "symmetric1")
        return -semihmm.total(dtw, semihmm.semirings.SmoothMax(0.5))

    torch.autograd.gradcheck(distance, (x, y))
    torch.autograd.gradgradcheck(distance, (x, y), fast_mode=True)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.zeros(3), torch.zeros(3, 1)),
        (torch.zeros(3, 2), torch.zeros(3, 1)),
        (torch.zeros(3, 2), torch.zeros(3, 2).double()),
        (torch.zeros(3, 2).long(), torch.zeros(3, 2).long()),
    ],
)
def test_an_error_says_what_is_wrong(x: Tensor, y: Tensor) -> None:
    with pytest.raises(ShapeError, match=r"squared_distances: x and y must be"):
        squared_distances(x, y)
