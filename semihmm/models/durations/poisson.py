"""One number for each state: its mean length."""

import torch
from torch import Tensor, nn

from semihmm.models.durations.base import Duration

_EXTREME = 30.0  # log-rates beyond +-30 are all of the mass at one end


class Poisson(Duration):
    """The steps after the first are Poisson distributed, given that there are at most D - 1 of them.

    Args:
        states: S.
        max_duration: D.

    ``log p(d) = (d - 1) log_rate - log((d - 1)!) - log(normaliser)`` for d = 1 to D: shifted by one, since a segment
    has at least one step, and truncated and normalised over what is left. Parameter: ``log_rate (S,)``. The EM step
    finds the rate whose truncated mean is the observed one, by bisection: it is unique (an exponential family).

    Example:
        >>> duration = Poisson(states=1, max_duration=50)
        >>> duration.update(torch.eye(50)[[4]])  # one segment of 5 steps
        >>> duration.log_rate.exp().tolist()
        [4.0]
    """

    def __init__(self, states: int, max_duration: int) -> None:
        super().__init__()
        self.states, self.max_duration = states, max_duration
        self.log_rate = nn.Parameter(torch.empty(states))
        self.initialise()

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, "max_duration": self.max_duration}

    def forward(self) -> Tensor:
        return self._law(self.log_rate)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Mean lengths between a quarter and three quarters of D."""
        share = torch.empty_like(self.log_rate).uniform_(0.25, 0.75, generator=generator)
        self.log_rate.copy_((share * self.max_duration).log())

    @torch.no_grad()
    def update(self, counts: Tensor) -> None:
        counts = counts.double()
        more = torch.arange(self.max_duration, dtype=counts.dtype, device=counts.device)
        total = counts.sum(-1)
        wanted = counts @ more / torch.where(total > 0, total, 1.0)
        low = torch.full_like(wanted, -_EXTREME)
        high = -low
        for _ in range(60):  # halves an interval of 60 down to the precision of float64
            middle = (low + high) / 2
            above = self._law(middle).exp() @ more > wanted
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        self.log_rate.copy_(torch.where(total > 0, (low + high) / 2, self.log_rate))

    def _law(self, log_rate: Tensor) -> Tensor:
        more = torch.arange(self.max_duration, dtype=log_rate.dtype, device=log_rate.device)
        return (log_rate.unsqueeze(-1) * more - torch.lgamma(more + 1)).log_softmax(-1)
