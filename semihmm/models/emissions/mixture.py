"""Mixtures of Gaussians, each state's own or shared between states."""

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.models.emissions.base import Emission
from semihmm.models.emissions.gaussian import LEAST_WEIGHT, floor_of, log_density, spread_out
from semihmm.models.table import Table

_CHUNK = 1 << 22  # numbers that the EM step holds at a time


class GaussianMixture(Emission):
    """Each state has a mixture of Gaussians with independent features.

    Args:
        states: S.
        features: F.
        components: C, Gaussians in each mixture.
        codebook: which set of C Gaussians each state draws on, int64 ``(S,)``, numbered from 0; states of one codebook
            share their Gaussians and differ in the weights alone (a tied mixture: Huang & Jack 1989). None for a set of
            their own.
        variance_floor: the smallest variance, as a share of the variance that the feature has in the data of `fit`.
        pseudo_count: what EM adds to the count of each component in each state.

    Observations are ``(..., T, F)``. Parameters: ``mean`` and ``log_variance``, ``(K, C, F)`` for K codebooks, and the
    weights, `weights()`, ``(S, C)``. The densities of a codebook are computed once for all its states.

    Example:
        >>> emission = GaussianMixture(states=3, features=2, components=4, codebook=torch.tensor([0, 0, 1]))
        >>> emission(torch.zeros(5, 2)).shape, emission.mean.shape
        (torch.Size([5, 3]), torch.Size([2, 4, 2]))
    """

    floor: Tensor
    codebook: Tensor
    turn: Tensor  # how many states before this one have its codebook

    def __init__(
        self,
        states: int,
        features: int,
        components: int,
        codebook: Tensor | list[int] | None = None,
        variance_floor: float = 1e-3,
        pseudo_count: float = 0.0,
    ) -> None:
        super().__init__()
        codebook = torch.arange(states) if codebook is None else torch.as_tensor(codebook)
        books = int(codebook.max()) + 1 if codebook.numel() else 0
        if codebook.shape != (states,) or codebook.is_floating_point() or len(codebook.unique()) != books:
            raise ShapeError(
                f"GaussianMixture: codebook must be integers ({states},), one for each state, that leave out none "
                f"from 0 on; got {codebook.tolist()}."
            )
        self.states, self.event_shape, self.variance_floor = states, (features,), variance_floor
        self.mean = nn.Parameter(torch.randn(books, components, features))
        self.log_variance = nn.Parameter(torch.zeros(books, components, features))
        self.weights = Table.rows(states, components, pseudo_count)
        self.register_buffer("floor", torch.full((features,), variance_floor))
        self.register_buffer("codebook", codebook, persistent=False)
        met: Counter[int] = Counter()
        turns = []
        for book in codebook.tolist():
            turns.append(met[book])
            met[book] += 1
        self.register_buffer("turn", torch.tensor(turns), persistent=False)
        self.turns = max(turns) + 1

    @property
    def config(self) -> dict[str, object]:
        _, components, features = self.mean.shape
        return {
            "states": self.states,
            "features": features,
            "components": components,
            "codebook": self.codebook.tolist(),
            "variance_floor": self.variance_floor,
            "pseudo_count": self.weights.pseudo_count,
        }

    def forward(self, x: Tensor) -> Tensor:
        density = self._density(x)
        parts = [(group, part.logsumexp(-1)) for group, part in self._joint(density)]
        order = torch.cat([group for group, _ in parts]).argsort()
        return torch.cat([part for _, part in parts], -1)[..., order].to(self.mean.dtype)

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Means at observations far from one another; the variance of all data; near uniform weights."""
        self.floor.copy_(floor_of(x, self.variance_floor))
        books, components, _ = self.mean.shape
        chosen = spread_out(x, books * components, generator)
        # Those that were chosen first lie furthest apart: one of them for each codebook.
        self.mean.copy_(chosen.reshape(components, books, -1).transpose(0, 1))
        self.log_variance.copy_((self.floor.double() / self.variance_floor).log().expand_as(self.log_variance))
        self.weights.initialise(generator)

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        centre = x.double().mean(0)
        books, components, features = self.mean.shape
        counts = x.new_zeros(len(self.codebook), components, dtype=torch.float64)
        weight = x.new_zeros(books, components, 1, dtype=torch.float64)
        first, second = (x.new_zeros(books, components, features, dtype=torch.float64) for _ in range(2))
        rows = max(1, _CHUNK // (books * components))
        for part, share in zip(x.split(rows), posterior.double().split(rows), strict=True):
            used = torch.zeros(len(part), books, components, dtype=torch.float64, device=x.device)
            for group, joint in self._joint(self._density(part)):
                mine = joint.softmax(-1) * share[:, group].unsqueeze(-1)
                counts[group] += mine.sum(0)
                used[:, self.codebook[group]] += mine  # each codebook at most once in a group
            away = part.double() - centre
            weight += used.sum(0).unsqueeze(-1)
            first += torch.einsum("nkc,nf->kcf", used, away)
            second += torch.einsum("nkc,nf->kcf", used, away.square())
        seen = weight > LEAST_WEIGHT
        mean = first / weight.clamp(min=LEAST_WEIGHT)
        variance = second / weight.clamp(min=LEAST_WEIGHT) - mean.square()
        self.mean.copy_(torch.where(seen, mean + centre, self.mean))
        self.log_variance.copy_(torch.where(seen, variance.maximum(self.floor).log(), self.log_variance))
        self.weights.update(counts)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        chance = self.weights().exp()[states.flatten()]
        component = torch.multinomial(chance, 1, generator=generator).reshape(states.shape)
        book = self.codebook[states]
        mean, deviation = self.mean[book, component], (self.log_variance[book, component] / 2).exp()
        return mean + deviation * torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)

    def log_prior(self) -> Tensor:
        return self.weights.log_prior()

    @torch.no_grad()
    def project(self) -> None:
        self.log_variance.clamp_(min=self.floor.log())

    def _density(self, x: Tensor) -> Tensor:
        """The log-density of every Gaussian, ``(..., T, K, C)``."""
        books = self.mean.shape[:2]
        density = log_density(x, self.mean.flatten(0, 1), self.log_variance.flatten(0, 1))
        return torch.unflatten(density, -1, books)

    def _joint(self, density: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Groups of states, no two of them of one codebook, and their ``log(weight * density)``, ``(..., T, G, C)``.

        Three states that share a codebook make three groups: the peak must be that of each state, since weights may be
        0 where the density is highest, and ``(..., T, S, C)`` need not exist.
        """
        weights = self.weights().double()
        for turn in range(self.turns):
            group = (self.turn == turn).nonzero().squeeze(-1)
            yield group, density[..., self.codebook[group], :] + weights[group]
