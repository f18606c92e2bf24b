"""Before, arc, after: the measure of all paths through each log-weight, from one scan each way."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from semihmm.engine.chain import Chain
from semihmm.engine.maps import Map
from semihmm.engine.maps.base import Measure, fit
from semihmm.engine.plan import Plan
from semihmm.engine.scan import advance, begin, carries, part, preceded
from semihmm.engine.strategies import State, Trail
from semihmm.engine.strategies.base import pieces
from semihmm.semirings import Max, Semiring


@dataclass(frozen=True)
class Posterior:
    """Sums of ``weight * exp(log_term / temperature)``: the gradient of a total, for each sequence times its weight."""

    semiring: Semiring
    weight: Tensor
    temperature: float

    def weigh(self, log_term: Tensor) -> Tensor:
        """Into probability space."""
        share = log_term.exp() if self.temperature == 1.0 else (log_term / self.temperature).exp()
        return share * self.weight.reshape(self.weight.shape + (1,) * (share.ndim - self.weight.ndim))

    def excess(self, log_terms: Tensor) -> Tensor:
        """By how many nats the posteriors of slots, one of which each path takes, are more than 1 in all; ``(..., 1)``.

        That is what was rounded off where weights of a step are tens of thousands of nats apart.
        """
        found = self.semiring.sum(log_terms, -1).unsqueeze(-1)
        return torch.where(found.isfinite(), found, 0.0)

    def reduce(self, x: Tensor, dim: tuple[int, ...] | int) -> Tensor:
        return x.sum(dim, keepdim=True)

    def plus(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def tail(self, x: Tensor, dim: int) -> Tensor:
        return x.flip(dim).cumsum(dim).flip(dim)

    def empty(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return like.new_zeros(shape)


@dataclass(frozen=True)
class Best:
    """The score of the best path: max-marginals."""

    @property
    def semiring(self) -> Semiring:
        return Max()

    def weigh(self, log_term: Tensor) -> Tensor:
        return log_term

    def excess(self, log_terms: Tensor) -> Tensor:
        return torch.zeros_like(log_terms[..., :1])

    def reduce(self, x: Tensor, dim: tuple[int, ...] | int) -> Tensor:
        if not x.numel():  # of no sequences there is no best one, and `amax` refuses
            return x.sum(dim, keepdim=True) - math.inf
        return x.amax(dim, keepdim=True)

    def plus(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.maximum(a, b)

    def tail(self, x: Tensor, dim: int) -> Tensor:
        return x.flip(dim).cummax(dim).values.flip(dim)

    def empty(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return like.new_full(shape, -math.inf)


def contract(
    plan: Plan, chain: Chain, measure: Measure, fronts: list[State], trail: Trail | None, last: State, total: Tensor
) -> list[Tensor | None]:
    """For each leaf of ``chain``, the measure of all paths through it; None for indices.

    Args:
        fronts, trail, last: what the forward scan left; a block whose vectors are not in ``trail`` is scanned again.
        total: what log terms are relative to, float64 ``(...)``: the total for posteriors, 0 for scores.
    """
    semiring = measure.semiring
    active = chain.active(chain.batch)
    end = chain.end or (torch.zeros_like(chain.start[0]),)
    cost = chain.maps.close(semiring, sum(end[1:], end[0]), chain.lengths)
    turned = replace(chain, start=(chain.maps.dual(cost),), end=(), steps=chain.maps.transpose())
    back = begin(semiring, [turned])
    steps = chain.steps
    wholes = [
        _Whole(measure, leaf, rank, reach)
        for leaf, rank, reach in zip(steps.leaves, steps.ranks, steps.reaches, strict=True)
        if leaf.is_floating_point()
    ]
    ends = _relative(last.carry.select(-2, 0), last.offset - total) + sum(chain.end)
    for (start, stop), front in zip(reversed(plan.bounds(chain.length)), reversed(fronts), strict=True):
        size = stop - start
        going = None if active is None else active[..., start:stop]
        inside = chain.maps.window(start, stop)
        if trail is None:
            block = advance(plan, semiring, (inside,), front, going, True, size)[1]
        else:
            block = part(trail, start, stop)
        reverse = (turned.maps.window(chain.length - stop, chain.length - start),)
        entry = back
        back, behind = advance(plan, semiring, reverse, entry, None if going is None else going.flip(-1), True, size)
        assert block is not None and behind is not None
        # What comes after step t is the reverse state before it takes that step.
        vectors = torch.cat([entry.carry[..., :1, :], behind.vectors], -2)[..., :size, :].flip(-2)
        offsets = torch.cat([entry.offset.unsqueeze(-1), behind.offsets], -1)[..., :size].flip(-1) - total.unsqueeze(-1)
        for found in _block(inside, measure, front, block, Trail(vectors, offsets), going):
            for whole, piece in zip(wholes, found, strict=True):
                whole.add(piece)
    first = begin(semiring, [chain])
    starts = _relative(first.carry.select(-2, 0), first.offset + back.offset - total)
    starts = starts + chain.maps.dual(back.carry.select(-2, 0))
    gathered = iter(wholes)
    return [
        *(fit(measure, measure.weigh(starts - measure.excess(starts)), x) for x in chain.start),
        *(fit(measure, measure.weigh(ends - measure.excess(ends)), x) for x in chain.end),
        *(next(gathered).result() if x.is_floating_point() else None for x in steps.leaves),
    ]


def _relative(vectors: Tensor, offsets: Tensor) -> Tensor:
    """Vectors with an offset in nats, which is small by now. Nothing is relative to a total of ``-inf``: no path."""
    possible = offsets < math.inf
    shift = torch.where(possible, offsets, 0.0).to(vectors.dtype).unsqueeze(-1)
    return torch.where(possible.unsqueeze(-1), vectors + shift, -math.inf)


def _block(
    steps: Map, measure: Measure, front: State, block: Trail, after: Trail, active: Tensor | None
) -> Iterator[tuple[Tensor, ...]]:
    """Contract a block of steps, a few at a time, the last ones first."""
    vectors = preceded(front, block)
    for at, stop in reversed(list(pieces(block.offsets.shape[-1], steps.work * math.prod(front.offset.shape)))):
        few, here, behind = steps.window(at, stop), part(block, at, stop), part(after, at, stop)
        carry, base = carries(measure.semiring, steps.memory, vectors, at, stop)
        cost = _relative(behind.vectors, behind.offsets + base)
        if active is not None:
            cost = torch.where(active[..., at:stop].unsqueeze(-1), cost, -math.inf)
        output = here.vectors + (here.offsets - base).to(here.vectors.dtype).unsqueeze(-1)
        if steps.memory == 1 and steps.in_one_slot:
            cost = cost - measure.excess(output + cost)
        yield few.contract(measure, carry, output, cost, few.tables())


class _Whole:
    """A leaf's measure, put together from pieces that come from the end of time to its beginning."""

    def __init__(self, measure: Measure, leaf: Tensor, rank: int, reach: int) -> None:
        self.measure, self.leaf, self.time, self.reach = measure, leaf, -1 - rank, reach
        self.shared = not reach and leaf.shape[self.time] == 1
        self.done: list[Tensor] = []  # what no earlier piece adds to, the last first
        self.front: Tensor | None = None  # what earlier ones do: all of it if shared, else the first `reach` steps

    def add(self, piece: Tensor) -> None:
        """Take in the piece just before those that came."""
        if self.front is None:
            self.front = (
                piece if self.shared else piece.narrow(self.time, piece.shape[self.time] - self.reach, self.reach)
            )
        elif self.shared:
            self.front = self.measure.plus(self.front, piece)
        if self.shared:
            return
        steps = piece.shape[self.time] - self.reach
        if self.done:
            joint = self.measure.plus(piece.narrow(self.time, steps, self.reach), self.front)
            piece = torch.cat([piece.narrow(self.time, 0, steps), joint], self.time)
        self.front = piece.narrow(self.time, 0, self.reach)
        self.done.append(piece.narrow(self.time, self.reach, steps).clone())  # not a view, which keeps all of the piece

    def result(self) -> Tensor:
        """The measure, in the leaf's shape."""
        if self.front is None:
            return self.measure.empty(self.leaf.shape, self.leaf)
        return self.front if self.shared else torch.cat([self.front, *reversed(self.done)], self.time)
