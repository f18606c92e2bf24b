"""What a call would do, at what cost, and why."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from semihmm.engine.costs import WAYS, duration, products, seconds, size_of, table
from semihmm.engine.memory import estimate
from semihmm.engine.strategies import STRATEGIES
from semihmm.inference.options import Options
from semihmm.inference.total import prepare
from semihmm.semirings import Log, Semiring
from semihmm.structures import Structure

if TYPE_CHECKING:
    from typing_extensions import Unpack


def explain(structure: Structure, semiring: Semiring | None = None, **options: Unpack[Options]) -> str:
    """What a total would run and why, how long it would take, and how much memory.

    Times are estimates from measurements of float32 chains in the log semiring, on this machine if it was calibrated
    (``python -m semihmm.engine.calibrate``). Bytes are what the call takes at most, beside the structure itself.

    Example:
        >>> import torch, semihmm
        >>> print(explain(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2)), backend="torch"))
        HMM: 1 sequence, 2 steps, carry 1 x 2; 12 products
        backend torch, strategy ..., 1 block: estimated to be done first, of 3 ways
        time about ..., with its gradient about ... (...); by another way ...
        memory at most ... bytes, with its gradient ... bytes; 64 bytes of state vectors are kept for that
    """
    semiring = semiring or Log()
    chain, plan = prepare(structure, semiring, options)
    batch = math.prod(chain.batch)
    steps, costs, size = chain.steps, table(), size_of(chain, semiring)
    sequences = "1 sequence" if batch == 1 else f"{batch} sequences"
    blocks = "1 block" if plan.blocks == 1 else f"{plan.blocks} blocks"
    way = f"{plan.backend} {plan.strategy}"
    once, both = (seconds(costs, way, size, q) if way in WAYS else math.nan for q in ("total", "gradient"))
    if plan.blocks > 1:
        both += once  # every block but its first vectors is computed again
    others = [f"torch {strategy}" for strategy in STRATEGIES if semiring.associative or strategy == "sequential"]
    rest = [seconds(costs, w, size, "gradient") for w in others if w != way]
    instead = f"; by another way {duration(min(rest))}" if rest else ""
    memory = estimate(chain, semiring, plan)
    return (
        f"{type(structure).__name__}: {sequences}, {chain.length} steps, carry {steps.memory} x {steps.slots}; "
        f"{batch * chain.length * products(steps):,} products\n"
        f"backend {plan.backend}, strategy {plan.strategy}, {blocks}: {plan.reason}\n"
        f"time about {duration(once)}, with its gradient about {duration(both)} ({costs.where}){instead}\n"
        f"memory at most {memory.total:,} bytes, with its gradient {memory.gradient:,} bytes; "
        f"{memory.vectors:,} bytes of state vectors are kept for that"
    )
