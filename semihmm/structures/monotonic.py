"""Monotonic alignment: each frame belongs to a token, and tokens come in order, none left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from semihmm.engine import Banded, Chain, Compose, Diagonal, Path
from semihmm.errors import ShapeError
from semihmm.structures.authoring import Labels, check_lengths, given, one_hot, only, settle, settle_indices, single
from semihmm.structures.base import Structure


@dataclass(frozen=True, repr=False)
class MonotonicAlignment(Structure):
    """Every way to cut T frames into U runs, one for each token: monotonic alignment search (Kim et al. 2020).

    The first frame is token 0's, the last one the last token's; from frame to frame the token stays or is the next.

    Args:
        emission: log-weight of each frame under each token, ``(..., T, U)``.
        input_lengths: frames in use ``(...)``, at least 1; None for T.
        target_lengths: tokens in use ``(...)``, at least 1; None for U.

    An event is the token of each frame, int64 ``(..., T)``, -1 after the end. Work per frame is 2 U.

    Example:
        >>> import torch, semihmm
        >>> alignment = semihmm.MonotonicAlignment(torch.tensor([[1., 0.], [2., 0.], [0., 3.]]))
        >>> semihmm.viterbi(alignment).event
        tensor([0, 0, 1])
    """

    emission: Tensor
    input_lengths: Tensor | None = None
    target_lengths: Tensor | None = None
    observed: ClassVar[str] = "emission"
    ragged: ClassVar[dict[str, dict[str, int]]] = {
        "input_lengths": {"emission": -2},
        "target_lengths": {"emission": -1},
    }
    ranks: ClassVar[dict[str, int]] = {"emission": 2}

    def __post_init__(self) -> None:
        settle(self, "emission")
        settle_indices(self, "input_lengths", "target_lengths")
        if self.emission.ndim < 2 or 0 in self.emission.shape[-2:]:
            raise ShapeError(
                "MonotonicAlignment: emission must be (..., T, U) with at least one frame and token, got "
                f"{tuple(self.emission.shape)}."
            )
        frames, tokens = self.emission.shape[-2:]
        check_lengths("MonotonicAlignment", self.input_lengths, self.batch_shape, frames, name="input_lengths")
        check_lengths("MonotonicAlignment", self.target_lengths, self.batch_shape, tokens, name="target_lengths")

    @property
    def lengths(self) -> Tensor | None:  # type: ignore[override]
        """Frames in use."""
        return self.input_lengths

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.emission.shape[-2],)

    def chain(self) -> Chain:
        """Stay or go on, then the emission."""
        emission = self.without_padding().emission
        frames, tokens = emission.shape[-2:]
        begin, rest = emission.split([1, frames - 1], -2)  # whose backward is one `cat`; two slices' is a sum
        final = given(self.target_lengths, tokens, emission) - 1
        move = emission.new_zeros(1, tokens, 2)
        return Chain(
            start=(single(0, tokens, emission), begin.squeeze(-2)),
            steps=Compose(Banded((0, 1), move), Diagonal(rest)),  # `@`, which Dynamo cannot trace
            end=(only(one_hot(final, tokens), emission),),
            lengths=None if self.input_lengths is None else self.input_lengths - 1,
            length=frames - 1,
        )

    def event(self, path: Path) -> Tensor:
        """States are tokens."""
        return path.slots

    def state_sequence(self, event: Tensor) -> Tensor:
        return event

    def path(self, event: Tensor) -> Path:
        return Path.through(event)

    def labels(self) -> Labels:
        """The token of each frame."""
        tokens = self.emission.shape[-1]
        return Labels(torch.arange(tokens, device=self.emission.device), tokens)

    def filtered(self, vectors: Tensor) -> Tensor:
        """State vectors are over tokens."""
        return vectors
