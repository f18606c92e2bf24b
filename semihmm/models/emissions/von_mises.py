"""Angles."""

import math

import torch
from torch import Tensor, nn

from semihmm.models.emissions.independent import ExponentialFamily
from semihmm.models.emissions.learning import confine, learn, mean_of
from semihmm.models.emissions.solving import root

_LEAST = 1e-6  # a concentration with which an angle is uniform to within a millionth


class VonMises(ExponentialFamily):
    """Each state has a von Mises distribution for each feature, independent of the others: a normal of angles.

    Args:
        states: S.
        features: F.
        max_concentration: about one over the smallest variance, in radians squared; it makes the likelihood bounded.

    Observations are angles in radians ``(..., T, F)``, the same modulo 2 pi. Parameters: ``mean`` and
    ``log_concentration``, ``(S, F)``. ``log p(x) = concentration * cos(x - mean) - log(2 pi I0(concentration))``,
    summed over features. EM step, exact (Mardia & Jupp 2000, section 5.3.1): the direction of the mean of the unit
    vectors, and the concentration for which ``I1 / I0`` is that mean's length.

    Example:
        >>> emission = VonMises(states=1, features=1)
        >>> emission.update(torch.tensor([[3.0], [-3.0]]), torch.ones(2, 1))
        >>> torch.allclose(emission.mean.abs(), torch.tensor(torch.pi))
        True
    """

    support = "finite angles"

    def __init__(self, states: int, features: int, max_concentration: float = 1e4) -> None:
        super().__init__(states, features)
        self.max_concentration = max_concentration
        self.mean = nn.Parameter((torch.rand(states, features) - 0.5) * 2 * math.pi)
        self.log_concentration = nn.Parameter(torch.zeros(states, features))

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "features": self.event_shape[0],
            "max_concentration": self.max_concentration,
        }

    def inside(self, x: Tensor) -> Tensor:
        return x.isfinite()

    def chart(self, x: Tensor) -> Tensor:
        return torch.cat([x.cos(), x.sin()], -1)

    def sufficient(self, x: Tensor) -> dict[str, Tensor]:
        return {"cosine": x.cos(), "sine": x.sin()}

    def natural(self) -> tuple[Tensor, Tensor]:
        concentration, mean = self.log_concentration.double().exp(), self.mean.double()
        return concentration * mean.cos(), concentration * mean.sin()

    def log_normaliser(self) -> Tensor:
        concentration = self.log_concentration.double().exp()
        around: Tensor = torch.special.i0e(concentration).log() + concentration
        return around + math.log(2 * math.pi)

    def base(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        weight = statistics["weight"]
        cosine, sine = (mean_of(statistics[name], weight) for name in ("cosine", "sine"))
        mean = learn(self.mean, torch.atan2(sine, cosine), weight)
        length = cosine * mean.cos() + sine * mean.sin()

        def lack(log_concentration: Tensor) -> tuple[Tensor, Tensor]:
            concentration = log_concentration.exp()
            ratio = torch.special.i1e(concentration) / torch.special.i0e(concentration)
            return length - ratio, ratio - concentration * (1 - ratio.square())

        low = torch.full_like(length, math.log(_LEAST))
        learn(self.log_concentration, root(lack, low, torch.full_like(low, math.log(self.max_concentration))), weight)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """By rejection from a wrapped Cauchy (Best & Fisher 1979), between -pi and pi."""
        concentration = self.log_concentration.double().exp()[states]
        tau = 1 + (1 + 4 * concentration.square()).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * concentration)
        r = (1 + rho.square()) / (2 * rho)
        away = torch.zeros_like(concentration)
        waiting = torch.ones_like(concentration, dtype=torch.bool)
        while bool(waiting.any()):
            u, v, sign = torch.rand((3, *away.shape), generator=generator, dtype=away.dtype, device=away.device)
            z = (math.pi * u).cos()
            f = (1 + r * z) / (r + z)
            c = concentration * (r - f)
            good = waiting & ((c * (2 - c) > v) | ((c / v).log() + 1 >= c))
            away = torch.where(good, f.clamp(-1, 1).arccos() * (sign - 0.5).sign(), away)
            waiting &= ~good
        x = self.mean.double()[states] + away
        return torch.atan2(x.sin(), x.cos()).to(self.mean.dtype)

    @torch.no_grad()
    def project(self) -> None:
        confine(self.log_concentration, math.log(_LEAST), math.log(self.max_concentration))

    def expected(self) -> Tensor:
        return self.mean

    def fill(self, x: Tensor, posterior: Tensor) -> Tensor:
        """What is missing is the direction of the expected unit vector."""
        natural = [torch.tensordot(posterior.double(), part, 1) for part in self._vector()]
        return torch.where(x.isnan(), torch.atan2(natural[1], natural[0]).to(x.dtype), x)

    def describe(self) -> dict[str, Tensor]:
        return {"mean": self.mean.detach(), "concentration": self.log_concentration.detach().exp()}

    def _vector(self) -> tuple[Tensor, Tensor]:
        """The expected unit vector in each state, ``(S, F)`` each."""
        concentration, mean = self.log_concentration.detach().double().exp(), self.mean.detach().double()
        length = torch.special.i1e(concentration) / torch.special.i0e(concentration)
        return length * mean.cos(), length * mean.sin()
