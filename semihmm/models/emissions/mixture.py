"""Mixtures of Gaussians, each state's own or shared between states."""

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from semihmm.errors import ShapeError
from semihmm.models.arguments import real_tensor
from semihmm.models.emissions.base import missing
from semihmm.models.emissions.covariance import Kind
from semihmm.models.emissions.gaussian import Gaussians
from semihmm.models.emissions.learning import first_posterior, spread_out
from semihmm.models.part import Part
from semihmm.models.table import Table

_CHUNK = 1 << 22  # numbers that the EM step holds at a time


class GaussianMixture(Gaussians):
    """Each state has a mixture of Gaussians.

    Args:
        states: S.
        features: F.
        components: C, Gaussians in each mixture.
        codebook: which set of C Gaussians each state draws on, int64 ``(S,)``, numbered from 0; states of one codebook
            share their Gaussians and differ in the weights alone (a tied mixture: Huang & Jack 1989). None for a set of
            their own.
        variance_floor: the smallest variance, as in `Gaussian`.
        pseudo_count: what EM adds to the count of each component in each state.
        covariance: how the Gaussians spread, as in `Gaussian`; ``"tied"`` is one matrix for each codebook.

    Observations are ``(..., T, F)``. Parameters: ``mean (K, C, F)`` for K codebooks, ``log_variance`` or ``factor``
    with the same axes in front, and the weights, `weights()`, ``(S, C)``. The densities of a codebook are computed once
    for all its states.

    Example:
        >>> emission = GaussianMixture(states=3, features=2, components=4, codebook=torch.tensor([0, 0, 1]))
        >>> emission(torch.zeros(5, 2)).shape, emission.mean.shape
        (torch.Size([5, 3]), torch.Size([2, 4, 2]))
    """

    codebook: Tensor

    def __init__(
        self,
        states: int,
        features: int,
        components: int,
        codebook: Tensor | list[int] | None = None,
        variance_floor: float = 1e-3,
        pseudo_count: float = 0.0,
        covariance: Kind = "diag",
    ) -> None:
        codebook = torch.arange(states) if codebook is None else real_tensor("GaussianMixture", "codebook", codebook)
        books = int(codebook.max()) + 1 if codebook.numel() else 0
        if codebook.shape != (states,) or codebook.is_floating_point() or len(codebook.unique()) != books:
            raise ShapeError(
                f"GaussianMixture: codebook must be integers ({states},), one for each state, that leave out none "
                f"from 0 on; got {codebook.tolist()}."
            )
        super().__init__((books, components, features), variance_floor, covariance)
        self.states = states
        self.weights = Table.rows(states, components, pseudo_count)
        self.register_buffer("codebook", codebook, persistent=False)
        met: Counter[int] = Counter()
        self.groups: list[list[int]] = []
        for state, book in enumerate(codebook.tolist()):
            if met[book] == len(self.groups):
                self.groups.append([])
            self.groups[met[book]].append(state)
            met[book] += 1
        self.apart = codebook.tolist() == list(range(states))

    def repeated(self, count: int) -> Part | None:
        if not self.apart:
            return None
        config = {**self.config, "states": count * len(self.codebook), "codebook": None}
        return type(self)(**config).to(self.dtype)  # type: ignore[arg-type]

    @property
    def config(self) -> dict[str, object]:
        _, components, features = self.mean.shape
        return {
            "states": self.states,
            "features": features,
            "components": components,
            "codebook": None if self.apart else self.codebook.tolist(),
            "variance_floor": self.variance_floor,
            "pseudo_count": self.weights.pseudo_count,
            "covariance": self.kind,
        }

    def forward(self, x: Tensor) -> Tensor:
        found = torch.cat([joint.logsumexp(-1) for _, joint in self._joint(self.density(x))], -1).to(self.mean.dtype)
        order = [state for group in self.groups for state in group]
        return found if self.apart else found[..., torch.tensor(order, device=found.device).argsort()]

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """Means far from one another among the observations around one of K places, for each codebook; the rest alike.

        The variances are those of all data, the weights near uniform.
        """
        books, components, _ = self.mean.shape
        nearest = first_posterior(x, books, generator).argmax(-1)
        around = [x[nearest == book] for book in range(books)]
        means = [spread_out(own if len(own) else x, components, generator) for own in around]
        self.place(x, torch.stack(means))
        self.weights.initialise(generator)

    @property
    def own(self) -> list[nn.Parameter]:
        return super().own if self.apart else [self.weights.logits]

    @torch.no_grad()
    def statistics(self, x: Tensor, posterior: Tensor) -> dict[str, Tensor]:
        books, components, _ = self.mean.shape
        found: dict[str, Tensor] = {}
        rows = max(1, _CHUNK // (books * components))
        for part, share in zip(x.split(rows), posterior.double().split(rows), strict=True):
            counts, used = self._shares(part, torch.where(missing(part).all(-1, keepdim=True), 0.0, share))
            for name, more in {"counts": counts, **self.moments(part, used)}.items():
                found[name] = found[name] + more if name in found else more
        return found

    @torch.no_grad()
    def maximise(self, statistics: dict[str, Tensor]) -> None:
        super().maximise(statistics)
        self.weights.update(statistics["counts"])

    def sample(self, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        chance = self.weights().detach().exp()[states.flatten()]
        return self._drawn(self._numbered(states, _choose(chance, generator).reshape(states.shape)), generator)

    def complete(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        flat, mine = x.reshape(-1, *self.event_shape), states.flatten()
        with torch.no_grad():
            joint = self.weights()[mine] + self.density(flat)[torch.arange(len(flat)), self.codebook[mine]]
        component = _choose(joint.softmax(-1), generator)
        return self._completed(flat, self._numbered(mine, component), generator).reshape(x.shape)

    def expected(self) -> Tensor:
        found: Tensor = (self.weights().exp().unsqueeze(-1) * self.mean[self.codebook]).sum(-2)
        return found

    @torch.no_grad()
    def fill(self, x: Tensor, posterior: Tensor) -> Tensor:
        flat = x.reshape(-1, *self.event_shape)
        used = self._shares(flat, posterior.reshape(-1, self.states).double())[1]
        return self._filled(flat, used.flatten(1)).reshape(x.shape)

    def describe(self) -> dict[str, Tensor]:
        of_each = {name: value[self.codebook] for name, value in super().describe().items()}
        return {"weight": self.weights().detach().exp(), **of_each}

    @property
    def has_prior(self) -> bool:
        return self.weights.has_prior

    def log_prior(self) -> Tensor:
        return self.weights.log_prior()

    def _numbered(self, states: Tensor, component: Tensor) -> Tensor:
        """The place of components of states among all Gaussians."""
        return self.codebook[states] * self.mean.shape[1] + component

    def _shares(self, x: Tensor, posterior: Tensor) -> tuple[Tensor, Tensor]:
        """How often each state used each component ``(S, C)``; how much each observation did, ``(N, K, C)``."""
        books, components, _ = self.mean.shape
        counts = posterior.new_zeros(self.states, components)
        used = posterior.new_zeros(len(x), books, components)
        for group, joint in self._joint(self.density(x)):
            mine = joint.softmax(-1) * posterior[:, group].unsqueeze(-1)
            counts[group] += mine.sum(0)
            used[:, self.codebook[group]] += mine  # each codebook at most once in a group
        return counts, used

    def _joint(self, density: Tensor) -> Iterator[tuple[list[int], Tensor]]:
        """Groups of states, no two of them of one codebook, and their ``log(weight * density)``, ``(..., T, G, C)``.

        Three states that share a codebook make three groups: the peak must be that of each state, since weights may be
        0 where the density is highest, and ``(..., T, S, C)`` need not exist.
        """
        weights = self.weights().double()
        for group in self.groups:
            yield group, density[..., self.codebook[group], :] + weights[group]


def _choose(chance: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.multinomial(chance, 1, generator=generator).squeeze(-1)
