"""Any distribution over 1 to D steps."""

import torch
from torch import Tensor

from semihmm.models.durations.base import Duration
from semihmm.models.table import Table


class Categorical(Duration):
    """Each state has a probability for each length from 1 to D (Yu 2010, section 3).

    Args:
        states: S.
        max_duration: D.
        pseudo_count: what EM adds to the count of each length in each state.

    Example:
        >>> duration = Categorical(states=1, max_duration=4)
        >>> duration.update(torch.tensor([[1., 2., 1., 0.]]))
        >>> duration().exp().tolist()
        [[0.25, 0.5, 0.25, 0.0]]
    """

    def __init__(self, states: int, max_duration: int, pseudo_count: float = 0.0) -> None:
        super().__init__()
        self.states, self.max_duration = states, max_duration
        self.table = Table.rows(states, max_duration, pseudo_count)

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "max_duration": self.max_duration,
            "pseudo_count": self.table.pseudo_count,
        }

    def forward(self) -> Tensor:
        log_prob: Tensor = self.table()
        return log_prob

    def initialise(self, generator: torch.Generator | None = None) -> None:
        self.table.initialise(generator)

    def update(self, counts: Tensor) -> None:
        self.table.update(counts)

    def log_prior(self) -> Tensor:
        return self.table.log_prior()
