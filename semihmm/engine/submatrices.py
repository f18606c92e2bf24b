"""Entries of log-weights by numbers that differ from place to place: what is kept of a map."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from semihmm._shapes import broadcast
from semihmm.engine import tensors
from semihmm.engine.tensors import THREADS_FROM, in_huge_pages, zeros
from semihmm.engine.tracing import batched, plain, transformed


def gathered(x: Tensor, rank: int, index: Tensor) -> Tensor:
    """Entries of the last ``rank`` axes of a tensor, which are numbered through, at ``index``, which has as many.

    The axes in front are those of the batch and of time. What has one of 1 is shared, and neither copied nor are its
    gradients added up along it one by one.

    Example:
        >>> gathered(torch.tensor([[10, 11, 12]]), 1, torch.tensor([[2, 0], [1, 1]])).tolist()
        [[12, 10], [11, 11]]
    """
    flat, rows, event = x.flatten(-rank), x.shape[:-rank], index.shape[-rank:]
    index = index.flatten(-rank)
    shape = broadcast(rows, index.shape[:-1])
    own, shared = ([i for i, n in enumerate(rows) if (n == 1) == alike] for alike in (False, True))
    columns = index.expand(*shape, -1).permute(*own, *shared, -1).flatten(len(own))
    table = flat.squeeze(shared)
    found = table.gather(-1, columns.long()) if own else table.index_select(0, columns)
    found = found.unflatten(-1, [*(shape[i] for i in shared), index.shape[-1]])
    placed = [(own + shared).index(i) for i in range(len(shape))]
    return found.permute(*placed, -1).unflatten(-1, event)  # type: ignore[no-any-return]


def submatrices(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Where some rows and columns of matrices ``(..., T or 1, S, R)`` meet: ``(..., T, n, m)``.

    Args:
        rows, columns: which ones, int64 ``(..., T, n)`` and ``(..., T, m)``, in range.

    Example:
        >>> x = torch.tensor([[[0, 1, 2], [10, 11, 12]]])
        >>> submatrices(x, torch.tensor([[1], [0]]), torch.tensor([[2, 0], [1, 1]])).tolist()
        [[[12, 10]], [[1, 1]]]
    """
    if tensors.MODULE is not None and not transformed() and plain((x, rows, columns)):
        batch = broadcast(x.shape[:-3], rows.shape[:-2], columns.shape[:-2])
        own = x.shape[:-3]
        fits = x.shape[-3] == 1 and (own.numel() == 1 or own == batch)
        if fits and x.is_cpu and x.dtype in (torch.float32, torch.float64) and not x.is_neg():
            places = (*batch, rows.shape[-2])
            rows, columns = (i.expand(*places, i.shape[-1]).contiguous() for i in (rows, columns))
            found: Tensor = _Gather.apply(x, rows, columns)  # type: ignore[no-untyped-call]
            return found
    narrow = torch.int32 if x.shape[-2:].numel() < 2**31 else torch.int64  # half of what there is to read
    rows, columns = rows.to(narrow), columns.to(narrow)
    return gathered(x, 2, rows.unsqueeze(-1) * x.shape[-1] + columns.unsqueeze(-2))


class _Gather(torch.autograd.Function):
    """Compiled; its gradient is `_Scatter`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        ctx.save_for_backward(rows, columns)
        ctx.shape = x.shape
        places = rows.shape[:-1]
        out = in_huge_pages(torch.empty((*places, rows.shape[-1], columns.shape[-1]), dtype=x.dtype))
        axes = x.ndim - 3
        if x.numel() and all(n == 1 or s == 0 for n, s in zip(x.shape[:axes], x.stride()[:axes], strict=True)):
            x = x[(0,) * axes]  # one for all sequences
        _run(x.contiguous(), rows, columns, out, back=False)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _Scatter.apply(grad, *ctx.saved_tensors, ctx.shape), None, None  # type: ignore[no-untyped-call]


class _Scatter(torch.autograd.Function):
    """Its transpose."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, rows: Tensor, columns: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(rows, columns)
        if batched(grad) or not plain((grad,)):  # several gradients at once
            at = (rows.unsqueeze(-1) * shape[-1] + columns.unsqueeze(-2)).reshape(shape[:-2].numel(), -1)
            flat = grad.new_zeros(shape).reshape(shape[:-2].numel(), -1)
            return flat.scatter_add(-1, at, grad.reshape(at.shape)).reshape(shape)
        out = zeros(shape, grad)
        _run(out, rows, columns, grad.contiguous(), back=True)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return submatrices(grad, *ctx.saved_tensors), None, None, None


def _run(x: Tensor, rows: Tensor, columns: Tensor, parts: Tensor, back: bool) -> None:
    """Between matrices ``(..., S, R)`` and their parts ``(..., n, m)``, both contiguous."""
    assert tensors.MODULE is not None
    n, m = parts.shape[-2:]
    places = math.prod(parts.shape[:-2])
    threads = torch.get_num_threads() if parts.numel() >= THREADS_FROM else 1
    whole = x.detach().view(-1, *x.shape[-2:])
    if not parts.numel():
        return
    given = rows.view(places, n), columns.view(places, m), parts.detach().view(places, n, m)
    tensors.MODULE.submatrices(whole, *given, x.dtype == torch.float64, back, threads)
