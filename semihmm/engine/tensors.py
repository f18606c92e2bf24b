"""What the compiled module does with tensors alone, for every layer: checks, distances, moments and fresh memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from semihmm._shapes import broadcast
from semihmm.engine.backends import native

MODULE = native()
LARGE = 4 << 20  # bytes from which huge pages pay
FRESH = 32 << 20  # bytes from which memory comes from the system each time: glibc keeps none that is larger
THREADS_FROM = 300_000  # products below which a thread costs more than it saves
SMALL = 64  # rows of matrices beyond which blocked code is faster


def usable(tensors: Iterable[Tensor], sign: float = 1.0) -> bool:
    """Whether no entry of any tensor is NaN, or infinite with ``sign``. One pass; False may also mean: not known.

    Args:
        sign: 0 for either: whether all are finite.

    Example:
        >>> usable([torch.tensor([0.0, -torch.inf])]), usable([torch.tensor([0.0, torch.nan])])
        (True, False)
    """
    given = [x.detach() if x.requires_grad else x for x in tensors]
    if MODULE is not None and all(x.is_cpu and not x.is_neg() for x in given):
        threads = torch.get_num_threads() if any(x.numel() >= THREADS_FROM for x in given) else 1
        found: bool = MODULE.usable(given, sign, threads)  # 0 times infinity is NaN
        return found
    some = [x if sign > 0 else -x if sign < 0 else x.abs() for x in given if x.numel()]
    peaks = [x.amax() for x in some]  # NaN, where there is one
    return all(bool(peak < math.inf) for peak in peaks)


def finite(x: Tensor) -> bool:
    """Whether a few numbers are all finite.

    Example:
        >>> finite(torch.zeros(2)), finite(torch.tensor([0.0, -torch.inf]))
        (True, False)
    """
    x = x.detach() if x.requires_grad else x
    if MODULE is not None and x.is_cpu and x.dtype in (torch.float32, torch.float64):
        found: bool = MODULE.usable([x], 0.0, 1)
        return found
    return bool(x.isfinite().all())


def squared_distances(x: Tensor, y: Tensor, log_variance: Tensor | None = None) -> Tensor | None:
    """Squared distances of all items of ``(..., N, F)`` and ``(..., M, F)``, ``(..., N, M)``; None: not compiled.

    Args:
        log_variance: of the shape of ``y``; then the log-densities of ``x`` under Gaussians with means ``y`` instead.

    Example:
        >>> found = squared_distances(torch.zeros(2, 1), torch.ones(3, 1))
        >>> found is None or found.tolist() == [[1.0] * 3] * 2
        True
    """
    if MODULE is None or not (x.is_cpu and y.is_cpu) or x.dtype not in (torch.float32, torch.float64):
        return None
    assert log_variance is None or log_variance.shape == y.shape
    batch, own = x.shape[:-2], y.shape[:-2]
    if own and batch != own:
        batch = broadcast(batch, own)
        own = batch if own.numel() != 1 else own  # what all sequences share is read where it lies
    out = in_huge_pages(torch.empty((*batch, x.shape[-2], y.shape[-2]), dtype=x.dtype))
    if out.numel():
        threads = threads_for(out.numel() * (1 + x.shape[-1]))
        more = None if log_variance is None else _in_one_piece(log_variance, own)
        wide = x.dtype == torch.float64
        MODULE.squared_distances(_in_one_piece(x, batch), _in_one_piece(y, own), more, wide, out, threads)
    return out


def gaussian_densities(x: Tensor, mean: Tensor, factor: Tensor) -> Tensor | None:
    """Log-densities ``(N, G)`` of ``x (N, F)`` under Gaussians with means ``(G, F)``; None: not compiled.

    Args:
        factor: their Cholesky factors ``(G, F, F)``, with the logarithm of the diagonal.

    Example:
        >>> found = gaussian_densities(torch.tensor([[0.0], [2.0]]), torch.zeros(1, 1), torch.zeros(1, 1, 1))
        >>> found is None or round(float(found[0] - found[1]), 5) == 2.0
        True
    """
    if MODULE is None or not x.is_cpu or x.dtype not in (torch.float32, torch.float64):
        return None
    out = in_huge_pages(torch.empty((len(x), len(mean)), dtype=x.dtype))
    given = [_in_one_piece(one) for one in (x, mean, factor)]
    MODULE.gaussian_densities(*given, x.dtype == torch.float64, out, threads_for(len(x) * factor.numel()))
    return out


def weighted_moments(
    x: Tensor, share: Tensor, centre: Tensor, mixed: bool = False
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Sums over observations ``(N, F)`` of shares ``(N, G)``, and of shares times moments; None: not compiled.

    Args:
        share: of the dtype of the observations.
        centre: ``(F,)``, where the moments have their origin.
        mixed: whether the second moments are of all pairs of features.
    Returns:
        In float64, the sums ``(G,)``, the first moments ``(G, F)``, the second moments ``(G, F)`` or ``(G, F, F)``.

    Example:
        >>> found = weighted_moments(torch.ones(5, 2), torch.ones(5, 1), torch.zeros(2), mixed=True)
        >>> found is None or found[2].tolist() == [[[5.0, 5.0], [5.0, 5.0]]]
        True
    """
    if MODULE is None or not x.is_cpu or x.dtype != share.dtype or x.dtype not in (torch.float32, torch.float64):
        return None
    groups, features = share.shape[-1], x.shape[-1]
    squares = (features, features) if mixed else (features,)
    out = torch.empty((groups, 1 + features + math.prod(squares)), dtype=torch.float64)
    given = [_in_one_piece(one) for one in (x, share, centre.double())]
    MODULE.weighted_moments(*given, mixed, x.dtype == torch.float64, out, threads_for(len(x) * out.numel()))
    return out[:, 0], out[:, 1 : 1 + features], out[:, 1 + features :].unflatten(-1, squares)


def log_normalised(x: Tensor) -> tuple[Tensor, Tensor]:
    """Log-weights ``(..., N)`` less the log of their sum, and that ``(...)``; all ``-inf`` where it is.

    Example:
        >>> [y.exp().tolist() for y in log_normalised(torch.tensor([[3.0, 1.0], [0.0, 0.0]]).log())]
        [[[0.75, 0.25], [0.0, 0.0]], [4.0, 0.0]]
    """
    x = x.contiguous()
    if MODULE is not None and x.is_cpu and x.dtype in (torch.float32, torch.float64) and not x.requires_grad:
        out, mass = torch.empty_like(x), x.new_empty(x.shape[:-1])
        MODULE.normalise_rows(x.view(-1, x.shape[-1]), out.view(-1, x.shape[-1]), mass.view(-1))
        return out, mass
    mass = x.logsumexp(-1)
    return x - torch.where(mass == -math.inf, 0.0, mass).unsqueeze(-1), mass


def cholesky_factors(matrices: Tensor, floor: float) -> Tensor | None:
    """Cholesky factors of small matrices ``(..., F, F)``, float64, the diagonal as logarithms; None: not compiled.

    None also where they are large, or an eigenvalue is not above the floor. PyTorch would wake up all its threads.

    Example:
        >>> found = cholesky_factors(torch.eye(2), floor=0.5)
        >>> found is None or found.tolist() == [[0.0, 0.0], [0.0, 0.0]]
        True
    """
    if MODULE is None or not matrices.is_cpu or matrices.shape[-1] > SMALL:
        return None
    found = torch.zeros(matrices.shape, dtype=torch.float64)
    given = _in_one_piece(matrices.double().flatten(0, -3) if matrices.ndim > 2 else matrices.double().unsqueeze(0))
    return found if MODULE.cholesky_factors(given, floor, found.view(given.shape)) else None


def threads_for(products: int) -> int:
    """How many threads so many products are worth.

    Example:
        >>> threads_for(1)
        1
    """
    return torch.get_num_threads() if products >= THREADS_FROM else 1


def _in_one_piece(x: Tensor, batch: torch.Size | None = None) -> Tensor:
    """With all batch axes, as one; or with none."""
    x = x.detach() if x.requires_grad else x
    x = x.resolve_neg() if x.is_neg() else x  # a call is longer than a question
    if batch is not None and (len(batch) > 1 or x.shape[:-2] != batch):
        x = x.expand(*batch, *x.shape[-2:]).reshape(batch.numel(), *x.shape[-2:])
    return x.contiguous()


def zeros(shape: Sequence[int], like: Tensor) -> Tensor:
    """A tensor of zeros for gradients; if it is large, in huge pages that nobody has touched but the system.

    Example:
        >>> zeros((2,), torch.ones(1)).tolist()
        [0.0, 0.0]
    """
    size = math.prod(shape) * like.element_size()
    if not like.is_cpu or like.dtype not in (torch.float32, torch.float64):
        return torch.zeros(shape, dtype=like.dtype, device=like.device)
    if MODULE is not None and size >= FRESH:
        fresh: Tensor = MODULE.fresh_zeros(shape, like.dtype == torch.float64)
        return fresh
    return filled(in_huge_pages(torch.empty(shape, dtype=like.dtype)), 0.0)


def filled(x: Tensor, value: float) -> Tensor:
    """A float tensor in one piece, with one number written everywhere.

    On a busy machine by one thread: there, PyTorch waits for its threads longer than this takes.

    Example:
        >>> filled(torch.empty(2), 3.0).tolist()
        [3.0, 3.0]
    """
    if MODULE is None or not x.is_contiguous():
        return x.fill_(value)
    MODULE.fill(x, value, torch.get_num_threads())
    return x


def negated(x: Tensor) -> Tensor:
    """A float tensor with its signs changed, which nobody else reads: written in place if it lies in one piece.

    Example:
        >>> negated(torch.tensor([3.0])).tolist()
        [-3.0]
    """
    if MODULE is None or not x.is_cpu or not x.is_contiguous() or x.dtype not in (torch.float32, torch.float64):
        return -x
    MODULE.negate(x, torch.get_num_threads())  # see `filled`
    return x


def in_huge_pages(fresh: Tensor) -> Tensor:
    """A tensor that nobody has touched; if it is large, in huge pages, which are faster to touch first."""
    if MODULE is not None and fresh.numel() * fresh.element_size() >= LARGE:
        MODULE.in_huge_pages(fresh)
    return fresh
