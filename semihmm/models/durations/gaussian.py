"""Two numbers for each state: a usual length, and how far from it."""

import torch
from torch import Tensor, nn

from semihmm.models.durations.parametric import Parametric


class Gaussian(Parametric):
    """The Gaussian density at whole numbers of steps (Rabiner 1989, section IV-D).

    ``log p(d) = -(d - loc)^2 / (2 scale^2) - log(normaliser)`` for d = min_duration to D. Parameters: ``loc (S,)``,
    ``log_scale (S,)``. The EM step is exact: an exponential family of d and d^2. Scales end at 100 D, where the
    law is flat over the range, or geometric if ``loc`` is farther away still.

    Args:
        states: S.
        max_duration: D.
        min_duration: the least number of steps.

    Example:
        >>> duration = Gaussian(states=1, max_duration=100)
        >>> duration.update(torch.eye(100)[[49]] + torch.eye(100)[[53]])  # one segment of 50 steps and one of 54
        >>> duration.loc.item(), duration.log_scale.exp().item()
        (52.0, 2.0)
    """

    loc: nn.Parameter
    log_scale: nn.Parameter

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        return {"loc": (-1e6, 1e6), "log_scale": (1 / (100 * self.max_duration) ** 2, 1e3)}

    def log_weight(self, steps: Tensor, *coordinates: Tensor) -> Tensor:
        slope, precision = coordinates
        return slope * steps - precision / 2 * steps**2

    def coordinates(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        loc, log_scale = parameters
        precision = torch.exp(-2 * log_scale)
        return loc * precision, precision

    def from_coordinates(self, *coordinates: Tensor) -> tuple[Tensor, ...]:
        slope, precision = coordinates
        return slope / precision, -precision.log() / 2

    def matching(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        return mean, variance.log() / 2
