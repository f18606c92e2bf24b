"""Transitions in continuous time, for what is observed at irregular times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn

from semihmm.engine.tracing import traced
from semihmm.errors import DataError, ShapeError
from semihmm.models.part import Driven
from semihmm.models.topology import Allowed, dense
from semihmm.models.transitions.base import Transition
from semihmm.structures.authoring import tensor_of

_LEAST = 1e-12  # a rate below this, per unit of the mean wait, is as good as none


class ContinuousTime(Driven, Transition):
    """States change at any time, at constant rates: ``P(t) = exp(Q t)`` (Jackson et al. 2003).

    Its input is the time since the step before, in any unit, at least 0; the first does not count. Rates are
    per that unit.

    Args:
        states: S.
        allowed: which state may directly change into which, bool ``(S, S)``; None for all. After some time a state may
            have become any that can be reached.

    Parameter: ``log_rate (S, S)``, whose diagonal is not used. The gradient is that of the matrix exponential. An EM
    step is exact: given the first and the last state of each interval, ``q_ij`` is the expected number of changes from
    i to j over the expected time in i (Hobolth & Jensen 2005). With ``W`` the derivative of the expected log-likelihood
    by ``Q``, all of whose entries are taken as free, these are ``q_ij W_ij`` and ``W_ii``.

    Example:
        >>> law = ContinuousTime(2)
        >>> with torch.no_grad():
        ...     _ = law.log_rate.fill_(0.0)  # one change per unit of time, on average
        >>> law(torch.tensor([[0.0], [0.01], [100.0]])).exp().double().round(decimals=2).tolist()
        [[[0.99, 0.01], [0.01, 0.99]], [[0.5, 0.5], [0.5, 0.5]]]
    """

    inputs = 1
    edge: Tensor

    def __init__(self, states: int, *, allowed: Allowed | None = None) -> None:
        super().__init__()
        source, target, edge = dense(states, allowed)
        edge = edge & (source != target)
        reach = torch.linalg.matrix_power(edge.double() + torch.eye(states).double(), max(states - 1, 1)) > 0
        self.place(states, (source, target, reach), None)
        self.register_buffer("edge", edge, persistent=False)
        self.log_rate = nn.Parameter(torch.zeros(states, states))

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states, "allowed": (self.edge | torch.eye(self.states).bool()).tolist()}

    @property
    def free_parameters(self) -> int:
        return int(self.edge.sum()) if self.log_rate.requires_grad else 0

    def rates(self) -> Tensor:
        """``Q (S, S)`` in float64: the rates of change, and on the diagonal minus their sums."""
        rate = torch.where(self.edge, self.log_rate.double().exp(), 0.0)
        return rate - rate.sum(-1).diag()

    def forward(self, inputs: Tensor | None = None) -> Tensor:
        times, which = self._times(inputs)
        return self._log_prob(self.rates(), times)[which].to(self.log_rate.dtype)

    @torch.no_grad()
    def update(self, counts: Tensor, inputs: Tensor | None = None) -> None:
        times, which = self._times(inputs)
        if not times.numel():  # sequences of one step
            return
        none = counts.new_zeros(len(times), self.states, self.states, dtype=torch.float64)
        used = none.index_add(0, which.flatten(), counts.flatten(0, -3).double())
        with torch.enable_grad():
            rates = self.rates().detach().requires_grad_()
            found = self._log_prob(rates, times)
            (share,) = torch.autograd.grad((used * torch.where(used > 0, found, 0.0)).sum(), rates)
        stay = share.diagonal().unsqueeze(-1)
        changed = rates.detach() * share
        seen = self.edge & (stay > 0)
        rate = (changed / torch.where(stay > 0, stay, 1.0)).clamp(min=_LEAST / max(float(times.mean()), _LEAST))
        self.log_rate.copy_(torch.where(seen, rate.log(), self.log_rate))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Rates near one change per unit of time; the first EM steps find the right size."""
        self.log_rate.uniform_(-0.35, 0.35, generator=generator)

    def reorder(self, moved: Callable[[Tensor], Tensor]) -> None:
        self.log_rate.data, self.edge = moved(self.log_rate.data), moved(self.edge)

    def _times(self, inputs: Tensor | None) -> tuple[Tensor, Tensor]:
        """The different times between steps ``(K,)`` in float64, and which each is ``(..., T - 1)``."""
        assert inputs is not None
        given = inputs[..., 1:, 0].double()
        if traced():
            return given.flatten(), torch.arange(given.numel(), device=given.device).reshape(given.shape)
        if bool((given < 0).any()):
            raise DataError(f"ContinuousTime: times between steps must be at least 0, got {float(given.min())}.")
        times, which = given.unique(return_inverse=True)
        return times, which

    def _log_prob(self, rates: Tensor, times: Tensor) -> Tensor:
        """``(K, S, S)``, ``-inf`` where a state cannot be reached."""
        if not times.numel():
            return rates.new_zeros(0, self.states, self.states)
        found = torch.linalg.matrix_exp(rates * times.reshape(-1, 1, 1))
        possible = self.allowed & (found > 0)
        return torch.where(possible, torch.where(possible, found, 1.0).log(), -torch.inf)


@overload
def waits(times: Tensor | Sequence[float]) -> Tensor: ...


@overload
def waits(times: Sequence[Tensor | Sequence[float]]) -> list[Tensor]: ...


def waits(times: Any) -> Any:
    """The input of `ContinuousTime` for steps at these times ``(..., T)``: since the step before, ``(..., T, 1)``.

    Args:
        times: a tensor or an array, or numbers; or a list of these, one ``(T,)`` for each sequence, of which the result
            is a list too.
    Raises:
        DataError: no numbers.
        ShapeError: times that go back.

    Example:
        >>> waits([2.0, 2.5, 4.0]).flatten().tolist()
        [0.0, 0.5, 1.5]
        >>> [each.flatten().tolist() for each in waits([[2.0, 2.5, 4.0], [7.0, 7.5]])]
        [[0.0, 0.5, 1.5], [0.0, 0.5]]
    """
    if isinstance(times, list | tuple) and not any(isinstance(one, int | float) for one in times):
        return [waits(one) for one in times]
    times = tensor_of("waits", "times", times)
    if not times.ndim:
        raise ShapeError("waits: times are (..., T), one for each step, got a number.")
    found = torch.diff(times, dim=-1, prepend=times[..., :1])
    if bool((found < 0).any()):
        raise ShapeError("waits: times must not go back.")
    return found.unsqueeze(-1)
