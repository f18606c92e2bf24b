"""Features of different families."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from semihmm.engine.tracing import traced
from semihmm.errors import DataError, ShapeError
from semihmm.models.emissions.base import Emission
from semihmm.models.emissions.compound import Compound, drawn, width


class Product(Compound):
    """Features of several families, independent of one another given the state.

    Args:
        parts: emissions with the same states. The first takes the first columns of an observation, as many as it has
            features, the second those that follow; one that takes symbols takes one column, of whole numbers.

    Observations are ``(..., T, F)`` where F is how many columns all take together. Log-likelihoods are added. Parts
    that take inputs take the same ones.

    Example:
        >>> emission = Product([Gaussian(2, features=3), Categorical(2, symbols=4)])
        >>> emission(torch.tensor([[0.5, 0.5, 0.5, 3.0]])).shape
        torch.Size([1, 2])
    """

    def __init__(self, parts: Sequence[Emission]) -> None:
        super().__init__(parts)
        states = {part.states for part in parts} - {None}  # a network takes any
        self.sizes = [_columns(part) for part in parts]
        if len(states) != 1 or 0 in self.sizes:
            raise ShapeError(
                "Product: parts must have the same states, and one axis of features or none; got states "
                f"{[part.states for part in parts]} and event shapes {[part.event_shape for part in parts]}."
            )
        self.states, self.event_shape = states.pop(), (sum(self.sizes),)
        self.apart = all(part.apart for part in parts)
        self.take_inputs()
        self.order = max(part.order for part in parts)
        self.widths = [width(part, size) or 1 for part, size in zip(parts, self.sizes, strict=True)]
        fillers = [torch.as_tensor(part.filler).expand(size) for part, size in zip(parts, self.sizes, strict=True)]
        self.filler = torch.cat(fillers)

    def repeated(self, count: int) -> Product | None:
        parts = [part.repeated(count) for part in self.each()]
        emissions = [part for part in parts if isinstance(part, Emission)]
        return Product(emissions) if len(emissions) == len(parts) else None

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([part(columns).to(self.dtype) for part, columns in self._split(x)]).sum(0)

    @property
    def own(self) -> list[nn.Parameter]:
        return [parameter for part in self.each() for parameter in part.own]

    def begin(self, x: Tensor, generator: torch.Generator | None) -> None:
        for part, columns in self._split(x):
            part.initialise(columns, generator)

    def shares(self, x: Tensor, posterior: Tensor) -> Iterator[tuple[Emission, Tensor, Tensor]]:
        for part, columns in self._split(x):
            yield part, columns, posterior

    def observed(self, x: Tensor, inputs: Tensor | None = None) -> Tensor:
        if self.widths == self.sizes:
            return x
        found = []
        for part, columns in zip(self.each(), x.split(self.sizes, -1), strict=True):
            own = columns if part.event_shape else _symbols(columns.squeeze(-1))
            seen = part.observed(own, inputs if part.inputs else None)
            found.append(_real(seen if seen.ndim == x.ndim else seen.unsqueeze(-1), x, self.dtype))
        return torch.cat(found, -1)

    def sample(self, states: Tensor, generator: torch.Generator | None = None, inputs: Tensor | None = None) -> Tensor:
        each = [drawn(part, states, generator, inputs).reshape(*states.shape, -1) for part in self.each()]
        return torch.cat([x.to(self.dtype) for x in each], -1)

    def complete(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self._joined(x, [part.complete(columns, states, generator) for part, columns in self._split(x)])

    def expected(self) -> Tensor:
        return torch.cat([part.expected() for part in self.each()], -1)

    def fill(self, x: Tensor, posterior: Tensor) -> Tensor:
        return self._joined(x, [part.fill(columns, posterior) for part, columns in self._split(x)])

    def describe(self) -> dict[str, Tensor]:
        """What each part says, behind its number and a dot."""
        parts = enumerate(self.each())
        return {f"{number}.{name}": value for number, part in parts for name, value in part.describe().items()}

    @staticmethod
    def _joined(x: Tensor, parts: list[Tensor]) -> Tensor:
        return torch.cat([part.reshape(*x.shape[:-1], -1).to(x.dtype) for part in parts], -1)

    def _split(self, x: Tensor) -> Iterator[tuple[Emission, Tensor]]:
        for part, columns in zip(self.each(), x.split(self.widths, -1), strict=True):
            yield part, columns if part.event_shape or part.inputs else _symbols(columns.squeeze(-1))


def _columns(part: Emission) -> int:
    """How many columns a part takes; 0 if that cannot be told."""
    return (part.event_shape[0] or 0) if len(part.event_shape) == 1 else int(not part.event_shape)


def _symbols(x: Tensor) -> Tensor:
    found = torch.where(x.isnan(), -1, x).long() if x.is_floating_point() else x.long()
    if not traced() and bool(((found != x) & ~x.isnan()).any()):
        raise DataError(f"Product: symbols must be whole numbers, got {x[(found != x) & ~x.isnan()][0].item()}.")
    return found


def _real(seen: Tensor, x: Tensor, dtype: torch.dtype) -> Tensor:
    """Symbols beside real numbers: NaN where they are missing."""
    dtype = x.dtype if x.is_floating_point() else dtype
    return seen.to(dtype) if seen.is_floating_point() else torch.where(seen < 0, torch.nan, seen.to(dtype))
