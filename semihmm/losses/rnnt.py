"""The transducer loss as a module."""

from __future__ import annotations

from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.inference import log_partition
from semihmm.losses.reduction import Reduction, check_reduction, reduced
from semihmm.structures import RNNT


class RNNTLoss(nn.Module):
    """``-log P(targets)`` by a recurrent neural network transducer (Graves 2012): as torchaudio's `RNNTLoss`.

    Args:
        blank: which of the V tokens is the blank; the last one.
        reduction: ``"mean"`` over the batch, ``"sum"``, ``"none"``.
        fused_log_softmax: whether what comes are scores, to be normalised; False for log-probabilities.

    Example:
        >>> loss = RNNTLoss()(torch.zeros(1, 3, 3, 4), torch.tensor([[1, 2]]))  # T 3, U 2, V 4
        >>> round(float(loss), 4)  # log(4 ** 5 / 6): five tokens are said, in one of six orders
        5.1397
    """

    def __init__(self, blank: int = -1, reduction: Reduction = "mean", fused_log_softmax: bool = True) -> None:
        super().__init__()
        check_reduction("RNNTLoss", reduction)
        self.blank, self.reduction, self.fused_log_softmax = blank, reduction, fused_log_softmax

    def extra_repr(self) -> str:
        return f"blank={self.blank}, reduction={self.reduction!r}, fused_log_softmax={self.fused_log_softmax}"

    def forward(
        self,
        logits: Tensor,
        targets: Tensor,
        logit_lengths: Tensor | None = None,
        target_lengths: Tensor | None = None,
    ) -> Tensor:
        """The loss.

        Args:
            logits: ``(B, T, U + 1, V)``: at each frame, after each number of targets, of each token.
            targets: ``(B, U)``.
            logit_lengths: frames in use ``(B,)``; None for T.
            target_lengths: targets in use ``(B,)``; None for U.
        """
        if logits.ndim != 4 or targets.shape != (logits.shape[0], logits.shape[2] - 1):
            raise ShapeError(
                "RNNTLoss: logits must be (B, T, U + 1, V), and targets (B, U), got "
                f"{tuple(logits.shape)} and {tuple(targets.shape)}. After none of U targets, one, and so on: U + 1."
            )
        scores = logits.log_softmax(-1) if self.fused_log_softmax else logits
        which = targets.long().clamp(0, logits.shape[-1] - 1)[:, None, :, None]  # what is padded may be anything
        label = scores[:, :, :-1].gather(-1, which.expand(-1, logits.shape[1], -1, -1)).squeeze(-1)
        rnnt = RNNT(scores[..., self.blank], label, logit_lengths, target_lengths)
        return reduced(-log_partition(rnnt), self.reduction)
