"""Linear regression on inputs."""

from typing import Literal

import torch
from torch import Tensor

from semihmm.models.emissions.regression import Regression
from semihmm.models.emissions.regressors import beside, inputs_of


class LinearRegression(Regression):
    """Each state has a linear regression of the observation on inputs (Fridman 1994): switching regression.

    Args:
        states: S.
        features: F.
        inputs: how many there are.
        covariance: of what the inputs do not explain: ``"diag"``, features apart, or ``"full"``.
        intercept: whether an observation is something else than 0 where all inputs are.
        ridge: the weight of a penalty on the coefficients of inputs, ``ridge / 2`` times the sum of their squares, in
            units of the variance (`log_prior` is its negative).
        variance_floor: the smallest variance (with ``"full"``, in any direction), as a share of that of the feature (of
            the feature with the smallest) in the data of `fit`.

    Observations are ``(..., T, F)``, of inputs ``(..., T, inputs)``. Parameters: ``coefficients (S, F, inputs + 1)``,
    the last of which is the intercept, and ``log_variance (S, F)`` or ``factor (S, F, F)``, as in `FullGaussian`. The
    EM step is weighted least squares, exact. A value that is missing counts for nothing; a step counts for nothing if
    one of its inputs is missing.

    Example:
        >>> emission = LinearRegression(states=1, features=1, inputs=1)
        >>> u, x = torch.tensor([[0.], [1.], [2.]]), torch.tensor([[1.], [3.], [5.]])
        >>> emission.update(emission.observed(x, u), torch.ones(3, 1))
        >>> emission.coefficients.round(decimals=3).tolist()
        [[[2.0, 1.0]]]
    """

    def __init__(
        self,
        states: int,
        features: int,
        inputs: int,
        covariance: Literal["diag", "full"] = "diag",
        intercept: bool = True,
        ridge: float = 0.0,
        variance_floor: float = 1e-3,
    ) -> None:
        super().__init__(states, features, inputs, covariance, intercept, ridge, variance_floor)
        self.inputs = inputs

    @property
    def config(self) -> dict[str, object]:
        return {
            "states": self.states,
            "features": self.event_shape[0],
            "inputs": self.inputs,
            "covariance": self.covariance_type,
            "intercept": self.intercept,
            "ridge": self.ridge,
            "variance_floor": self.variance_floor,
        }

    def observed(self, x: Tensor, inputs: Tensor | None = None) -> Tensor:
        return beside(self, x, inputs)

    def expected(self) -> Tensor:
        """The expected observation where all inputs are 0, ``(S, F)``."""
        return self._predicted(self.coefficients.new_zeros(self.inputs).double()).to(self.dtype)

    def sample(self, states: Tensor, generator: torch.Generator | None = None, inputs: Tensor | None = None) -> Tensor:
        return self._drawn(states, inputs_of(self, states, inputs), self._noise(states, generator))

    @torch.no_grad()
    def fill(self, x: Tensor, posterior: Tensor) -> Tensor:
        """Observations ``(..., F)`` with what is missing at its expectation; where inputs are missing, it stays so."""
        return self._filled(x, posterior)

    @torch.no_grad()
    def complete(self, x: Tensor, states: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Observations ``(..., F)`` with what is missing drawn; where inputs are missing, it stays so."""
        return self._completed(x, states, self._noise(states, generator))
