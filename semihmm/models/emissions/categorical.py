"""Symbols out of a finite alphabet."""

import torch
from torch import Tensor

from semihmm.engine.tracing import traced
from semihmm.errors import DataError
from semihmm.models.emissions.base import Emission, missing
from semihmm.models.table import Table

_RARE = 1e-2  # of the mean probability: none is rarer at the start


class Categorical(Emission):
    """Each state has a distribution over symbols 0 to V - 1.

    Args:
        states: S.
        symbols: V.
        pseudo_count: what EM adds to the count of each symbol in each state.

    Observations are whole numbers ``(..., T)``, -1 or NaN where one is missing. EM step: Rabiner (1989), eq. 40c.

    Example:
        >>> emission = Categorical(states=2, symbols=3)
        >>> emission.update(torch.tensor([0, 1, 2]), torch.tensor([[1., 0.], [1., 0.], [0., 1.]]))
        >>> emission(torch.tensor([1, 2])).exp().tolist()
        [[0.5, 0.0], [0.0, 1.0]]
    """

    apart = True

    def __init__(self, states: int, symbols: int, pseudo_count: float = 0.0) -> None:
        super().__init__()
        self.states: int = states
        self.symbols, self.event_shape = symbols, ()
        self.table = Table.rows(states, symbols, pseudo_count)
        self.table.initialise()

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, "symbols": self.symbols, "pseudo_count": self.table.pseudo_count}

    def forward(self, x: Tensor) -> Tensor:
        x, whole = self._symbols(x)
        log_prob: Tensor = self.table().T
        return log_prob[x] if whole else torch.cat([log_prob, torch.zeros_like(log_prob[:1])])[x]  # -1: the last row

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Any distributions, each as likely as the other: states that are almost alike would part slowly."""
        if self.table.logits.requires_grad:
            self.table.logits.exponential_(generator=generator).clamp_(min=_RARE).log_()

    @torch.no_grad()
    def statistics(self, x: Tensor, posterior: Tensor) -> dict[str, Tensor]:
        (x, whole), posterior = self._symbols(x), posterior.double()
        x, posterior = (x, posterior) if whole else (x[x >= 0], posterior[x >= 0])
        return {"counts": posterior.new_zeros(self.symbols, self.states).index_add(0, x, posterior).T}

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        self.table.update(statistics["counts"])

    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        chance = self.table().detach().exp()[states.flatten()]
        return torch.multinomial(chance, 1, generator=generator).reshape(states.shape)

    @torch.no_grad()
    def fill(self, x: Tensor, posterior: Tensor) -> Tensor:
        """What is missing is the most probable symbol."""
        likely = (posterior.to(self.dtype) @ self.table().exp()).argmax(-1)
        return torch.where(missing(x), likely.to(x.dtype), x)

    def describe(self) -> dict[str, Tensor]:
        return {"probability": self.table().detach().exp()}

    @property
    def has_prior(self) -> bool:
        return self.table.has_prior

    def log_prior(self) -> Tensor:
        return self.table.log_prior()

    def _symbols(self, x: Tensor) -> tuple[Tensor, bool]:
        """As int64, -1 where one is missing, and whether none is, as far as can be told.

        Raises:
            DataError: something else.
        """
        found = (torch.where(x.isnan(), -1, x) if x.is_floating_point() else x).long()  # uint8 would be a mask
        if traced() or not x.numel():
            return found, not x.numel()
        low, high = (int(end) for end in found.aminmax())
        if low < -1 or high >= self.symbols or (x.is_floating_point() and bool(((found != x) & ~x.isnan()).any())):
            got = f"{float(x.nan_to_num(-1.0).min())} to" if x.is_floating_point() else f"{low} to"
            raise DataError(
                f"Categorical: symbols must be whole numbers from 0 to {self.symbols - 1}, or -1 or NaN for one that "
                f"is missing; got {got} {high}."
            )
        return found, low >= 0
