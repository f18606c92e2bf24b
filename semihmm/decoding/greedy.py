"""The best path, and the labels that it reads."""

from __future__ import annotations

import torch
from torch import Tensor

from semihmm._numbers import whole
from semihmm.decoding.frames import checked
from semihmm.decoding.hypotheses import Hypotheses
from semihmm.structures.authoring import packed


def greedy(log_probs: Tensor, lengths: Tensor | None = None, *, blank: int = 0) -> Hypotheses:
    """The labels of the best path: the most probable token of each frame, repeats merged, blanks dropped.

    That need not be the most probable label sequence: `beam_search` adds up its paths. Here ``log_prob`` is that of
    the path, which is a lower bound.

    Args:
        log_probs: of each token in each frame, in nats, ``(..., T, V)``.
        lengths: frames in use ``(...)``, from 0 to T; None for T.
        blank: which of the V tokens is the blank.

    Example:
        >>> import torch
        >>> found = greedy(torch.eye(3)[[0, 1, 1, 0, 1, 2]].log_softmax(-1))
        >>> found.tolist(), found.frames.tolist()
        ([[[1, 1, 2]]], [[1, 4, 5]])

    Raises:
        ShapeError: other shapes.
        DataError: NaN, or infinitely probable tokens; a blank that is no token.
    """
    log_probs, counts = checked("greedy", log_probs, lengths)
    blank = whole("greedy", "blank", blank, 0, log_probs.shape[-1] - 1)
    steps = log_probs.shape[-2]
    best, tokens = log_probs.max(-1)
    used = torch.arange(steps) < counts.cpu().reshape(*tokens.shape[:-1], 1)
    used = used.to(tokens.device)
    before = torch.nn.functional.pad(tokens[..., :-1], (1, 0), value=blank)
    begins = used & (tokens != blank) & (tokens != before)
    count = begins.sum(-1, keepdim=True)
    frames = torch.arange(steps, device=tokens.device).expand_as(tokens)
    most = int(count.max()) if count.numel() else 0
    labels, frames = (packed(x, begins, most).unsqueeze(-2) for x in (tokens, frames))
    log_prob = best.double().masked_fill(~used, 0.0).sum(-1, keepdim=True)
    return Hypotheses(labels, frames, count, log_prob, log_prob)
