"""How far apart the items of two sequences are: a cost for `DTW`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from semihmm._shapes import broadcast
from semihmm.engine import tensors
from semihmm.engine.tracing import plain, transformed
from semihmm.errors import ShapeError
from semihmm.structures.authoring import tensor_of


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """Squared Euclidean distances between all items of two sequences, ``(..., N, M)``.

    A sum of squared differences, so that nothing cancels, in memory for the answer alone. Differentiable any number of
    times.

    Args:
        x: ``(..., N, F)``, N items of F features each.
        y: ``(..., M, F)``.
    Raises:
        ShapeError: other shapes or dtypes.

    Example:
        >>> import torch, semihmm
        >>> x, y = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [2.0], [2.0]])
        >>> semihmm.squared_distances(x, y).tolist()
        [[0.0, 4.0, 4.0], [1.0, 1.0, 1.0], [4.0, 0.0, 0.0]]
    """
    x, y = tensor_of("squared_distances", "x", x), tensor_of("squared_distances", "y", y)
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1] or x.dtype != y.dtype or not x.is_floating_point():
        raise ShapeError(
            "squared_distances: x and y must be (..., N, F) and (..., M, F), with as many features and of one floating "
            f"dtype, got {tuple(x.shape)} of {x.dtype} and {tuple(y.shape)} of {y.dtype}. One feature? Pass "
            "x.unsqueeze(-1)."
        )
    if transformed() or not plain((x, y)):
        return (x.unsqueeze(-2) - y.unsqueeze(-3)).square().sum(-1)
    if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
        found: Tensor = _Distances.apply(x, y)  # type: ignore[no-untyped-call]
        return found
    return _by_feature(x, y)


def _by_feature(x: Tensor, y: Tensor) -> Tensor:
    found = tensors.squared_distances(x, y)
    if found is None:
        batch = broadcast(x.shape[:-2], y.shape[:-2])
        found = x.new_zeros(*batch, x.shape[-2], y.shape[-2])
        for a, b in zip(x.unbind(-1), y.unbind(-1), strict=True):
            found += (a.unsqueeze(-1) - b.unsqueeze(-2)).square_()
    return found


class _Distances(torch.autograd.Function):
    """Its gradient is made of matrix products, which autograd follows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return _by_feature(x, y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, y = ctx.saved_tensors
        if not grad.numel():
            return torch.zeros_like(x), torch.zeros_like(y)
        middle = y.detach().mean(-2, keepdim=True)  # what both have in common would cancel below
        a, b = x - middle, y - middle
        to_x = to_y = None
        if ctx.needs_input_grad[0]:
            to_x = (2 * (a * grad.sum(-1).unsqueeze(-1) - grad @ b)).sum_to_size(x.shape)
        if ctx.needs_input_grad[1]:
            to_y = (2 * (b * grad.sum(-2).unsqueeze(-1) - grad.mT @ a)).sum_to_size(y.shape)
        return to_x, to_y
