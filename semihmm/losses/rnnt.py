"""The transducer loss as a module."""

from __future__ import annotations

from torch import Tensor, nn

from semihmm._numbers import check_flag, check_values, whole
from semihmm.engine.maps.form import as_index
from semihmm.engine.tracing import traced
from semihmm.errors import ShapeError, StructureError
from semihmm.inference import log_partition
from semihmm.losses.reduction import Reduction, check_reduction, reduced
from semihmm.structures import RNNT
from semihmm.structures.authoring import tensor_of, until


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
        whole("RNNTLoss", "blank", blank)
        check_reduction("RNNTLoss", reduction)
        check_flag("RNNTLoss", "fused_log_softmax", fused_log_softmax)
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
        Raises:
            StructureError: a target in use that is no token, or the blank.
        """
        check_values("RNNTLoss", "logits", logits)
        targets = as_index("RNNTLoss", "targets", tensor_of("RNNTLoss", "targets", targets, logits.device))
        check_values("RNNTLoss", "targets", targets)
        if logits.ndim != 4 or targets.shape != (logits.shape[0], logits.shape[2] - 1):
            raise ShapeError(
                "RNNTLoss: logits must be (B, T, U + 1, V), and targets (B, U), got "
                f"{tuple(logits.shape)} and {tuple(targets.shape)}. After none of U targets, one, and so on: U + 1."
            )
        scores = logits.log_softmax(-1) if self.fused_log_softmax else logits
        tokens = logits.shape[-1]
        blank = whole("RNNTLoss", "blank", self.blank, -tokens, tokens - 1) % tokens
        which = targets.clamp(0, tokens - 1)[:, None, :, None]  # what is padded may be anything
        label = scores[:, :, :-1].gather(-1, which.expand(-1, logits.shape[1], -1, -1)).squeeze(-1)
        rnnt = RNNT(scores[..., blank], label, logit_lengths, target_lengths)
        if not traced():
            _check_targets(targets, rnnt.target_lengths, tokens, blank)
        return reduced(-log_partition(rnnt), self.reduction)


def _check_targets(targets: Tensor, lengths: Tensor | None, tokens: int, blank: int) -> None:
    wrong = (targets < 0) | (targets >= tokens) | (targets == blank)
    used = until(lengths, targets.shape[-1])
    wrong = wrong if used is None else wrong & used
    if wrong.any():
        raise StructureError(
            f"RNNTLoss: targets must be among the {tokens} tokens of logits, and no target the blank, got "
            f"blank={blank} and a target of {int(targets[wrong][0])}. Pass target_lengths where targets are padded.",
            see="targets",
        )
