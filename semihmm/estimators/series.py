"""Whole series as samples: classified by their neighbours, and clustered, under warping."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from semihmm import warping
from semihmm._optional import require
from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.estimators.base import Array, RandomState
from semihmm.structures import StepPattern
from semihmm.warping.averaging import stretched
from semihmm.warping.series import Metric, Series, collection, count_of, dense, number_of

if TYPE_CHECKING:
    from typing_extensions import Self

_base = require("sklearn.base", extra="estimators", purpose="semihmm.estimators")
_utils = require("sklearn.utils", extra="estimators", purpose="semihmm.estimators")
_multiclass = require("sklearn.utils.multiclass", extra="estimators", purpose="semihmm.estimators")
_validation = require("sklearn.utils.validation", extra="estimators", purpose="semihmm.estimators")

Window = int | str | Tensor | None
TOGETHER = 64  # series that are warped at once where that takes matrices of costs


class _SeriesEstimator(_base.BaseEstimator, ABC):  # type: ignore[misc, name-defined]
    """Takes series: an array ``(samples, items)`` or ``(samples, items, features)``, or a list of arrays."""

    step_pattern: StepPattern | str
    window: Window

    def _series(self, X: Any, reset: bool = False) -> Series:
        """Valid ones, in float64."""
        name = type(self).__name__
        if not reset:
            _validation.check_is_fitted(self)
        if isinstance(X, Tensor):
            X = dense(name, "X", X)
        if isinstance(X, list | tuple) and any(isinstance(x, np.ndarray | Tensor) for x in X):
            each = [dense(name, f"X[{i}]", x) for i, x in enumerate(X)]
            X = [x if x.is_complex() else x.detach().double().cpu() for x in each]
        else:
            X = _validation.validate_data(self, X, reset=reset, dtype=np.float64, allow_nd=True, copy=True)
        series = collection(name, "X", X)
        if reset:
            self._features, self._flat = series.items.shape[-1], np.ndim(X[0]) == 1
        elif series.items.shape[-1] != self._features:
            raise ShapeError(
                f"{name}: X must have as many features as in fit, {self._features}, got {series.items.shape[-1]}."
            )
        return series

    def _array(self, items: Tensor) -> Array:
        """As series came: without the axis of a single feature, if they had none."""
        return np.asarray(items.squeeze(-1) if self._flat else items)

    @property
    def _way(self) -> dict[str, Any]:
        return {"step_pattern": self.step_pattern, "window": self.window}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


@dataclass(eq=False, repr=False)
class KNeighborsTimeSeriesClassifier(_base.ClassifierMixin, _SeriesEstimator):  # type: ignore[misc, name-defined]
    """Each series is of the class that most of the series nearest to it are of.

    Neighbours are those of `semihmm.warping.nearest`: most pairs are never warped.

    Args:
        n_neighbors: how many vote.
        weights: ``"uniform"``, or ``"distance"`` for votes of one over the distance.
        metric, step_pattern, window: as of `semihmm.warping.cdist`.

    X is an array ``(samples, items)`` or ``(samples, items, features)``, or a list of arrays ``(items,)`` or ``(items,
    features)`` of any lengths. Those to predict may be longer or shorter than those of `fit`, but as scikit-learn takes
    the items of ``(samples, items)`` for features, pass such as ``list(X)``.

    Attributes:
        classes_: the classes.

    Example:
        >>> import numpy as np
        >>> X, y = [[0.0, 0.0, 5.0, 0.0], [0.0, 5.0, 5.0, 0.0], [0.0, -5.0, 0.0, 0.0]], ["up", "up", "down"]
        >>> KNeighborsTimeSeriesClassifier(1).fit(X, y).predict([np.array([0.0, 0.0, 0.0, 0.0, 4.0, 4.0])]).tolist()
        ['up']
    """

    n_neighbors: int = 5
    weights: Literal["uniform", "distance"] = "uniform"
    metric: Metric = "squared"
    step_pattern: StepPattern | str = "symmetric1"
    window: Window = None

    def fit(self, X: Any, y: ArrayLike) -> Self:
        name = type(self).__name__
        if y is None:
            raise DataError(f"{name} requires y to be passed, but the target y is None.")
        if not isinstance(self.weights, str) or self.weights not in ("uniform", "distance"):
            raise StructureError(f"{name}: weights must be 'uniform' or 'distance', got {self.weights!r}.")
        self._neighbors(self.n_neighbors)
        x = self._series(X, reset=True)
        y = np.asarray(dense(name, "y", y)) if isinstance(y, Tensor) else y
        y = _validation.check_array(y, ensure_2d=False, dtype=None, input_name="y")
        y = _validation.column_or_1d(y, warn=True)
        _validation.check_consistent_length(x.items, y)
        _multiclass.check_classification_targets(y)
        self.classes_, self._y = np.unique(y, return_inverse=True)
        self._x = x
        return self

    def kneighbors(self, X: Any, n_neighbors: int | None = None) -> tuple[Array, NDArray[np.int64]]:
        """Of each series the distances to the nearest ones, and their numbers; both ``(samples, n_neighbors)``."""
        x, k = self._series(X), self._neighbors(self.n_neighbors if n_neighbors is None else n_neighbors)
        if k > len(self._y):
            raise ShapeError(
                f"{type(self).__name__}: n_neighbors must be from 1 to n_samples_fit={len(self._y)}, got {k}."
            )
        found = warping.nearest(x, self._x, k, metric=self.metric, **self._way)
        lonely = (found.indices < 0).any(-1).nonzero()
        if len(lonely):
            raise DataError(
                f"{type(self).__name__}: a window of {self.window} leaves series {int(lonely[0])} of X fewer than "
                f"{k} neighbours: make it wider."
            )
        return np.asarray(found.distance), np.asarray(found.indices)

    def _neighbors(self, k: Any) -> int:
        return count_of(type(self).__name__, "n_neighbors", k)

    def predict_proba(self, X: Any) -> Array:
        """The share of votes for each class, ``(samples, classes)``."""
        distance, index = self.kneighbors(X)
        if self.weights == "uniform":
            votes = np.ones_like(distance)
        else:
            same = distance == 0  # then no other one counts
            votes = np.where(same.any(1, keepdims=True), same, 1 / np.where(same, 1, distance))
        share: Array = np.zeros((len(index), len(self.classes_)))
        np.add.at(share, (np.arange(len(index))[:, None], self._y[index]), votes)
        share /= share.sum(1, keepdims=True)
        return share

    def predict(self, X: Any) -> NDArray[Any]:
        best = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[best])


class _Clusterer(_base.ClusterMixin, _base.TransformerMixin, _base.ClassNamePrefixFeaturesOutMixin, _SeriesEstimator):  # type: ignore[misc, name-defined]
    """Finds groups of series, each around one."""

    n_clusters: int
    max_iter: int

    labels_: NDArray[np.int64]

    def _check(self, x: Series) -> None:
        name, count = type(self).__name__, len(x.items)
        if count_of(name, "n_clusters", self.n_clusters) > count:
            raise ShapeError(f"{name}: n_clusters must be from 1 to n_samples={count}, got {self.n_clusters}.")
        count_of(name, "max_iter", self.max_iter)

    @abstractmethod
    def _distances(self, x: Series) -> Tensor:
        """Of each series to each center."""

    def transform(self, X: Any) -> Array:
        """The distance of each series to each center, ``(samples, n_clusters)``."""
        return np.asarray(self._distances(self._series(X)))

    def predict(self, X: Any) -> NDArray[np.int64]:
        """The number of the nearest center of each series, ``(samples,)``."""
        return np.asarray(self.transform(X).argmin(1))

    @property
    def _n_features_out(self) -> int:
        return self.n_clusters


@dataclass(eq=False, repr=False)
class TimeSeriesKMeans(_Clusterer):
    """Groups of series around their barycenters: each series is in the group of the nearest one.

    Starts from series of the data that lie far apart (k-means++; Arthur & Vassilvitskii 2007), and goes on until
    nothing changes; no iteration makes it worse.

    Args:
        n_clusters: how many.
        gamma: temperature of soft-DTW; 0 for DTW, and DBA (`semihmm.warping.barycenter`).
        size: items of a center; None for as many as the series have on average.
        step_pattern, window: as of `semihmm.warping.dtw`.
        max_iter: iterations at most.
        max_iter_barycenter: steps of the barycenters in each.
        tol: it ends after an iteration that lowers `inertia_` by no more than this share.
        n_init: starts, of which the best one counts.
        random_state: of the starts.

    X is as of `KNeighborsTimeSeriesClassifier`.

    Attributes:
        cluster_centers_: the barycenters, ``(n_clusters, size)``, or ``(n_clusters, size, features)``.
        labels_: the cluster of each series.
        inertia_: the sum of the squared distances to the nearest centers; of soft-DTW, if ``gamma`` is not 0.
        n_iter_: iterations of the best start.

    Example:
        >>> X = [[0.0, 0.0, 5.0, 0.0], [0.0, 5.0, 5.0, 0.0], [0.0, -5.0, 0.0, 0.0], [0.0, -5.0, -5.0, 0.0]]
        >>> found = TimeSeriesKMeans(2, random_state=0).fit(X)
        >>> bool(found.labels_[0] == found.labels_[1]), bool(found.labels_[0] == found.labels_[2])
        (True, False)
    """

    n_clusters: int = 8
    gamma: float = 0.0
    size: int | None = None
    step_pattern: StepPattern | str = "symmetric1"
    window: Window = None
    max_iter: int = 50
    max_iter_barycenter: int = 10
    tol: float = 1e-5
    n_init: int = 1
    random_state: RandomState = None

    def fit(self, X: Any, y: None = None) -> Self:
        x = self._series(X, reset=True)
        self._check(x)
        name = type(self).__name__
        number_of(name, "gamma", self.gamma), number_of(name, "tol", self.tol)
        for which in ("n_init", "max_iter_barycenter", *(() if self.size is None else ("size",))):
            count_of(name, which, getattr(self, which))
        random = _utils.check_random_state(self.random_state)
        found = [self._found(x, random) for _ in range(self.n_init)]
        self.inertia_, centers, labels, self.n_iter_ = min(found, key=lambda each: each[0])
        self._centers, self.cluster_centers_, self.labels_ = centers, self._array(centers), np.asarray(labels)
        return self

    def _found(self, x: Series, random: np.random.RandomState) -> tuple[float, Tensor, Tensor, int]:
        """Inertia, centers, labels and iterations from one start."""
        size = round(float(x.sizes.double().mean())) if self.size is None else self.size
        centers, last = stretched(x, size)[self._spread(x, random)], np.inf
        for iteration in range(1, self.max_iter + 1):
            cost, labels = self._costs(x, centers).min(-1)
            inertia = float(cost.sum())
            if iteration > 1 and inertia >= last - self.tol * abs(last):
                break
            last, used = inertia, centers
            centers = torch.stack([self._center(x, labels == k, centers[k], cost) for k in range(self.n_clusters)])
        else:
            cost, labels = self._costs(x, centers).min(-1)
            inertia, used = float(cost.sum()), centers
        return inertia, used, labels, iteration

    def _spread(self, x: Series, random: np.random.RandomState) -> list[int]:
        """Series that lie far apart: each drawn as likely as it is far, squared, from the ones before."""
        chosen = [random.randint(len(x.items))]
        near = np.full(len(x.items), np.inf)
        while len(chosen) < self.n_clusters:
            near = np.minimum(near, np.asarray(warping.cdist(x, x.some(chosen[-1:]), **self._way))[:, 0] ** 2)
            chances = near / near.sum() if 0 < near.sum() < np.inf else np.full(len(near), 1 / len(near))
            chosen.append(random.choice(len(near), p=chances))
        return chosen

    def _center(self, x: Series, members: Tensor, center: Tensor, cost: Tensor) -> Tensor:
        """The barycenter of some; of none, the series that is furthest from its own."""
        which = members.nonzero().squeeze(-1)
        if not len(which):
            return stretched(x.some([int(cost.argmax())]), len(center))[0]
        given: dict[str, Any] = {"init": center, "max_iter": self.max_iter_barycenter, **self._way}
        if self.gamma:
            return warping.soft_barycenter(x.some(which), gamma=self.gamma, **given).series
        return warping.barycenter(x.some(which), **given).series

    def _costs(self, x: Series, centers: Tensor) -> Tensor:
        """What each series costs on each center, ``(samples, n_clusters)``."""
        if not self.gamma:
            return warping.cdist(x, Series(centers, None), **self._way).square()
        parts = [x.some(some) for some in torch.arange(len(x.items)).split(TOGETHER)]
        return torch.cat([torch.stack([self._soft(part, center) for center in centers], -1) for part in parts])

    def _soft(self, x: Series, center: Tensor) -> Tensor:
        series = [items[:size] for items, size in zip(x.items, x.sizes, strict=True)]
        return warping.soft_dtw(series, [center] * len(series), self.gamma, **self._way)

    def _distances(self, x: Series) -> Tensor:
        cost = self._costs(x, self._centers)
        return cost if self.gamma else cost.sqrt()


@dataclass(eq=False, repr=False)
class TimeSeriesKMedoids(_Clusterer):
    """Groups of series, each around one of them: those for which the distances to the nearest have the least sum.

    Medoids are added one by one where they gain most, and then exchanged as long as that gains anything (PAM; Kaufman
    & Rousseeuw 1990). So any metric will do, and nothing is random.

    Args:
        n_clusters: how many.
        metric, step_pattern, window: as of `semihmm.warping.cdist`.
        max_iter: exchanges at most.

    X is as of `KNeighborsTimeSeriesClassifier`.

    Attributes:
        medoid_indices_: which series they are, ``(n_clusters,)``.
        cluster_centers_: the medoids, as they came.
        labels_: the cluster of each series.
        inertia_: the sum of the distances to the nearest medoids.
        n_iter_: rounds of exchanges.

    Example:
        >>> X = [[0.0, 0.0, 5.0, 0.0], [0.0, 5.0, 5.0, 0.0], [0.0, -5.0, 0.0, 0.0], [0.0, -5.0, -5.0, 0.0]]
        >>> TimeSeriesKMedoids(2).fit(X).labels_.tolist()
        [0, 0, 1, 1]
    """

    n_clusters: int = 8
    metric: Metric = "squared"
    step_pattern: StepPattern | str = "symmetric1"
    window: Window = None
    max_iter: int = 300

    def fit(self, X: Any, y: None = None) -> Self:
        x = self._series(X, reset=True)
        self._check(x)
        distance = warping.cdist(x, metric=self.metric, **self._way)
        medoids: list[int] = []
        for _ in range(self.n_clusters):
            medoids.append(self._best(distance, medoids)[1])
        cost = float(distance[:, medoids].amin(-1).sum())
        for iteration in range(self.max_iter):  # noqa: B007
            exchanged = [self._best(distance, [*medoids[:k], *medoids[k + 1 :]]) for k in range(len(medoids))]
            k = min(range(len(medoids)), key=lambda k: exchanged[k][0])
            if exchanged[k][0] >= cost * (1 - 1e-12):
                break
            cost, medoids[k] = exchanged[k]
        self.medoid_indices_, self.inertia_, self.n_iter_ = np.array(medoids), cost, iteration + 1
        self.labels_ = np.asarray(distance[:, medoids].argmin(-1))
        self._medoids = x.some(medoids)
        each = zip(self._medoids.items, self._medoids.sizes, strict=True)
        centers = [self._array(items[:size]) for items, size in each]
        self.cluster_centers_ = np.stack(centers) if x.lengths is None else centers
        return self

    @staticmethod
    def _best(distance: Tensor, medoids: list[int]) -> tuple[float, int]:
        """The best series beside some medoids, and what all cost then."""
        cost = distance
        if medoids:
            cost = torch.minimum(distance, distance[:, medoids].amin(-1, keepdim=True))
        least, which = cost.sum(0).min(0)
        return float(least), int(which)

    def _distances(self, x: Series) -> Tensor:
        return warping.cdist(x, self._medoids, metric=self.metric, **self._way)
