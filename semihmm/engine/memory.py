"""How many bytes a scan takes: what it keeps for its gradient, and the most it holds at any time."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import torch

from semihmm.engine.backends import Backend, compiled
from semihmm.engine.chain import Chain
from semihmm.engine.costs import components
from semihmm.engine.maps import Grid, Segmental
from semihmm.engine.plan import Plan
from semihmm.engine.strategies.base import BLOCK
from semihmm.engine.tensors import LANES
from semihmm.errors import SemihmmError
from semihmm.semirings import Semiring

OFFSET = 8  # bytes: each state vector has its offset, in float64
PARTS = 16  # of a batch, natively: each has its own sums (csrc/call.hpp)
GROUP = 8  # sequences that a thread works on at a time, at most (csrc/linear.hpp)
STEPS = 33  # steps whose tables a sequence has at a time, and one (csrc/chain.hpp)


class Bytes(NamedTuple):
    """What a scan takes beside its log-weights.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> log = semihmm.semirings.Log()
        >>> estimate(chain, log, semihmm.engine.plan(chain, log, backend="torch")).vectors
        80
    """

    vectors: int  # state vectors and offsets that are kept for the gradient
    total: int  # at most at any time, where no gradient is asked for
    gradient: int  # the same where one is, the gradient itself included


class Kept(NamedTuple):
    """The state vectors of a scan, with their offsets: of every step where it has one block."""

    sequences: int
    vector: int  # bytes of one vector
    memory: int  # vectors in a carry
    length: int
    native: bool

    def rows(self, blocks: int) -> int:
        """Bytes kept for the gradient."""
        each = self.sequences * (self.vector + OFFSET)
        if blocks == 1 and self.native:
            return each * (self.length + 1)
        segment = max(-(-self.length // blocks), 1)
        if self.native:
            return each * (self.length // segment + 1) * self.memory
        carries = -(-self.length // segment) + 1  # one in front of each block, and the last one
        fronts = carries * self.sequences * (self.memory * self.vector + OFFSET)
        return fronts + (each * self.length if blocks == 1 else 0)

    def block(self, blocks: int) -> int:
        """Bytes of the vectors of a block that is scanned again."""
        if blocks == 1:
            return 0
        at_once = min(self.sequences, GROUP * torch.get_num_threads()) if self.native else self.sequences
        return at_once * (-(-self.length // blocks) + self.memory) * (self.vector + OFFSET)


def kept(chain: Chain, semiring: Semiring, backend: Backend) -> Kept:
    """What a scan of a chain keeps by a backend.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=3)
        >>> kept(chain, semihmm.semirings.Log(), "torch").vector
        8
    """
    steps, item, native = chain.steps, chain.start[0].element_size(), backend == "native"
    numbers = compiled.call_for(semiring, chain).stride if native else steps.slots * components(semiring)
    return Kept(prod(chain.batch), numbers * item, steps.memory, chain.length, native)


def blocks_within(budget: int, chain: Chain, semiring: Semiring, backend: Backend) -> int:
    """The fewest blocks with which what is kept and the vectors of a block stay within a budget of bytes.

    Raises:
        SemihmmError: none does.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=1000)
        >>> blocks_within(4000, chain, semihmm.semirings.Log(), "torch")
        5
    """
    found = kept(chain, semiring, backend)
    least = None
    for blocks in range(1, chain.length + 1):
        size = found.rows(blocks) + found.block(blocks)
        if size <= budget:
            return blocks
        least = size if least is None else min(least, size)
    raise SemihmmError(
        f"checkpoint: a budget of {budget:,} bytes cannot hold a scan of {chain.length} steps; the least is "
        f"{least or 0:,} bytes. Pass that, or cut the batch."
    )


def estimate(chain: Chain, semiring: Semiring, plan: Plan) -> Bytes:
    """What a scan takes, at most: measured multiples of what it works on, log-weights themselves not counted.

    Example:
        >>> chain = semihmm.engine.Chain((torch.zeros(2),), semihmm.engine.Dense(torch.zeros(1, 2, 2)), length=1000)
        >>> log = semihmm.semirings.Log()
        >>> whole, blocks = (estimate(chain, log, semihmm.engine.plan(chain, log, None, c)) for c in (False, True))
        >>> whole.vectors > 10 * blocks.vectors, whole.gradient > blocks.gradient
        (True, True)
    """
    vectors = kept(chain, semiring, plan.backend)
    rows = vectors.rows(plan.blocks)
    leaves = sum(x.numel() * x.element_size() for x in chain.leaves if x.is_floating_point())
    if plan.backend == "native":
        total, gradient = _native(chain, vectors, plan.blocks)
        if semiring.temperature or semiring.inputs > 1:
            # Twice the rows: autograd makes zeros for what `engine.total` keeps but has no gradient.
            return Bytes(rows, total, max(total, 2 * rows + leaves + gradient))
        # Paths remain, no vectors: slots, choices and marks.
        numbers = 2 + compiled.marks_of(compiled.call_for(semiring, chain).spec)
        paths = OFFSET * semiring.rows * prod(chain.batch) * numbers * (chain.length + 1)
        return Bytes(0, total, max(total, rows + paths + leaves + gradient))
    return Bytes(rows, *_torch(chain, semiring, plan, vectors, leaves))


def _native(chain: Chain, vectors: Kept, blocks: int) -> tuple[int, int]:
    """What the compiled code takes for itself, for a total and for a gradient."""
    steps, item, batch = chain.steps, chain.start[0].element_size(), vectors.sequences
    threads = min(torch.get_num_threads(), batch)
    row = vectors.vector + OFFSET
    at_once = min(batch, GROUP * threads)
    own = at_once * (steps.memory + STEPS) * row
    lanes = LANES // item
    tables = sums = groups = 0
    for leaf, rank in zip(steps.leaves, steps.ranks, strict=True):
        if not leaf.is_floating_point():
            continue
        shape = leaf.shape[leaf.ndim - rank :]
        wide = max(shape[-1], steps.slots) if rank == 1 else shape[-1]  # an index may make them wider
        width = -(-wide // lanes) * lanes  # a table is padded to whole vectors, whichever way it is turned
        other = prod(shape[:-1])
        time = leaf.shape[-1 - rank]
        entries = other * width if rank == 1 else max(other * width, -(-other // lanes) * lanes * shape[-1])
        tables += item * entries * (STEPS if time > 1 and not isinstance(steps, Grid) else 1)
        if leaf.shape[: -1 - rank].numel() == 1 or time == 1:  # else added up where it goes
            sums += OFFSET * time * shape.numel()
        groups += item * entries if rank > 1 and time == 1 else 0  # expected counts, for each of a group
    if isinstance(steps, Grid):  # whose planes lie in rows; its tables are those of some anti-diagonals
        tables = item * (STEPS + steps.memory) * 4 * steps.work + 3 * OFFSET * steps.slots * (chain.length + 1)
    if isinstance(steps, Segmental):
        tables += item * 2 * (chain.length + steps.memory) * vectors.vector // item
    total = own + threads * 4 * tables + 2 * OFFSET * batch
    parts = min(batch, PARTS)
    ring = at_once * (2 * steps.memory + 2 * STEPS) * row
    gradient = own + ring + vectors.block(blocks) + parts * (4 * tables + sums) + at_once * groups
    return total, gradient


def _torch(chain: Chain, semiring: Semiring, plan: Plan, vectors: Kept, leaves: int) -> tuple[int, int]:
    """What tensors take beside the log-weights, for a total and with its gradient."""
    steps, batch = chain.steps, vectors.sequences
    number = components(semiring) * chain.start[0].element_size()
    length = max(plan.segment(chain.length), 1)  # steps in a block
    carry = steps.slots * steps.memory
    product, state = batch * steps.work * number, batch * carry * number  # of one step
    unfolded = batch * steps.unfolded * number
    at_once = min(length, max(BLOCK // max(batch * steps.unfolded, 1), 1))
    if not isinstance(steps, Segmental):  # an index is followed at all steps before the scan begins
        at_once = chain.length
    copies = leaves if chain.lengths is None else 2 * leaves
    copies *= components(semiring)
    if isinstance(steps, Grid):  # its planes become tables of every step
        copies += 6 * chain.length * product
    copies += 4 * unfolded * at_once
    total = copies + leaves // 4 + 4 * product + 8 * state + 2 * OFFSET * batch * chain.length
    extra = 0
    if plan.strategy == "chunked":
        chunks = int(length**0.5) + 3
        extra = 4 * unfolded * length + int(chunks * carry * (3.5 * product + 2 * state))
    if plan.strategy == "associative":
        extra = 4 * unfolded * length + int(length * carry * (3.5 * product + 2 * state))
    total += extra
    some = min(length, max(BLOCK // max(steps.work * batch, 1), 1))  # steps that `contract` looks at together
    block = length * batch * (steps.slots * number + OFFSET)
    gradient = copies + 3 * leaves + 2 * vectors.rows(plan.blocks)
    if not semiring.temperature:  # autograd remembers all that happens in a block; of a maximum, where it is
        remembered, again = (0, 2) if semiring.idempotent else (6 * product, 4)
        return total, total + gradient + length * (remembered + 12 * state) + again * extra
    scan = 3 * block + extra + (2 * length * carry * state if plan.strategy == "associative" else 0)
    found = 10 * block + 4 * some * product + steps.memory * 4 * some * batch * steps.slots * number
    return total, gradient + max(scan, found) + 4 * product + 8 * state
