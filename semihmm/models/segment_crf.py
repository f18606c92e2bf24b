"""Semi-Markov conditional random fields: labels of segments, whose scores may depend on all that is in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from semihmm import inference, structures
from semihmm.engine import Path
from semihmm.engine.tracing import plain
from semihmm.errors import DataError, ShapeError
from semihmm.models.crf import CRF, Known, allowed_states, inside
from semihmm.models.topology import Allowed
from semihmm.structures.authoring import given, spread, tensor_of
from semihmm.structures.hsmm import Censored


class SemiMarkovCRF(CRF[structures.HSMM]):
    """A semi-Markov conditional random field (Sarawagi & Cohen 2004): segments of 1 to D steps, each with a label.

    Args:
        states: how many labels there are, S.
        max_duration: D.
        allowed: which label may follow which, bool ``(S, S)``, ``[from, to]``; None for all, so that two segments of
            one label may be neighbours.
        start: the labels that a sequence may begin with; None for all.
        end: the labels that it may end with; None for all.
        censored: which ends of a sequence cut a segment short: see `semihmm.HSMM`.

    ``crf(scores, lengths)`` is a `semihmm.HSMM`. Its labels are one of

    - the label of each step, integers ``(..., T)``, -1 where it is not known, or which ones it may be, bool
      ``(..., T, S)``; of where segments begin nothing is known, and all segmentations that agree are added up;
    - a pair of these and of where segments begin, bool ``(..., T)``, or integers with -1 where it is not known;
    - all segments, integers ``(..., L, 3)``, as ``decode(...).event`` has them.

    Cost: where some of the segmentation is known, but not all, a ``(..., T, D, S)`` tensor is made.

    Example:
        >>> crf = SemiMarkovCRF(2, max_duration=3)
        >>> scores, labels = torch.randn(4, 2), torch.tensor([0, 0, 1, 1])
        >>> begins = torch.tensor([True, False, True, False])
        >>> more = crf.log_prob(scores, labels)  # also 0 0 as two segments of one step
        >>> bool(crf.log_prob(scores, (labels, begins)) < more)
        True
        >>> crf.decode(scores).event.shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        states: int,
        max_duration: int,
        *,
        allowed: Allowed | None = None,
        start: Sequence[int] | None = None,
        end: Sequence[int] | None = None,
        censored: Censored = "none",
    ) -> None:
        super().__init__(states, allowed, start, end)
        if max_duration < 1:
            raise ShapeError(f"SemiMarkovCRF: max_duration is a number of steps, at least 1, got {max_duration}.")
        self.censored: Censored = censored
        self.duration = nn.Parameter(torch.zeros(states, max_duration))

    @property
    def config(self) -> dict[str, object]:
        return {**self._choices, "max_duration": self.duration.shape[-1], "censored": self.censored}

    def forward(
        self,
        scores: Tensor | None,
        lengths: Tensor | None = None,
        *,
        transition: Tensor | None = None,
        segment: Tensor | None = None,
    ) -> structures.HSMM:
        """The structure.

        Args:
            scores: of each label at each step ``(..., T, S)``, in nats: a segment has their sum. None with ``segment``.
            lengths: ``(...)``; None for T.
            transition: scores of what follows what ``(..., T-1, S, S)``, by the last step of the first segment, to be
                added to the trained ones.
            segment: scores of whole segments ``(..., T, D, S)``: ``[t, d, s]`` has ``d + 1`` steps, the last ``t``.
        """
        self._check_scores(scores)
        self._check_scores(segment, "segment", "T, D, S")
        initial, moves, final = self._weights(transition)
        return structures.HSMM(
            initial,
            moves,
            self.duration,
            scores,  # type: ignore[arg-type]  # None with segment
            segment,
            final,
            lengths,
            self.censored,
        )

    def _read(self, structure: structures.HSMM, labels: Any) -> Known:
        """Labels of steps, where segments begin, or segments."""
        name, device = type(self).__name__, structure.emission.device
        if isinstance(labels, tuple) and len(labels) == 2:
            steps, begins = (tensor_of(name, "labels", x, device) for x in labels)
            return self._segmented(structure, steps, begins)
        steps = tensor_of(name, "labels", labels, device)
        if steps.ndim == structure.emission.ndim and steps.dtype != torch.bool:
            return self._segments(structure, steps)
        return Known(allowed_states(name, structure, steps))

    def _agreeing(self, structure: structures.HSMM, known: Known) -> structures.HSMM:
        """Steps in the states that they may be in, and segments that begin and end where they may."""
        if known.begins is None:
            return inference.condition(structure, known.states)
        may = known.begins != 0
        end = given(structure.lengths, structure.steps, may).unsqueeze(-1)
        last = torch.arange(structure.steps, device=may.device)
        first = (last.unsqueeze(-1) - torch.arange(structure.longest, device=may.device)).clamp(min=0)  # (T, D)
        so_far = (known.begins == 1).cumsum(-1)
        whole = may[..., first] & (so_far.unsqueeze(-1) == so_far[..., first])
        ends = pad(may, (0, 1))[..., 1:] | (last + 1 == end)
        segment = (whole & ends.unsqueeze(-1)).unsqueeze(-1)
        return inference.condition(structure.over_time("segment"), known.states, segment=segment)

    def _segmented(self, structure: structures.HSMM, labels: Tensor, begins: Tensor) -> Known:
        """Labels of steps, and where segments begin."""
        states = allowed_states(type(self).__name__, structure, labels)
        if begins.shape != states.shape[:-1] or begins.is_floating_point() or begins.is_complex():
            raise ShapeError(
                f"SemiMarkovCRF: where segments begin must be bool (..., T) = {tuple(states.shape[:-1])}, or integers "
                f"with -1 where it is not known, got {tuple(begins.shape)} of {begins.dtype}."
            )
        begins, event = begins.long(), None
        if labels.dtype != torch.bool and plain((labels, begins)):
            goes_on = pad(labels[..., 1:] == labels[..., :-1], (1, 0))  # the first step never does
            fits = (labels >= 0) & ((begins == 1) | ((begins == 0) & goes_on))
            if (fits | ~inside(structure)).all():
                slots = torch.where((begins == 1) & inside(structure), labels + self.states, -1)
                event = structure.event(Path.through(pad(slots, (0, 1), value=-1)))
        return Known(states, begins, event)

    def _segments(self, structure: structures.HSMM, segments: Tensor) -> Known:
        """All segments, ``(state, start, length)`` each."""
        batch, steps = structure.batch_shape, structure.steps
        rows = segments.shape[-2]
        if segments.shape != (*batch, rows, 3) or not 1 <= rows <= steps or segments.is_floating_point():
            raise ShapeError(
                f"SemiMarkovCRF: segments must be integers (..., L, 3), (state, start, length) each, beside batch "
                f"axes {tuple(batch)} and with L at most {steps}, got {tuple(segments.shape)} of {segments.dtype}."
            )
        segments = segments.long()
        start, length = segments[..., 1], segments[..., 2]
        real = (segments >= 0).all(-1)
        if plain((segments,)):
            end = torch.where(real, length, 0).cumsum(-1)
            total = given(structure.lengths, steps, end).unsqueeze(-1)
            over = end == total
            right = torch.where(real, (start == end - length) & (length > 0), (segments == -1).all(-1) & over)
            right &= (end <= total) & torch.cat([torch.ones_like(over[..., 1:]), over[..., -1:]], -1)
            if not right.all():
                at = (~right).nonzero()[0].tolist()
                raise DataError(
                    f"SemiMarkovCRF: segments{at} is {segments[tuple(at)].tolist()}, but segments are (state, start, "
                    "length) in order, each begins where the one before ends, the last one ends with the sequence, "
                    "and what is left is filled up with -1."
                )
        begins = spread(torch.ones_like(start), torch.where(real, start, -1), steps) == 1
        states = allowed_states("SemiMarkovCRF", structure, structure.state_sequence(segments))
        event = pad(segments, (0, 0, 0, steps - rows), value=-1)
        return Known(states, begins.long(), event)
