"""Before, arc, after: the measure of all paths through each log-weight, from one scan each way."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from semihmm.engine.chain import Chain
from semihmm.engine.maps import Map
from semihmm.engine.maps.base import Measure, fit
from semihmm.engine.planner import Plan
from semihmm.engine.scan import advance, begin, carries, part, pieces
from semihmm.engine.strategies import State, Trail
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

    def reduce(self, x: Tensor, dim: tuple[int, ...] | int) -> Tensor:
        """Sum."""
        return x.sum(dim, keepdim=True)

    def plus(self, a: Tensor, b: Tensor) -> Tensor:
        """Sum."""
        return a + b

    def tail(self, x: Tensor, dim: int) -> Tensor:
        """Sum from the end."""
        return x.flip(dim).cumsum(dim).flip(dim)

    def empty(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Zeros."""
        return like.new_zeros(shape)


@dataclass(frozen=True)
class Best:
    """The score of the best path: max-marginals."""

    @property
    def semiring(self) -> Semiring:
        """Max."""
        return Max()

    def weigh(self, log_term: Tensor) -> Tensor:
        """As it is."""
        return log_term

    def reduce(self, x: Tensor, dim: tuple[int, ...] | int) -> Tensor:
        """The best."""
        return x.amax(dim, keepdim=True)

    def plus(self, a: Tensor, b: Tensor) -> Tensor:
        """The better."""
        return torch.maximum(a, b)

    def tail(self, x: Tensor, dim: int) -> Tensor:
        """The best from the end."""
        return x.flip(dim).cummax(dim).values.flip(dim)

    def empty(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """No path."""
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
    turned = replace(chain, start=tuple(chain.steps.dual(x) for x in end), end=(), steps=chain.steps.transpose())
    back = begin(semiring, [turned])
    blocks: list[tuple[Tensor, ...]] = []
    ends = _relative(last.carry.select(-2, 0), last.offset - total) + sum(chain.end)
    for (start, stop), front in zip(reversed(plan.bounds(chain.length)), reversed(fronts), strict=True):
        size = stop - start
        going = None if active is None else active[..., start:stop]
        inside = chain.steps.window(start, stop)
        if trail is None:
            block = advance(plan, semiring, (inside,), front, going, True, size)[1]
        else:
            block = part(trail, start, stop)
        reverse = (turned.steps.window(chain.length - stop, chain.length - start),)
        entry = back
        back, behind = advance(plan, semiring, reverse, entry, None if going is None else going.flip(-1), True, size)
        assert block is not None and behind is not None
        # What comes after step t is the reverse state before it takes that step.
        vectors = torch.cat([entry.carry[..., :1, :], behind.vectors], -2)[..., :size, :].flip(-2)
        offsets = torch.cat([entry.offset.unsqueeze(-1), behind.offsets], -1)[..., :size].flip(-1) - total.unsqueeze(-1)
        blocks += reversed(list(_block(inside, measure, front, block, Trail(vectors, offsets), going)))
    first = begin(semiring, [chain])
    starts = _relative(first.carry.select(-2, 0), first.offset + back.offset - total)
    starts = starts + chain.steps.dual(back.carry.select(-2, 0))
    found: list[Tensor | None] = [fit(measure, measure.weigh(starts), x) for x in chain.start]
    found += [fit(measure, measure.weigh(ends), x) for x in chain.end]
    weights = zip(*reversed(blocks), strict=True)
    for leaf, rank, reach in zip(chain.steps.leaves, chain.steps.ranks, chain.steps.reaches, strict=True):
        if not leaf.is_floating_point():
            found.append(None)
        elif blocks:
            found.append(_assemble(measure, leaf, rank, reach, next(weights)))
        else:
            found.append(measure.empty(leaf.shape, leaf))
    return found


def _relative(vectors: Tensor, offsets: Tensor) -> Tensor:
    """Vectors with an offset in nats, which is small by now. Nothing is relative to a total of ``-inf``: no path."""
    possible = offsets < math.inf
    shift = torch.where(possible, offsets, 0.0).to(vectors.dtype).unsqueeze(-1)
    return torch.where(possible.unsqueeze(-1), vectors + shift, -math.inf)


def _block(
    steps: Map, measure: Measure, front: State, block: Trail, after: Trail, active: Tensor | None
) -> Iterator[tuple[Tensor, ...]]:
    """Contract a block of steps, a few at a time."""
    carry, base = carries(measure.semiring, steps.memory, front, block)
    cost = _relative(after.vectors, after.offsets + base)
    if active is not None:
        cost = torch.where(active.unsqueeze(-1), cost, -math.inf)
    output = block.vectors + (block.offsets - base).to(block.vectors.dtype).unsqueeze(-1)
    for at, stop in pieces(block.offsets.shape[-1], steps.work * math.prod(front.offset.shape)):
        few = steps.window(at, stop)
        here = (..., slice(at, stop), slice(None))
        yield few.contract(measure, carry[..., at:stop, :, :], output[here], cost[here], few.tables())


def _assemble(measure: Measure, leaf: Tensor, rank: int, reach: int, pieces: tuple[Tensor, ...]) -> Tensor:
    """Put the blocks of a leaf's measure back along time, or together where the leaf is shared over time."""
    time = -1 - rank
    if reach:
        return _overlap(measure, time, reach, pieces)
    if leaf.shape[time] != 1:
        return torch.cat(pieces, time)
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = measure.plus(whole, piece)
    return whole


def _overlap(measure: Measure, time: int, reach: int, pieces: tuple[Tensor, ...]) -> Tensor:
    """Blocks that each hold ``reach`` steps of the one before: each ends with what only it and the next ones see."""
    done, carried = [], None
    for piece in pieces:
        if carried is not None:
            head = measure.plus(piece.narrow(time, 0, reach), carried)
            piece = torch.cat([head, piece.narrow(time, reach, piece.shape[time] - reach)], time)
        done.append(piece.narrow(time, 0, piece.shape[time] - reach))
        carried = piece.narrow(time, piece.shape[time] - reach, reach)
    assert carried is not None
    return torch.cat([*done, carried], time)
