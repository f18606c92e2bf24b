"""Symbols out of a finite alphabet."""

import torch
from torch import Tensor

from semihmm.engine.tracing import traced
from semihmm.errors import DataError
from semihmm.models.emissions.base import Emission
from semihmm.models.table import Table


class Categorical(Emission):
    """Each state has a distribution over symbols 0 to V - 1.

    Args:
        states: S.
        symbols: V.
        pseudo_count: what EM adds to the count of each symbol in each state.

    Observations are integers ``(..., T)``. EM step: Rabiner (1989), eq. 40c.

    Example:
        >>> emission = Categorical(states=2, symbols=3)
        >>> emission.update(torch.tensor([0, 1, 2]), torch.tensor([[1., 0.], [1., 0.], [0., 1.]]))
        >>> emission(torch.tensor([1, 2])).exp().tolist()
        [[0.5, 0.0], [0.0, 1.0]]
    """

    apart = True

    def __init__(self, states: int, symbols: int, pseudo_count: float = 0.0) -> None:
        super().__init__()
        self.states, self.symbols, self.event_shape = states, symbols, ()
        self.table = Table.rows(states, symbols, pseudo_count)
        self.table.initialise()

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, "symbols": self.symbols, "pseudo_count": self.table.pseudo_count}

    def forward(self, x: Tensor) -> Tensor:
        if x.is_floating_point() or (not traced() and bool(((x < 0) | (x >= self.symbols)).any())):
            got = x.dtype if x.is_floating_point() else f"{int(x.min())} to {int(x.max())}"
            raise DataError(f"Categorical: symbols must be integers from 0 to {self.symbols - 1}, got {got}.")
        log_prob: Tensor = self.table()
        return log_prob.T[x]

    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Near uniform."""
        self.table.initialise(generator)

    def update(self, x: Tensor, posterior: Tensor) -> None:
        counts = posterior.new_zeros(self.symbols, posterior.shape[-1]).index_add(0, x, posterior)
        self.table.update(counts.T)

    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        chance = self.table().detach().exp()[states.flatten()]
        return torch.multinomial(chance, 1, generator=generator).reshape(states.shape)

    def log_prior(self) -> Tensor:
        return self.table.log_prior()
