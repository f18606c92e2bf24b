"""Two numbers for each state: any mean, any spread, skewed to the right."""

import torch
from torch import Tensor, nn

from semihmm.models.durations.parametric import Parametric


class Gamma(Parametric):
    """The Gamma density at whole numbers of steps (Levinson 1986).

    ``log p(d) = (concentration - 1) log d - rate d - log(normaliser)`` for d = min_duration to D, as in
    `torch.distributions.Gamma`. Parameters: ``log_concentration (S,)``, ``log_rate (S,)``. The EM step is exact: an
    exponential family of log d and d.

    Args:
        states: S.
        max_duration: D.
        min_duration: the least number of steps.

    Example:
        >>> duration = Gamma(states=1, max_duration=100)
        >>> duration.update(torch.eye(100)[[9]] + torch.eye(100)[[19]])  # one segment of 10 steps and one of 20
        >>> round((duration().exp() @ torch.arange(1.0, 101)).item(), 3)
        15.0
    """

    log_concentration: nn.Parameter
    log_rate: nn.Parameter

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        return {"log_concentration": (1e-12 - 1, 1e10), "log_rate": (-1e10, -1e-15)}

    def log_weight(self, steps: Tensor, *coordinates: Tensor) -> Tensor:
        power, slope = coordinates
        return power * steps.log() + slope * steps

    def coordinates(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        log_concentration, log_rate = parameters
        return torch.expm1(log_concentration), -log_rate.exp()

    def from_coordinates(self, *coordinates: Tensor) -> tuple[Tensor, ...]:
        power, slope = coordinates
        return torch.log1p(power), torch.log(-slope)

    def matching(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        return (mean**2 / variance).log(), (mean / variance).log()
