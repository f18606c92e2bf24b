"""CTC and an HMM trained together, on the outputs of one network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semihmm._numbers import check_real, check_values, whole
from semihmm.errors import SemihmmError, ShapeError, StructureError
from semihmm.losses.crf import CRFLoss
from semihmm.losses.ctc import CTCLoss, Lengths, Targets
from semihmm.losses.reduction import Reduction
from semihmm.structures import CTC, HMM


class CTCHMMLoss(nn.Module):
    """``(1 - w) CTC + w HMM``, in which both read the same outputs, and the HMM learns what follows what.

    The HMM has a state for each token, the blank included, and a trained score for each first state and each pair of
    neighbours. Its state sequences collapse to texts as those of a CTC do, and its loss is -log of the share of the
    targets' sequences in the weight of all: a CRF whose labels are known in order, but not in time. Where all its
    scores are equal and the outputs are normalised, it is the CTC loss. What is learnt of durations and pauses is what
    makes alignments hold, and lets `hmm` be decoded over whole sequences.

    Args:
        tokens: how many there are, V.
        weight: the share w of the HMM's loss, from 0 to 1.
        blank, reduction, zero_infinity, batch_first: as in `CTCLoss`.

    Its parameters are to be trained with the network's: ``Adam([*network.parameters(), *loss.parameters()])``.

    Example:
        >>> loss = CTCHMMLoss(4, batch_first=True)
        >>> log_probs = torch.zeros(1, 3, 4).log_softmax(-1)
        >>> round(float(loss(log_probs, torch.tensor([[1, 2]])).detach()), 4)  # as long as nothing is learnt: CTC's
        1.2747
        >>> semihmm.viterbi(loss.hmm(log_probs)).event.shape
        torch.Size([1, 3])
    """

    def __init__(
        self,
        tokens: int,
        weight: float = 0.5,
        blank: int = 0,
        reduction: Reduction = "mean",
        zero_infinity: bool = False,
        *,
        batch_first: bool = False,
    ) -> None:
        super().__init__()
        tokens = whole("CTCHMMLoss", "tokens", tokens, 1)
        check_real("CTCHMMLoss", "weight", weight)
        if not 0 <= weight <= 1:
            raise SemihmmError(f"CTCHMMLoss: weight is the HMM's share of the loss, from 0 to 1, got {weight}.")
        self.weight = weight
        self.ctc = CTCLoss(blank, reduction, zero_infinity, batch_first=batch_first)
        self.initial = nn.Parameter(torch.zeros(tokens))
        self.transition = nn.Parameter(torch.zeros(tokens, tokens))

    def extra_repr(self) -> str:
        return f"tokens={len(self.initial)}, weight={self.weight}"

    def forward(
        self, log_probs: Tensor, targets: Targets, input_lengths: Lengths = None, target_lengths: Lengths = None
    ) -> Tensor:
        """The loss, of what `CTCLoss` takes."""
        ctc, single = self.ctc.structure(log_probs, targets, input_lengths, target_lengths)
        of_ctc = self.ctc.losses(ctc)
        of_hmm = CRFLoss("none")(self._free(ctc.emission, ctc.input_lengths), self.aligned(ctc))
        loss = torch.where(of_hmm.isinf(), of_ctc, torch.lerp(of_ctc, of_hmm, self.weight))
        return self.ctc.reduce(loss, ctc, single)

    def hmm(self, log_probs: Tensor, input_lengths: Tensor | None = None) -> HMM:
        """The HMM over all texts, ``(B, T)`` states that are tokens: `semihmm.viterbi` decodes it."""
        check_values("CTCHMMLoss", "log_probs", log_probs)
        batched = log_probs.ndim == 3 and not self.ctc.batch_first
        return self._free(log_probs.transpose(0, 1) if batched else log_probs, input_lengths)

    def aligned(self, ctc: CTC) -> HMM:
        """The HMM's paths that collapse to the targets, over the places of a `CTC`, with what it has learnt."""
        if not isinstance(ctc, CTC):
            raise StructureError(f"CTCHMMLoss: it aligns a semihmm.CTC, got {type(ctc).__name__}.")
        places = ctc.hmm()
        labels, offsets = places.emission_index, places.offsets
        assert labels is not None and offsets is not None
        came_from = torch.stack([labels.roll(k, -1) for k in offsets], -1)
        follows = self.transition[came_from, labels.unsqueeze(-1)]
        return places.replace(
            initial=places.initial + self.initial[labels],
            transition=torch.where(places.transition == 0, follows.to(places.transition), -torch.inf),
        )

    def _free(self, emission: Tensor, lengths: Tensor | None) -> HMM:
        if not emission.ndim or emission.shape[-1] != len(self.initial):
            raise ShapeError(
                f"CTCHMMLoss: it holds {len(self.initial)} tokens, so log_probs must have as many in the last axis, "
                f"got {tuple(emission.shape)}. CTCHMMLoss(tokens) counts the blank too."
            )
        return HMM(self.initial, self.transition, emission, lengths=lengths)
