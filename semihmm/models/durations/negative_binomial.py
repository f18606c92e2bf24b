"""Two numbers for each state: from the Poisson law to ones that vary far more."""

import torch
from torch import Tensor, nn

from semihmm.models.durations.parametric import Parametric


class NegativeBinomial(Parametric):
    """The steps after the first are negative binomial: a sum of r geometric numbers, for any real r > 0.

    ``log p(d) = log Gamma(d - 1 + r) - log Gamma(r) - log((d - 1)!) + (d - 1) log q - log(normaliser)`` for
    d = min_duration to D, with ``r = exp(log_count)`` and ``q = sigmoid(logit)`` (``total_count`` and ``probs`` of
    `torch.distributions.NegativeBinomial`). r = 1 is `Geometric`; as r grows it becomes `Poisson`, where lengths that
    vary less end up. Parameters: ``log_count (S,)``, ``logit (S,)``. The EM step climbs to a maximum; that there is
    only one has not been proved.

    Args:
        states: S.
        max_duration: D.
        min_duration: the least number of steps.

    Example:
        >>> duration = NegativeBinomial(states=2, max_duration=30)
        >>> duration.update(torch.eye(30)[[4, 9]] + torch.eye(30)[[6, 19]])
        >>> (duration().exp() @ torch.arange(1.0, 31)).round(decimals=2).tolist()  # the means that were observed
        [6.0, 15.0]
    """

    log_count: nn.Parameter
    logit: nn.Parameter

    @property
    def bounds(self) -> dict[str, tuple[float, float]]:
        return {"log_count": (-15.0, 20.0), "logit": (-60.0, -1e-15)}

    def log_weight(self, steps: Tensor, *coordinates: Tensor) -> Tensor:
        log_count, log_stay = coordinates
        # Gamma(d - 1 + r) over that of the least d, factor by factor: log-Gammas of large r would cancel.
        factors = (steps[1:] - 2 + log_count.exp()).log().cumsum(-1)
        rising = nn.functional.pad(factors, (1, 0))
        return rising - torch.lgamma(steps) + (steps - 1) * log_stay

    def coordinates(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        log_count, logit = parameters
        return log_count, nn.functional.logsigmoid(logit)

    def from_coordinates(self, *coordinates: Tensor) -> tuple[Tensor, ...]:
        log_count, log_stay = coordinates
        return log_count, log_stay - torch.log(-torch.expm1(log_stay))

    def matching(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        mean = (mean - 1).clamp(min=1e-6)
        count = mean**2 / (variance - mean).clamp(min=1e-3 * mean)
        return count.log(), (mean / count).log()
