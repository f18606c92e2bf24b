"""The scan of the torch backend: a chain multiplied out, block by block, by the strategy that a plan names."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm.engine.chain import Chain
from semihmm.engine.maps import Form, Map
from semihmm.engine.plan import Plan
from semihmm.engine.strategies import STRATEGIES, State, Trail, operator
from semihmm.engine.strategies.base import joined, rescaled
from semihmm.semirings import Semiring

F = TypeVar("F", bound=Form)


def cleaned(chain: Chain) -> Chain:
    """The chain with log-weights of 0 in steps that no sequence takes, so that no NaN from padding gets anywhere."""
    active = chain.active(chain.batch)
    if active is None:
        return chain
    leaves = []
    for leaf, rank, reach in zip(chain.steps.leaves, chain.steps.ranks, chain.steps.reaches, strict=True):
        taken = pad(active, (reach, 0), value=True)
        if leaf.is_floating_point() and leaf.shape[-1 - rank] == taken.shape[-1]:
            leaf = torch.where(taken.reshape(*taken.shape, *(1,) * rank), leaf, 0.0)
        leaves.append(leaf)
    lengths = () if chain.lengths is None else (chain.lengths,)
    return chain.rebuild((*chain.start, *chain.end, *leaves, *lengths))


def centred(chain: Chain) -> tuple[Chain, Tensor]:
    """The chain with its log-weights rescaled to a peak of 0 nats, and the log scale of every path, float64 ``(...)``.

    Where each path takes exactly one entry, the largest may be taken out: its difference to the others is exact, while
    a state vector near 0 plus entries near a million would be rounded, and differently so forwards and backwards.
    """
    scale = torch.zeros(chain.batch, dtype=torch.float64, device=chain.start[0].device)
    count = torch.tensor(chain.length, device=scale.device) if chain.lengths is None else chain.lengths
    vectors = []
    for x in chain.start + chain.end:
        peak = x.detach().amax(-1, keepdim=True).nan_to_num(0.0, 0.0, 0.0)
        vectors.append(x - peak)
        scale = scale + peak.squeeze(-1)
    steps, peaks = less_their_peaks(chain.steps, chain.length)
    for each in peaks:
        scale = scale + (each.squeeze(-1) * count if each.shape[-1] == 1 else each.sum(-1))
    lengths = () if chain.lengths is None else (chain.lengths,)
    return chain.rebuild((*vectors, *steps.leaves, *lengths)), scale


def less_their_peaks(steps: F, length: int) -> tuple[F, list[Tensor]]:
    """A map whose steady leaves have a peak of 0 nats at each step, and those peaks, float64 ``(..., T or 1)`` each."""
    leaves, peaks = [], []
    for leaf, rank, steady, reach in zip(steps.leaves, steps.ranks, steps.steady, steps.reaches, strict=True):
        if not steady or not leaf.numel():
            leaves.append(leaf)
            continue
        events = tuple(range(-rank, 0))
        peak = leaf.detach().amax(events, keepdim=True).nan_to_num(0.0, 0.0, 0.0)
        if reach:  # no path takes what is in front of its first step
            peak = pad(peak.narrow(-1 - rank, reach, length), (0, 0) * rank + (reach, 0))
        leaves.append(leaf - peak)
        peaks.append(peak.squeeze(events).to(torch.float64))
    return steps.rebuild(tuple(leaves)), peaks


def product(semiring: Semiring, factors: Sequence[tuple[Tensor, ...]]) -> Tensor | None:
    """The lifted product of vectors given as factors: the log-weights', then each feature's. None if there are none."""
    value = None
    for factor in zip(*factors, strict=True):
        lifted = semiring.lift(*factor)
        value = lifted if value is None else semiring.times(value, lifted)
    return value


def begin(semiring: Semiring, chains: Sequence[Chain]) -> State:
    """The carry at time 0: the start, and nothing before it."""
    chain = chains[0]
    start = product(semiring, [c.start for c in chains])
    assert start is not None
    c = semiring.components
    if c:  # a lifted list may be short: a sum of one has every component
        start = semiring.sum(start.unsqueeze(-1), -1)
    start = start.expand(*start.shape[:c], *chain.batch, -1).unsqueeze(-2)
    before = semiring.full(semiring.zero, (*chain.batch, chain.steps.memory - 1, chain.steps.slots), start)
    offset = torch.zeros(chain.batch, dtype=torch.float64, device=start.device)
    return rescaled(semiring, State(torch.cat([start, before], -2) if chain.steps.memory > 1 else start, offset))


def advance(
    plan: Plan, semiring: Semiring, maps: tuple[Map, ...], state: State, active: Tensor | None, keep: bool, length: int
) -> tuple[State, Trail | None]:
    """Move a state over all steps of ``maps``."""
    strategy = operator if plan.strategy == "operator" else STRATEGIES[plan.strategy]
    return strategy(semiring, maps, length, state, active, keep)


def finish(semiring: Semiring, chains: Sequence[Chain], state: State) -> tuple[Tensor, Tensor]:
    """The value of every way to end, ``(..., slots)``, and its offset."""
    last = state.carry.select(-2, 0)
    end = product(semiring, [c.end for c in chains])
    return (last if end is None else semiring.times(last, end)), state.offset


def unscaled(semiring: Semiring, value: Tensor, offset: Tensor) -> Tensor:
    """A total without its offset; in float64 where it was scaled."""
    if not semiring.scalable:
        return value
    return semiring.scale(value.to(torch.float64), offset)


def forward(
    plan: Plan, semiring: Semiring, chains: Sequence[Chain], keep: bool
) -> tuple[State, list[State], Trail | None]:
    """Multiply a chain out: the last state, the state in front of each block, and with ``keep`` every state vector."""
    chain = chains[0]
    active = chain.active(chain.batch)
    state = begin(semiring, chains)
    fronts, trails = [], []
    for start, stop in plan.bounds(chain.length):
        fronts.append(state)
        maps = tuple(c.maps.window(start, stop) for c in chains)
        going = None if active is None else active[..., start:stop]
        state, trail = advance(plan, semiring, maps, state, going, keep, stop - start)
        trails.append(trail)
    return state, fronts, joined([t for t in trails if t is not None])


def preceded(front: State, block: Trail) -> Trail:
    """The state vectors of a block behind those of the carry in front of it, in the order of time."""
    first = front.offset.unsqueeze(-1).expand(*front.offset.shape, front.carry.shape[-2])
    vectors = torch.cat([front.carry.flip(-2), block.vectors], -2)
    return Trail(vectors, torch.cat([first, block.offsets], -1))


def carries(semiring: Semiring, memory: int, vectors: Trail, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """The carry that each of some steps of a block takes, ``(..., T, memory, slots)``, and its offset ``(..., T)``."""
    inside = part(vectors, start, stop + memory - 1)
    carry = inside.vectors.unfold(-2, memory, 1).flip(-1).mT
    base = inside.offsets[..., memory - 1 :]
    if memory > 1 and semiring.scalable:
        older = inside.offsets.unfold(-1, memory, 1).flip(-1) - base.unsqueeze(-1)
        carry = semiring.scale(carry, older.to(carry.dtype).unsqueeze(-1))
    return carry, base


def part(trail: Trail, start: int, stop: int) -> Trail:
    """Some steps of a trail."""
    return Trail(trail.vectors[..., start:stop, :], trail.offsets[..., start:stop])
