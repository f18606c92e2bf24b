"""Recurrent neural network transducer: at each frame any number of labels, then a blank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm.engine import Chain, Grid, Path
from semihmm.errors import ShapeError
from semihmm.structures.authoring import (
    check_lengths,
    check_shape,
    given,
    one_hot,
    only,
    packed,
    settle,
    settle_indices,
    single,
    spread,
)
from semihmm.structures.base import Structure


@dataclass(frozen=True, repr=False)
class RNNT(Structure):
    """Every way to emit U labels over T frames, with a blank to go on to the next frame (Graves 2012, transducer).

    Args:
        blank: log-weight of leaving frame ``t`` after ``u`` labels, ``(..., T, U + 1)``; the last one ends the path.
        label: log-weight of emitting label ``u`` at frame ``t`` after ``u`` labels, ``(..., T, U)``.
        input_lengths: frames in use ``(...)``, at least 1; None for T.
        target_lengths: labels in use ``(...)``, from 0 to U; None for U.

    With ``log_probs (..., T, U + 1, V)`` of a joiner, ``blank = log_probs[..., 0]`` and ``label`` is
    ``log_probs[..., :-1, :]`` gathered at the targets; ``-log_partition`` is then the transducer loss.

    An event is the frame of each label, int64 ``(..., U)``, -1 for labels not in use. T + U - 1 steps of 2 T products.

    Example:
        >>> import torch, semihmm
        >>> rnnt = semihmm.RNNT(torch.zeros(3, 3), torch.zeros(3, 2))
        >>> float(semihmm.log_partition(rnnt).exp())  # frames 00 01 02 11 12 22
        6.0
    """

    blank: Tensor
    label: Tensor
    input_lengths: Tensor | None = None
    target_lengths: Tensor | None = None
    observed: ClassVar[str] = "label"
    ragged: ClassVar[dict[str, dict[str, int]]] = {
        "input_lengths": {"label": -2, "blank": -2},
        "target_lengths": {"label": -1, "blank": -1},
    }
    ranks: ClassVar[dict[str, int]] = {"blank": 2, "label": 2}

    def __post_init__(self) -> None:
        settle(self, "blank", "label")
        settle_indices(self, "input_lengths", "target_lengths")
        shape = tuple(self.label.shape)
        if len(shape) < 2 or not shape[-2]:
            raise ShapeError(f"RNNT: label must be (..., T, U) with at least one frame, got {shape}.")
        hint = " It needs a column for each number of labels emitted so far, 0 to U."
        check_shape(self, "(..., T, U)", "blank", self.blank, (shape[-2], shape[-1] + 1), hint=hint)
        check_lengths("RNNT", self.input_lengths, self.batch_shape, shape[-2], name="input_lengths")
        check_lengths("RNNT", self.target_lengths, self.batch_shape, shape[-1], 0, "target_lengths")

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.label.shape[-1],)

    @property
    def event_lengths(self) -> Tensor | None:
        """Labels in use."""
        return self.target_lengths

    def chain(self) -> Chain:
        """A grid of frames by labels so far: down by a blank, right by a label, out by a blank."""
        whole = self.without_padding()
        blank, label = whole.blank, whole.label
        frames, labels = label.shape[-2:]
        down, right = pad(blank[..., :-1, :], (0, 0, 1, 0)), pad(label, (1, 0))
        frame = given(self.input_lengths, frames, label).expand(self.batch_shape) - 1
        count = given(self.target_lengths, labels, label).expand(self.batch_shape)
        ragged = self.input_lengths is not None or self.target_lengths is not None
        out = blank.gather(-1, count[..., None, None].expand(*blank.shape[:-1], 1)).squeeze(-1)
        return Chain(
            start=(single(0, frames, label),),
            steps=Grid.of([(1, 0), (0, 1)], torch.stack([down, right], -3)),
            end=(out, only(one_hot(frame, frames), label)),
            lengths=frame + count if ragged else None,
            length=frames + labels - 1,
        )

    def event(self, path: Path) -> Tensor:
        """The frames at which the path moves right."""
        return packed(path.slots[..., 1:], path.choices == 1, self.label.shape[-1])

    def path(self, event: Tensor) -> Path:
        """A step that is no label goes down a frame. Labels that are not in use come after the last."""
        frames, labels = self.label.shape[-2:]
        used = torch.arange(labels, device=event.device) < given(self.target_lengths, labels, event).unsqueeze(-1)
        frame = pad(torch.where(used, event, frames), (0, 1), value=frames)
        fine = (used | (event == -1)) & (frame[..., :-1] >= 0) & (frame.diff(dim=-1) >= 0)
        time = frame[..., :-1] + torch.arange(1, labels + 1, device=frame.device)
        emitted = (spread(event, time, frames + labels) >= 0).cumsum(-1)
        row = torch.arange(frames + labels, device=frame.device) - emitted
        return Path.through(torch.where(fine.all(-1, keepdim=True), row, -1))
