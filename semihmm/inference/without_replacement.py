"""Draws without replacement: k different paths, each with the chance that it was to be among them.

A path's Gumbel value is its log-probability and Gumbel noise; the k paths with the largest ones are k draws without
replacement, in order, and the next largest value says how likely each was to be among them (Kool, van Hoof & Welling
2019, "Stochastic Beams and Where to Find Them"). Here the most probable paths get theirs one by one. The largest value
of all others is one Gumbel variable for their whole mass; only where it is among the largest is its path drawn, from
the posterior, again until it is one of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.inference.options import Options
from semihmm.inference.total import log_partition, score
from semihmm.inference.viterbi import Paths, decode, topk
from semihmm.semirings import Sample
from semihmm.structures import Structure

NEGLIGIBLE = 1e-12  # a mass that may be rounding: nothing is drawn from it
TRIES = 4096  # draws at a time
MOST_TRIES = 10_000_000


class Draws(NamedTuple):
    """Paths drawn without replacement.

    Attributes:
        paths: in the order in which they were drawn, ``(k, ...)``; where there are fewer, the rest are not valid.
        log_inclusion: log-probability that each was to be among them, float64 ``(k, ...)``: the sum of ``f`` times
            probability over inclusion probability is an unbiased estimate of the posterior mean of any ``f``.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(2, 2))
        >>> drawn = semihmm.sample(hmm, 4, torch.Generator().manual_seed(0), replacement=False)
        >>> sorted(drawn.paths.event.tolist()), drawn.log_inclusion.tolist()  # there are four
        ([[0, 0], [0, 1], [1, 0], [1, 1]], [0.0, 0.0, 0.0, 0.0])
    """

    paths: Paths
    log_inclusion: Tensor


def different(structure: Structure, k: int, listed: int, generator: torch.Generator | None, options: Options) -> Draws:
    """Different paths, each drawn from the posterior given that it is none of those before it.

    Args:
        listed: how many of the best paths get their value one by one; at least ``k + 1`` do.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
        >>> len(different(hmm, 3, 32, torch.Generator().manual_seed(0), {}).paths.event.unique(dim=0))
        3
    """
    wide = structure.to(torch.float64)
    with torch.no_grad():
        best, total = topk(wide, max(listed, k + 1), **options), log_partition(wide, **options)
        log_share = torch.where(best.valid, best.score - total, -torch.inf)
        items = wide.unbatch()
        rows = [
            _one(item, event, share, k, generator, options)
            for item, event, share in zip(
                items,
                best.event.flatten(1, best.score.ndim - 1).unbind(1) if structure.batch_shape else [best.event],
                log_share.flatten(1).unbind(1) if structure.batch_shape else [log_share],
                strict=True,
            )
        ]
        shape = (k, *structure.batch_shape)
        event = torch.stack([event for event, _, _ in rows], 1).reshape(*shape, *best.event.shape[best.score.ndim :])
        valid, inclusion = (torch.stack([row[i] for row in rows], 1).reshape(shape) for i in (1, 2))
    found = torch.where(valid, score(structure, event) if event.numel() else total.new_zeros(shape), -torch.inf)
    return Draws(Paths(event, found, valid, structure), inclusion)


def _one(
    item: Structure, event: Tensor, log_share: Tensor, k: int, generator: torch.Generator | None, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """Events ``(k, *event)`` of one sequence, whether they are valid, and their log-inclusion-probabilities."""
    log_shares = log_share.tolist()
    values = [x + _gumbel(generator) for x in log_shares]
    events = list(event.unbind(0))
    rest = 0.0 if log_shares[-1] == -math.inf else max(0.0, 1.0 - math.fsum(map(math.exp, log_shares)))
    bound = math.inf
    while rest > NEGLIGIBLE:
        bound = -_log_add(-bound, -(math.log(rest) + _gumbel(generator)))  # Gumbel, below the one before it
        if bound <= sorted(values, reverse=True)[k]:
            break
        more = _another(item, torch.stack(events), generator, options)
        events.append(more)
        log_shares.append(float(score(item, more) - log_partition(item, **options)))
        values.append(bound)
        rest -= math.exp(log_shares[-1])
    order = sorted(range(len(values)), key=lambda i: -values[i])
    threshold = values[order[k]]
    chosen, shares = (
        [events[i] for i in order[:k]],
        torch.tensor([log_shares[i] for i in order[:k]], dtype=torch.float64),
    )
    valid = shares > -torch.inf
    inclusion = torch.where(valid, (-(-(shares - threshold).exp()).expm1()).log(), -torch.inf)
    return torch.stack(chosen), valid.to(event.device), inclusion.to(event.device)


def _another(item: Structure, known: Tensor, generator: torch.Generator | None, options: Options) -> Tensor:
    """A draw from the posterior given that it is none of those known."""
    for _ in range(MOST_TRIES // TRIES):
        drawn = decode(item, Sample(TRIES), generator, **options).event
        new = (drawn.unsqueeze(1) != known).flatten(2).any(-1).all(-1)
        if bool(new.any()):
            return drawn[int(new.nonzero()[0])]
    raise DataError(
        f"sample: without replacement, none of {MOST_TRIES:,} draws was another path than the {len(known)} known ones, "
        "though their probabilities do not add up to 1. Ask for fewer."
    )


def _gumbel(generator: torch.Generator | None) -> float:
    return -math.log(float(torch.empty((), dtype=torch.float64).exponential_(generator=generator)))


def _log_add(a: float, b: float) -> float:
    return float(torch.logaddexp(torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)))
