"""Totals, gradients and paths, whether tensors hold numbers or are traced: then PyTorch sees operators (`library`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from semihmm.engine.backends import kernels
from semihmm.engine.backends.kernels import GRID, GRID_TABLES, Call
from semihmm.engine.tracing import plain


def total(
    call: Call, tensors: Sequence[Tensor], features: Sequence[Tensor], lengths: Tensor | None, segment: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The total of a chain, float64 ``(components, ...)``, and the state vectors that are kept with their offsets.

    Args:
        segment: keep the state vectors in front of each so many steps; all of them if there are no more; 0 for none.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> from semihmm.engine.backends.compiled import call_for, leaves
        >>> if native() is not None:
        ...     value, *_ = total(call_for(semihmm.semirings.Log(), chain), leaves(chain), (), None, 0)
        ...     assert round(float(value.exp())) == 16
    """
    work = kernels.total if _numbers(tensors, features) else partial(_traced, torch.ops.semihmm.total)
    found: tuple[Tensor, Tensor, Tensor] = work(tensors, features, lengths, call, segment)
    return found


def gradient(
    call: Call,
    tensors: Sequence[Tensor],
    features: Sequence[Tensor],
    lengths: Tensor | None,
    kept: tuple[Tensor, Tensor],
    segment: int,
    weights: tuple[Tensor, Tensor | None],
    needed: Sequence[bool] | None = None,
) -> list[Tensor | None]:
    """The gradient of totals, weighted, by each of ``tensors``, then each of ``features``; None for tables.

    Args:
        kept: the state vectors and offsets that `total` kept for the same ``segment``.
        needed: which gradients are asked for; None for all.
        weights: of the totals ``(...)``; for Expectation, those of the log-mass and those of the mean.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> from semihmm.engine.backends.compiled import call_for, leaves
        >>> if native() is not None:
        ...     call = call_for(semihmm.semirings.Log(), chain)
        ...     _, *kept = total(call, leaves(chain), (), None, 3)
        ...     one = (torch.ones(()), None)
        ...     found = gradient(call, leaves(chain), (), None, tuple(kept), 3, one)
        ...     assert found[1].tolist() == [[[0.75, 0.75], [0.75, 0.75]]]  # 3 steps, 4 arcs
    """
    wanted = [w for xs in (tensors, features) for w in log_weights(call, xs)]
    if needed is not None:
        wanted = [w and n for w, n in zip(wanted, needed, strict=True)]
    now = _numbers(tensors, features, [w for w in weights if w is not None])
    work = kernels.gradient if now else partial(_traced, torch.ops.semihmm.gradient)
    found = iter(work(tensors, features, lengths, call, segment, *kept, *weights, wanted))
    return [next(found) if w else None for w in wanted]


def paths(
    call: Call,
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    segment: int,
    rows: int,
    uniforms: Tensor | None = None,
    marked: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Paths: their values, slots and choices, and by which weights they go.

    Args:
        uniforms: float64 in [0, 1), ``(rows, ..., 2 T + 2)``, to draw paths with; None for the best ones.
        marked: whether marks are wanted, for `gradient_of_paths`.
    Returns:
        Values ``(components, ...)``, float64; slots ``(rows, ..., T + 1)``, choices ``(rows, ..., T)`` and marks
        ``(rows, ..., T, marks)``, int64.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> from semihmm.engine.backends.compiled import call_for, leaves
        >>> if native() is not None:
        ...     call = call_for(semihmm.semirings.Max(), chain)
        ...     _, slots, _, marks = paths(call, leaves(chain), None, 3, 1, marked=True)
        ...     assert slots.tolist() == [[0, 0, 0, 0]]
        ...     assert marks.flatten().tolist() == [0, 0, 0]  # entry 0 of the matrix, thrice
    """
    work = kernels.paths if plain(tensors) else partial(_traced, torch.ops.semihmm.paths)
    found: tuple[Tensor, Tensor, Tensor, Tensor] = work(tensors, lengths, call, segment, rows, uniforms, marked)
    return found


def gradient_of_paths(
    call: Call,
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    slots: Tensor,
    marks: Tensor,
    weight: Tensor,
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """The gradient of the scores of paths, each times its ``weight`` ``(rows, ...)``, by each tensor that is needed.

    Args:
        slots, marks: what `paths` found.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> from semihmm.engine.backends.compiled import call_for, leaves
        >>> if native() is not None:
        ...     call = call_for(semihmm.semirings.Max(), chain)
        ...     _, slots, _, marks = paths(call, leaves(chain), None, 3, 1, marked=True)
        ...     found = gradient_of_paths(call, leaves(chain), None, slots, marks, torch.ones(1), (False, True))
        ...     assert found[1].tolist() == [[[3.0, 0.0], [0.0, 0.0]]]
    """
    wanted = [w and n for w, n in zip(log_weights(call, tensors), needed, strict=True)]
    now = _numbers(tensors, [weight])
    work = kernels.gradient_of_paths if now else partial(_traced, torch.ops.semihmm.gradient_of_paths)
    found = iter(work(tensors, lengths, call, slots, marks, weight, wanted))
    return [next(found) if w else None for w in wanted]


def scores_along(
    call: Call,
    tensors: Sequence[Tensor],
    lengths: Tensor | None,
    slots: Tensor,
    marks: Tensor,
    direction: Sequence[Tensor | None],
) -> Tensor:
    """How far the scores of paths move, ``(rows, ...)``, when log-weights move along ``direction``; None: not at all.

    Cost: the gradient of each path and sequence by itself, so memory for that many.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> from semihmm.engine.backends.compiled import call_for, leaves
        >>> if native() is not None:
        ...     call, given = call_for(semihmm.semirings.Max(), chain), leaves(chain)
        ...     _, slots, _, marks = paths(call, given, None, 3, 1, marked=True)
        ...     assert scores_along(call, given, None, slots, marks, [None, torch.ones(1, 2, 2)]).tolist() == [3.0]
    """
    axes, needed = len(call.batch), [v is not None for v in direction]
    own = [x.expand(*call.batch, *x.shape[axes:]) if n else x for x, n in zip(tensors, needed, strict=True)]
    one = torch.ones((1, *call.batch), dtype=torch.float64, device=slots.device)
    rows = []
    for slot, mark in zip(slots.split(1), marks.split(1), strict=True):
        taken = gradient_of_paths(call, own, lengths, slot, mark, one, needed)
        pairs = [(t.double(), v) for t, v in zip(taken, direction, strict=True) if t is not None and v is not None]
        rows.append(torch.stack([(t * v).flatten(axes).sum(-1) for t, v in pairs]).sum(0))
    return torch.stack(rows)


def vectors(call: Call, tensors: Sequence[Tensor], lengths: Tensor | None, slots: int) -> Tensor:
    """The state vectors at all times in the log semiring, float64 ``(..., T + 1, slots)``. It has no derivative.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=1)
        >>> from semihmm.engine.backends.compiled import call_for, leaves
        >>> if native() is not None:
        ...     found = vectors(call_for(semihmm.semirings.Log(), chain), leaves(chain), None, 2)
        ...     assert found.exp().round().tolist() == [[1.0, 1.0], [2.0, 2.0]]
    """
    work = kernels.vectors if plain(tensors) else partial(_traced, torch.ops.semihmm.vectors)
    found: Tensor = work(tensors, lengths, call, slots)
    return found


def _numbers(*given: Sequence[Tensor]) -> bool:
    """Whether tensors hold numbers, and nobody asks for their derivatives here."""
    tensors = [x for xs in given for x in xs]
    return plain(tensors) and not (torch.is_grad_enabled() and any(x.requires_grad for x in tensors))


def log_weights(call: Call, tensors: Sequence[Tensor]) -> list[bool]:
    """Which tensors are log-weights (or features), and not indices or the tables of a Grid."""
    count = len(tensors) - (GRID_TABLES if call.spec[2] == GRID and tensors else 0)
    return [i < count and x.is_floating_point() for i, x in enumerate(tensors)]


def _traced(operator: Callable[..., Any], *args: Any) -> Any:
    """Call an operator, which takes a call in pieces."""
    whole = (list(x) if isinstance(x, Sequence) and not isinstance(x, Call) else x for x in args)
    return operator(*(y for x in whole for y in (x if isinstance(x, Call) else (x,))))
