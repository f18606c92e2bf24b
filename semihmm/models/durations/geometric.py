"""What a state of an HMM does: each further step has the same chance."""

import torch
from torch import Tensor, nn

from semihmm.models.durations.parametric import Parametric


class Geometric(Parametric):
    """After each step, the state stays with the same probability: what an HMM says of its states.

    ``log p(d) = (d - 1) log q - log(normaliser)`` for d = min_duration to D, with ``q = sigmoid(logit)`` the chance to
    stay (Rabiner 1989, equation 5, truncated). Parameter: ``logit (S,)``. The EM step is exact: an exponential family
    of d. Since q is at most 1, no mean is above the middle of the range.

    Args:
        states: S.
        max_duration: D.
        min_duration: the least number of steps.

    Example:
        >>> duration = Geometric(states=1, max_duration=500)
        >>> duration.update(torch.eye(500)[[3]])  # one segment of 4 steps
        >>> round(duration.logit.sigmoid().item(), 4)
        0.75
    """

    logit: nn.Parameter

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        return {"logit": (-50.0, -1e-15)}

    def log_weight(self, steps: Tensor, *coordinates: Tensor) -> Tensor:
        (log_stay,) = coordinates
        return (steps - 1) * log_stay

    def coordinates(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        (logit,) = parameters
        return (nn.functional.logsigmoid(logit),)

    def from_coordinates(self, *coordinates: Tensor) -> tuple[Tensor, ...]:
        (log_stay,) = coordinates
        return (log_stay - torch.log(-torch.expm1(log_stay)),)

    def matching(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        return (torch.log(mean - self.min_duration),)
