"""States of different families."""

from collections.abc import Sequence

import torch
from torch import Tensor

from semihmm.errors import DataError, ShapeError
from semihmm.models.emissions.base import Emission
from semihmm.models.emissions.compound import Compound


class Mixed(Compound):
    """Each state has a family of its own: the states of several emissions, one after the other.

    Args:
        parts: emissions that take the same observations; an observation must be one that all of them take.

    Example:
        >>> emission = Mixed([Gaussian(1, features=2), StudentT(2, features=2)])
        >>> emission.states, emission(torch.zeros(5, 2)).shape
        (3, torch.Size([5, 3]))
    """

    def __init__(self, parts: Sequence[Emission]) -> None:
        super().__init__(parts)
        shapes = {part.event_shape for part in parts}
        self.sizes = [part.states or 0 for part in parts]
        if len(shapes) != 1 or 0 in self.sizes:
            raise ShapeError(
                "Mixed: parts must have states, and one event shape; got states "
                f"{[part.states for part in parts]} and event shapes {[part.event_shape for part in parts]}."
            )
        self.states, self.event_shape = sum(self.sizes), shapes.pop()
        self.filler = self._in_common()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.each()], -1)

    def update(self, x: Tensor, posterior: Tensor) -> None:
        for part, share in zip(self.each(), posterior.split(self.sizes, -1), strict=True):
            part.update(x, share)

    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        flat, first = states.flatten(), 0
        where, drawn = [], []
        for part, size in zip(self.each(), self.sizes, strict=True):
            mine = ((flat >= first) & (flat < first + size)).nonzero().squeeze(-1)
            where.append(mine)
            drawn.append(part.sample(flat[mine] - first, generator))
            first += size
        x = torch.cat(drawn)[torch.cat(where).argsort()]
        return x.reshape(*states.shape, *x.shape[1:])

    def _in_common(self) -> float | Tensor:
        """The first filler of a part that all parts take."""
        shape = (1, *(size or 1 for size in self.event_shape))
        for part in self.each():
            try:
                self(torch.as_tensor(part.filler).expand(shape))
            except DataError:
                continue
            return part.filler
        names = " and ".join(type(part).__name__ for part in self.each())
        raise ShapeError(f"Mixed: parts must take the same observations, which {names} do not.")
