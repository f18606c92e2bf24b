"""Several symbols in one step, counted."""

import torch
from torch import Tensor

from semihmm.engine.tracing import traced
from semihmm.errors import DataError
from semihmm.models.emissions.independent import ExponentialFamily, counted, log_factorial
from semihmm.models.table import Table


class Multinomial(ExponentialFamily):
    """Each state has a distribution over symbols 0 to V - 1, from which a step draws several: bags of words.

    Args:
        states: S.
        symbols: V.
        trials: how many symbols `sample` draws in each step; observations may have any total.
        pseudo_count: what EM adds to the count of each symbol in each state.

    Observations are counts of symbols ``(..., T, V)``, all NaN for a step that is missing. The probabilities are
    ``table().exp()``, ``(S, V)``.
    ``log p(x) = log n! + sum_v (x_v log p_v - log x_v!)`` where n is the total of x.

    Example:
        >>> emission = Multinomial(states=1, symbols=3)
        >>> emission.update(torch.tensor([[2, 1, 0], [0, 1, 0]]), torch.ones(2, 1))
        >>> emission(torch.tensor([[1, 1, 0], [0, 0, 1]])).exp().tolist()
        [[0.5], [0.0]]
    """

    support = "counts"

    def __init__(self, states: int, symbols: int, trials: int = 1, pseudo_count: float = 0.0) -> None:
        super().__init__(states, symbols)
        self.trials = trials
        self.table = Table.rows(states, symbols, pseudo_count)
        self.table.initialise()

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "symbols": self.event_shape[0],
            "trials": self.trials,
            "pseudo_count": self.table.pseudo_count,
        }

    def filled(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        x, there = super().filled(x)
        if there is not None and not traced() and bool((there.any(-1) & ~there.all(-1)).any()):
            raise DataError(
                "Multinomial: all counts of a step must be missing, or none: without their total, some do not say how "
                "likely it is. Make the whole row NaN, or fill it in."
            )
        return x, there

    def inside(self, x: Tensor) -> Tensor:
        return counted(x)

    def chart(self, x: Tensor) -> Tensor:
        return (x / x.sum(-1, keepdim=True).clamp(min=1.0)).sqrt()

    def sufficient(self, x: Tensor) -> dict[str, Tensor]:
        return {"counts": x}

    def natural(self) -> tuple[Tensor]:
        return (self.table().double(),)

    def log_normaliser(self) -> Tensor:
        return torch.zeros_like(self.table.logits, dtype=torch.float64)

    def base(self, x: Tensor) -> Tensor:
        orders = log_factorial(x.sum(-1, keepdim=True)) / x.shape[-1]  # of n symbols; spread over the features
        return orders - log_factorial(x)

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        self.table.update(statistics["counts"])

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        chance = self.table().exp()[states.flatten()]
        drawn = torch.multinomial(chance, self.trials, replacement=True, generator=generator)
        counts = torch.zeros_like(chance).scatter_add(-1, drawn, torch.ones_like(drawn, dtype=chance.dtype))
        return counts.reshape(*states.shape, -1)

    @property
    def has_prior(self) -> bool:
        return self.table.has_prior

    def log_prior(self) -> Tensor:
        return self.table.log_prior()

    def expected(self) -> Tensor:
        """Of `trials` symbols."""
        found: Tensor = self.trials * self.table().exp()
        return found

    def describe(self) -> dict[str, Tensor]:
        return {"probability": self.table().detach().exp()}
