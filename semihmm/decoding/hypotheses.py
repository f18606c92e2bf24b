"""Label sequences that a decoder found, best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from semihmm._numbers import check_values
from semihmm.engine.maps.form import as_index, check_range
from semihmm.errors import DataError, ShapeError
from semihmm.structures.authoring import tensor_of, whole_numbers

Found = tuple[Sequence[int], Sequence[int], float, float]  # labels, frames, log-probability, score


@dataclass(frozen=True)
class Hypotheses:
    """The N best label sequences, for each of a batch.

    Args:
        labels: int64 ``(..., N, U)``, -1 behind the end.
        frames: the frame in which each label begins, on the best of the paths that read the sequence.
        lengths: labels in each sequence, ``(..., N)``.
        log_prob: log-probability of each sequence, summed over its paths: float64 ``(..., N)``.
        score: what they are sorted by: the log-probability, and what the sequence weighs by itself. -inf: no sequence.

    Example:
        >>> import torch
        >>> log_probs = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.2, 0.3]]).log()
        >>> found = beam_search(log_probs, beam=4, count=3)
        >>> found.tolist(), found.log_prob.exp()
        ([[[1], [2], []]], tensor([0.3100, 0.3100, 0.2500], dtype=torch.float64))
    """

    labels: Tensor
    frames: Tensor
    lengths: Tensor
    log_prob: Tensor
    score: Tensor

    @property
    def valid(self) -> Tensor:
        """Whether there is such a sequence, bool ``(..., N)``."""
        return self.score > -torch.inf

    @property
    def confidence(self) -> Tensor:
        """The share of each sequence in the probability of all that were found, ``(..., N)``; 0 where there is none."""
        return torch.where(self.valid.any(-1, keepdim=True), self.score, 0.0).softmax(-1) * self.valid

    def tolist(self) -> list[list[list[int]]]:
        """The labels of the valid ones, for each of the batch."""
        flat = self.reshaped((self.score.shape[:-1].numel(),))
        items = zip(flat.labels.tolist(), flat.lengths.tolist(), flat.valid.tolist(), strict=True)
        return [[row[:n] for row, n, there in zip(*item, strict=True) if there] for item in items]

    def take(self, order: Tensor) -> Hypotheses:
        """Those at some places, int64 ``(..., M)``, in that order.

        Raises:
            ShapeError: other shapes, a place that there is not.
        """
        order = tensor_of("Hypotheses", "order", order, self.score.device)
        check_values("Hypotheses", "order", order)
        order = as_index("Hypotheses", "order", order)
        if order.ndim != self.score.ndim or order.shape[:-1] != self.score.shape[:-1]:
            batch = "".join(f"{n}, " for n in self.score.shape[:-1])
            raise ShapeError(f"Hypotheses: order must be places ({batch}M), got {tuple(order.shape)}.")
        check_range("Hypotheses", "order", order, 0, self.score.shape[-1] - 1, "the places of those that were found")

        def taken(x: Tensor) -> Tensor:
            at = order if x.ndim == order.ndim else order.unsqueeze(-1).expand(*order.shape, x.shape[-1])
            return x.gather(order.ndim - 1, at)

        return Hypotheses(*map(taken, self._tensors()))

    def reshaped(self, batch: Sequence[int]) -> Hypotheses:
        """With other axes of the batch.

        Raises:
            ShapeError: of another size than it has.
        """
        axes = self.score.ndim - 1
        batch = whole_numbers("Hypotheses", "the batch's axes", batch)
        if min(batch, default=0) < 0 or math.prod(batch) != self.score.shape[:-1].numel():
            raise ShapeError(f"Hypotheses: a batch of {tuple(self.score.shape[:-1])} cannot become one of {batch}.")
        return Hypotheses(*(x.reshape(*batch, *x.shape[axes:]) for x in self._tensors()))

    def _tensors(self) -> tuple[Tensor, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    def rescored(self, log_prob: Tensor, score: Tensor) -> Hypotheses:
        """The same sequences with other figures, best first again; ties stay in order."""
        order = score.argsort(dim=-1, descending=True, stable=True)
        return Hypotheses(self.labels, self.frames, self.lengths, log_prob, score).take(order)


def check_found(owner: str, found: object) -> None:
    """Refuse what is no `Hypotheses`."""
    if not isinstance(found, Hypotheses):
        raise DataError(f"{owner}: it takes Hypotheses, which beam_search and greedy find, got {found!r}.")


def gathered(found: Sequence[Sequence[Found]], count: int, batch: Sequence[int], device: torch.device) -> Hypotheses:
    """Tensors of what was found for each of a batch, at most ``count``."""
    most = max((len(labels) for item in found for labels, *_ in item), default=0)
    shape = (len(found), count)
    labels, frames = (torch.full((*shape, most), -1) for _ in range(2))
    lengths = torch.zeros(shape, dtype=torch.int64)
    log_prob, score = (torch.full(shape, -torch.inf, dtype=torch.float64) for _ in range(2))
    for b, item in enumerate(found):
        for n, (said, at, sum_, total) in enumerate(item):
            lengths[b, n], log_prob[b, n], score[b, n] = len(said), sum_, total
            labels[b, n, : len(said)], frames[b, n, : len(at)] = torch.tensor(said), torch.tensor(at)
    return Hypotheses(*(x.reshape(*batch, *x.shape[1:]).to(device) for x in (labels, frames, lengths, log_prob, score)))
