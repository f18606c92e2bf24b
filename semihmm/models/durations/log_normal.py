"""Two numbers for each state: a usual length, and by which factor it varies."""

import math

import torch
from torch import Tensor, nn

from semihmm.models.durations.parametric import Parametric


class LogNormal(Parametric):
    """The log-normal density at whole numbers of steps: the logarithm of a length is Gaussian.

    ``log p(d) = -log d - (log d - loc)^2 / (2 scale^2) - log(normaliser)`` for d = min_duration to D, as in
    `torch.distributions.LogNormal`. Parameters: ``loc (S,)``, ``log_scale (S,)``. The EM step is exact: an exponential
    family of log d and its square. Scales end at ``100 (1 + log D)``, where the law is a power of d.

    Args:
        states: S.
        max_duration: D.
        min_duration: the least number of steps.

    Example:
        >>> duration = LogNormal(states=1, max_duration=500)
        >>> duration.update(torch.eye(500)[[24]] + torch.eye(500)[[99]])  # one segment of 25 steps and one of 100
        >>> round(duration.loc.exp().item()), round(duration.log_scale.exp().exp().item(), 2)
        (50, 2.0)
    """

    loc: nn.Parameter
    log_scale: nn.Parameter

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        return {"loc": (-1e11, 1e11), "log_scale": (1 / (100 + 100 * math.log(self.max_duration)) ** 2, 1e10)}

    def log_weight(self, steps: Tensor, *coordinates: Tensor) -> Tensor:
        slope, precision = coordinates
        log_steps = steps.log()
        return (slope - 1) * log_steps - precision / 2 * log_steps**2

    def coordinates(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        loc, log_scale = parameters
        precision = torch.exp(-2 * log_scale)
        return loc * precision, precision

    def from_coordinates(self, *coordinates: Tensor) -> tuple[Tensor, ...]:
        slope, precision = coordinates
        return slope / precision, -precision.log() / 2

    def matching(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        square = torch.log1p(variance / mean**2)
        return mean.log() - square / 2, square.log() / 2
