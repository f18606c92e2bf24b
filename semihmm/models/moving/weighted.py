"""Hidden Markov models whose weights are used as they are: not normalised, and final ones too."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from semihmm import structures
from semihmm.models.base import Model
from semihmm.models.emissions import Emission
from semihmm.models.part import Law, Part


class Weights(Law):
    """Log-weights of any sum. A gradient trains them; EM leaves them as they are."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.log_weight = nn.Parameter(torch.zeros(shape))

    def forward(self) -> Tensor:
        return self.log_weight

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """They start from what they are."""

    def update(self, counts: Tensor) -> None:
        """They have no closed form."""


class WeightedHMM(Model[structures.HMM]):
    """A hidden Markov model, or a conditional random field, with weights that need not be probabilities.

    Args:
        states: S.
        emission: how likely each observation is in each state.
        arcs: the only transitions, ``(source, target)``, int64 ``(A,)`` each; None for all.

    Parameters: ``initial.log_weight (S,)``, ``transition.log_weight``, ``(S, S)`` or ``(A,)``, and
    ``final.log_weight (S,)``, of the last state; 0 at first. `fit` by EM learns the emission alone, by gradient
    everything. ``model(x, lengths)`` is a `semihmm.HMM`.

    Example:
        >>> from semihmm.models import Neural
        >>> crf = WeightedHMM(3, Neural(torch.nn.Linear(5, 3)))
        >>> semihmm.log_prob(crf(torch.zeros(4, 5)), torch.tensor([0, 1, 2, 2])).shape
        torch.Size([])
    """

    def __init__(self, states: int, emission: Emission, *, arcs: Sequence[Sequence[int]] | None = None) -> None:
        super().__init__()
        self.states, self.emission, self.forward_only = states, emission, False  # weights say what leads where
        self.arcs = None if arcs is None else [list(ends) for ends in arcs]
        self.initial, self.final = Weights(states), Weights(states)
        self.transition = Weights(states, states) if self.arcs is None else Weights(len(self.arcs[0]))

    @property
    def laws(self) -> dict[str, Law]:
        return {"initial": self.initial, "transition": self.transition, "final": self.final}

    @property
    def parts(self) -> dict[str, Part]:
        return {"emission": self.emission}

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, "arcs": self.arcs}

    def structure(self, emission: Tensor, lengths: Tensor | None = None) -> structures.HMM:
        arcs = None if self.arcs is None else torch.tensor(self.arcs, device=emission.device)
        return structures.HMM(
            self.initial(),
            self.transition(),
            emission,
            final=self.final(),
            lengths=lengths,
            arcs=None if arcs is None else (arcs[0], arcs[1]),
        )
