"""Emissions made of emissions."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.models.emissions.base import Emission
from semihmm.models.emissions.learning import first_posterior


class Compound(Emission):
    """What the emissions made of emissions share. They train by EM if all of their parts do."""

    def __init__(self, parts: Sequence[Emission]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.trains_by_em = all(part.trains_by_em for part in parts)

    def take_inputs(self) -> None:
        """Take the inputs that the parts do."""
        sizes = {part.inputs for part in self.each()} - {0}
        if len(sizes) > 1:
            raise ShapeError(f"{type(self).__name__}: parts that take inputs must take as many, got {sorted(sizes)}.")
        self.inputs = sizes.pop() if sizes else 0

    @abstractmethod
    def shares(self, x: Tensor, posterior: Tensor) -> Iterator[tuple[Emission, Tensor, Tensor]]:
        """Each part, with its observations and the posterior of its states."""

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        for part, own, share in self.shares(x, posterior):
            part.update(own, share)

    @torch.no_grad()
    def statistics(self, x: Tensor, posterior: Tensor) -> dict[str, Tensor]:
        """Those of each part, behind its number and a dot."""
        return {
            f"{number}.{name}": value
            for number, (part, own, share) in enumerate(self.shares(x, posterior))
            for name, value in part.statistics(own, share).items()
        }

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        for number, part in enumerate(self.each()):
            begin = f"{number}."
            part.maximise({n.removeprefix(begin): value for n, value in statistics.items() if n.startswith(begin)})

    @property
    def config(self) -> dict[str, object]:
        return {"parts": list(self.parts)}

    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Each part by itself, and then an EM step of all from the same share of the data for each state."""
        self.begin(x, generator)
        if self.trains_by_em:
            assert self.states is not None
            self.update(x, first_posterior(x.reshape(len(x), -1).double(), self.states, generator))

    def begin(self, x: Tensor, generator: torch.Generator | None) -> None:
        """`initialise` of each part."""
        for part in self.each():
            part.initialise(x, generator)

    @property
    def free_parameters(self) -> int:
        return sum(part.free_parameters for part in self.each())

    @property
    def has_prior(self) -> bool:
        return any(part.has_prior for part in self.each())

    def log_prior(self) -> Tensor:
        return torch.stack([part.log_prior().double() for part in self.each()]).sum()

    def project(self) -> None:
        for part in self.each():
            part.project()

    def each(self) -> Iterator[Emission]:
        """The parts."""
        for part in self.parts:
            assert isinstance(part, Emission)
            yield part


def drawn(part: Emission, states: Tensor, generator: torch.Generator | None, inputs: Tensor | None) -> Tensor:
    """A draw of a part, which takes inputs or does not."""
    return part.sample(states, generator, inputs) if part.inputs else part.sample(states, generator)  # type: ignore[call-arg]


def width(part: Emission, columns: int) -> int:
    """How many columns stand for an observation of a part once its inputs are beside it; 0 where it is a symbol."""
    x = torch.zeros(1, columns) if part.event_shape else torch.zeros(1, dtype=torch.int64)
    seen = part.observed(x, torch.zeros(1, part.inputs) if part.inputs else None)
    return seen.shape[-1] if seen.ndim > 1 else 0
