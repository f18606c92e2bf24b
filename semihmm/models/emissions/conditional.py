"""Any family, with parameters that a network computes from inputs."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from semihmm.errors import ShapeError
from semihmm.models.climbing import ascend
from semihmm.models.emissions.base import Emission
from semihmm.models.emissions.independent import Supported
from semihmm.models.emissions.regressors import beside, inputs_of, split


class Conditional(Emission):
    """A network says how inputs move the parameters of a family, in the way of Bishop's density networks (1994).

    Args:
        net: any module from inputs ``(N, inputs)`` to ``(N, P)``: what is added to the P numbers in the parameters of
            the family that are not frozen, in the order of ``family.named_parameters()``.
        family: an emission of one axis of features, or of symbols.
        inputs: how many there are.
        steps: of L-BFGS in each EM step.

    Observations are those of the family, of inputs ``(..., T, inputs)``. EM step: the expected log-likelihood is
    climbed by gradient, and never lowered; it needs all data at once. Only the family's own parameters are kept in
    bounds: a network that may make a variance as small as it likes makes the likelihood unbounded, so end it with a
    bounded function such as `torch.nn.Tanh` where parameters are logarithms. A step counts for nothing if one of its
    inputs is missing; missing features are the family's matter.

    Example:
        >>> family = Poisson(states=2, features=3)
        >>> emission = Conditional(torch.nn.Linear(4, 6), family, inputs=4)
        >>> emission(emission.observed(torch.ones(5, 3), torch.zeros(5, 4))).shape
        torch.Size([5, 2])
    """

    def __init__(self, net: nn.Module, family: Emission, inputs: int, steps: int = 10) -> None:
        super().__init__()
        if family.states is None or len(family.event_shape) > 1 or None in family.event_shape:
            raise ShapeError(
                "Conditional: the family must say its states, and have one axis of features or symbols; got "
                f"{type(family).__name__} of states {family.states} and event shape {family.event_shape}."
            )
        self.net, self.family, self.inputs, self.steps = net, family, inputs, steps
        self.states: int = family.states
        self.event_shape, self.filler = family.event_shape, family.filler

    def observed(self, x: Tensor, inputs: Tensor | None = None) -> Tensor:
        if not self.event_shape:
            x = torch.where(x < 0, torch.nan, x).unsqueeze(-1)
        return beside(self, x, inputs)

    def forward(self, x: Tensor) -> Tensor:
        y, moved, counts = self._split(x)
        if isinstance(self.family, Supported):
            self.family.check(y)

        def one(parameters: dict[str, Tensor], y: Tensor) -> Tensor:
            found: Tensor = functional_call(self.family, parameters, (y.unsqueeze(0),))
            return found.squeeze(0)

        found = torch.vmap(one)(moved, y)
        return torch.where(counts.unsqueeze(-1), found, 0.0).reshape(*x.shape[:-1], -1)

    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """The family's own parameters as without inputs; the network starts from the weights that it has."""
        known = ~x.isnan().any(-1)
        self.family.initialise(self._event(x[known, : self._columns]), generator)

    def update(self, x: Tensor, posterior: Tensor) -> None:
        def objective() -> Tensor:
            expected: Tensor = (posterior * self(x)).double().sum()
            return expected + self.log_prior()

        ascend(self.parameters(), objective, self.steps, self.project)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None, inputs: Tensor | None = None) -> Tensor:
        moved = self._moved(inputs_of(self, states, inputs).flatten(0, -2))
        drawn = [
            self._asked("sample", {name: p[n] for name, p in moved.items()}, state, generator)
            for n, state in enumerate(states.reshape(-1, 1))
        ]
        return torch.cat(drawn).reshape(*states.shape, *drawn[0].shape[1:])

    @torch.no_grad()
    def complete(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What is missing drawn, whole observations at a time; where inputs are missing, it stays so."""
        y, u = x[..., : self._columns], x[..., self._columns :]
        drawn = self.sample(states, generator, u.nan_to_num(0.0)).reshape(y.shape).to(x.dtype)
        found = torch.where(y.isnan() & ~u.isnan().any(-1, keepdim=True), drawn, y)
        return self._event(found) if self.event_shape else self._event(found.nan_to_num(-1.0))

    @torch.no_grad()
    def expected(self) -> Tensor:
        """The expected observation where all inputs are 0, ``(S, F)``."""
        found: Tensor = self._asked("expected", self._without_inputs())
        return found

    @torch.no_grad()
    def fill(self, x: Tensor, posterior: Tensor) -> Tensor:
        """Observations with what is missing at its expectation, as if the rest of each were missing too.

        Where inputs are missing, it stays so.
        """
        self.expected()  # of symbols, there is none
        y, u = x[..., : self._columns], x[..., self._columns :]
        moved = self._moved(u.nan_to_num(0.0).flatten(0, -2).to(self.dtype))
        each = torch.vmap(lambda parameters: self._asked("expected", parameters))(moved)
        found = torch.einsum("ns,ns...->n...", posterior.reshape(len(each), -1).to(each), each).reshape(y.shape)
        return torch.where(y.isnan() & ~u.isnan().any(-1, keepdim=True), found.to(x.dtype), y)

    @torch.no_grad()
    def describe(self) -> dict[str, Tensor]:
        """What the family is like where all inputs are 0."""
        found: dict[str, Tensor] = self._asked("describe", self._without_inputs())
        return found

    def log_prior(self) -> Tensor:
        return self.family.log_prior()

    def project(self) -> None:
        self.family.project()

    @property
    def _columns(self) -> int:
        return (self.event_shape[0] or 0) if self.event_shape else 1

    def _event(self, y: Tensor) -> Tensor:
        """Columns as the family takes them."""
        return y if self.event_shape else y.squeeze(-1).long()

    def _split(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Observations ``(N, ...)``, the parameters of the family at each, and which count."""
        x = x.flatten(0, -2)
        _, u, seen = split(x, self._columns)
        counts = seen.any(-1)
        filler = torch.as_tensor(self.filler, dtype=x.dtype, device=x.device)
        y = torch.where(counts.unsqueeze(-1), x[:, : self._columns], filler)
        return self._event(y), self._moved(u.to(self.dtype)), counts

    def _without_inputs(self) -> dict[str, Tensor]:
        """The parameters of the family where all inputs are 0."""
        return {name: p[0] for name, p in self._moved(torch.zeros(1, self.inputs, dtype=self.dtype)).items()}

    def _asked(self, method: str, parameters: dict[str, Tensor], *arguments: object) -> Any:
        """What a method of the family answers with other parameters than its own."""
        prefixed = {f"family.{name}": p for name, p in parameters.items()}
        return functional_call(_Method(self.family, method), prefixed, arguments)

    def _moved(self, u: Tensor) -> dict[str, Tensor]:
        """Of the family, one set for each row of inputs."""
        own = {name: p for name, p in self.family.named_parameters() if p.requires_grad}
        moves = self.net(u)
        sizes = [p.numel() for p in own.values()]
        if moves.shape != (len(u), sum(sizes)):
            raise ShapeError(
                f"Conditional: the network must return {(len(u), sum(sizes))}, one number for each in "
                f"{', '.join(f'{name} {tuple(p.shape)}' for name, p in own.items())}; got {tuple(moves.shape)}."
            )
        parts = moves.split(sizes, -1)
        return {name: p + part.unflatten(-1, p.shape) for (name, p), part in zip(own.items(), parts, strict=True)}


class _Method(nn.Module):
    """A method of a family as a module, so that `functional_call` reaches it."""

    def __init__(self, family: Emission, name: str) -> None:
        super().__init__()
        self.family, self.name = family, name

    def forward(self, *arguments: object) -> Any:
        return getattr(self.family, self.name)(*arguments)
