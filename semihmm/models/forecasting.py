"""What an emission that depends on earlier observations is expected to say: a mixture over all paths."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from semihmm.inference import expected_counts, smoothing
from semihmm.models.emissions import Emission
from semihmm.structures import HMM, HSMM


class Ahead(NamedTuple):
    """What may follow a step, n steps on: a chain of C slots, each of which says the state that the model is in.

    Attributes:
        posterior: the probability of each slot at that step given all observations, ``(..., C)``.
        source, target: the arcs between slots, int64 ``(A,)``.
        log_weight: of the arcs into each step after it, ``(..., n, A)``, or the same for all, ``(..., 1, A)``.
        state: of each slot, int64 ``(C,)``.
    """

    posterior: Tensor
    source: Tensor
    target: Tensor
    log_weight: Tensor
    state: Tensor


def means(emission: Emission, ahead: Ahead, log_likelihood: Tensor, x: Tensor, past: Tensor) -> Tensor:
    """The expected observations at n steps, ``(..., n, F)`` in float64.

    Given a path, the mean of an observation is linear in those before it. So of these it is enough to know the mean in
    each slot: with the probability ``f`` of a slot up to a step, and the mean ``m`` of the observations before it, ::

        f'(j) = sum_i f(i) w(i, j)        m'(j) = sum_i f(i) w(i, j) [mean of the observation in i, m(i)] / f'(j)

    Args:
        log_likelihood: of each state at each of the steps, 0 where nothing was observed, ``(..., n, S)``.
        x: what the emission looks at there, ``(..., n, *)``, NaN where nothing was observed.
        past: the observations up to the step before them, the latest first, ``(..., order * F)``.
    """
    assert emission.states is not None
    features, order, count = emission.event_shape[0] or 1, emission.order, len(ahead.state)
    seen, steps = log_likelihood.double(), x.shape[-2]

    def arcs(step: int) -> Tensor:
        """Their weights into a step, up to a factor."""
        own = ahead.log_weight[..., min(step, ahead.log_weight.shape[-2] - 1), :]
        weight = own.double() + seen[..., step, :][..., ahead.state[ahead.target]]
        return (weight - weight.amax(-1, keepdim=True)).exp()

    after = [seen.new_ones(*seen.shape[:-2], count)]
    for step in reversed(range(steps)):
        moved = arcs(step) * after[0][..., ahead.target]
        after.insert(0, _share(torch.zeros_like(after[0]).index_add(-1, ahead.source, moved)))
    forward = torch.where(after[0] > 0, ahead.posterior.double() / after[0], 0.0)
    past = past.double().unsqueeze(-2).expand(*forward.shape, -1)
    which = torch.nn.functional.one_hot(ahead.state, emission.states).double().expand(*forward.shape, -1)
    found = []
    for step in range(steps):
        moved = arcs(step) * forward[..., ahead.source]
        forward = torch.zeros_like(forward).index_add(-1, ahead.target, moved)
        past = torch.zeros_like(past).index_add(-2, ahead.target, moved.unsqueeze(-1) * past[..., ahead.source, :])
        past = past / torch.where(forward > 0, forward, 1.0).unsqueeze(-1)
        now = x[..., step, :].double().unsqueeze(-2).expand(*forward.shape, -1)
        now = torch.cat([now[..., :features], past, now[..., features * (1 + order) :]], -1)
        y = emission.fill_steps(now, which)
        found.append((_share(forward * after[step + 1]).unsqueeze(-1) * y).sum(-2))
        forward, past = _share(forward), torch.cat([y, past], -1)[..., : order * features]
    return torch.stack(found, -2)


def after_hmm(structure: HMM, steps: int, source: Tensor, target: Tensor, state: Tensor) -> Ahead:
    """What may follow all steps but the last ones in an HMM, whose slots are its states.

    Args:
        source, target: of each transition, in the structure's shape of one step.
        state: of the model, for each of the structure's.
    """
    lengths = structure.lengths
    posterior = last(smoothing(structure).exp(), steps + 1, lengths, len(structure.batch_shape))[..., 0, :]
    return Ahead(posterior, source.flatten(), target.flatten(), _moves(structure, source.ndim, steps), state)


def after_hsmm(structure: HSMM, steps: int, source: Tensor, target: Tensor, duration: Tensor) -> Ahead:
    """The same in an HSMM, whose slots are how much longer a segment lasts, up to the last step, and its state.

    Args:
        duration: log-probabilities ``(S, D)``, or those of segments that begin at each step ``(..., T, S, D)``.
    """
    lengths, batch, states = structure.lengths, structure.batch_shape, structure.states
    if structure.segment is None:
        none = structure.emission.new_zeros(structure.steps, structure.longest, states)
        structure = structure.replace(segment=none.expand(*batch, *none.shape))
    used = last(expected_counts(structure, ("segment",))[1]["segment"], steps + 1, lengths, len(batch))
    left = torch.arange(steps + 1, device=used.device)
    lasted = torch.arange(1, structure.longest + 1, device=used.device)
    posterior = (used * (lasted > left.unsqueeze(-1)).unsqueeze(-1)).sum(-2).flatten(-2)
    if duration.ndim > 2:
        duration = last(duration.expand(*batch, *duration.shape[-3:]), steps, lengths, len(batch))
    else:
        duration = duration.unsqueeze(-3)
    missing = duration.new_full((*duration.shape[:-1], max(steps + 1 - duration.shape[-1], 0)), -torch.inf)
    duration = torch.cat([duration, missing], -1)
    duration = torch.cat([duration[..., :steps], duration[..., steps:].logsumexp(-1, keepdim=True)], -1)
    enters = _moves(structure, source.ndim, steps).unsqueeze(-2) + duration[..., target.flatten(), :].mT
    lasting = torch.arange(steps * states, device=used.device)  # one step less is left of each
    entered = left.unsqueeze(-1) * states + target.flatten()
    log_weight = torch.cat([enters.new_zeros(*enters.shape[:-2], len(lasting)), enters.flatten(-2)], -1)
    return Ahead(
        posterior,
        torch.cat([lasting + states, source.flatten().expand_as(entered).flatten()]),
        torch.cat([lasting, entered.flatten()]),
        log_weight,
        torch.arange(states, device=used.device).repeat(steps + 1),
    )


def last(x: Tensor, steps: int, lengths: Tensor | None, axis: int) -> Tensor:
    """The last steps of each sequence, along the axis of time; where there are fewer, the first one several times."""
    if lengths is None:
        steps = min(steps, x.shape[axis])
        return x.narrow(axis, x.shape[axis] - steps, steps)
    at = (lengths.unsqueeze(-1) - steps + torch.arange(steps, device=x.device)).clamp(min=0)
    while at.ndim <= axis:
        at = at.unsqueeze(0)
    at = at.reshape(*at.shape, *(1,) * (x.ndim - at.ndim)).expand(*x.shape[:axis], steps, *x.shape[axis + 1 :])
    return x.gather(axis, at)


def _moves(structure: HMM | HSMM, axes: int, steps: int) -> Tensor:
    """The log-weights of the transitions into the last steps, ``(..., steps or 1, A)``."""
    batch, moves = structure.batch_shape, structure.transition
    if structure.ranks["transition"] == axes:
        return moves.flatten(-axes).unsqueeze(-2)
    moves = moves.flatten(-axes)
    into = None if structure.lengths is None else structure.lengths - 1
    return last(moves.expand(*batch, *moves.shape[-2:]), steps, into, len(batch))


def _share(x: Tensor) -> Tensor:
    """The same up to a factor, so that it sums to 1."""
    return x / x.sum(-1, keepdim=True)
