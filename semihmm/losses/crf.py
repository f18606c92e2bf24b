"""The loss of a conditional random field: of any structure, given an event of it or part of what it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semihmm.inference import log_partition, log_prob
from semihmm.losses.reduction import Reduction, check_reduction, reduced
from semihmm.structures import Structure


class CRFLoss(nn.Module):
    """``-log P(truth)`` under a structure of any kind: the loss of a conditional random field (Lafferty et al. 2001).

    Args:
        reduction: ``"mean"`` over the batch, ``"sum"``, ``"none"``.

    Example:
        >>> hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(1, 3, 2))
        >>> known = torch.tensor([[[True, False], [True, True], [True, True]]])  # the first state alone
        >>> loss = CRFLoss()
        >>> loss(hmm, torch.tensor([[0, 1, 1]])).exp(), loss(hmm, semihmm.condition(hmm, known)).exp()
        (tensor(8.), tensor(2.))
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_reduction("CRFLoss", reduction)
        self.reduction = reduction

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"

    def forward(self, structure: Structure, truth: Tensor | Structure) -> Tensor:
        """The loss; inf where the structure forbids the truth.

        Args:
            structure: whose log-weights are to be learnt.
            truth: an event of it ``(..., *event)``; or a structure whose paths, in number and weight, are some of its
                own: what `semihmm.condition` leaves of it, or `semihmm.constrain`.
        """
        if isinstance(truth, Structure):
            right = log_partition(truth)
            loss = torch.where(right == -torch.inf, torch.inf, log_partition(structure) - right)
        else:
            loss = -log_prob(structure, truth)
        return reduced(loss, self.reduction)
