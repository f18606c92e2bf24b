"""From pytorch-crf (0.7)."""

from typing import Any

from torch import nn

from semihmm.models.emissions import Neural
from semihmm.models.moving.weighted import WeightedHMM


def from_pytorch_crf(crf: Any, net: nn.Module | None = None) -> WeightedHMM:
    """A conditional random field with the weights of a ``torchcrf.CRF``, in its dtype.

    Args:
        crf: has ``start_transitions``, ``transitions`` and ``end_transitions``.
        net: from observations ``(B, T, ...)`` to scores ``(B, T, S)``, as the one that gave ``crf`` its emissions; None
            where ``x`` is those scores.

    Batches come first whatever ``crf.batch_first`` is, and a mask is ``lengths``, its sum. Where you wrote
    ``crf(emissions, tags, mask, reduction="none")``, write ``semihmm.log_prob(model(emissions, lengths), tags)``; for
    ``crf.decode(emissions, mask)``, ``model.predict(emissions, lengths)``.

    Example:
        >>> from types import SimpleNamespace  # in place of torchcrf.CRF(2)
        >>> weights = {"start_transitions": torch.zeros(2), "end_transitions": torch.zeros(2)}
        >>> crf = SimpleNamespace(transitions=torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), **weights)
        >>> from_pytorch_crf(crf).predict(torch.tensor([[2.0, 0.0], [0.0, 0.5], [1.0, 0.0]]))
        tensor([0, 0, 0])
    """
    weights = {"initial": crf.start_transitions, "transition": crf.transitions, "final": crf.end_transitions}
    states = len(crf.start_transitions)
    model = WeightedHMM(states, Neural(nn.Identity(), (states,)) if net is None else Neural(net))
    for name, law in model.laws.items():
        law.log_weight = nn.Parameter(weights[name].detach().clone())
    return model
