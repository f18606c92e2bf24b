"""Covariances of every type as arrays, and what an EM step must know to find them."""

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike

from semihmm.errors import DataError, ShapeError
from semihmm.estimators.base import Array
from semihmm.models.emissions.gaussian import Gaussians
from semihmm.models.emissions.learning import mean_and_variance

Covariance = Literal["spherical", "diag", "full", "tied"]
LEAST_WEIGHT = 1e-200  # what has seen less than this stays as it is
_SHARE = 1e-10  # of the smallest variance that a feature of the data has


def checked_type(kind: str) -> None:
    """Refuse what is no type of covariance."""
    if kind not in get_args(Covariance):
        raise DataError(f"covariance_type must be one of {', '.join(get_args(Covariance))}, got {kind!r}.")


def checked(covars: ArrayLike, kind: Covariance, shape: tuple[int, ...]) -> Array:
    """Covariances in this shape, if they are positive (definite)."""
    covars = np.asarray(covars, dtype=np.float64)
    if covars.shape != shape:
        raise ShapeError(f"covars_ of covariance_type {kind!r} must be {shape}, got {covars.shape}.")
    if kind in ("spherical", "diag"):
        positive = bool((covars > 0).all())
    else:
        symmetric = np.allclose(covars, np.swapaxes(covars, -1, -2))
        positive = symmetric and bool((np.linalg.eigvalsh(covars) > 0).all())
    if not positive:
        raise DataError(
            f"covars_ must be positive, and matrices symmetric and positive definite, got {covars.tolist()}."
        )
    return covars


def whole(X: Array) -> Array:
    """The data with the mean of the feature where a value is missing."""
    if not (gaps := np.isnan(X)).any():
        return X
    return np.where(gaps, mean_and_variance(torch.from_numpy(X))[0].numpy(), X)


def least_variance(X: Array) -> float:
    """A variance that the data can have in no direction, unless they do not vary in it at all."""
    variance = X.var(0)
    return _SHARE * float(variance[variance > 0].min(initial=variance.max(initial=1.0)))


def floored(covars: Array, kind: Covariance, least: float) -> Array:
    """Covariances with this variance at least, in every direction: one that collapses has no inverse."""
    if kind in ("spherical", "diag"):
        return np.asarray(np.maximum(covars, least))
    size, axes = np.linalg.eigh(covars)
    if (size >= least).all():
        return covars
    mended = (axes * np.maximum(size, least)[..., None, :]) @ np.swapaxes(axes, -1, -2)
    return np.where(size.min(-1)[..., None, None] < least, mended, covars)


class Moments:
    """What Gaussians have seen, in statistics of their emission.

    Attributes:
        weight: ``(*G, F)``, or ``(*G, 1)`` if all features have the same.
        total: the weighted sum of observations, ``(*G, F)``.
    """

    def __init__(self, emission: Gaussians, sums: dict[str, Array]) -> None:
        self._diagonal = emission.kind in ("spherical", "diag")
        self._centre, self._first, self._second = emission.centre.numpy(), sums["first"], sums["second"]
        self.weight = sums["weight"] if self._diagonal else sums["weight"][..., None]
        self.total = self._first + self.weight * self._centre

    def about(self, mean: Array) -> Array:
        """The weighted sum of ``away away'`` for ``away = x - mean``, ``(*G, F, F)``; or its diagonal ``(*G, F)``."""
        mean = mean - self._centre
        if self._diagonal:
            return self._second - 2 * mean * self._first + mean**2 * self.weight
        mixed = mean[..., :, None] * self._first[..., None, :]
        return self._second - mixed - np.swapaxes(mixed, -1, -2) + outer(mean) * self.weight[..., None]


def mean_of(total: Array, weight: Array, otherwise: Array) -> Array:
    """A mean from a sum and the weight in it; what has none stays what it was otherwise."""
    return np.where(weight > LEAST_WEIGHT, total / np.maximum(weight, LEAST_WEIGHT), otherwise)


def outer(x: Array) -> Array:
    """``x x'`` along the last axis."""
    return x[..., :, None] * x[..., None, :]


def spread(X: Array, more: float, kind: Covariance, shape: tuple[int, ...]) -> Array:
    """The covariance of the data, and more on its diagonal, as covariances of this type and shape."""
    if len(X) < 2:
        raise DataError(f"covars_ cannot start from the variance of n_samples = {len(X)}. Set them, and init_params.")
    covariance = np.atleast_2d(np.cov(X.T)) + more * np.eye(X.shape[1])
    variance = covariance.diagonal()
    start = {"spherical": variance.mean(), "diag": variance}.get(kind, covariance)
    return np.broadcast_to(start, shape).copy()
