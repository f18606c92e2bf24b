"""The torch backend: every semiring, every map, every device. What other backends are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from semihmm.engine.backends import register
from semihmm.engine.backends.protocol import Gradients, two_passes
from semihmm.engine.chain import Chain
from semihmm.engine.contract import Best, Posterior, contract
from semihmm.engine.costs import components
from semihmm.engine.decode import Decoded
from semihmm.engine.followed import by_autograd
from semihmm.engine.maps import Grid, Segmental
from semihmm.engine.maps.base import fit
from semihmm.engine.memory import OFFSET, Bytes
from semihmm.engine.plan import Scan
from semihmm.engine.scan import begin, centred, cleaned, finish, forward, unscaled
from semihmm.engine.strategies import State, Trail
from semihmm.engine.strategies.base import BLOCK, joined
from semihmm.engine.trace import trace
from semihmm.semirings import Max, Semiring


class Reference:
    """A `Backend` made of PyTorch's operations, which tracers, transforms and autograd see through."""

    name = "torch"
    traceable = True
    exact_scores = False  # state vectors are rounded to their dtype at each step

    def supports(self, semiring: Semiring, chain: Chain) -> str | None:
        return None

    def differentiates(self, semiring: Semiring) -> bool:
        return bool(semiring.temperature) and not torch.compiler.is_compiling()

    def prepared(self, semiring: Semiring, chains: tuple[Chain, ...]) -> tuple[Chain, ...]:
        return tuple([c.unrolled() for c in chains])

    def total(self, scan: Scan, keep: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Keeps the centred total, the states in front of each block, and the last one; of one block every vector."""
        if not keep:
            return by_autograd(scan), ()
        semiring, (chain, scale) = scan.semiring, centred(cleaned(scan.chain))
        last, fronts, trail = forward(scan.plan, semiring, [chain], scan.plan.blocks == 1)
        ends, offset = finish(semiring, [chain], last)
        value = unscaled(semiring, semiring.sum(ends, -1), offset)
        states = [*fronts, last]
        kept = (value, torch.stack([s.carry for s in states], -3), torch.stack([s.offset for s in states], -1))
        return value + scale, (*kept, *(trail if trail is not None else ()))

    def gradient(self, scan: Scan, kept: tuple[Tensor, ...], weight: Tensor, requested: Sequence[bool]) -> Gradients:
        value, carries, offsets, *trail = kept
        chain, _ = centred(cleaned(scan.chain))
        *fronts, last = (State(c, o) for c, o in zip(carries.unbind(-3), offsets.unbind(-1), strict=True))
        assert scan.semiring.temperature is not None
        measure = Posterior(scan.semiring, weight.to(carries.dtype), scan.semiring.temperature)
        found = contract(scan.plan, chain, measure, fronts, Trail(*trail) if trail else None, last, value)
        found += [None] * (len(requested) - len(found))  # lengths
        every = zip(found, scan.leaves, requested, strict=True)
        return [fit(measure, g, x) if r and g is not None else None for g, x, r in every]

    @torch.no_grad()
    def posteriors(
        self,
        scan: Scan,
        requested: Sequence[bool],
        weight: Tensor | None = None,
        into: Sequence[Tensor | None] = (),
    ) -> tuple[Tensor, Gradients]:
        plan, semiring = scan.plan, scan.semiring
        if not isinstance(semiring, Max):
            return two_passes(self, scan, requested, weight, into)
        near, scale = centred(cleaned(scan.chain))
        last, fronts, trail = forward(plan, semiring, [near], plan.blocks == 1)
        ends, offset = finish(semiring, [near], last)
        each = contract(plan, near, Best(), fronts, trail, last, -scale)
        found = [None if x is None else fit(Best(), x, y) for x, y in zip(each, scan.leaves, strict=False)]
        return unscaled(semiring, semiring.sum(ends, -1), offset) + scale, found

    @torch.no_grad()
    def paths(self, scan: Scan, generator: torch.Generator | None = None, arcs: bool = False) -> Decoded:
        return trace(scan, generator)

    def path_gradient(
        self, scan: Scan, slots: Tensor, arcs: Tensor, weight: Tensor, requested: Sequence[bool]
    ) -> Gradients:
        raise AssertionError("autograd follows the torch backend's best totals: see `differentiates`")

    def vectors(self, scan: Scan, only: Tensor | None) -> Tensor:
        semiring, chain = scan.semiring, cleaned(scan.chain)
        _, _, trail = forward(scan.plan, semiring, [chain], True)
        first = begin(semiring, [chain])
        trails = [Trail(first.carry[..., :1, :], first.offset.unsqueeze(-1))]
        whole = joined(trails + ([] if trail is None else [trail]))
        assert whole is not None
        found = unscaled(semiring, whole.vectors, whole.offsets.unsqueeze(-1))
        return found if only is None else found.take_along_dim(only[..., None, None], -1).squeeze(-1)

    def best_in_slots(self, scan: Scan) -> None:
        """None: posteriors serve."""

    def program(self, scan: Scan, potentials: Sequence[Tensor], places: Sequence[Any], sign: float) -> None:
        """None: it has no small calls to save time in."""

    def kept(self, semiring: Semiring, chain: Chain) -> Carries:
        vector = chain.steps.slots * components(semiring) * chain.start[0].element_size()
        return Carries(prod(chain.batch), vector, chain.steps.memory, chain.length)

    def workspace_bytes(self, scan: Scan) -> Bytes:
        """Measured multiples of what tensors take beside the log-weights."""
        plan, semiring, chain = scan.plan, scan.semiring, scan.chain
        steps, vectors = chain.steps, self.kept(semiring, chain)
        rows, batch = vectors.rows(plan.blocks), vectors.sequences
        leaves = sum(x.numel() * x.element_size() for x in chain.leaves if x.is_floating_point())
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
        gradient = copies + 3 * leaves + 2 * rows
        turned = sum(x.numel() for x in steps.leaves if not x.is_floating_point())  # indices, the other way
        gradient += 2 * OFFSET * turned
        if not semiring.temperature:  # autograd remembers all that happens in a block; of a maximum, where it is
            remembered, again = (0, 2) if semiring.idempotent else (6 * product, 4)
            return Bytes(rows, total, total + gradient + length * (remembered + 12 * state) + again * extra)
        scanned = 3 * block + extra + (2 * length * carry * state if plan.strategy == "associative" else 0)
        found = 10 * block + 4 * some * product + steps.memory * 4 * some * batch * steps.slots * number
        return Bytes(rows, total, gradient + max(scanned, found) + 4 * product + 8 * state)


class Carries(NamedTuple):
    """The carry in front of each block, and the state vectors of every step where there is one block."""

    sequences: int
    vector: int  # bytes of one vector
    memory: int  # vectors in a carry
    length: int

    def rows(self, blocks: int) -> int:
        count = -(-self.length // max(-(-self.length // blocks), 1)) + 1  # one in front of each block, and the last one
        carries = count * self.sequences * (self.memory * self.vector + OFFSET)
        return carries + (self.sequences * (self.vector + OFFSET) * self.length if blocks == 1 else 0)

    def block(self, blocks: int) -> int:
        steps = -(-self.length // blocks) + self.memory
        return self.sequences * steps * (self.vector + OFFSET) if blocks > 1 else 0


register(Reference())
