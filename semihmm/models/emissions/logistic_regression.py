"""Logistic regression of symbols on inputs."""

import torch
from torch import Tensor, nn

from semihmm.engine.tracing import traced
from semihmm.errors import DataError
from semihmm.models.climbing import newton
from semihmm.models.emissions.base import Emission
from semihmm.models.emissions.glm import check_ridge
from semihmm.models.emissions.learning import learn, met
from semihmm.models.emissions.regressors import begin, beside, design, inputs_of, linear, products, split


class LogisticRegression(Emission):
    """Each state has a multinomial logistic regression of a symbol on inputs.

    Args:
        states: S.
        symbols: V.
        inputs: how many there are.
        intercept: whether 1 is one input more.
        ridge: the weight of a penalty on all coefficients, ``ridge / 2`` times the sum of their squares (`log_prior` is
            its negative); above 0, so that the best ones are finite whatever the data.

    Observations are integers ``(..., T)``, 0 to V - 1, or -1 where missing; inputs are ``(..., T, inputs)``. The
    probabilities are ``softmax(coefficients @ inputs)``. Parameter: ``coefficients (S, V, inputs + 1)``, the last of
    which is the intercept. EM step: Newton's method, each step of which is halved until it raises the likelihood; it
    needs all data at once. A step counts for nothing if one of its inputs is missing.

    Example:
        >>> emission = LogisticRegression(states=2, symbols=3, inputs=4)
        >>> emission(emission.observed(torch.tensor([0, 2, -1]), torch.zeros(3, 4))).shape
        torch.Size([3, 2])
    """

    apart = True

    def __init__(self, states: int, symbols: int, inputs: int, intercept: bool = True, ridge: float = 1e-4) -> None:
        super().__init__()
        check_ridge("LogisticRegression", ridge)
        self.states: int = states
        self.symbols, self.inputs, self.event_shape = symbols, inputs, ()
        self.intercept, self.ridge = intercept, ridge
        self.coefficients = nn.Parameter(0.1 * torch.randn(states, symbols, inputs + intercept))

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "symbols": self.symbols,
            "inputs": self.inputs,
            "intercept": self.intercept,
            "ridge": self.ridge,
        }

    @property
    def free_parameters(self) -> int:
        """How many numbers are free: what is added to the coefficients of all symbols changes nothing."""
        return super().free_parameters * (self.symbols - 1) // self.symbols

    def observed(self, x: Tensor, inputs: Tensor | None = None) -> Tensor:
        return beside(self, torch.where(x < 0, torch.nan, x).unsqueeze(-1), inputs)

    def forward(self, x: Tensor) -> Tensor:
        symbol, columns, seen = self._split(x)
        log_prob = _log_prob(columns, self.coefficients.double())
        place = symbol[..., None, None].expand(*symbol.shape, self.states, 1)
        return (log_prob.gather(-1, place).squeeze(-1) * seen.unsqueeze(-1)).to(self.dtype)

    @torch.no_grad()
    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        """The most likely of a few mixtures, each fitted for a few steps without regard to time."""
        learn(self.coefficients, torch.zeros_like(self.coefficients))
        begin(self, x, generator)

    @torch.no_grad()
    def update(self, x: Tensor, posterior: Tensor) -> None:
        symbol, columns, seen = self._split(x)
        weight = posterior.double() * seen.unsqueeze(-1)
        own = nn.functional.one_hot(symbol, self.symbols).double()
        shape = (self.symbols, columns.shape[-1])
        pairs = products(columns)

        def penalised(at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            log_prob = _log_prob(columns, at.unflatten(-1, shape))  # (N, S, V)
            value = torch.einsum("ns,nv,nsv->s", weight, own, log_prob) - self.ridge / 2 * at.square().sum(-1)
            left = weight.unsqueeze(-1) * (own.unsqueeze(-2) - log_prob.exp())
            gradient = torch.einsum("nsv,nr->svr", left, columns).flatten(1) - self.ridge * at
            curvature = torch.stack([_curvature(log_prob[:, s].exp(), weight[:, s]) for s in range(self.states)])
            return value, gradient, curvature + self.ridge * torch.eye(at.shape[-1], dtype=at.dtype, device=at.device)

        def _curvature(chance: Tensor, weight: Tensor) -> Tensor:
            """``sum(weight (diag(chance) - chance chance') x columns columns')``, as Kronecker products."""
            each = ((weight.sqrt().unsqueeze(-1) * chance).unsqueeze(-1) * columns.unsqueeze(-2)).flatten(1)
            blocks: Tensor = ((weight.unsqueeze(-1) * chance).T @ pairs).unflatten(-1, (shape[1], shape[1]))
            own: Tensor = torch.block_diag(*blocks)
            return own - each.T @ each

        if self.coefficients.requires_grad:
            found = newton(penalised, self.coefficients.double().flatten(1)).unflatten(-1, shape)
            seen_by = met(weight.sum(0))[:, None, None]
            learn(self.coefficients, torch.where(seen_by, found, self.coefficients.double()))

    def log_prior(self) -> Tensor:
        """Of the coefficients: ``-ridge / 2`` times their squares."""
        return -self.ridge / 2 * self.coefficients.square().sum()

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None, inputs: Tensor | None = None) -> Tensor:
        columns = design(inputs_of(self, states, inputs), self.intercept)
        chance = (self.coefficients[states] @ columns.unsqueeze(-1)).squeeze(-1).softmax(-1)
        return torch.multinomial(chance.flatten(0, -2), 1, generator=generator).reshape(states.shape)

    @torch.no_grad()
    def complete(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Symbols ``(...)`` with those that are missing drawn; where inputs are missing, they stay so, as -1."""
        symbol, u = x[..., 0], x[..., 1:]
        drawn = self.sample(states, generator, u.nan_to_num(0.0))
        known = torch.where(u.isnan().any(-1), -1, drawn)
        return torch.where(symbol.isnan(), known, symbol.nan_to_num(0.0).long())

    def describe(self) -> dict[str, Tensor]:
        found = {"coefficients": self.coefficients.detach()[..., : self.inputs]}
        return found | ({"intercept": self.coefficients.detach()[..., -1]} if self.intercept else {})

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Symbols, 0 where missing, the design, and which steps count, bool ``(...)``."""
        y, u, seen = split(x, 1)
        symbol = y.squeeze(-1).long()
        if not traced() and bool(((symbol != y.squeeze(-1)) | (symbol >= self.symbols)).any()):
            raise DataError(f"LogisticRegression: symbols must be from 0 to {self.symbols - 1}, or -1, got {y.max()}.")
        return symbol, design(u, self.intercept), seen.squeeze(-1)


def _log_prob(columns: Tensor, coefficients: Tensor) -> Tensor:
    """Of each symbol in each state, ``(..., S, V)``."""
    return linear(columns, coefficients).log_softmax(-1)
