"""Series as samples: neighbours, means and medoids under warping, and what scikit-learn asks of them."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone  # type: ignore[import-untyped]
from sklearn.model_selection import GridSearchCV  # type: ignore[import-untyped]
from sklearn.neighbors import KNeighborsClassifier  # type: ignore[import-untyped]
from sklearn.utils.estimator_checks import parametrize_with_checks  # type: ignore[import-untyped]

from semihmm import warping
from semihmm.errors import DataError, SemihmmError, ShapeError, StructureError
from semihmm.estimators import KNeighborsTimeSeriesClassifier, TimeSeriesKMeans, TimeSeriesKMedoids


@parametrize_with_checks(
    [KNeighborsTimeSeriesClassifier(1), TimeSeriesKMeans(2), TimeSeriesKMeans(2, gamma=0.1), TimeSeriesKMedoids(2)]
)
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


def bumps(count: int = 24, seed: int = 0) -> tuple[list[NDArray[np.float64]], NDArray[np.str_]]:
    """One bump or two, early or late, 20 to 30 items long."""
    random = np.random.RandomState(seed)
    series, kinds = [], []
    for k in range(count):
        time = np.linspace(0, 1, random.randint(20, 31))
        first, last = random.uniform(0.15, 0.3), random.uniform(0.6, 0.85)
        at = [(first + last) / 2] if k % 2 else [first, last]
        series.append(sum(np.exp(-(((time - a) / 0.07) ** 2)) for a in at) + 0.05 * random.randn(len(time)))
        kinds.append("one" if k % 2 else "two")
    return series, np.array(kinds)


def agree(labels: NDArray[Any], kinds: NDArray[np.str_]) -> bool:
    """Whether the same series are together."""
    return bool(((labels[:, None] == labels) == (kinds[:, None] == kinds)).all())


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_votes_are_those_of_scikit_learn_over_the_same_distances(weights: Any) -> None:
    (X, y), (unseen, _) = bumps(), bumps(7, seed=1)
    among = warping.cdist([torch.from_numpy(x) for x in X]).numpy()
    across = warping.cdist([torch.from_numpy(x) for x in unseen], [torch.from_numpy(x) for x in X]).numpy()
    theirs = KNeighborsClassifier(4, metric="precomputed", weights=weights).fit(among, y)
    ours = KNeighborsTimeSeriesClassifier(4, weights).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(unseen), theirs.predict_proba(across))
    assert ours.predict(unseen).tolist() == theirs.predict(across).tolist()
    np.testing.assert_allclose(ours.kneighbors(unseen)[0], theirs.kneighbors(across)[0])
    np.testing.assert_allclose(ours.predict_proba(X).argmax(1), theirs.predict_proba(among).argmax(1))


def test_series_longer_than_those_of_fit_are_classified() -> None:
    (X, y), (unseen, kinds) = bumps(), bumps(6, seed=1)
    short, long = (np.stack([np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(x)), x) for x in some])
                   for n, some in ((20, X), (31, unseen)))  # fmt: skip
    model = KNeighborsTimeSeriesClassifier(1).fit(short, y)
    assert model.predict(list(long)).tolist() == kinds.tolist()
    again = KNeighborsTimeSeriesClassifier(1).fit(short[..., None], y)
    assert again.predict(list(long[..., None])).tolist() == kinds.tolist()


def test_a_search_takes_series_of_any_lengths() -> None:
    X, y = bumps()
    found = GridSearchCV(KNeighborsTimeSeriesClassifier(), {"n_neighbors": [1, 3]}, cv=3).fit(X, y)
    assert found.best_score_ == 1.0 and clone(found.best_estimator_).n_neighbors in (1, 3)


@pytest.mark.parametrize("model", [TimeSeriesKMeans(2, random_state=0), TimeSeriesKMeans(2, 0.1, random_state=0),
                                   TimeSeriesKMedoids(2)], ids=["means", "soft means", "medoids"])  # fmt: skip
def test_clusters_are_the_kinds_of_series(model: Any) -> None:
    X, kinds = bumps()
    model = clone(model).fit(X)
    assert agree(model.labels_, kinds) and (model.predict(X) == model.labels_).all()
    unseen, other = bumps(8, seed=1)
    assert agree(model.predict(unseen), other)
    assert model.transform(unseen).shape == (8, 2) and len(model.get_feature_names_out()) == 2


@pytest.mark.parametrize("gamma", [0.0, 0.1])
def test_no_iteration_makes_means_worse(gamma: float) -> None:
    X = bumps(12)[0]
    model = TimeSeriesKMeans(3, gamma, max_iter_barycenter=1, tol=0.0, random_state=1)
    inertia = [clone(model).set_params(max_iter=n).fit(X).inertia_ for n in range(1, 8)]
    assert inertia == sorted(inertia, reverse=True) and inertia[-1] < inertia[0]


def test_inertia_and_labels_are_those_of_the_centers() -> None:
    X = bumps(12)[0]
    model = TimeSeriesKMeans(3, random_state=0, n_init=2).fit(X)
    cost = warping.cdist([torch.from_numpy(x) for x in X], torch.from_numpy(model.cluster_centers_)).square()
    assert model.cluster_centers_.shape == (3, round(np.mean([len(x) for x in X])))
    assert model.inertia_ == pytest.approx(float(cost.amin(-1).sum()))
    assert model.labels_.tolist() == cost.argmin(-1).tolist()


def test_medoids_are_those_of_all_choices() -> None:
    X = bumps(9)[0]
    distance = warping.cdist([torch.from_numpy(x) for x in X]).numpy()
    model = TimeSeriesKMedoids(2).fit(X)
    least = min(np.minimum(distance[:, i], distance[:, j]).sum() for i in range(9) for j in range(i))
    assert model.inertia_ == pytest.approx(least)
    assert model.inertia_ == pytest.approx(distance[:, model.medoid_indices_].min(1).sum())
    for center, index in zip(model.cluster_centers_, model.medoid_indices_, strict=True):
        np.testing.assert_array_equal(center, X[index])


def test_a_cluster_that_loses_its_members_starts_again() -> None:
    X = [[0.0, 0.0, 0.0]] * 4 + [[9.0, 9.0, 9.0], [5.0, 5.0, 5.0]]
    assert all(TimeSeriesKMeans(3, random_state=seed).fit(X).inertia_ == 0 for seed in range(8))


def test_what_cannot_be_grouped_is_said() -> None:
    X, y = bumps(4)
    with pytest.raises(ShapeError, match="TimeSeriesKMeans: n_clusters must be from 1 to n_samples=4, got 5"):
        TimeSeriesKMeans(5).fit(X)
    with pytest.raises(ShapeError, match="TimeSeriesKMedoids: max_iter must be an integer of at least 1, got 0"):
        TimeSeriesKMedoids(2, max_iter=0).fit(X)
    with pytest.raises(
        StructureError, match=r"TimeSeriesKMeans: gamma must be a finite number of at least 0, got -1\.0"
    ):
        TimeSeriesKMeans(2, gamma=-1.0).fit(X)
    with pytest.raises(StructureError, match="weights must be 'uniform' or 'distance', got 'near'"):
        KNeighborsTimeSeriesClassifier(weights="near").fit(X, y)  # type: ignore[arg-type]
    with pytest.raises(
        ShapeError, match="KNeighborsTimeSeriesClassifier: n_neighbors must be from 1 to n_samples_fit=4, got 5"
    ):
        KNeighborsTimeSeriesClassifier().fit(X, y).predict(X)
    with pytest.raises(ShapeError, match="X must have as many features as in fit, 1, got 2"):
        KNeighborsTimeSeriesClassifier().fit(X, y).predict(np.zeros((2, 20, 2)))
    with pytest.raises(DataError, match="a window of 1 leaves series 0 of X fewer than 1 neighbours: make it wider"):
        KNeighborsTimeSeriesClassifier(1, window=1).fit(X, y).predict([np.zeros(3)])
    with pytest.raises(DataError, match="KNeighborsTimeSeriesClassifier: X must be finite, got nan at"):
        KNeighborsTimeSeriesClassifier(1).fit([*X[:-1], np.array([np.nan])], y)


@pytest.mark.parametrize(
    "model",
    [KNeighborsTimeSeriesClassifier(1), TimeSeriesKMeans(2), TimeSeriesKMeans(2, gamma=0.5), TimeSeriesKMedoids(2)],
)
@pytest.mark.parametrize("wrong", ["a", [], True, 1j, -0.5, np.nan, np.ones(2), object()], ids=lambda x: str(x)[:7])
def test_a_setting_of_no_use_is_refused_by_name(model: Any, wrong: Any) -> None:
    X, y = bumps(4)
    for name in model.get_params().keys() - {"random_state"}:
        with pytest.raises(SemihmmError, match=rf"\b{name} must be"):
            clone(model).set_params(**{name: wrong}).fit(X, y).predict(X)


def test_sparse_series_and_such_as_have_no_numbers_are_refused_by_name() -> None:
    X, y = bumps(4)
    for wrong in (torch.zeros(4, 3).to_sparse(), torch.zeros(4, 3, device="meta")):
        for series, classes, name in ((wrong, y, "X"), ([*X[:3], wrong], y, r"X\[3\]"), (X, wrong[:, 0], "y")):
            with pytest.raises(DataError, match=f"KNeighborsTimeSeriesClassifier: {name} must"):
                KNeighborsTimeSeriesClassifier(1).fit(series, classes)
