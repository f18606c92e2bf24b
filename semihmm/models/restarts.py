"""Several starts of one fit, side by side: their states in one emission, their laws in one tensor, one scan for all."""

from __future__ import annotations

from collections.abc import Sequence
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
    """R models of one kind whose parameters are parts of the same tensors.

    Work on those tensors is work on all models: the models themselves see it. An emission of R S states takes one pass
    over the data, where R emissions take one each.
    """

    def __init__(self, models: Sequence[Model[Any]], laws: dict[str, Law], emission: Emission) -> None:
        self.models, self.laws, self.emission = models, laws, emission

    @property
    def parts(self) -> nn.ModuleList:
        """What holds the tensors."""
        return nn.ModuleList([*self.laws.values(), self.emission])

    @classmethod
    def of(cls, models: Sequence[Model[Any]]) -> SideBySide | None:
        """The models side by side; None where parts of them have parameters that states share."""
        first = models[0]
        found: dict[str, Part] = {}
        for name, part in {**first.laws, "emission": first.emission}.items():
            together = None if isinstance(part, Driven) else part.repeated(len(models))
            if together is None:
                return None
            found[name] = together
        for name, together in found.items():
            parts = [model.emission if name == "emission" else model.laws[name] for model in models]
            _share(together, parts)
        emission = found.pop("emission")
        assert isinstance(emission, Emission)
        return cls(models, {n: law for n, law in found.items() if isinstance(law, Law)}, emission)

    @torch.no_grad()
    def expectation(self, batch: Batch, validate: bool) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The log-likelihood under each model ``(R,)``, counts ``(R, ...)`` by law, and posteriors ``(N, R S)``."""
        count, axes = len(self.models), len(batch.shape) - 1
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
        structure = self.models[0].structure(likelihood, lengths, laws)
        if batch.starts is not None:
            structure = self.models[0].segmented(structure, batch.starts.expand(count, *batch.shape))
        value, found = expected_counts(structure, ("emission", *laws), validate=validate)
        explained(value)
        counts = self.models[0].counts(found, laws, lengths)
        if batch.weights is not None:
            value = value * batch.weights
            counts = {n: weighed(x, batch.weights, n == "emission", 1) for n, x in counts.items()}
        posterior = batch.flat(counts.pop("emission").movedim(0, -2)).flatten(1)
        counts = {n: x.reshape(count, *x.shape[1 + axes * (batch.weights is None) :]) for n, x in counts.items()}
        return value.double().reshape(count, -1).sum(-1), counts, posterior

    @torch.no_grad()
    def maximisation(self, batch: Batch, counts: dict[str, Tensor], posterior: Tensor) -> None:
        """EM's second step, of all models."""
        for name, law in self.laws.items():
            if trained(law):
                law.update(counts[name].flatten(0, 1) if law.apart else counts[name])
        if trained(self.emission):
            self.emission.update(batch.observations, posterior)


@torch.no_grad()
def _share(together: Part, parts: Sequence[Part]) -> None:
    """Make the parameters of parts slices of those of one."""
    for name, whole in together.named_parameters():
        each = [part.get_parameter(name) for part in parts]
        slices = whole.data.view(len(parts), *each[0].shape)
        whole.requires_grad_(each[0].requires_grad)
        for own, mine in zip(each, slices.unbind(), strict=True):
            mine.copy_(own)
            own.data = mine
    own_buffers = dict(parts[0].named_buffers())
    for name, buffer in together.named_buffers():
        if buffer.shape == own_buffers[name].shape:  # what was found in the data is the same for all
            buffer.copy_(own_buffers[name])


@torch.no_grad()
def apart(models: Sequence[Model[Any]]) -> None:
    """Give models that share tensors tensors of their own."""
    for model in models:
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
