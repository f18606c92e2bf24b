"""One number for each state: its mean length."""

import torch
from torch import Tensor, nn

from semihmm.models.durations.parametric import Parametric


class Poisson(Parametric):
    """The steps after the first are Poisson distributed.

    ``log p(d) = (d - 1) log_rate - log((d - 1)!) - log(normaliser)`` for d = min_duration to D: shifted by one, since a
    segment has at least one step, and truncated. Parameter: ``log_rate (S,)``. The EM step is exact: an exponential
    family of d, so that it finds the rate whose truncated mean is the observed one.

    Args:
        states: S.
        max_duration: D.
        min_duration: the least number of steps.

    Example:
        >>> duration = Poisson(states=1, max_duration=50)
        >>> duration.update(torch.eye(50)[[4]])  # one segment of 5 steps
        >>> round(duration.log_rate.exp().item(), 4)
        4.0
    """

    log_rate: nn.Parameter

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        return {"log_rate": (-50.0, 50.0)}

    def log_weight(self, steps: Tensor, *coordinates: Tensor) -> Tensor:
        (log_rate,) = coordinates
        return (steps - 1) * log_rate - torch.lgamma(steps)

    def matching(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        return (torch.log(mean - 1),)
