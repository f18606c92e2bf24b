"""What a call would do, at what cost, and why."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from semihmm.inference.total import Options, prepare
from semihmm.semirings import Log, Semiring
from semihmm.structures import Structure

if TYPE_CHECKING:
    from typing_extensions import Unpack


def explain(structure: Structure, semiring: Semiring | None = None, **options: Unpack[Options]) -> str:
    """What a total would run, at what cost, and why.

    Example:
        >>> import torch, semihmm
        >>> print(explain(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))))
        HMM: 1 sequence, 2 steps, carry 1 x 2
        strategy sequential: 2 steps are too few to gain from another order
        backend torch, 1 block; 12 products; 24 bytes kept for the gradient
    """
    chain, plan = prepare(structure, semiring or Log(), options)
    batch = math.prod(chain.batch)
    steps = chain.steps
    size = chain.start[0].element_size()
    longest = max((stop - start for start, stop in plan.bounds(chain.length)), default=0)
    kept = batch * size * steps.slots * ((plan.blocks * steps.memory if plan.blocks > 1 else 1) + longest)
    sequences = "1 sequence" if batch == 1 else f"{batch} sequences"
    blocks = "1 block" if plan.blocks == 1 else f"{plan.blocks} blocks"
    return (
        f"{type(structure).__name__}: {sequences}, {chain.length} steps, carry {steps.memory} x {steps.slots}\n"
        f"strategy {plan.strategy}: {plan.reason}\n"
        f"backend {plan.backend}, {blocks}; {batch * chain.length * steps.work:,} products; "
        f"{kept:,} bytes kept for the gradient"
    )
