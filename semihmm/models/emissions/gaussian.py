"""Gaussians."""

import torch
from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.models.emissions.base import gaps, missing
from semihmm.models.emissions.centred import Centred
from semihmm.models.emissions.covariance import KINDS, Kind
from semihmm.models.emissions.learning import floor_of, learn, spread_out


class Gaussians(Centred):
    """What emissions of Gaussians share: means, a parameter that says how they spread, and its floor.

    Args:
        shape: of the means, ``(*G, F)``; G Gaussians make the states, by themselves or in mixtures.
        variance_floor: the smallest variance, as a share of that of the data.
        covariance: how they spread.
    """

    states: int
    floor: Tensor
    log_variance: nn.Parameter  # this one,
    factor: nn.Parameter  # or this one

    def __init__(self, shape: tuple[int, ...], variance_floor: float, covariance: Kind) -> None:
        super().__init__()
        if covariance not in KINDS:
            raise ShapeError(
                f"{type(self).__name__}: covariance must be 'diag', 'spherical', 'full' or 'tied', got {covariance!r}."
            )
        self.kind, self.spread, self.variance_floor = covariance, KINDS[covariance], variance_floor
        self.event_shape: tuple[int] = (shape[-1],)
        self.mean = nn.Parameter(torch.randn(shape))
        self.register_parameter(self.spread.parameter, nn.Parameter(self.spread.start(*shape)))
        self.register_buffer("floor", self.spread.floor(torch.full(shape[-1:], variance_floor)))
        self.register_buffer("centre", torch.zeros(shape[-1:], dtype=torch.float64))

    def covariance(self) -> Tensor:
        """The covariance matrix of each Gaussian, ``(*G, F, F)``."""
        return self.spread.matrices(self._value, self.mean.shape)

    def density(self, x: Tensor) -> Tensor:
        """The log-density of every Gaussian, ``(..., *G)``."""
        return self.spread.log_density(x, self.mean, self._value, gaps(x))

    @torch.no_grad()
    def place(self, x: Tensor, means: Tensor) -> None:
        """Put the Gaussians where a fit starts: means as given, and the variances of all data ``(N, F)``."""
        variance = floor_of(x, 1.0)
        self.put_centre(x)
        self.floor.copy_(self.variance_floor * self.spread.floor(variance))
        learn(self.mean, means)
        learn(self._value, self.spread.at(variance))

    def describe(self) -> dict[str, Tensor]:
        covariance = self.covariance().detach()
        matrices = self.kind in ("full", "tied")
        spread = {"covariance": covariance} if matrices else {"variance": covariance.diagonal(dim1=-2, dim2=-1)}
        return {"mean": self.mean.detach(), **spread}

    def moments(self, x: Tensor, share: Tensor) -> dict[str, Tensor]:
        """The statistics of observations ``(N, F)`` of which Gaussians have shares ``(N, *G)``."""
        return self.spread.sums(x, share, self.mean, self._value, self.centre, gaps(x))

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        value, weight = self.spread.mean(statistics)
        mean = learn(self.mean, value + self.centre, weight)
        learn(self._value, *self.spread.best(statistics, mean - self.centre, self.floor.double()))

    @torch.no_grad()
    def project(self) -> None:
        learn(self._value, self.spread.clipped(self._value.detach(), self.floor))

    @property
    def free_parameters(self) -> int:
        value = self._value
        return super().free_parameters - (value.numel() - self.spread.free(value)) * value.requires_grad

    @torch.no_grad()
    def _drawn(self, which: Tensor, generator: torch.Generator | None) -> Tensor:
        """A draw ``(..., F)`` from each of the given Gaussians ``(...)``, numbered along G."""
        mean, value = self._flat()
        standard = torch.randn(
            (*which.shape, mean.shape[-1]), generator=generator, dtype=mean.dtype, device=mean.device
        )
        return mean[which] + self.spread.noise(value[which], standard)

    @torch.no_grad()
    def _completed(self, x: Tensor, which: Tensor, generator: torch.Generator | None) -> Tensor:
        """Observations ``(N, F)`` with what is missing drawn from the given Gaussians ``(N,)`` given the rest.

        A draw of all, moved by how far what is there lies from it (conditioning by kriging: Journel 1974).
        """
        hidden, drawn = missing(x), self._drawn(which, generator)
        moved = self.spread.regression((x - drawn).unsqueeze(0), self._flat()[1], hidden)
        return torch.where(hidden, drawn + moved[which, torch.arange(len(x), device=x.device)].to(x.dtype), x)

    @torch.no_grad()
    def _filled(self, x: Tensor, share: Tensor) -> Tensor:
        """Observations ``(N, F)`` with what is missing as expected by Gaussians with shares ``(N, G)``."""
        hidden, (mean, value) = missing(x), self._flat()
        away = self.spread.regression(x - mean.unsqueeze(1), value, hidden)
        found = torch.einsum("ng,gnf->nf", share.to(away.dtype), away + mean.unsqueeze(1))
        return torch.where(hidden, found.to(x.dtype), x)

    @property
    def _value(self) -> nn.Parameter:
        found: nn.Parameter = getattr(self, self.spread.parameter)
        return found

    def _flat(self) -> tuple[Tensor, Tensor]:
        """The means ``(G, F)``, and the parameter of each."""
        axes = self.mean.ndim - 1
        value = self._value.detach()
        value = value.expand(*self.mean.shape[:-1], *value.shape[axes:])
        return self.mean.detach().flatten(0, -2), value.flatten(0, axes - 1)


class Gaussian(Gaussians):
    """Each state has one Gaussian.

    Args:
        states: S.
        features: F.
        variance_floor: the smallest variance, as a share of the variance that the feature has in the data of `fit`
            (of the mean over the features, if they share theirs; of matrices in any direction, of the smallest).
        covariance: ``"diag"``, a variance for each feature; ``"spherical"``, one for all features of a state;
            ``"full"``, a matrix; ``"tied"``, one matrix for all states.

    Observations are ``(..., T, F)``. Parameters: ``mean (S, F)``, and ``log_variance``, ``(S, F)`` or ``(S, 1)``, or
    ``factor``, ``(S, F, F)`` or ``(1, F, F)``: the Cholesky factor of each covariance with the logarithm of its
    diagonal. The floor makes the likelihood bounded; clipping variances or eigenvalues to it is the exact EM step under
    that constraint. What is missing is integrated out; the EM step then takes the moments that it is expected to have,
    given the rest (Little & Rubin 2002, section 11.2). With matrices, a traced program (`torch.compile`, `vmap`) takes
    steps of which all is missing, and says NaN of those of which a part is.

    Example:
        >>> emission = Gaussian(states=2, features=1)
        >>> x = torch.tensor([[0.], [2.], [9.], [11.]])
        >>> emission.update(x, torch.tensor([[1., 0.], [1., 0.], [0., 1.], [0., 1.]]))
        >>> emission.mean.tolist(), emission.log_variance.exp().tolist()
        ([[1.0], [10.0]], [[1.0], [1.0]])
        >>> Gaussian(states=2, features=3, covariance="full").covariance().shape
        torch.Size([2, 3, 3])
    """

    def __init__(self, states: int, features: int, variance_floor: float = 1e-3, covariance: Kind = "diag") -> None:
        super().__init__((states, features), variance_floor, covariance)
        self.states, self.apart = states, covariance != "tied"

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "features": self.event_shape[0],
            "variance_floor": self.variance_floor,
            "covariance": self.kind,
        }

    def forward(self, x: Tensor) -> Tensor:
        return self.density(x).to(self.mean.dtype)

    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Means at observations far from one another; the variances of all data, without correlation."""
        self.place(x, spread_out(x, self.states, generator))

    @property
    def own(self) -> list[nn.Parameter]:
        return super().own if self.apart else [self.mean]

    @torch.no_grad()
    def statistics(self, x: Tensor, posterior: Tensor) -> dict[str, Tensor]:
        return self.moments(x, posterior)

    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self._drawn(states, generator)

    def complete(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self._completed(x.reshape(-1, *self.event_shape), states.flatten(), generator).reshape(x.shape)

    def expected(self) -> Tensor:
        return self.mean

    def fill(self, x: Tensor, posterior: Tensor) -> Tensor:
        return self._filled(x.reshape(-1, *self.event_shape), posterior.reshape(-1, self.states)).reshape(x.shape)
