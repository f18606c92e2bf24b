"""States of different families."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from semihmm.errors import DataError, ShapeError
from semihmm.models.emissions.base import Emission, missing
from semihmm.models.emissions.compound import Compound, drawn, width
from semihmm.models.emissions.regressors import along


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
        self.take_inputs()
        self.order = max(part.order for part in parts)
        columns = self.event_shape[0] or 1 if self.event_shape else 0
        if len({(part.inputs, width(part, columns)) for part in parts}) > 1:
            raise ShapeError("Mixed: parts must take the same inputs beside an observation, or all of them none.")
        self.filler = self._in_common()

    def observed(self, x: Tensor, inputs: Tensor | None = None) -> Tensor:
        return next(self.each()).observed(x, inputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.each()], -1)

    def shares(self, x: Tensor, posterior: Tensor) -> Iterator[tuple[Emission, Tensor, Tensor]]:
        for part, share in zip(self.each(), posterior.split(self.sizes, -1), strict=True):
            yield part, x, share

    def reseed(self, states: Tensor, x: Tensor, generator: torch.Generator | None = None) -> None:
        for part, some in zip(self.each(), states.split(self.sizes), strict=True):
            if bool(some.any()):
                part.reseed(some, x, generator)

    def sample(self, states: Tensor, generator: torch.Generator | None = None, inputs: Tensor | None = None) -> Tensor:
        if self.order:  # draws depend on those before them, whatever part they are of
            unknown = torch.full((*states.shape, self.event_shape[0] or 1), torch.nan, dtype=self.dtype)
            return self.complete(self.observed(unknown, inputs), states, generator)
        own = None if inputs is None else inputs.expand(*states.shape, -1).flatten(0, -2)
        found = [
            drawn(part, mine, generator, None if own is None else own[where])
            for part, mine, where in self._grouped(states.flatten())
        ]
        return self._ordered(found, states)

    def complete(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if self.order:
            before = self.expected().detach()[states[..., 0]].to(x.dtype)
            return along(self, x, before, lambda step, now: self.complete_steps(now, states[..., step], generator))
        return self.complete_steps(x, states, generator)

    def complete_steps(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        flat = x.reshape(states.numel(), *x.shape[states.ndim :])
        parts = self._grouped(states.flatten())
        return self._ordered([part.complete_steps(flat[where], mine, generator) for part, mine, where in parts], states)

    def expected(self) -> Tensor:
        return torch.cat([part.expected() for part in self.each()])

    def fill(self, x: Tensor, posterior: Tensor) -> Tensor:
        expected = self.expected().detach()  # of symbols, there is none
        if self.order:
            before = (posterior[..., 0, :].double() @ expected.double()).to(x.dtype)
            return along(self, x, before, lambda step, now: self.fill_steps(now, posterior[..., step, :]))
        return self.fill_steps(x, posterior)

    def fill_steps(self, x: Tensor, posterior: Tensor) -> Tensor:
        seen = x[..., : self.event_shape[0]]
        hidden, found = missing(seen), torch.zeros_like(seen)
        for part, _, share in self.shares(x, posterior):
            each = part.fill_steps(x, share)[..., : seen.shape[-1]]
            found = found + torch.where(hidden, each, 0.0).to(x.dtype)  # in proportion to the share
        return torch.where(hidden, found, seen)

    def describe(self) -> dict[str, Tensor]:
        """What each part says, behind its number and a dot; NaN of the states of other parts."""
        found, first = {}, 0
        for number, (part, size) in enumerate(zip(self.each(), self.sizes, strict=True)):
            for name, value in part.describe().items():
                of_all = value.new_full((sum(self.sizes), *value.shape[1:]), torch.nan)
                of_all[first : first + size] = value
                found[f"{number}.{name}"] = of_all
            first += size
        return found

    def _grouped(self, states: Tensor) -> Iterator[tuple[Emission, Tensor, Tensor]]:
        """Each part, its states among those of ``(N,)`` by its own numbers, and where they are."""
        first = 0
        for part, size in zip(self.each(), self.sizes, strict=True):
            where = ((states >= first) & (states < first + size)).nonzero().squeeze(-1)
            yield part, states[where] - first, where
            first += size

    def _ordered(self, parts: list[Tensor], states: Tensor) -> Tensor:
        """What `_grouped` took apart, where it was."""
        where = torch.cat([where for _, _, where in self._grouped(states.flatten())])
        x = torch.cat(parts)[where.argsort()]
        return x.reshape(*states.shape, *x.shape[1:])

    def _in_common(self) -> float | Tensor:
        """The first filler of a part that all parts take."""
        shape = (1, *(size or 1 for size in self.event_shape))
        for part in self.each():
            try:
                x = torch.as_tensor(part.filler).expand(shape)
                self(self.observed(x, torch.zeros(1, self.inputs) if self.inputs else None))
            except DataError:
                continue
            return part.filler
        names = " and ".join(type(part).__name__ for part in self.each())
        raise ShapeError(f"Mixed: parts must take the same observations, which {names} do not.")
