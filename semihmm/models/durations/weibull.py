"""Two numbers for each state: a scale, and whether ends become likelier with time."""

import math

import torch
from torch import Tensor, nn

from semihmm.models.durations.parametric import Parametric


class Weibull(Parametric):
    """The Weibull density at whole numbers of steps.

    ``log p(d) = (concentration - 1) log d - (d / scale)^concentration - log(normaliser)`` for d = min_duration to D, as
    in `torch.distributions.Weibull`. Above a concentration of 1 the longer a segment is, the likelier it ends; below,
    the less likely. Parameters: ``log_scale (S,)``, ``log_concentration (S,)``. The EM step climbs to a maximum; that
    there is only one has not been proved.

    Args:
        states: S.
        max_duration: D.
        min_duration: the least number of steps.

    Example:
        >>> duration = Weibull(states=1, max_duration=100)
        >>> duration.update(torch.eye(100)[[9]] + torch.eye(100)[[19]])  # one segment of 10 steps and one of 20
        >>> round((duration().exp() @ torch.arange(1.0, 101)).item())
        15
    """

    log_scale: nn.Parameter
    log_concentration: nn.Parameter

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        return {"log_scale": (1e-9, 1e7), "log_concentration": (1e-3, 1e5)}

    def log_weight(self, steps: Tensor, *coordinates: Tensor) -> Tensor:
        pull, concentration = coordinates
        log_pull = pull + torch.log(-torch.expm1(-pull))
        least, most = math.log(self.min_duration), math.log(self.max_duration)
        first = (log_pull + concentration * (least - most)).clamp(max=40)
        growth = concentration * (steps.log() - least)
        # pull * (d^k - least^k) / (k D^k): at k = 0 a logarithm, so that power laws belong to it. The clamps keep what
        # would overflow at min_duration.
        power = (first + growth).clamp(max=80).exp() * -torch.expm1(-growth) / concentration
        return (concentration - 1) * steps.log() - power

    def coordinates(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        log_scale, log_concentration = parameters
        concentration = log_concentration.exp()
        pull = log_concentration + concentration * (math.log(self.max_duration) - log_scale)
        return nn.functional.softplus(pull), concentration

    def from_coordinates(self, *coordinates: Tensor) -> tuple[Tensor, ...]:
        pull, concentration = coordinates
        log_concentration = concentration.log()
        power = pull + torch.log(-torch.expm1(-pull)) - log_concentration
        return math.log(self.max_duration) - power / concentration, log_concentration

    def matching(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        concentration = (mean**2 / variance) ** 0.543  # within 3% for concentrations of 1 to 10 (Justus et al. 1978)
        return mean.log() - torch.lgamma(1 + 1 / concentration), concentration.log()
