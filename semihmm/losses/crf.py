"""The loss of a conditional random field: of any structure, given an event of it or part of what it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from semihmm.engine.tracing import traced
from semihmm.errors import ShapeError, StructureError
from semihmm.inference import log_partition, log_prob
from semihmm.losses.reduction import Reduction, check_reduction, reduced
from semihmm.structures import Structure
from semihmm.structures.authoring import tensor_of, until


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
        Raises:
            ShapeError: the truth is of another batch, or of other steps.
            StructureError: an event with a state or a token that there is not.
        """
        if not isinstance(structure, Structure):
            raise StructureError(f"CRFLoss: it takes a structure, such as semihmm.HMM, got {type(structure).__name__}.")
        if isinstance(truth, Structure):
            _check_alike(structure, truth)
            right = log_partition(truth)
            loss = torch.where(right == -torch.inf, torch.inf, log_partition(structure) - right)
        else:
            loss = -log_prob(structure, truth)
            if not traced():
                _check_states(structure, tensor_of("CRFLoss", "truth", truth, loss.device))
        return reduced(loss, self.reduction)


def _check_alike(structure: Structure, truth: Structure) -> None:
    ours, its = ((*map(tuple, (x.batch_shape, x.event_shape or ())),) for x in (structure, truth))
    if ours != its:
        raise ShapeError(
            f"CRFLoss: the truth must have some of the structure's own paths, so its batch and its events, {ours}, got "
            f"{its}. Make it of the structure, by semihmm.condition or semihmm.constrain."
        )


def _check_states(structure: Structure, event: Tensor) -> None:
    """Refuse what is said of steps in use and is none of the labels; other events are no such sequences."""
    try:
        said, alphabet = structure.state_sequence(event), structure.labels().alphabet
    except StructureError:
        return
    used = until(structure.lengths, said.shape[-1])
    wrong = (said < -1) | (said >= alphabet)
    wrong = wrong if used is None else wrong & used
    if wrong.any():
        raise StructureError(
            f"CRFLoss: an event of this {type(structure).__name__} says what is from 0 to {alphabet - 1}, got "
            f"{int(said[wrong][0])}."
        )
