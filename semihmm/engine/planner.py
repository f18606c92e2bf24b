"""Which strategy a call gets: measured, and overruled by the caller."""

import math
from dataclasses import dataclass
from typing import Literal

from semihmm.engine.backends import Backend, backend_for
from semihmm.engine.backends.compiled import refusal
from semihmm.engine.chain import Chain
from semihmm.engine.strategies import Strategy, associative, chunked, sequential
from semihmm.errors import SemihmmError, SemiringError
from semihmm.semirings import Semiring

StrategyName = Literal["sequential", "associative", "chunked"]
STRATEGIES: dict[str, Strategy] = {"sequential": sequential, "associative": associative, "chunked": chunked}

# Measured by `python benchmarks/strategies.py` (torch backend, CPU, float32): a step costs about as much as ROUND
# products in larger tensors; chunks take about 3 sqrt(T) rounds, a tree few of them but with twice the products.
SHORTEST = 32  # steps below which nothing is gained
TREE = 64  # products of a step's matrix with another, over the batch, up to which a tree is fastest
ROUND = 10_000


@dataclass(frozen=True)
class Plan:
    """What a call will do.

    Example:
        >>> chain = Chain((torch.zeros(2),), Dense(torch.zeros(1, 2, 2)), length=3)  # 4 states in a row
        >>> plan(chain, semihmm.semirings.Log()).bounds(3)
        [(0, 3)]
    """

    strategy: StrategyName
    blocks: int  # how many blocks of steps; 1 keeps every state vector for the gradient
    backend: Backend
    reason: str

    def segment(self, length: int) -> int:
        """How many steps there are in a block, at least 1."""
        return max(-(-length // self.blocks), 1)

    def bounds(self, length: int) -> list[tuple[int, int]]:
        """First and last step of each block; no block where there is no step."""
        size = self.segment(length)
        return [(at, min(at + size, length)) for at in range(0, length, size)]


def plan(
    chain: Chain,
    semiring: Semiring,
    strategy: StrategyName | None = None,
    checkpoint: bool | int | None = None,
    backend: str | None = None,
) -> Plan:
    """Decide how to multiply out a chain.

    Args:
        strategy: one of `STRATEGIES`; None for the planner's choice.
        checkpoint: True keeps sqrt(T) carries (sqrt(T / D) ring buffers) and as many state vectors instead of T, and
            computes the rest twice; a number is the bytes that both may take; None or False keeps everything.
        backend: ``"torch"`` or ``"native"``; None for the best there is.
    Raises:
        SemiringError: a parallel strategy for a semiring whose sums depend on their order.
        SemihmmError: an unknown name, or a byte budget that cannot be met.

    Example:
        >>> chain = Chain((torch.zeros(2),), Dense(torch.zeros(1, 2, 2)), length=3)  # 4 states in a row
        >>> plan(chain, semihmm.semirings.Log(), checkpoint=True).blocks
        2
    """
    if strategy is not None and strategy not in STRATEGIES:
        raise SemihmmError(
            f"strategy must be one of {', '.join(STRATEGIES)} (None: the planner chooses), got {strategy!r}."
        )
    blocks = _blocks(chain, semiring, checkpoint)
    worker = backend_for(chain.start[0].device, backend)
    if worker == "native":
        why = refusal(semiring, chain)
        if why is None and strategy not in (None, "sequential"):
            why = f"strategy={strategy!r} is the torch backend's"
        if why is None:
            return Plan("sequential", blocks, worker, "compiled: one pass over all steps")
        if backend is not None:
            raise SemihmmError(f"backend='native' cannot do this: {why}. Pass backend=None for the best that can.")
    chosen, reason = _choose(chain, semiring)
    if strategy is not None and strategy != chosen:
        if strategy != "sequential" and not semiring.associative:
            raise SemiringError(
                f"{semiring}: its sums depend on their order (associative is False), so only strategy='sequential' "
                f"means anything, got {strategy!r}."
            )
        chosen, reason = strategy, "named by the caller"
    return Plan(chosen, blocks, "torch", reason)


def _choose(chain: Chain, semiring: Semiring) -> tuple[StrategyName, str]:
    if not semiring.associative:
        return "sequential", "sums of this semiring depend on their order"
    size, batch, length = chain.steps.memory * chain.steps.slots, math.prod(chain.batch), chain.length
    if length < SHORTEST:
        return "sequential", f"{length} steps are too few to gain from another order"
    if batch * size**3 <= TREE:
        return "associative", f"{batch * size**3} products a round cost less than {length} rounds one by one"
    extra, saved = batch * size * chain.steps.work, int(ROUND * (1 - 3 / math.sqrt(length)))
    if extra <= saved:
        return "chunked", f"{extra:,} products a step cost less than the rounds they save, worth {saved:,}"
    return "sequential", f"{extra:,} products a step would cost more than the rounds they save, worth {saved:,}"


def _blocks(chain: Chain, semiring: Semiring, checkpoint: bool | int | None) -> int:
    if checkpoint is None or checkpoint is False or chain.length < 2:
        return 1
    if checkpoint is True:
        return math.isqrt((chain.length - 1) // chain.steps.memory) + 1
    values = len(semiring.zero) if isinstance(semiring.zero, tuple) else 1
    vector = math.prod(chain.batch) * chain.steps.slots * values * chain.start[0].element_size()
    kept = {n: n * vector * chain.steps.memory + -(-chain.length // n) * vector for n in range(1, chain.length + 1)}
    for blocks, size in kept.items():
        if size <= checkpoint:
            return blocks
    raise SemihmmError(
        f"checkpoint: a budget of {checkpoint:,} bytes cannot hold a scan of {chain.length} steps; the least is "
        f"{min(kept.values()):,} bytes. Pass that, or cut the batch."
    )
