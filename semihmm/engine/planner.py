"""Which strategy a call gets: measured, and overruled by the caller."""

import math
import os
from typing import Literal, cast

import torch

from semihmm.engine.backends import backend_for, registered
from semihmm.engine.chain import Chain
from semihmm.engine.costs import choose
from semihmm.engine.memory import blocks_within
from semihmm.engine.plan import Plan, StrategyName
from semihmm.engine.strategies import STRATEGIES
from semihmm.errors import SemihmmError, SemiringError
from semihmm.semirings import Semiring

_TORCH = ("torch sequential", "torch chunked", "torch associative")
_ALL = ("native sequential", *_TORCH)
_NAMED = bool(os.environ.get("SEMIHMM_BACKEND"))  # the environment says who works, whatever it costs


def plan(
    chain: Chain,
    semiring: Semiring,
    strategy: StrategyName | Literal["auto"] | None = None,
    checkpoint: bool | int | None = None,
    backend: str | None = None,
) -> Plan:
    """Decide how to multiply out a chain.

    Args:
        strategy: one of `STRATEGIES`; None or ``"auto"`` for the planner's choice.
        checkpoint: True keeps sqrt(T) carries (sqrt(T / D) ring buffers) and as many state vectors instead of T, and
            computes the rest twice; a number is the bytes that both may take, offsets and padding included; None or
            False keeps everything.
        backend: ``"torch"``, ``"native"``, or one that was registered. Where neither it nor a strategy is named, what
            takes least time by the table of `semihmm.engine.costs`, of all that is possible.
    Raises:
        SemiringError: a parallel strategy for a semiring whose sums depend on their order.
        SemihmmError: an unknown name, or a byte budget that cannot be met.

    Example:
        >>> chain = Chain((torch.zeros(2),), Dense(torch.zeros(1, 2, 2)), length=3)  # 4 states in a row
        >>> plan(chain, semihmm.semirings.Log(), checkpoint=True).blocks
        2
    """
    strategy = None if isinstance(strategy, str) and strategy == "auto" else strategy
    if strategy is not None and not (isinstance(strategy, str) and strategy in STRATEGIES):
        raise SemihmmError(
            f"strategy must be one of {', '.join(STRATEGIES)} (None or 'auto': the planner chooses), got {strategy!r}.",
            see="strategy",
        )
    worker = backend_for(chain.start[0].device, backend)
    ways: tuple[str, ...] = _TORCH if semiring.associative else _TORCH[:1]
    if worker != "torch":
        why = registered(worker).supports(semiring, chain)
        if why is None and strategy not in (None, "sequential"):
            why = f"strategy={strategy!r} is the torch backend's"
        if why is None:
            if backend is not None or strategy is not None or _NAMED:
                blocks = _blocks(chain, semiring, checkpoint, worker)
                return Plan("sequential", blocks, worker, "named by the caller")
            ways = _ALL if semiring.associative else _ALL[:2]
        elif backend is not None:
            raise SemihmmError(
                f"backend={worker!r} cannot do this: {why}. Pass backend=None for the best that can.", see="backend"
            )
    if torch.compiler.is_exporting() and ways[0] in _TORCH:  # any other is written out for the T of the example
        return Plan("operator", 1, "torch", "a program is exported, for every number of steps")
    if strategy is not None:
        if strategy != "sequential" and not semiring.associative:
            raise SemiringError(
                f"{semiring}: its sums depend on their order (associative is False), so only strategy='sequential' "
                f"means anything, got {strategy!r}.",
                see="order-matters",
            )
        return Plan(strategy, _blocks(chain, semiring, checkpoint, "torch"), "torch", "named by the caller")
    if len(ways) == 1:
        blocks = _blocks(chain, semiring, checkpoint, "torch")
        return Plan("sequential", blocks, "torch", "sums of this semiring depend on their order")
    way, reason = choose(ways, chain, semiring)
    worker, chosen = cast("tuple[str, StrategyName]", way.split())
    return Plan(chosen, _blocks(chain, semiring, checkpoint, worker), worker, reason)


def _blocks(chain: Chain, semiring: Semiring, checkpoint: bool | int | None, worker: str) -> int:
    if checkpoint is None or checkpoint is False or chain.length < 2:
        return 1
    if checkpoint is True:
        return math.isqrt((chain.length - 1) // chain.steps.memory) + 1
    if not isinstance(checkpoint, int):
        raise SemihmmError(f"checkpoint must be True, False, None or a number of bytes, got {checkpoint!r}.")
    return blocks_within(checkpoint, chain, semiring, worker)
