"""Connectionist temporal classification: a token or a blank per frame, repeats merged, blanks dropped."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from semihmm.engine import Banded, Chain, Compose, Diagonal, Path
from semihmm.engine.maps.form import pick, unchecked
from semihmm.engine.tracing import traced
from semihmm.errors import ShapeError, StructureError
from semihmm.structures.authoring import (
    Labels,
    as_tensor,
    check_lengths,
    given,
    only,
    packed,
    settle,
    settle_indices,
    single,
    until,
    whole_numbers,
)
from semihmm.structures.base import Structure
from semihmm.structures.hmm import HMM


@dataclass(frozen=True, repr=False)
class CTC(Structure):
    """Every way to spread U tokens over T frames, with blanks between them (Graves et al. 2006).

    A token takes one frame or more. Before, between and after tokens there may be blanks; between two equal tokens
    there must be. ``-log_partition`` is `torch.nn.functional.ctc_loss` with ``reduction="none"``, batch first.

    Args:
        emission: log-weight of each token at each frame, ``(..., T, V)``: ``log_probs``, or scores not normalised.
        targets: the tokens, integers ``(..., U)``; what comes after ``target_lengths`` does not count.
        input_lengths: frames in use ``(...)``, from 0 to T; None for T.
        target_lengths: tokens in use ``(...)``, from 0 to U; None for U.
        blank: which of the V tokens is the blank.
        optional: tokens that may be left out, bool ``(..., U)``, no two of them side by side: silence between words.

    A wildcard, which matches whatever is said (W-CTC, Cai et al. 2022; star-CTC, Pratap et al. 2022), is a token like
    any other: append a column to ``emission``, of zeros or of ``emission.logsumexp(-1)``, and name it in ``targets``.

    An event is ``(token, index in targets)`` per frame, int64 ``(..., T, 2)``: ``(blank, -1)`` at a blank, ``(-1, -1)``
    after the end. `filtering` is over the 2 U + 1 places ``blank, token 0, blank, token 1, ..., blank``, `smoothing`
    over the V tokens. Work per frame is 3 (2 U + 1).

    Raises:
        StructureError: a target that is no token, or the blank; two optional targets side by side.

    Example:
        >>> import torch, semihmm
        >>> ctc = semihmm.CTC(torch.zeros(3, 4), torch.tensor([1, 2]))
        >>> float(semihmm.log_partition(ctc).exp())  # 12-, 1-2, -12, 112, 122
        5.0
    """

    emission: Tensor
    targets: Tensor
    input_lengths: Tensor | None = None
    target_lengths: Tensor | None = None
    blank: int = 0
    optional: Tensor | None = None
    observed: ClassVar[str] = "emission"
    indices: ClassVar[dict[str, int]] = {"targets": 1, "optional": 1}
    ragged: ClassVar[dict[str, dict[str, int]]] = {
        "input_lengths": {"emission": -2},
        "target_lengths": {"targets": -1, "optional": -1},
    }
    ranks: ClassVar[dict[str, int]] = {"emission": 2}

    def __post_init__(self) -> None:
        settle(self, "emission")
        settle_indices(self, "targets", "input_lengths", "target_lengths")
        if self.emission.ndim < 2 or not self.emission.shape[-1]:
            raise ShapeError(
                f"CTC: emission must be (..., T, V) with at least one token, got {tuple(self.emission.shape)}."
            )
        batch = self.batch_shape
        object.__setattr__(self, "blank", whole_numbers("CTC", "blank", [self.blank])[0])
        if self.optional is not None:
            object.__setattr__(self, "optional", as_tensor(self, "optional"))
        if self.targets.ndim < 1 or self.targets.shape[:-1] != batch:
            raise ShapeError(
                f"CTC: emission is (..., T, V) = {tuple(self.emission.shape)}, so targets must be integers "
                f"{(*batch, 'U')}, got {tuple(self.targets.shape)} of {self.targets.dtype}. Pad shorter ones and pass "
                "target_lengths."
            )
        if self.optional is not None and (
            self.optional.shape != self.targets.shape or self.optional.dtype != torch.bool
        ):
            raise ShapeError(
                f"CTC: optional must be bool {tuple(self.targets.shape)}, like targets, got "
                f"{tuple(self.optional.shape)} of {self.optional.dtype}."
            )
        check_lengths("CTC", self.input_lengths, batch, self.emission.shape[-2], 0, "input_lengths")
        check_lengths("CTC", self.target_lengths, batch, self.targets.shape[-1], 0, "target_lengths")
        tokens = self.emission.shape[-1]
        if not 0 <= self.blank < tokens:
            raise StructureError(f"CTC: blank must be among the {tokens} columns of emission, got blank={self.blank}.")
        if not traced():
            self._check_targets()

    def _check_targets(self) -> None:
        tokens = self.emission.shape[-1]
        used = until(self.target_lengths, self.targets.shape[-1])
        wrong = (self.targets < 0) | (self.targets >= tokens) | (self.targets == self.blank)
        wrong = wrong if used is None else wrong & used
        if wrong.any():
            raise StructureError(
                f"CTC: targets must be among the {tokens} columns of emission, and no target the blank, got "
                f"blank={self.blank} and a target of {int(self.targets[wrong][0])}. Pass target_lengths where targets "
                "are padded.",
                see="targets",
            )
        if self.optional is not None:
            doubled = self.optional[..., 1:] & self.optional[..., :-1]
            if (doubled if used is None else doubled & used[..., 1:]).any():
                raise StructureError(
                    "CTC: two optional targets side by side. Leave a target between them that must come."
                )

    @property
    def lengths(self) -> Tensor | None:  # type: ignore[override]
        """Frames in use."""
        return self.input_lengths

    def _labels(self) -> Tensor:
        """The token at each place, ``(..., 2 U + 1)``."""
        count, tokens = self.targets.shape[-1], self.emission.shape[-1]
        labels = self.targets.new_full((*self.targets.shape[:-1], 2 * count + 1), self.blank)
        labels[..., 1::2] = self.targets.clamp(0, tokens - 1)
        return labels

    def _moves(self) -> Tensor:
        """Whether each place may be reached from 0, 1, 2, ... places before, ``(..., 2 U + 1, 3 or 5)``."""
        tokens, optional = self.targets, self.optional
        count = tokens.shape[-1]
        moves = [pad(tokens[..., 1:] != tokens[..., :-1], (1, 0))]  # from the token before: not if equal
        if optional is not None:
            # Past the token that is left out: from the blank before it, from the token before that.
            left_out = pad(optional[..., :-1], (1, 0))
            moves += [left_out, left_out[..., :count] & pad(tokens[..., 2:] != tokens[..., :-2], (2, 0))[..., :count]]
        of_tokens = torch.stack([m[..., :count] for m in moves], -1)
        far = torch.stack([torch.zeros_like(of_tokens), of_tokens], -2).flatten(-3, -2)
        return pad(pad(far, (0, 0, 0, 1)), (2, 0), value=True)

    def _ends(self) -> Tensor:
        """Whether a path may end in each place, ``(..., 2 U + 1)``."""
        count = self.targets.shape[-1]
        tokens = given(self.target_lengths, count, self.targets).unsqueeze(-1)
        left = 2 * tokens - torch.arange(2 * count + 1, device=tokens.device)  # places to the last one
        ends = (left == 0) | (left == 1)
        if self.optional is not None and count:
            last = (tokens - 1).clamp(min=0).expand(*self.batch_shape, 1)
            ends = ends | (self.optional.gather(-1, last) & (tokens > 0) & ((left == 2) | (left == 3)))
        return ends

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.emission.shape[-2], 2)

    def unknown(self, event: Tensor) -> Tensor:
        """A blank has no index, but it is a token."""
        return event[..., 0] == -1

    def chain(self) -> Chain:
        """Places from left to right; before the first frame, all stand in the first blank."""
        moves = only(self._moves(), self.emission).unsqueeze(-3)
        labels = self._labels().unsqueeze(-2)
        return Chain(
            start=(single(0, labels.shape[-1], self.emission),),
            # `@`, which Dynamo cannot trace
            steps=Compose(
                Banded(range(moves.shape[-1]), moves), unchecked(Diagonal, weight=self.emission, index=labels)
            ),
            end=(only(self._ends(), self.emission),),
            lengths=self.input_lengths,
            length=self.emission.shape[-2],
        )

    def event(self, path: Path) -> Tensor:
        """Tokens and where they stand in the targets."""
        places, labels = path.slots[..., 1:], self._labels()
        count = labels.shape[-1] + 1
        read = labels.new_full((*labels.shape[:-1], count, 2), -1, dtype=torch.int64)  # nothing, then each place
        read[..., 1:, 0] = labels
        read[..., 2::2, 1] = torch.arange(count // 2 - 1, device=labels.device)
        tables = prod(labels.shape[:-1])  # not `numel`, which makes a number of a batch that is not known yet
        at = places + (1 + count * torch.arange(tables, device=labels.device)).reshape(*labels.shape[:-1], 1)
        return read.flatten(0, -2).index_select(0, at.flatten()).reshape(*at.shape, 2)

    def state_sequence(self, event: Tensor) -> Tensor:
        """The token of each frame, blanks included."""
        return event[..., 0]

    def path(self, event: Tensor) -> Path:
        token, index = event.unbind(-1)
        after = 2 * index.cummax(-1).values + 2 if index.shape[-1] else index  # the blank after the latest token
        places, labels = torch.where(index < 0, after, 2 * index + 1), self._labels()
        said = pick(labels, places.clamp(0, labels.shape[-1] - 1))
        return Path.through(pad(torch.where((said == token) & (index >= -1), places, -1), (1, 0)))

    def labels(self) -> Labels:
        """The token of each frame, blanks included."""
        return Labels(self._labels(), self.emission.shape[-1], first=False)

    def filtered(self, vectors: Tensor) -> Tensor:
        """State vectors are over places."""
        return vectors[..., 1:, :]

    def hmm(self) -> HMM:
        """The same alignments as an `HMM` over the 2 U + 1 places, which share the columns of ``emission``.

        There, questions tell places of one token apart (`smoothing`), and what leads from place to place may have
        weights. It needs at least one frame of each sequence.

        Example:
            >>> ctc = semihmm.CTC(torch.zeros(3, 4), torch.tensor([1, 2]))
            >>> round(float(semihmm.log_partition(ctc.hmm()).exp()), 4), semihmm.smoothing(ctc.hmm()).shape
            (5.0, torch.Size([3, 5]))
        """
        moves, places = self._moves(), 2 * self.targets.shape[-1] + 1
        far = moves.shape[-1]
        begins = moves[..., :far, :].diagonal(dim1=-2, dim2=-1)  # all stand in the first blank before the first frame
        inside = torch.arange(places, device=moves.device).unsqueeze(-1) >= torch.arange(far, device=moves.device)
        return HMM(
            initial=only(pad(begins, (0, max(0, places - far)))[..., :places], self.emission),
            transition=only(moves & inside, self.emission),
            emission=self.emission,
            final=only(self._ends(), self.emission),
            lengths=self.input_lengths,
            offsets=tuple(range(far)),
            emission_index=self._labels(),
        )


def frames_needed(targets: Tensor, target_lengths: Tensor | None = None, optional: Tensor | None = None) -> Tensor:
    """The fewest frames that targets ``(..., U)`` can be spread over: one each, and one more between equal neighbours.

    Example:
        >>> frames_needed(torch.tensor([[1, 1, 2], [1, 3, 2]]))
        tensor([4, 3])
    """
    count = targets.shape[-1]
    used = until(target_lengths, count)
    kept = torch.ones_like(targets, dtype=torch.bool) if used is None else used.expand_as(targets)
    kept = kept if optional is None else kept & ~optional
    tokens = packed(targets, kept, count)
    left = torch.arange(count, device=targets.device) < kept.sum(-1, keepdim=True)
    repeated = (tokens[..., 1:] == tokens[..., :-1]) & left[..., 1:]
    return kept.sum(-1) + repeated.sum(-1)
