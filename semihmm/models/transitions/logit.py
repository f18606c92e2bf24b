"""Transitions that covariates change: multinomial logistic regression on the inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from semihmm.models.topology import Allowed, Arcs
from semihmm.models.transitions.gradual import Gradual


class Logit(Gradual):
    """What follows each state is a multinomial logistic regression on the inputs (Hughes & Guttorp 1994).

    ``log p(to | from, u) = bias[from, to] + weight[from, to] @ u - log(normaliser)``, with u the inputs of the
    step that is entered.

    Args:
        states: S.
        inputs: U.
        allowed, offsets, arcs: which transitions there are, as for `Categorical`.
        ridge: the precision of a Gaussian prior of the weights (not of the biases).

    Parameters: ``bias``, in the shape of the table, and ``weight``, with an axis of U behind. EM's second step climbs
    a concave function by L-BFGS.

    Example:
        >>> law = Logit(states=2, inputs=1)
        >>> with torch.no_grad():
        ...     _ = law.weight[0, 1].fill_(3.0)
        >>> law(torch.tensor([[0.0], [0.0], [1.0]])).exp()[:, 0].double().round(decimals=2).tolist()
        [[0.5, 0.5], [0.05, 0.95]]
    """

    def __init__(
        self,
        states: int,
        inputs: int,
        *,
        allowed: Allowed | None = None,
        offsets: Sequence[int] | None = None,
        arcs: Arcs | Sequence[Sequence[int]] | None = None,
        ridge: float = 1e-3,
    ) -> None:
        super().__init__(states, inputs, allowed, offsets, arcs)
        self.ridge = ridge
        self.bias = nn.Parameter(torch.zeros(self.source.shape))
        self.weight = nn.Parameter(torch.zeros(*self.source.shape, inputs))

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, "inputs": self.inputs, **self.topology, "ridge": self.ridge}

    @property
    def free_parameters(self) -> int:
        entries = int(self.allowed.sum()) - int((self.leaving(self.allowed.double()) > 0).sum())
        return entries * (int(self.bias.requires_grad) + self.inputs * int(self.weight.requires_grad))

    def log_weights(self, inputs: Tensor) -> Tensor:
        return torch.unflatten(inputs @ self.weight.flatten(0, -2).T, -1, self.bias.shape) + self.bias

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Near uniform, whatever the inputs."""
        self.bias.uniform_(-0.35, 0.35, generator=generator)
        self.weight.zero_()

    def reorder(self, moved: Callable[[Tensor], Tensor]) -> None:
        for parameter in (self.bias, self.weight):
            parameter.data = moved(parameter.data)

    def log_prior(self) -> Tensor:
        return -self.ridge / 2 * self.weight.square().sum()
