"""Priors of any emission, said as observations that nobody made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from semihmm.errors import ShapeError, StructureError
from semihmm.models.arguments import real_tensor
from semihmm.models.emissions.base import Emission


class WithPrior(Emission):
    """An emission with a prior: as if some observations more had been made in each state.

    For exponential families this is the conjugate prior, and a fit finds the maximum of the posterior (MAP); for any
    other emission it is a prior all the same. A mean m and variance v with the weight w are the observations
    ``m - sqrt(v)`` and ``m + sqrt(v)`` with w / 2 each.

    Args:
        emission: what has the prior.
        x: the imagined observations, ``(K, *event_shape)``.
        weight: how often each was made in each state, ``(K, S)``, or one number for all.

    Example:
        >>> plain = Gaussian(states=2, features=1)
        >>> emission = WithPrior(plain, torch.tensor([[-1.0], [1.0]]), weight=1.0)
        >>> emission.update(torch.tensor([[9.0]]), torch.tensor([[1.0, 0.0]]))
        >>> plain.mean.tolist()
        [[3.0], [0.0]]
    """

    imagined: Tensor
    weight: Tensor

    def __init__(
        self, emission: Emission, x: Tensor | Sequence[Any], weight: Tensor | Sequence[Any] | float = 1.0
    ) -> None:
        super().__init__()
        x = real_tensor("WithPrior", "x", x)
        x = x.to(emission.dtype) if x.is_floating_point() else x
        if not emission.trains_by_em or emission.states is None or emission.inputs:
            raise StructureError(
                f"WithPrior: takes an emission that trains by EM without inputs, got {type(emission)}."
            )
        self.emission, self.states, self.event_shape = emission, emission.states, emission.event_shape
        self.filler = emission.filler
        given = real_tensor("WithPrior", "weight", weight).double()
        fits = all(n in (1, m) for n, m in zip(reversed(given.shape), (self.states, *x.shape[:1]), strict=False))
        if given.ndim < 3 and fits and x.ndim:
            given = given.expand(len(x), self.states)
        if given.ndim != 2 or x.ndim != 1 + len(self.event_shape) or not bool((given >= 0).all()):
            raise ShapeError(
                f"WithPrior: x must be (K, *event_shape) with an event shape of {self.event_shape}, and weights (K, S) "
                f"at least 0; got {tuple(x.shape)} and {given.tolist()}."
            )
        self.register_buffer("imagined", x.clone())
        self.register_buffer("weight", given.clone())

    @property
    def config(self) -> dict[str, object] | None:
        return {"emission": self.emission, "x": self.imagined.tolist(), "weight": self.weight.tolist()}

    def permute(self, order: Sequence[int]) -> None:
        self.emission.permute(order)
        self.weight = self.weight[:, list(order)]

    def forward(self, x: Tensor) -> Tensor:
        log_prob: Tensor = self.emission(x)
        return log_prob

    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        self.emission.initialise(x, generator)

    def statistics(self, x: Tensor, posterior: Tensor) -> dict[str, Tensor]:
        return self.emission.statistics(x, posterior)

    def maximise(self, statistics: dict[str, Tensor]) -> None:
        prior = self.emission.statistics(self.imagined, self.weight)
        self.emission.maximise({name: x + prior[name] for name, x in statistics.items()})

    def update(self, x: Tensor, posterior: Tensor) -> None:
        every = torch.cat([x, self.imagined.to(x)]), torch.cat([posterior.double(), self.weight.double()])
        self.emission.update(*every)

    def log_prior(self) -> Tensor:
        used = self.weight > 0
        log_prob = torch.where(used, self.emission(self.imagined), 0.0)
        return self.emission.log_prior() + (self.weight * log_prob).sum()

    def project(self) -> None:
        self.emission.project()

    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.emission.sample(states, generator)

    def complete(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.emission.complete(x, states, generator)

    def fill(self, x: Tensor, posterior: Tensor) -> Tensor:
        return self.emission.fill(x, posterior)

    def expected(self) -> Tensor:
        return self.emission.expected()

    def describe(self) -> dict[str, Tensor]:
        return self.emission.describe()
