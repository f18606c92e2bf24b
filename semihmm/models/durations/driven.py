"""Durations that inputs change: how long a segment lasts depends on the inputs of its first step."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.models.climbing import climb
from semihmm.models.durations.base import Duration, check_support
from semihmm.models.part import Driven
from semihmm.structures.hsmm import at_least


class DrivenDuration(Driven, Duration):
    """A duration law that takes inputs: `forward` gives those of segments that begin at each step, ``(..., T, S, D)``.

    Its EM step climbs by L-BFGS.
    """

    def update(self, counts: Tensor, inputs: Tensor | None = None) -> None:
        climb(self, counts, inputs)

    def normalised(self, log_weight: Tensor) -> Tensor:
        """Log-probabilities of the durations that there are, from log-weights ``(..., S, D)``."""
        steps = torch.arange(1, self.max_duration + 1, device=log_weight.device)
        return torch.where(steps >= self.min_duration, log_weight, -torch.inf).log_softmax(-1)


class PoissonRegression(DrivenDuration):
    """Poisson durations whose mean depends on the inputs of a segment's first step.

    The steps after the first are Poisson with rate ``exp(bias + weight @ u)``, truncated to min_duration to D.

    Args:
        states: S.
        inputs: U.
        max_duration: D.
        min_duration: the least number of steps.
        ridge: the precision of a Gaussian prior of the weights.

    Parameters: ``bias (S,)`` and ``weight (S, U)``.

    Example:
        >>> law = PoissonRegression(states=2, inputs=1, max_duration=9)
        >>> law(torch.zeros(5, 1)).shape
        torch.Size([5, 2, 9])
    """

    def __init__(self, states: int, inputs: int, max_duration: int, min_duration: int = 1, ridge: float = 1e-3) -> None:
        super().__init__()
        check_support("PoissonRegression", max_duration, min_duration)
        self.states, self.inputs, self.ridge = states, inputs, ridge
        self.max_duration, self.min_duration = max_duration, min_duration
        self.bias = nn.Parameter(torch.zeros(states))
        self.weight = nn.Parameter(torch.zeros(states, inputs))
        self.initialise()

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "inputs": self.inputs,
            "max_duration": self.max_duration,
            "min_duration": self.min_duration,
            "ridge": self.ridge,
        }

    def forward(self, inputs: Tensor | None = None) -> Tensor:
        assert inputs is not None
        log_rate = (inputs @ self.weight.T + self.bias).unsqueeze(-1)
        after = torch.arange(self.max_duration, dtype=log_rate.dtype, device=log_rate.device)
        return self.normalised(after * log_rate - torch.lgamma(after + 1))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Means between a quarter and three quarters of the range, whatever the inputs."""
        share = torch.empty_like(self.bias).uniform_(0.25, 0.75, generator=generator)
        self.bias.copy_((share * max(self.max_duration - 1, 1)).log())
        self.weight.zero_()

    def log_prior(self) -> Tensor:
        return -self.ridge / 2 * self.weight.square().sum()


class Neural(DrivenDuration):
    """A network says how long a segment lasts, given the inputs of its first step.

    Args:
        net: from inputs ``(..., U)`` to log-weights ``(..., S * D)``, normalised over the durations of each state.
        states: S.
        inputs: U.
        max_duration: D.
        min_duration: the least number of steps.

    Example:
        >>> law = Neural(torch.nn.Linear(3, 2 * 9), states=2, inputs=3, max_duration=9)
        >>> law(torch.zeros(5, 3)).shape
        torch.Size([5, 2, 9])
    """

    def __init__(self, net: nn.Module, states: int, inputs: int, max_duration: int, min_duration: int = 1) -> None:
        super().__init__()
        check_support("Neural", max_duration, min_duration)
        self.net, self.states, self.inputs = net, states, inputs
        self.max_duration, self.min_duration = max_duration, min_duration

    def forward(self, inputs: Tensor | None = None) -> Tensor:
        assert inputs is not None
        found: Tensor = self.net(inputs)
        expected = (*inputs.shape[:-1], self.states * self.max_duration)
        if found.shape != expected:
            raise ShapeError(
                f"durations.Neural: the network must give S D = {self.states * self.max_duration} log-weights for each "
                f"step, so {expected}; got {tuple(found.shape)}."
            )
        return self.normalised(torch.unflatten(found, -1, (self.states, self.max_duration)))

    def initialise(self, generator: torch.Generator | None = None) -> None:
        """The network starts from the weights that it has."""


def by_end(log_prob: Tensor, censored: Literal["none", "left", "right", "both"], lengths: Tensor | None) -> Tensor:
    """Durations by the step that a segment ends with, from those by the step that it begins with; ``(..., T, S, D)``.

    Those that the ends of a sequence cut short are durations of at least as long; one that began before the first step
    has the inputs of that step.
    """
    steps, longest = log_prob.shape[-3], log_prob.shape[-1]
    end = torch.arange(steps, device=log_prob.device).unsqueeze(-1)
    age = torch.arange(longest, device=log_prob.device)
    begin = end - age  # (T, D)
    real = begin >= 0
    at = begin.clamp(min=0).unsqueeze(-2).expand(*log_prob.shape)

    def moved(x: Tensor) -> Tensor:
        return torch.where(real.unsqueeze(-2), x.gather(-3, at), -torch.inf)

    found = moved(log_prob)
    if censored == "none":
        return found
    longer = at_least(log_prob.mT).mT
    first = (begin == 0).unsqueeze(-2) if censored in ("left", "both") else torch.zeros_like(real).unsqueeze(-2)
    last = end.squeeze(-1) == (steps - 1 if lengths is None else lengths.unsqueeze(-1) - 1)
    last = (last if censored in ("right", "both") else torch.zeros_like(last)).unsqueeze(-1).unsqueeze(-1)
    across = moved(at_least(longer.mT).mT) if censored == "both" else found
    return torch.where(first & last, across, torch.where(first | last, moved(longer), found))
