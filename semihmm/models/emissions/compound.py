"""Emissions made of emissions."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from semihmm.models.emissions.base import Emission
from semihmm.models.emissions.independent import first_posterior


class Compound(Emission):
    """What the emissions made of emissions share. They train by EM if all of their parts do."""

    def __init__(self, parts: Sequence[Emission]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.trains_by_em = all(part.trains_by_em for part in parts)

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
