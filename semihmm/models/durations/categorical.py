"""Any distribution over 1 to D steps."""

import torch
from torch import Tensor

from semihmm.models.durations.base import Duration, check_support
from semihmm.models.table import Table


class Categorical(Duration):
    """Each state has a probability for each length from min_duration to D (Yu 2010, section 3).

    Args:
        states: S.
        max_duration: D.
        pseudo_count: what EM adds to the count of each length in each state.
        min_duration: the least number of steps.

    Example:
        >>> duration = Categorical(states=1, max_duration=4)
        >>> duration.update(torch.tensor([[1., 2., 1., 0.]]))
        >>> duration().exp().tolist()
        [[0.25, 0.5, 0.25, 0.0]]
    """

    apart = True

    def __init__(self, states: int, max_duration: int, pseudo_count: float = 0.0, min_duration: int = 1) -> None:
        super().__init__()
        check_support("Categorical", max_duration, min_duration)
        self.states, self.max_duration, self.min_duration = states, max_duration, min_duration
        state = torch.arange(states).unsqueeze(-1).expand(-1, max_duration)
        allowed = (torch.arange(max_duration) >= min_duration - 1).expand(states, -1)
        self.table = Table(state, allowed, pseudo_count)

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "max_duration": self.max_duration,
            "pseudo_count": self.table.pseudo_count,
            "min_duration": self.min_duration,
        }

    @property
    def free_parameters(self) -> int:
        return self.table.free_parameters

    def forward(self) -> Tensor:
        log_prob: Tensor = self.table()
        return log_prob

    def initialise(self, generator: torch.Generator | None = None) -> None:
        self.table.initialise(generator)

    def update(self, counts: Tensor) -> None:
        self.table.update(counts)

    @property
    def has_prior(self) -> bool:
        return self.table.has_prior

    def log_prior(self) -> Tensor:
        return self.table.log_prior()
