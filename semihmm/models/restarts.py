"""Several starts of one fit, side by side: their states in one emission, their laws in one tensor, one scan for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from semihmm.inference import expected_counts
from semihmm.models.emissions import Emission
from semihmm.models.expectation import driven, explained, weighed
from semihmm.models.part import Driven, Law, Part, trained
from semihmm.models.sequences import Batch

if TYPE_CHECKING:
    from semihmm.models.base import Model


class SideBySide:
    """R sets of parameters of one model.

    An emission of R S states takes one pass over the data, where R emissions take one each. What cannot be repeated so
    (parameters that states share, laws that inputs change) is in R copies of the model; the scan is one for all.

    Args:
        laws: R of each law in one; none if they are in the copies.
        emission: R of the emission in one; None if it is in the copies.
        copies: of the model, R of them if any.
    """

    def __init__(
        self,
        model: Model[Any],
        count: int,
        laws: dict[str, Law],
        emission: Emission | None,
        copies: Sequence[Model[Any]] = (),
    ) -> None:
        self.model, self.count, self.laws, self.emission, self.copies = model, count, laws, emission, copies

    @classmethod
    def room(cls, model: Model[Any], count: int) -> SideBySide:
        """Tensors for so many."""
        found = {n: None if isinstance(law, Driven) else law.repeated(count) for n, law in model.laws.items()}
        laws = {name: law for name, law in found.items() if isinstance(law, Law)}
        laws = laws if len(laws) == len(found) else {}
        emission = model.emission.repeated(count)
        assert emission is None or isinstance(emission, Emission)
        copies = [] if laws and emission is not None else [deepcopy(model) for _ in range(count)]
        room = cls(model, count, laws, emission, copies)
        for together, own in room._pairs():
            together.requires_grad_(own.requires_grad)
        return room

    @property
    def parts(self) -> nn.ModuleList:
        """What holds the tensors."""
        return nn.ModuleList([*self._together().values(), *self.copies])

    @torch.no_grad()
    def put(self, row: int) -> None:
        """Take the model's parameters as one set; its buffers, which the data decide, are those of all."""
        for whole, own in self._pairs():
            whole.view(self.count, *own.shape)[row].copy_(own)
        for name, part in self._together().items():
            buffers = dict(self._own(name).named_buffers())
            for at, buffer in part.named_buffers():
                if buffer.shape == buffers[at].shape:
                    buffer.copy_(buffers[at])
        for copy in self.copies[row : row + 1]:
            for mine, given in zip(_tensors(copy), _tensors(self.model), strict=True):
                mine.copy_(given)

    @torch.no_grad()
    def load(self, row: int) -> None:
        """Give one set to the model."""
        for copy in self.copies[row : row + 1]:
            for mine, given in zip(_tensors(copy), _tensors(self.model), strict=True):
                given.copy_(mine)
        for whole, own in self._pairs():
            own.copy_(whole.view(self.count, *own.shape)[row])

    def only(self, rows: Sequence[int]) -> SideBySide:
        """Some of them."""
        found = self.room(self.model, len(rows))
        for row, old in enumerate(rows):
            self.load(old)
            found.put(row)
        return found

    def _together(self) -> dict[str, Part]:
        """The parts that are R in one."""
        return {**self.laws} if self.emission is None else {**self.laws, "emission": self.emission}

    def _own(self, name: str) -> Part:
        return self.model.emission if name == "emission" else self.model.laws[name]

    def _pairs(self) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
        """Each parameter of all, and that of the model."""
        for name, part in self._together().items():
            own = self._own(name)
            for at, whole in part.named_parameters():
                yield whole, own.get_parameter(at)

    def _likelihood(self, x: Tensor) -> Tensor:
        """``(R, ..., T, S)``."""
        if self.emission is None:
            return torch.stack([copy.emission(x) for copy in self.copies])
        together: Tensor = self.emission(x).unflatten(-1, (self.count, -1))
        return together.movedim(-2, 0).contiguous()

    def _potentials(self, batch: Batch) -> dict[str, Tensor]:
        """What the laws say, ``(R, ...)``."""
        if self.laws:
            said = {name: law() for name, law in self.laws.items()}
            return {n: x.unflatten(0, (self.count, -1)) if self.laws[n].apart else x for n, x in said.items()}
        each = [copy.potentials(batch.inputs) for copy in self.copies]
        return {name: torch.stack([one[name] for one in each]) for name in self.model.laws}

    @torch.no_grad()
    def expectation(self, batch: Batch, validate: bool) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The log-likelihood under each ``(R,)``, counts ``(R, ...)`` by law, and posteriors ``(N, R S)``."""
        count, axes = self.count, len(batch.shape) - 1
        likelihood = self._likelihood(batch.x)
        if batch.allowed is not None:
            likelihood = torch.where(batch.allowed, likelihood, -torch.inf)
        laws = self._potentials(batch)
        shared = [name for name in laws if not driven(self.model, name)]
        for name in shared:
            one = laws[name].reshape(count, *(1,) * axes, *laws[name].shape[1:])
            if batch.weights is not None:
                one = one.expand(count, *batch.weights.shape, *one.shape[1 + axes :])
            laws[name] = one
        lengths = None if batch.lengths is None else batch.lengths.expand(count, *batch.lengths.shape)
        structure = self.model.structure(likelihood, lengths, laws)
        if batch.starts is not None:
            structure = self.model.segmented(structure, batch.starts.expand(count, *batch.shape))
        value, found = expected_counts(structure, ("emission", *laws), validate=validate)
        explained(value)
        counts = self.model.counts(found, laws, lengths)
        if batch.weights is not None:
            value = value * batch.weights
            counts = {n: weighed(x, batch.weights, n not in shared, 1) for n, x in counts.items()}
        posterior = batch.flat(counts.pop("emission").movedim(0, -2)).flatten(1)
        for name in shared:
            counts[name] = counts[name].reshape(count, *counts[name].shape[1 + axes * (batch.weights is None) :])
        return value.double().reshape(count, -1).sum(-1), counts, posterior

    @torch.no_grad()
    def maximisation(self, batch: Batch, counts: dict[str, Tensor], posterior: Tensor) -> None:
        """EM's second step, of all."""
        for name, law in self.laws.items():
            if trained(law):
                law.update(counts[name].flatten(0, 1) if law.apart else counts[name])
        if self.emission is not None and trained(self.emission):
            self.emission.update(batch.observations, posterior)
        for row, (copy, own) in enumerate(zip(self.copies, posterior.chunk(self.count, -1), strict=False)):
            if not self.laws:
                copy.learn({name: x[row] for name, x in counts.items()}, batch.inputs)
            if self.emission is None and trained(copy.emission):
                copy.emission.update(batch.observations, own)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
