"""From pytorch-crf (0.7)."""

from typing import Any

from torch import nn

from semihmm.models.crf import LinearChainCRF


def from_pytorch_crf(crf: Any) -> LinearChainCRF:
    """A conditional random field with the weights of a ``torchcrf.CRF``, in its dtype.

    Args:
        crf: has ``start_transitions``, ``transitions`` and ``end_transitions``, which are copied.

    Batches come first whatever ``crf.batch_first`` is, and a mask is ``lengths``, its sum.

    Example:
        >>> from types import SimpleNamespace  # in place of torchcrf.CRF(2)
        >>> weights = {"start_transitions": torch.zeros(2), "end_transitions": torch.zeros(2)}
        >>> crf = SimpleNamespace(transitions=torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), **weights)
        >>> from_pytorch_crf(crf).predict(torch.tensor([[2.0, 0.0], [0.0, 0.5], [1.0, 0.0]]))
        tensor([0, 0, 0])
    """
    found = LinearChainCRF(len(crf.start_transitions))
    weights = {"initial": crf.start_transitions, "transition": crf.transitions, "final": crf.end_transitions}
    for name, value in weights.items():
        setattr(found, name, nn.Parameter(value.detach().clone()))
    return found
