"""From pytorch-crf (0.7)."""

from typing import Any

from torch import Tensor


def from_pytorch_crf(crf: Any) -> dict[str, Tensor]:
    """The potentials that a ``torchcrf.CRF`` gives a `semihmm.HMM`; they are its parameters, so gradients reach those.

    Args:
        crf: has ``start_transitions``, ``transitions`` and ``end_transitions``.
    Returns:
        ``initial``, ``transition`` and ``final``; the emissions that ``crf`` was called with are ``emission``.

    Batches come first whatever ``crf.batch_first`` is, and a mask is ``lengths``, its sum. With
    ``hmm = semihmm.HMM(emission=emissions, lengths=lengths, **from_pytorch_crf(crf))``, what was
    ``crf(emissions, tags, mask, reduction="none")`` is ``semihmm.log_prob(hmm, tags)``, and ``crf.decode(emissions,
    mask)`` is ``semihmm.viterbi(hmm).states``.

    Example:
        >>> from types import SimpleNamespace  # in place of torchcrf.CRF(2)
        >>> weights = {"start_transitions": torch.zeros(2), "end_transitions": torch.zeros(2)}
        >>> crf = SimpleNamespace(transitions=torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), **weights)
        >>> emission = torch.tensor([[2.0, 0.0], [0.0, 0.5], [1.0, 0.0]])
        >>> semihmm.viterbi(semihmm.HMM(emission=emission, **from_pytorch_crf(crf))).states
        tensor([0, 0, 0])
    """
    return {"initial": crf.start_transitions, "transition": crf.transitions, "final": crf.end_transitions}
