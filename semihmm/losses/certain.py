"""The CTC loss of targets that are all but certain, from the chance of going wrong at each frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm.engine.tracing import traced
from semihmm.inference import filtering
from semihmm.structures import CTC
from semihmm.structures.authoring import given, until

NEAR = 300  # square roots of epsilon: below, rounding is some 1e-4 of a loss; of 1e3 frames of float32
BLOCK = 2**20  # places in time whose numbers are held at once


def certain(ctc: CTC, loss: Tensor) -> Tensor:
    """``-log_partition`` of a CTC, with another value where frames are probabilities and the loss is next to 0.

    There ``log P`` of a P next to 1 is all rounding, and as often below 0 as above. The chance of other texts is a sum
    of what is small, and has the relative accuracy of its terms. Derivatives are those of the loss that was given.

    Example:
        >>> ctc = semihmm.CTC(torch.tensor([[[0.0, 17.0]] * 2]).log_softmax(-1), torch.tensor([[1]]))
        >>> certain(ctc, -semihmm.log_partition(ctc))  # -log(1 - exp(-34))
        tensor([1.7139e-15])
    """
    if traced():  # which rows they are is not known now
        return loss
    x = ctc.emission
    eps = torch.finfo(x.dtype).eps
    with torch.no_grad():
        rows = (loss < NEAR * math.sqrt(eps)).nonzero().squeeze(-1)
        if not len(rows):
            return loss
        used = until(ctc.input_lengths, x.shape[-2])
        mass = x[rows].double().logsumexp(-1)
        mass = mass if used is None else torch.where(used[rows], mass, 0.0)
        rows = rows[(mass.abs() <= 4 * eps * (1 + math.log(x.shape[-1]))).all(-1)]  # within what log_softmax rounds
        size = max(1, BLOCK // (x.shape[-2] * (2 * ctc.targets.shape[-1] + 1) or 1))
        value = torch.cat([loss[:0], *(surprise(ctc[block]).to(loss) for block in rows.split(size) if len(block))])
    return loss.index_put((rows,), loss[rows] - loss[rows].detach() + value)


def surprise(ctc: CTC) -> Tensor:
    """``-log P`` of targets, float64 ``(B,)``, where each frame's weights are probabilities.

    At each frame t, after some prefix that may yet become the targets, what is read next may be wrong. With
    ``a_t(i) = P(place i after frame t | a prefix of the targets so far)``, and ``w_t(i)`` the mass at frame t of the
    tokens that lead from place i to none,

        ``-log P = -sum_t log(1 - sum_i a_{t-1}(i) w_t(i)) - log(1 - sum_{i not the last two} a_T(i))``.

    Example:
        >>> half = torch.full((1, 2, 2), 0.5).log()  # of 4 texts, 3 are "a"
        >>> surprise(semihmm.CTC(half, torch.tensor([[1]]))).neg().exp()
        tensor([0.7500], dtype=torch.float64)
    """
    ctc = ctc.to(torch.float64)
    count = ctc.targets.shape[-1]
    wanted = given(ctc.target_lengths, count, ctc.targets).expand(ctc.batch_shape).unsqueeze(-1)
    place = torch.arange(2 * count + 1, device=ctc.emission.device)
    at = torch.where((place <= 2 * wanted).unsqueeze(-2), filtering(ctc).exp(), 0.0)
    at = at / at.sum(-1, keepdim=True)  # places behind the last target are wrong already
    at = torch.cat([(place == 0).to(at).expand(*ctc.batch_shape, 1, -1), at], -2)
    step = max(1, BLOCK // (8 * at[..., 0, :].numel()))
    blocks = zip(at[..., :-1, :].split(step, -2), ctc.emission.split(step, -2), strict=True)
    wrong = torch.cat([(a * _leaving(x, ctc.blank, ctc.targets, wanted)).sum(-1) for a, x in blocks], -1)
    used = until(ctc.input_lengths, wrong.shape[-1])
    wrong = wrong if used is None else torch.where(used, wrong, 0.0)
    last = given(ctc.input_lengths, wrong.shape[-1], ctc.targets).expand(ctc.batch_shape)[..., None, None]
    final = at.gather(-2, last.expand(*ctc.batch_shape, 1, len(place))).squeeze(-2)
    unfinished = torch.where(place < 2 * wanted - 1, final, 0.0).sum(-1)
    return -torch.log1p(-wrong).sum(-1) - torch.log1p(-unfinished)


def _leaving(x: Tensor, blank: int, targets: Tensor, wanted: Tensor) -> Tensor:
    """The mass at each frame of the tokens that lead from a place to none, ``(B, T, 2 U + 1)``.

    One less the mass of those that do lead on would be all rounding. But those are three at most (the blank, the
    place's own token, the next one), so the mass is that of all tokens but the frame's three likeliest, and of those
    three that do not lead on, less that of others which do: for each of these, a likelier one was added.
    """
    count = targets.shape[-1]
    there = torch.arange(count + 1, device=x.device) < wanted  # no token follows the last one
    tokens = torch.where(there, pad(targets, (0, 1)), blank).unsqueeze(-2)
    new = (tokens[..., 1:] != tokens[..., :-1]).to(x)
    top, which = x.topk(min(3, x.shape[-1]), -1)
    own = x.gather(-1, tokens.expand(*x.shape[:-1], -1)).exp() * (tokens != blank)
    silent = x[..., blank].exp()
    missed = x.scatter(-1, which, -torch.inf).exp().sum(-1)
    after_blank, after_token = missed.unsqueeze(-1), missed.unsqueeze(-1)
    for mass, token in zip(top.exp().unbind(-1), which.unbind(-1), strict=True):
        silent = torch.where(token == blank, 0.0, silent)
        mass = torch.where(token == blank, 0.0, mass).unsqueeze(-1)
        other = (tokens != token.unsqueeze(-1)).to(x)
        own = own * other
        after_blank = after_blank + mass * other
        after_token = after_token + mass * (other[..., 1:] * other[..., :-1])
    silent = silent.unsqueeze(-1)
    after_blank = after_blank - silent - own
    after_token = after_token - silent - own[..., :-1] - own[..., 1:] * new
    both = torch.stack([after_blank, pad(after_token, (0, 1))], -1).flatten(-2)
    return both[..., :-1].clamp(min=0.0)
