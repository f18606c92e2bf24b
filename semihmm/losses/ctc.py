"""The CTC loss as a module: PyTorch's interface, and what the literature adds to the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from semihmm._numbers import check_flag, check_real, check_values, whole
from semihmm.engine.maps.form import as_index
from semihmm.errors import SemihmmError, ShapeError
from semihmm.inference import entropy, log_partition
from semihmm.losses.certain import certain
from semihmm.losses.prior import LabelPrior
from semihmm.losses.reduction import Reduction, check_reduction, reduced
from semihmm.structures import CTC
from semihmm.structures.authoring import given, tensor_of, until
from semihmm.structures.ctc import frames_needed

Targets = Tensor | Sequence[Any]  # numbers, in lists or lists of lists too
Lengths = Tensor | Sequence[int] | int | None


class CTCLoss(nn.Module):
    """``-log P(targets)`` by connectionist temporal classification: what `torch.nn.CTCLoss` is, and more.

    The first three arguments, `forward`'s, and the defaults are those of `torch.nn.CTCLoss`, time first included.

    Args:
        blank: which token is the blank.
        reduction: ``"mean"`` divides each loss by its number of targets, then takes the mean; ``"sum"``; ``"none"``.
        zero_infinity: whether targets that cannot be aligned have loss 0, not inf. Their gradient is 0 anyway.
        batch_first: whether ``log_probs`` is ``(B, T, V)``, as all of semihmm has it, not ``(T, B, V)``.
        label_smoothing: the share e of a second loss, in ``(1 - e) CTC + e sum_t KL(p_t, uniform)``: it draws the
            outputs ``p_t`` of the frames, normalised, towards the largest entropy (Kim et al. 2018).
        path_entropy: the weight of the entropy of the alignments given the targets, which is taken off the loss, so
            that it is not one peaky alignment that is learnt (Liu et al. 2018).
        focal: g in ``(1 - P)^g CTC``, so that what is learnt already counts less (Lin et al. 2017; Feng et al. 2019).
            For normalised log-probabilities.
        prior: taken off ``log_probs`` before all else; in training it sees them.

    Gradients are the loss's own, also where frames are not normalised: -1 times the posterior of each token. PyTorch's
    is that of scores behind a log_softmax; through one, both are equal. They can be differentiated again.

    The loss of normalised frames is never negative. Where it is next to 0, it keeps a relative accuracy of some 1e-4 in
    float32, as far as its log-probabilities have it; under `torch.compile` and `torch.func`, just an absolute one.
    Nothing is ever NaN, whatever stands behind the ends.

    Example:
        >>> log_probs = torch.zeros(3, 1, 4).log_softmax(-1)  # three frames, one sequence, four tokens
        >>> loss = CTCLoss()(log_probs, torch.tensor([[1, 2]]), [3], [2])
        >>> round(float(loss), 4)  # log(4 ** 3 / 5) / 2: five of the alignments are right, and there are two targets
        1.2747

    References:
        Graves et al. (2006), "Connectionist temporal classification".
        Kim et al. (2018), "Improved training for online end-to-end speech recognition systems".
        Liu, Jin, Zhang (2018), "Connectionist temporal classification with maximum entropy regularization".
        Feng, Yao, Zhang (2019), "Focal CTC loss for Chinese optical character recognition on unbalanced datasets".
    """

    def __init__(
        self,
        blank: int = 0,
        reduction: Reduction = "mean",
        zero_infinity: bool = False,
        *,
        batch_first: bool = False,
        label_smoothing: float = 0.0,
        path_entropy: float = 0.0,
        focal: float = 0.0,
        prior: LabelPrior | None = None,
    ) -> None:
        super().__init__()
        whole("CTCLoss", "blank", blank)
        check_reduction("CTCLoss", reduction)
        check_flag("CTCLoss", "zero_infinity", zero_infinity)
        check_flag("CTCLoss", "batch_first", batch_first)
        added = {"label_smoothing": label_smoothing, "path_entropy": path_entropy, "focal": focal}
        for name, value in added.items():
            check_real("CTCLoss", name, value)
        if prior is not None and not isinstance(prior, LabelPrior):
            raise SemihmmError(f"CTCLoss: prior must be a LabelPrior, got {prior!r}. Pass LabelPrior(tokens).")
        if not 0 <= label_smoothing < 1 or path_entropy < 0 or focal < 0:
            raise SemihmmError(
                "CTCLoss: label_smoothing must lie in [0, 1), path_entropy and focal must be 0 or more, got "
                f"{label_smoothing}, {path_entropy}, {focal}."
            )
        if focal and prior is not None:
            raise SemihmmError(
                "CTCLoss: focal weighs by P, and scores less a prior are no probabilities. Give one of them."
            )
        self.blank, self.reduction, self.zero_infinity, self.batch_first = blank, reduction, zero_infinity, batch_first
        self.label_smoothing, self.path_entropy, self.focal = float(label_smoothing), float(path_entropy), float(focal)
        self.prior = prior

    def extra_repr(self) -> str:
        return f"blank={self.blank}, reduction={self.reduction!r}, batch_first={self.batch_first}"

    def forward(
        self, log_probs: Tensor, targets: Targets, input_lengths: Lengths = None, target_lengths: Lengths = None
    ) -> Tensor:
        """The loss.

        Args:
            log_probs: ``(T, B, V)``, or ``(T, V)`` of one sequence; with ``batch_first``, ``(B, T, V)``.
            targets: ``(B, U)``, ``(U,)`` of one sequence; or those of all sequences one after the other. A tensor, or
                numbers in lists.
            input_lengths: frames in use, ``(B,)``; None for T.
            target_lengths: targets in use, ``(B,)``; None for U.
        """
        ctc, single = self.structure(log_probs, targets, input_lengths, target_lengths)
        return self.reduce(self.losses(ctc), ctc, single)

    def losses(self, ctc: CTC) -> Tensor:
        """The loss of each sequence of a batch, ``(B,)``."""
        heard = ctc
        if self.prior is not None:
            ctc = ctc.replace(emission=self.prior(ctc.emission))
        total = log_partition(ctc)
        if self.prior is not None and self.training:  # after a batch that is refused, nothing has been seen
            self.prior.observe(heard.emission, heard.input_lengths)
        feasible = total > -torch.inf
        loss = torch.where(feasible, certain(ctc, -total), 0.0)
        if self.focal:
            some = loss > 0  # a power's derivative at 0 may be infinite
            loss = torch.where(some, (-torch.expm1(-torch.where(some, loss, 1.0))) ** self.focal * loss, 0.0)
        if self.path_entropy:
            loss = loss - self.path_entropy * torch.where(feasible, entropy(ctc), 0.0).to(loss)
        if self.label_smoothing:
            loss = torch.lerp(loss, divergence_from_uniform(ctc), self.label_smoothing)
        return torch.where(feasible, loss, 0.0 if self.zero_infinity else torch.inf)

    def reduce(self, loss: Tensor, ctc: CTC, single: bool) -> Tensor:
        """The losses of a batch, reduced."""
        if single and self.reduction == "none":
            return loss.squeeze(0)
        return reduced(loss, self.reduction, given(ctc.target_lengths, ctc.targets.shape[-1], loss))

    def structure(
        self, log_probs: Tensor, targets: Targets, input_lengths: Lengths = None, target_lengths: Lengths = None
    ) -> tuple[CTC, bool]:
        """What `forward` takes as a `semihmm.CTC` of a batch, and whether it was one sequence without a batch axis."""
        check_values("CTCLoss", "log_probs", log_probs)
        targets = _targets(targets, log_probs.device)
        if log_probs.ndim not in (2, 3):
            shape = "(B, T, V)" if self.batch_first else "(T, B, V)"
            raise ShapeError(
                f"CTCLoss: log_probs must be {shape}, or (T, V) of one sequence, got {tuple(log_probs.shape)}."
            )
        single = log_probs.ndim == 2
        if single:
            emission, targets = log_probs.unsqueeze(0), targets.reshape(1, -1)
        else:
            emission = log_probs if self.batch_first else log_probs.transpose(0, 1)
        batch = emission.shape[0]
        inputs, counts = (_lengths(x, emission.device) for x in (input_lengths, target_lengths))
        for name, lengths in (("input_lengths", inputs), ("target_lengths", counts)):
            if lengths is not None and lengths.shape != (batch,):
                hint = "" if self.batch_first else " Is the batch first in log_probs? Pass batch_first=True."
                raise ShapeError(
                    f"CTCLoss: log_probs are {tuple(log_probs.shape)}, so {name} must be one for each of {batch} "
                    f"sequences, got {tuple(lengths.shape)}.{hint}"
                )
        targets = targets.to(emission.device)
        if targets.ndim == 1:
            targets = _apart(targets, counts, batch)
        return CTC(emission, targets, inputs, counts, self.blank), single

    def feasible(self, targets: Targets, input_lengths: Lengths = None, target_lengths: Lengths = None) -> Tensor:
        """Whether a sequence has the frames that its targets need: one each, and a blank between equal neighbours.

        Example:
            >>> CTCLoss().feasible(torch.tensor([[1, 1, 2], [1, 3, 2]]), [3, 3])
            tensor([False,  True])
        """
        targets = _targets(targets)
        counts, inputs = (_lengths(x, targets.device) for x in (target_lengths, input_lengths))
        if targets.ndim == 1 and counts is not None:
            targets = _apart(targets, counts, len(counts))
        batch = targets.shape[:-1].numel()
        for name, lengths in (("input_lengths", inputs), ("target_lengths", counts)):
            if lengths is not None and lengths.numel() not in (1, batch):
                raise ShapeError(
                    f"CTCLoss: {name} must be one for each of {batch} sequences, got {tuple(lengths.shape)}."
                )
        if inputs is None:
            return torch.ones(targets.shape[:1], dtype=torch.bool, device=targets.device)
        return frames_needed(targets, counts) <= inputs


def divergence_from_uniform(ctc: CTC) -> Tensor:
    """``sum_t KL(p_t, uniform)`` over the frames in use: their normalised weights p_t, and the same for all tokens.

    Example:
        >>> divergence_from_uniform(semihmm.CTC(torch.tensor([[0.0, -torch.inf]]), torch.tensor([1])))  # log 2
        tensor(0.6931)
    """
    x, used = ctc.emission, until(ctc.input_lengths, ctc.emission.shape[-2], 2)
    x = (x if used is None else torch.where(used, x, 0.0)).log_softmax(-1)
    some = x > -torch.inf
    x = torch.where(some, x, 0.0)
    negative_entropy = torch.where(some, x.exp() * x, 0.0).sum(-1)
    return (negative_entropy + math.log(x.shape[-1])).sum(-1)


def _lengths(lengths: Any, device: torch.device) -> Tensor | None:
    if lengths is None:
        return None
    found = tensor_of("CTCLoss", "lengths", lengths, device)
    check_values("CTCLoss", "lengths", found)
    found = found if found.numel() or isinstance(lengths, Tensor) else found.long()
    found = as_index("CTCLoss", "lengths", found.to(device))
    return found if found.ndim else found.reshape(1)


def _targets(targets: Targets, device: torch.device | None = None) -> Tensor:
    found = tensor_of("CTCLoss", "targets", targets, device)
    check_values("CTCLoss", "targets", found)
    found = found if found.numel() or isinstance(targets, Tensor) else found.long()  # a list of nothing
    if not found.ndim:
        raise ShapeError(f"CTCLoss: targets must be (B, U), or (U,) of one sequence, got the number {targets!r}.")
    return as_index("CTCLoss", "targets", found.to(device))


def _apart(targets: Tensor, counts: Tensor | None, batch: int) -> Tensor:
    """Targets that lie one after the other, as ``(B, U)``."""
    if counts is None or len(counts) != batch or int(counts.sum()) != len(targets):
        came = "no target_lengths" if counts is None else f"target_lengths that add up to {int(counts.sum())}"
        raise ShapeError(
            f"CTCLoss: targets of all {batch} sequences in one axis need the length of each, and there are "
            f"{len(targets)}, got {came}. Or pad them, to ({batch}, U)."
        )
    return pad_sequence(list(targets.split(counts.tolist())), batch_first=True)
