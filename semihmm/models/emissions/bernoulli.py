"""Features that are there or not."""

import torch
from torch import Tensor

from semihmm.models.emissions.independent import ExponentialFamily
from semihmm.models.table import Table


class Bernoulli(ExponentialFamily):
    """Each state has a probability for each feature to be 1: independent yes-or-no features.

    Args:
        states: S.
        features: F.
        pseudo_count: what EM adds to the count of each value, 0 and 1: a symmetric Beta(1 + pseudo_count) prior.

    Observations are 0 or 1, ``(..., T, F)``. The probabilities of 0 and of 1 are ``table().exp()``, ``(S, F, 2)``.
    ``log p(x) = x log p + (1 - x) log(1 - p)``, summed over features.

    Example:
        >>> emission = Bernoulli(states=1, features=2)
        >>> emission.update(torch.tensor([[1, 1], [0, 1]]), torch.ones(2, 1))
        >>> emission(torch.tensor([[1, 1], [1, 0]])).exp().tolist()
        [[0.5], [0.0]]
    """

    support = "0 or 1"

    def __init__(self, states: int, features: int, pseudo_count: float = 0.0) -> None:
        super().__init__(states, features)
        rows = torch.arange(states * features).reshape(states, features, 1)
        self.table = Table(rows.expand(-1, -1, 2), pseudo_count=pseudo_count)
        self.table.initialise()

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "features": self.event_shape[0],
            "pseudo_count": self.table.pseudo_count,
        }

    def inside(self, x: Tensor) -> Tensor:
        return (x == 0) | (x == 1)

    def sufficient(self, x: Tensor) -> dict[str, Tensor]:
        return {"zeros": 1 - x, "ones": x}

    def natural(self) -> tuple[Tensor, Tensor]:
        log_prob: Tensor = self.table().double()
        return log_prob[..., 0], log_prob[..., 1]

    def log_normaliser(self) -> Tensor:
        return torch.zeros_like(self.table.logits[..., 0], dtype=torch.float64)

    def base(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        self.table.update(torch.stack([statistics["zeros"], statistics["ones"]], -1))

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return torch.bernoulli(self.table()[..., 1].exp()[states], generator=generator)

    @property
    def has_prior(self) -> bool:
        return self.table.has_prior

    def log_prior(self) -> Tensor:
        return self.table.log_prior()

    def expected(self) -> Tensor:
        found: Tensor = self.table()[..., 1].exp()
        return found

    def describe(self) -> dict[str, Tensor]:
        return {"probability": self.expected().detach()}
