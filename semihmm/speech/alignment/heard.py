"""What an acoustic model makes of a recording: the log-likelihoods that a graph takes, no more than memory holds."""

from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.free import Unscripted, hear_freely
from semihmm.speech.alignment.graph import AlignmentGraph
from semihmm.structures import HMM


@dataclass(frozen=True)
class LogLikelihoods:
    """Some columns of a model's log-likelihoods on one recording; others are computed where a graph takes them.

    An hour of all of thousands of states would be gigabytes.

    Args:
        model: the acoustic model.
        features: ``(T, F)``; None where every column is known.
        freely: what the free phone loop makes of the recording.
        columns: ``(K,)`` the columns known, in rising order: those of phones without context, any of phones in
            context, and, behind all of the model's, those of free speech.
        known: ``(T, K)``.
    """

    model: AcousticModel
    features: Tensor | None
    freely: Unscripted
    columns: Tensor
    known: Tensor

    @classmethod
    def of(cls, model: AcousticModel, features: Tensor, graph: AlignmentGraph, most: int) -> "LogLikelihoods":
        """Those of a graph; of phones in context, only if that makes at most so many numbers."""
        plain, free, whole = model.plain, torch.arange(model.states), model.columns
        tied = graph.column[(graph.column >= len(plain)) & (graph.column < whole)].unique()
        if len(features) * len(tied) > most:
            tied = tied[:0]
        columns = torch.cat([plain, tied])
        known = model.log_likelihood(features, columns=columns, room=model.states)
        freely = hear_freely(model, known[:, : len(plain)])
        known[:, -model.states :] = freely.free
        kept = None if model.contexts is None or len(tied) else features.float()
        return cls(model, kept, freely, torch.cat([columns, whole + free]), known)

    @property
    def plain(self) -> Tensor:
        """Of phones without context and of free speech, ``(T, (phones + 1) * states)``."""
        tied = len(self.columns) - len(self.model.plain) - self.model.states
        return (
            torch.cat([self.known[:, : len(self.model.plain)], self.known[:, -self.model.states :]], 1)
            if tied
            else self.known
        )

    def hmm(self, graph: AlignmentGraph, begin: int, end: int) -> HMM:
        """A graph's structure for the frames ``[begin, end)``."""
        columns = graph.column.unique()
        known = torch.isin(columns, self.columns)
        found = self.known[begin:end, torch.searchsorted(self.columns, columns[known])]
        if not known.all():
            assert self.features is not None
            wide = found.new_empty(end - begin, len(columns))
            wide[:, known] = found
            wide[:, ~known] = self.model.log_likelihood(self.features[begin:end], columns=columns[~known])
            found = wide
        return graph.over(columns).hmm(found)
