"""What Product and Lexicographic share: the values of two semirings in one tensor."""

from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm._shapes import broadcast
from semihmm.errors import SemiringError
from semihmm.semirings.base import Components, Semiring


@dataclass(frozen=True)
class Pair(Semiring):
    """A value holds first's components, then second's, along one leading axis; `times` acts on each."""

    first: Semiring
    second: Semiring

    def __post_init__(self) -> None:
        names = [semiring.value_dtype or "that of the log-weights" for semiring in (self.first, self.second)]
        if names[0] != names[1]:
            raise SemiringError(
                f"{self}: one tensor holds the values of both, so they need one dtype; first has {names[0]}, "
                f"second has {names[1]}. To count in floating point use Real or Log on log-weights of 0."
            )

    @property
    def zero(self) -> tuple[float, ...]:
        return (*_parts(self.first.zero), *_parts(self.second.zero))

    @property
    def one(self) -> tuple[float, ...]:
        return (*_parts(self.first.one), *_parts(self.second.one))

    @property
    def value_dtype(self) -> torch.dtype | None:
        return self.first.value_dtype

    def split(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """A value of each."""
        size = len(_parts(self.first.zero))
        first = value[:size] if self.first.components else value[0]
        return first, value[size:] if self.second.components else value[size]

    def join(self, first: Tensor, second: Tensor) -> Tensor:
        """The opposite of `split`; axes other than the components broadcast."""
        first = self.first.whole(first) if self.first.components else first.unsqueeze(0)
        second = self.second.whole(second) if self.second.components else second.unsqueeze(0)
        batch = broadcast(first.shape[1:], second.shape[1:])
        return torch.cat([first.expand(-1, *batch), second.expand(-1, *batch)])

    def lower(self, value: Tensor) -> Tensor:
        """Both answers, stacked along the leading axis: first's, then second's."""
        first, second = self.split(value)
        answers = (self.first.lower(first), self.second.lower(second))
        return torch.cat([answer.unsqueeze(0) if answer.dim() < value.dim() else answer for answer in answers])

    def times(self, a: Tensor, b: Tensor) -> Tensor:
        (first_a, second_a), (first_b, second_b) = self.split(a), self.split(b)
        return self.join(self.first.times(first_a, first_b), self.second.times(second_a, second_b))


def _parts(components: Components) -> tuple[float, ...]:
    return components if isinstance(components, tuple) else (components,)
