"""One step after another as `scan` or `while_loop`, operators of PyTorch: an exported program learns T when it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor

from semihmm.engine.maps import Map
from semihmm.engine.strategies.base import State, Tables, Trail, advanced, lifted
from semihmm.semirings import Log, Semiring

C = TypeVar("C", bound=tuple[Tensor, ...])

_AS_LOOPS = ContextVar("_AS_LOOPS", default=False)


@contextmanager
def as_loops() -> Iterator[None]:
    """Within, exported programs have a `while_loop` for each `scan`: PyTorch's compiler knows no scan of T steps.

    Example:
        >>> from semihmm import export
        >>> from semihmm.models import HMM, Gaussian
        >>> with as_loops():
        ...     program = export.torch_export(HMM(3, Gaussian(3, features=2)), outputs=("log_prob",))
    """
    before = _AS_LOOPS.set(True)
    try:
        yield
    finally:
        _AS_LOOPS.reset(before)


def operator(
    semiring: Semiring, maps: tuple[Map, ...], length: int, state: State, active: Tensor | None, keep: bool
) -> tuple[State, Trail | None]:
    """Every semiring, every map, in a program that `torch.export` makes; `length` may be a symbol, from 2 on.

    Example:
        >>> class Total(torch.nn.Module):
        ...     def forward(self, emission):
        ...         hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), emission)
        ...         return semihmm.log_partition(hmm, backend="torch")
        >>> time = torch.export.Dim("time", min=3)
        >>> program = torch.export.export(Total(), (torch.zeros(4, 2),), dynamic_shapes=({0: time},))
        >>> [round(float(program.module()(torch.zeros(steps, 2)).exp())) for steps in (3, 5)]
        [8, 32]
    """

    def step(held: State, table: Tables, going: Tensor | None = None) -> tuple[State, tuple[Tensor, Tensor]]:
        new = advanced(semiring, maps[0], State(*held), table, going)
        return new, (new.carry.select(-2, 0).clone(), new.offset.clone())

    semiring = Log(products=True) if isinstance(semiring, Log) else semiring
    rows = () if active is None else (active.movedim(-1, 0),)
    last, (vectors, offsets) = over_time(step, state, lifted(semiring, maps), maps[0].table_ranks, rows)
    return State(*last), Trail(vectors.movedim(0, -2), offsets.movedim(0, -1)) if keep else None


def over_time(
    step: Callable[..., tuple[C, tuple[Tensor, ...]]],
    state: C,
    tables: Tables,
    ranks: Sequence[int],
    rows: Sequence[Tensor],
    reverse: bool = False,
) -> tuple[C, tuple[Tensor, ...]]:
    """``step(state, table, *row)``, which gives a new state and what is kept of it, from time to time.

    In a program that is exported it is an operator, else a loop.

    Args:
        tables: as `Map.tables` has them, with ``ranks`` event axes each.
        rows: what else each time has, time first.
        reverse: from the last time to the first.
    Returns:
        The last state, and what was kept, time first.
    """
    times = [-1 - rank for rank in ranks]
    moving = [x.shape[time] != 1 for x, time in zip(tables, times, strict=True)]
    over = [x.movedim(t, 0) for x, t, m in zip(tables, times, moving, strict=True) if m]
    # No operator may give a view of what it closes over.
    still = [None if m else x.squeeze(t).clone() for x, t, m in zip(tables, times, moving, strict=True)]

    def body(held: tuple[Tensor, ...], now: list[Tensor]) -> Any:
        rest = iter(now[len(rows) :])
        new, kept = step(held, tuple([next(rest) if x is None else x for x in still]), *now[: len(rows)])
        return tuple(new), kept

    every = [*rows, *over]
    found: tuple[C, tuple[Tensor, ...]]
    if not torch.compiler.is_exporting():
        found = _looped(body, state, every, reverse)
    elif _AS_LOOPS.get():
        found = _as_loop(body, state, every, reverse)
    else:
        from torch._higher_order_ops.scan import scan  # takes a second, which only an export pays

        found = scan(body, tuple(state), every, reverse=reverse)
    return found


def _as_loop(body: Callable[..., Any], state: C, rows: Sequence[Tensor], reverse: bool) -> Any:
    """As a `while_loop`, which carries what is kept of all times."""
    from torch._higher_order_ops.while_loop import while_loop

    count, many = rows[0].shape[0], len(state)

    def run(time: Tensor, *held: Tensor) -> tuple[Tensor, ...]:
        where = (count - 1 - time if reverse else time).reshape(1)
        new, here = body(held[:many], [row.index_select(0, where).squeeze(0) for row in rows])
        kept = [x.index_copy(0, where, one.unsqueeze(0)) for x, one in zip(held[many:], here, strict=True)]
        return (time + 1, *(x.clone() for x in new), *kept)

    begin = torch.zeros((), dtype=torch.int64)
    _, here = body(tuple(state), [row[0] for row in rows])  # for its sizes
    nothing = [x.new_zeros(count, *x.shape) for x in here]
    found = while_loop(lambda time, *_: time < count, run, (begin, *(x.clone() for x in state), *nothing))
    return found[1 : many + 1], found[many + 1 :]


def _looped(body: Callable[..., Any], state: C, rows: Sequence[Tensor], reverse: bool) -> Any:
    """What the operator does."""
    kept: list[tuple[Tensor, ...]] = []
    for now in zip(*(x.flip(0) if reverse else x for x in rows), strict=True):
        state, here = body(state, list(now))
        kept.append(here)
    return state, tuple([torch.stack(x[::-1] if reverse else x) for x in zip(*kept, strict=True)])
