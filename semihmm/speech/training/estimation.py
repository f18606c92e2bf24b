"""From statistics to a model: the most probable one, and what stands in for the frames that a state lacks."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from semihmm.speech.training.classes import classes_of
from semihmm.speech.training.mixtures import Mixtures
from semihmm.speech.training.statistics import Draft, Statistics

ENOUGH = 10.0
"""Frames that a state or a Gaussian needs of its own; up to as many are borrowed."""

_LEAST_WEIGHT = 1e-3  # of a Gaussian
_LEAVING = (0.02, 0.7)  # bounds of the probability of leaving a state


def estimate(draft: Draft, statistics: Statistics, *, floor: float) -> Draft:
    """The model that the statistics make most probable: one step of expectation and maximisation (Baum-Welch).

    A state with fewer than `ENOUGH` frames is filled up to as many with typical ones of the same state in its phone's
    class (vowels, stops, ...); a class, with those of all speech; a Gaussian borrows its state's variance.

    Args:
        draft: the model that the statistics were taken with.
        statistics: of all recordings.
        floor: no variance is smaller than this share of the variance of all frames.
    """
    old = draft.mixtures
    own_mean, own_square, spread = _filled(draft, statistics)
    own_variance = (own_square - own_mean.square())[:, None]
    count = statistics.occupancy[:, :, None]
    missing = (ENOUGH - count).clamp(min=0)
    mean = torch.where(count >= 1, statistics.first / count.clamp(min=1), old.mean)
    variance = (statistics.second / count.clamp(min=1e-9) - (statistics.first / count.clamp(min=1e-9)).square()) * count
    variance = (variance + missing * own_variance) / (count + missing)
    alone = (old.sizes == 1)[:, None, None]
    mean, variance = torch.where(alone, own_mean[:, None], mean), torch.where(alone, own_variance, variance)
    share = (statistics.occupancy / statistics.states.clamp(min=1e-9)[:, None]).clamp(min=_LEAST_WEIGHT)
    share = torch.where(statistics.states[:, None] >= 1, share, old.log_weight.exp())
    log_weight = share.log().masked_fill(old.log_weight.isneginf(), -math.inf).log_softmax(1)
    variance = variance.maximum(floor * spread)
    if draft.model.contexts is not None:  # phones without context may not occur at all
        used = statistics.states[:, None, None] >= 1
        log_weight = torch.where(used[:, 0], log_weight, old.log_weight)
        mean, variance = torch.where(used, mean, old.mean), torch.where(used, variance, old.variance)
    mixtures = Mixtures(log_weight, mean, variance)
    transitions = _transitions(draft, statistics)
    model = replace(draft.model, transitions=transitions, streams=(mixtures.emission(),))
    return replace(draft, model=model, mixtures=mixtures)


def _filled(draft: Draft, statistics: Statistics) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and mean square of each state ``(J, F)``, and the variance of all frames ``(F,)``."""
    phones, states = draft.model.phones, draft.model.states
    kind = classes_of(phones)
    phone, state = draft.owner // states, draft.owner % states
    groups = [(kind > 0).long()[phone], kind[phone] * states + state, draft.owner]
    if len(phone) > len(phones) * states:  # some are phones in context
        groups.append(torch.arange(len(phone)))
    sums = torch.cat([statistics.states[:, None], statistics.first.sum(1), statistics.second.sum(1)], 1)
    moments = sums.sum(0).expand(len(sums), -1)[:, 1:] / sums[:, 0].sum()
    overall = moments[0].unflatten(0, (2, -1))
    for group in groups:
        found = sums.new_zeros(int(group.max()) + 1, sums.shape[1]).index_add_(0, group, sums)[group]
        missing = (ENOUGH - found[:, :1]).clamp(min=0)
        moments = (found[:, 1:] + missing * moments) / (found[:, :1] + missing)
    mean, square = moments.chunk(2, 1)
    return mean, square, overall[1] - overall[0].square()


def _transitions(draft: Draft, statistics: Statistics) -> Tensor:
    """Log-probabilities of staying in a state and of going on, ``(phones, states, states + 1)``."""
    shape = draft.model.transitions.shape[:2]
    left, frames = (
        torch.zeros(shape[0] * shape[1], dtype=torch.float64).index_add_(0, draft.owner, sums)
        for sums in (statistics.leaving, statistics.states)
    )
    leave = ((left + 1) / (frames + 3)).clamp(*_LEAVING).unflatten(0, shape)
    return left_to_right(leave)


def left_to_right(leave: Tensor) -> Tensor:
    """Log-probabilities ``(phones, states, states + 1)`` of states that are left, for the next one, with these."""
    stay = torch.diag_embed((1 - leave).log().exp())
    go = torch.diag_embed(leave)
    empty = leave.new_zeros(*leave.shape, 1)
    return (torch.cat([stay, empty], 2) + torch.cat([empty, go], 2)).log().float()
