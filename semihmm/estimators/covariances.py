"""Gaussians of every covariance type, as arrays and as emissions."""

import math
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike

from semihmm.errors import DataError, ShapeError
from semihmm.estimators.base import Array
from semihmm.models import Emission, FullGaussian, Gaussian

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


def free_in(shape: tuple[int, ...], kind: Covariance) -> int:
    """The number of free parameters of covariances in this shape."""
    numbers = math.prod(shape)
    features = shape[-1]
    return numbers if kind in ("spherical", "diag") else numbers // features * (features + 1) // 2


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


def scatter(X: Array, weight: Array, mean: Array, kind: Covariance) -> Array:
    """``sum_n weight[n, g] away away'`` for ``away = X[n] - mean[g]``, ``(G, F, F)``; or its diagonal, ``(G, F)``."""
    found = []
    for share, centre in zip(weight.T, mean, strict=True):
        away = X - centre
        found.append(share @ away**2 if kind in ("spherical", "diag") else (away * share[:, None]).T @ away)
    return np.stack(found)


def outer(x: Array) -> Array:
    """``x x'`` along the last axis."""
    return x[..., :, None] * x[..., None, :]


def gaussians(mean: Array, covars: Array, kind: Covariance) -> Emission:
    """Gaussians with means ``(G, F)``, as an emission of G states."""
    count, features = mean.shape
    emission: Gaussian | FullGaussian
    with torch.no_grad():
        if kind in ("spherical", "diag"):
            emission = Gaussian(count, features).double()
            variance = np.broadcast_to(covars.reshape(count, -1), mean.shape)
            emission.log_variance.copy_(torch.tensor(np.log(variance)))
        else:
            emission = FullGaussian(count, features, tied=kind == "tied").double()
            root = torch.linalg.cholesky(torch.tensor(covars.reshape(-1, features, features)))
            diagonal = root.diagonal(dim1=-2, dim2=-1)
            emission.factor.copy_(root.tril(-1) + diagonal.log().diag_embed())
        emission.mean.copy_(torch.tensor(mean))
    return emission


def spread(X: Array, more: float, kind: Covariance, shape: tuple[int, ...]) -> Array:
    """The covariance of the data, and more on its diagonal, as covariances of this type and shape."""
    if len(X) < 2:
        raise DataError(f"covars_ cannot start from the variance of n_samples = {len(X)}. Set them, and init_params.")
    covariance = np.atleast_2d(np.cov(X.T)) + more * np.eye(X.shape[1])
    variance = covariance.diagonal()
    start = {"spherical": variance.mean(), "diag": variance}.get(kind, covariance)
    return np.broadcast_to(start, shape).copy()
