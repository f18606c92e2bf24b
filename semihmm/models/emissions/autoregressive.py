"""Autoregression: an observation depends on those before it."""

from typing import Literal

import torch
from torch import Tensor

from semihmm.errors import ShapeError
from semihmm.models.emissions.regression import Regression
from semihmm.models.emissions.regressors import along, beside, inputs_of


class Autoregressive(Regression):
    """Each state has a linear regression of the observation on the ones before it (Hamilton 1990): a switching VAR.

    Args:
        states: S.
        features: F.
        order: how many observations back.
        inputs: how many inputs there are besides.
        covariance: of the innovations: ``"diag"``, features apart, or ``"full"``.
        intercept: whether there is a constant term.
        ridge: the weight of a penalty on the other coefficients, ``ridge / 2`` times the sum of their squares, in units
            of the variance (`log_prior` is its negative).
        variance_floor: the smallest variance (with ``"full"``, in any direction), as a share of that of the feature (of
            the feature with the smallest) in the data of `fit`.

    Observations are ``(..., T, F)``, of inputs ``(..., T, inputs)`` if there are any. Parameters: ``coefficients
    (S, F, R)`` of the R = order F + inputs + 1 regressors, the latest observation first and the intercept last, and
    ``log_variance (S, F)`` or ``factor (S, F, F)``, as in `FullGaussian`. The EM step is weighted least squares, exact.

    The likelihood is that of a sequence given its first ``order`` steps, which count for nothing; so does a step whose
    past or inputs are missing in part. It is the intercept that switches with the state, not the mean: those before it
    were in the states they were in. So the likelihood is that of statsmodels' ``MarkovRegression`` with the lags as
    ``exog``; its ``MarkovAutoregression`` remembers the ``order`` states before, and equals it where the constant is 0.

    Example:
        >>> emission = Autoregressive(states=1, features=1, order=1)
        >>> x = torch.tensor([[1.], [3.], [7.], [15.]])
        >>> emission.update(emission.observed(x), torch.ones(4, 1))
        >>> emission.coefficients.round(decimals=3).tolist()
        [[[2.0, 1.0]]]
    """

    def __init__(
        self,
        states: int,
        features: int,
        order: int,
        inputs: int = 0,
        covariance: Literal["diag", "full"] = "diag",
        intercept: bool = True,
        ridge: float = 0.0,
        variance_floor: float = 1e-3,
    ) -> None:
        if order < 1:
            raise ShapeError(f"Autoregressive: order must be at least 1, got {order}. Without, take LinearRegression.")
        super().__init__(states, features, order * features + inputs, covariance, intercept, ridge, variance_floor)
        self.order, self.inputs = order, inputs

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "features": self.event_shape[0],
            "order": self.order,
            "inputs": self.inputs,
            "covariance": self.covariance_type,
            "intercept": self.intercept,
            "ridge": self.ridge,
            "variance_floor": self.variance_floor,
        }

    def observed(self, x: Tensor, inputs: Tensor | None = None) -> Tensor:
        x = x if x.is_floating_point() else x.to(self.dtype)
        unknown = x.new_full((*x.shape[:-2], self.order, x.shape[-1]), torch.nan)
        past = torch.cat([unknown, x], -2)
        lags = [past[..., self.order - lag : past.shape[-2] - lag, :] for lag in range(1, self.order + 1)]
        found = torch.cat([x, *lags], -1)
        return beside(self, found, inputs) if self.inputs else found

    @torch.no_grad()
    def expected(self) -> Tensor:
        """The observation that is expected to repeat itself if the state lasts and inputs are 0, ``(S, F)``."""
        features = self.event_shape[0]
        level = self._predicted(self.coefficients.new_zeros(len(self.centre) - features).double())
        lags = self.coefficients.double()[..., : self.order * features].unflatten(-1, (self.order, features)).sum(-2)
        left = torch.eye(features, dtype=lags.dtype, device=lags.device) - lags
        found: Tensor = torch.linalg.pinv(left) @ level.unsqueeze(-1)  # a random walk has no such observation
        return found.squeeze(-1).to(self.dtype)

    @torch.no_grad()
    def sample(self, states: Tensor, generator: torch.Generator | None = None, inputs: Tensor | None = None) -> Tensor:
        """Draw along time, the last axis of ``states``; what was before the first step is `expected` of its state."""
        noise = self._noise(states, generator)
        past = self.expected()[states[..., 0]].repeat(*(1 for _ in states.shape[:-1]), self.order)
        now = inputs_of(self, states, inputs) if self.inputs else noise[..., :0]
        drawn = []
        for step, state in enumerate(states.unbind(-1)):
            x = self._drawn(state, torch.cat([past, now[..., step, :]], -1), noise[..., step, :])
            drawn.append(x)
            past = torch.cat([x, past], -1)[..., : past.shape[-1]]
        return torch.stack(drawn, -2)

    @torch.no_grad()
    def fill(self, x: Tensor, posterior: Tensor) -> Tensor:
        """Observations ``(..., T, F)`` with what is missing at its expectation given what is before, filled in too.

        What was before the first step is `expected`. Where inputs are missing, it stays so.
        """
        before = (posterior[..., 0, :].double() @ self.expected().double()).to(x.dtype)
        return along(self, x, before, lambda step, now: self.fill_steps(now, posterior[..., step, :]))

    @torch.no_grad()
    def fill_steps(self, x: Tensor, posterior: Tensor) -> Tensor:
        return self._filled(x, posterior)

    @torch.no_grad()
    def complete_steps(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self._completed(x, states, self._noise(states, generator))

    @torch.no_grad()
    def complete(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """As `fill`, with what is missing drawn."""
        before = self.expected()[states[..., 0]].to(x.dtype)
        return along(self, x, before, lambda step, now: self.complete_steps(now, states[..., step], generator))
