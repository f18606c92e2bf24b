"""Duration laws of a few numbers for each state, whatever the formula."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.models.durations.base import Duration, check_support
from semihmm.models.durations.scoring import climb

_WIDE = 64  # times the mean: the range in which a longest duration is looked for


class Parametric(Duration):
    """A law with a formula: log-weights of min_duration to D steps, normalised over those.

    A subclass gives `bounds`, `log_weight` and `matching`, and `coordinates` with `from_coordinates` where its
    parameters are no good ones to search. Continuous laws are taken by their density at whole numbers of steps: where
    the density is an exponential family, so is the law. The EM step is Fisher scoring within the bounds, which for an
    exponential family in its natural parameters is Newton's method on a concave function. It is computed, as the
    log-probabilities are, in float64.

    Args:
        states: S.
        max_duration: D. None to choose the least one beyond which less mass than ``tail`` lies, for a law that, were it
            not truncated, had this mean and as large a standard deviation (or came as near to it as it can).
        min_duration: the least number of steps.
        mean: how long segments last, for a D that is not given; the law starts from there.
        tail: the mass that may lie beyond D.

    Example:
        >>> law: Parametric = Gamma(states=1, max_duration=20, min_duration=3)
        >>> law()[0, :2].tolist(), round(law().exp().sum().item(), 4)
        ([-inf, -inf], 1.0)
        >>> Gamma(states=1, mean=10.0).max_duration, Gamma(states=1, mean=10.0, tail=0.01).max_duration
        (93, 47)
    """

    apart = True

    def __init__(
        self,
        states: int,
        max_duration: int | None = None,
        min_duration: int = 1,
        *,
        mean: float | None = None,
        tail: float = 1e-4,
    ) -> None:
        super().__init__()
        if max_duration is None:
            max_duration = self._longest(min_duration, mean, tail)
        check_support(type(self).__name__, max_duration, min_duration)
        self.states, self.max_duration, self.min_duration = states, max_duration, min_duration
        for name in self.bounds:
            self.register_parameter(name, nn.Parameter(torch.empty(states)))
        self.initialise()
        if mean is not None:
            self._begin(mean)

    @torch.no_grad()
    def _begin(self, mean: float) -> None:
        own = torch.full((self.states,), float(mean), dtype=torch.float64)
        self._assign(self._matching(own, own))

    def _longest(self, min_duration: int, mean: float | None, tail: float) -> int:
        name = type(self).__name__
        if mean is None or not mean >= min_duration or not 0 < tail < 1:
            raise ShapeError(
                f"durations.{name}: give max_duration, or the mean duration, at least {min_duration}, and a tail mass "
                f"between 0 and 1; got mean={mean} and tail={tail}."
            )
        wide = type(self)(1, math.ceil(_WIDE * mean), min_duration, mean=mean)
        below = wide().detach().double().exp().cumsum(-1)[0]
        return max(min_duration, int((below < 1 - tail).sum()) + 1)

    @property
    @abstractmethod
    def bounds(self) -> dict[str, tuple[float, float]]:
        """The parameters ``(S,)`` by name, and the least and the greatest value of the coordinate in place of each."""

    @abstractmethod
    def log_weight(self, steps: Tensor, *coordinates: Tensor) -> Tensor:
        """What `forward` normalises: float64 ``(S, L)`` for numbers of steps ``(L,)`` and coordinates ``(S, 1)``."""

    def coordinates(self, *parameters: Tensor) -> tuple[Tensor, ...]:
        """What `update` searches, as many as parameters: those of an exponential family are its natural parameters."""
        return parameters

    def from_coordinates(self, *coordinates: Tensor) -> tuple[Tensor, ...]:
        """The parameters at these coordinates."""
        return coordinates

    @abstractmethod
    def matching(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        """The parameters of the law with this mean and variance were it not truncated, or near them: a start."""

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, "max_duration": self.max_duration, "min_duration": self.min_duration}

    def forward(self) -> Tensor:
        log_prob = self._log_weight(self._coordinates()).log_softmax(-1).to(self.dtype)
        return nn.functional.pad(log_prob, (self.min_duration - 1, 0), value=-torch.inf)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Means between a quarter and three quarters of the range, standard deviations of a quarter."""
        like = next(self.parameters())
        share = torch.empty_like(like).uniform_(0.25, 0.75, generator=generator).double()
        width = self.max_duration - self.min_duration
        self._assign(self._matching(self.min_duration + share * width, torch.full_like(share, width / 4)))

    @torch.no_grad()
    def update(self, counts: Tensor) -> None:
        counts = counts[:, self.min_duration - 1 :].double()
        total = counts.sum(-1, keepdim=True)
        share = counts / torch.where(total > 0, total, 1.0)
        steps = self._steps(counts.device)
        mean = share @ steps
        deviation = (share * (steps - mean.unsqueeze(-1)) ** 2).sum(-1).sqrt()
        now = self._coordinates()
        found = climb(
            self._log_weight, share, (self._clamped(now), self._matching(mean, deviation)), *self._limits(now)
        )
        self._assign(torch.where(total > 0, found, now))

    @torch.no_grad()
    def project(self) -> None:
        self._assign(self._clamped(self._coordinates()))

    def _steps(self, device: torch.device) -> Tensor:
        return torch.arange(self.min_duration, self.max_duration + 1, dtype=torch.float64, device=device)

    def _log_weight(self, coordinates: Tensor) -> Tensor:
        return self.log_weight(self._steps(coordinates.device), *coordinates.unsqueeze(-2).unbind(-1))

    def _coordinates(self) -> Tensor:
        return torch.stack(self.coordinates(*(getattr(self, name).double() for name in self.bounds)), -1)

    def _matching(self, mean: Tensor, deviation: Tensor) -> Tensor:
        matching = self.matching(mean, deviation.clamp(min=0.3) ** 2)  # a narrower law is a worse start
        return self._clamped(torch.stack(self.coordinates(*matching), -1))

    def _limits(self, like: Tensor) -> tuple[Tensor, Tensor]:
        low, high = like.new_tensor(list(self.bounds.values())).unbind(-1)
        return low, high

    def _clamped(self, coordinates: Tensor) -> Tensor:
        return coordinates.clamp(*self._limits(coordinates))

    def _assign(self, coordinates: Tensor) -> None:
        for name, value in zip(self.bounds, self.from_coordinates(*coordinates.unbind(-1)), strict=True):
            if (parameter := getattr(self, name)).requires_grad:  # not frozen
                parameter.copy_(value)
