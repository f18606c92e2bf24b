"""Several starts of one fit, side by side: their states in one emission, their laws in one tensor, one scan for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from semihmm.inference import expected_counts
from semihmm.models.emissions import Emission
from semihmm.models.expectation import explained, trained, weighed
from semihmm.models.part import Driven, Law, Part
from semihmm.models.sequences import Batch

if TYPE_CHECKING:
    from semihmm.models.base import Model


class SideBySide:
    """R sets of parameters of one model, in tensors of all.

    An emission of R S states takes one pass over the data, where R emissions take one each.
    """

    def __init__(self, model: Model[Any], count: int, laws: dict[str, Law], emission: Emission) -> None:
        self.model, self.count, self.laws, self.emission = model, count, laws, emission

    @classmethod
    def room(cls, model: Model[Any], count: int) -> SideBySide | None:
        """Tensors for so many; None where the model has parameters that states share, or laws that inputs change.

        Nor are there any for laws that `Law.search` when a fit has converged, each in its own time.
        """
        if any(law.searches for law in model.laws.values()):
            return None
        found: dict[str, Part] = {}
        for name, part in {**model.laws, "emission": model.emission}.items():
            together = None if isinstance(part, Driven) else part.repeated(count)
            if together is None:
                return None
            found[name] = together
        emission = found.pop("emission")
        assert isinstance(emission, Emission)
        room = cls(model, count, {n: law for n, law in found.items() if isinstance(law, Law)}, emission)
        for whole, own in room._pairs():
            whole.requires_grad_(own.requires_grad)
        return room

    @property
    def parts(self) -> nn.ModuleList:
        """What holds the tensors."""
        return nn.ModuleList([*self.laws.values(), self.emission])

    @torch.no_grad()
    def put(self, row: int) -> None:
        """Take the model's parameters as one set; its buffers, which the data decide, are those of all."""
        for whole, own in self._pairs():
            whole.view(self.count, *own.shape)[row].copy_(own)
        for name, law in {**self.laws, "emission": self.emission}.items():
            buffers = dict(self._own(name).named_buffers())
            for at, buffer in law.named_buffers():
                if buffer.shape == buffers[at].shape:
                    buffer.copy_(buffers[at])

    @torch.no_grad()
    def load(self, row: int) -> None:
        """Give one set to the model."""
        for whole, own in self._pairs():
            own.copy_(whole.view(self.count, *own.shape)[row])

    def only(self, rows: Sequence[int]) -> SideBySide:
        """Some of them."""
        found = self.room(self.model, len(rows))
        assert found is not None
        for row, old in enumerate(rows):
            self.load(old)
            found.put(row)
        return found

    def _own(self, name: str) -> Part:
        return self.model.emission if name == "emission" else self.model.laws[name]

    def _pairs(self) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
        """Each parameter of all, and that of the model."""
        for name, part in {**self.laws, "emission": self.emission}.items():
            own = self._own(name)
            for at, whole in part.named_parameters():
                yield whole, own.get_parameter(at)

    @torch.no_grad()
    def expectation(self, batch: Batch, validate: bool) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The log-likelihood under each ``(R,)``, counts ``(R, ...)`` by law, and posteriors ``(N, R S)``."""
        count, axes = self.count, len(batch.shape) - 1
        likelihood = self.emission(batch.x).unflatten(-1, (count, -1)).movedim(-2, 0).contiguous()
        if batch.allowed is not None:
            likelihood = torch.where(batch.allowed, likelihood, -torch.inf)
        laws = {}
        for name, law in self.laws.items():
            one = law().unflatten(0, (count, -1)) if law.apart else law()
            one = one.reshape(count, *(1,) * axes, *one.shape[1:])
            laws[name] = (
                one if batch.weights is None else one.expand(count, *batch.weights.shape, *one.shape[1 + axes :])
            )
        lengths = None if batch.lengths is None else batch.lengths.expand(count, *batch.lengths.shape)
        structure = self.model.structure(likelihood, lengths, laws)
        if batch.starts is not None:
            structure = self.model.segmented(structure, batch.starts.expand(count, *batch.shape))
        value, found = expected_counts(structure, ("emission", *laws), validate=validate)
        explained(value)
        counts = self.model.counts(found, laws, lengths)
        if batch.weights is not None:
            value = value * batch.weights
            counts = {n: weighed(x, batch.weights, n == "emission", 1) for n, x in counts.items()}
        posterior = batch.flat(counts.pop("emission").movedim(0, -2)).flatten(1)
        counts = {n: x.reshape(count, *x.shape[1 + axes * (batch.weights is None) :]) for n, x in counts.items()}
        return value.double().reshape(count, -1).sum(-1), counts, posterior

    @torch.no_grad()
    def maximisation(self, batch: Batch, counts: dict[str, Tensor], posterior: Tensor) -> None:
        """EM's second step, of all."""
        for name, law in self.laws.items():
            if trained(law):
                law.update(counts[name].flatten(0, 1) if law.apart else counts[name])
        if trained(self.emission):
            self.emission.update(batch.observations, posterior)
