"""What scikit-learn asks of an estimator, and its pipelines, searches, copies and files."""

import io
import pickle
import subprocess
import sys
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone  # type: ignore[import-untyped]
from sklearn.model_selection import GridSearchCV  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]
from sklearn.utils.estimator_checks import parametrize_with_checks  # type: ignore[import-untyped]
from torch import Tensor

from semihmm import estimators

# The whole list of exceptions.
IN_TIME = "rows of one sequence depend on one another"
EXCEPT = {"check_methods_sample_order_invariance": IN_TIME, "check_methods_subset_invariance": IN_TIME}


class FirstColumnHMM(estimators.CategoricalHMM):
    """Symbols are one column; scikit-learn's data have several."""

    def _tensor(self, X: NDArray[Any]) -> Tensor:
        return super()._tensor(X[:, :1])


class FirstColumnVariationalHMM(estimators.VariationalCategoricalHMM):
    def _tensor(self, X: NDArray[Any]) -> Tensor:
        return super()._tensor(X[:, :1])


class FirstColumnHSMM(estimators.CategoricalHSMM):
    def _tensor(self, X: NDArray[Any]) -> Tensor:
        return super()._tensor(X[:, :1])


EVERY = [
    estimators.GaussianHMM(2),
    estimators.GaussianHMM(2, "full"),
    estimators.GMMHMM(2, 2),
    estimators.PoissonHMM(2),
    estimators.MultinomialHMM(2),
    FirstColumnHMM(2),
    estimators.VariationalGaussianHMM(2),
    FirstColumnVariationalHMM(2),
    estimators.GaussianHSMM(2, max_duration=5, duration="categorical"),
    estimators.PoissonHSMM(2, max_duration=5, duration="categorical"),
    FirstColumnHSMM(2, max_duration=5, duration="categorical"),
]


@parametrize_with_checks(EVERY, expected_failed_checks=lambda estimator: EXCEPT)
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


def test_without_scikit_learn_the_error_says_how_to_install_it() -> None:
    program = "import sys; sys.modules['sklearn'] = sys.modules['sklearn.base'] = None; import semihmm.estimators"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1 and "pip install 'semihmm[estimators]'" in result.stderr


def walk(seed: int = 0) -> NDArray[np.float64]:
    """Two features about 0 and 6 in turn, 20 steps each."""
    random = np.random.RandomState(seed)
    return random.randn(120, 2) + 6.0 * (np.arange(120)[:, None] // 20 % 2)


@pytest.mark.parametrize("name", [name for name in estimators.__all__ if name.endswith("MM")])
def test_a_clone_has_the_arguments_and_nothing_else(name: str) -> None:
    model = getattr(estimators, name)(3, n_iter=7, params="st")
    model.startprob_ = np.full(3, 1 / 3)
    copy = clone(model)
    assert type(copy) is type(model) and copy.get_params() == model.get_params()
    assert not hasattr(copy, "startprob_")
    assert copy.set_params(n_iter=2).n_iter == 2 and model.n_iter == 7


def test_a_pipeline_passes_lengths_on() -> None:
    X, lengths = walk(), [50, 70]
    pipeline = make_pipeline(StandardScaler(), estimators.GaussianHMM(2, random_state=0))
    pipeline.fit(X, gaussianhmm__lengths=lengths)
    alone = estimators.GaussianHMM(2, random_state=0).fit(StandardScaler().fit_transform(X), lengths=lengths)
    assert (pipeline[-1].transmat_ == alone.transmat_).all()
    assert pipeline.score(X) == alone.score(StandardScaler().fit_transform(X))
    assert (pipeline.predict(X, lengths=lengths) == np.arange(120) // 20 % 2).mean() in (0.0, 1.0)


def test_a_search_over_sequences_finds_the_number_of_states() -> None:
    sequences = [walk(seed) for seed in range(6)]
    search = GridSearchCV(estimators.GaussianHMM(random_state=0), {"n_components": [1, 2]}, cv=3)
    search.fit(sequences)
    assert search.best_params_ == {"n_components": 2}
    held_out = estimators.GaussianHMM(2, random_state=0).fit(sequences[2:]).score(sequences[:2])
    assert search.cv_results_["split0_test_score"][1] == held_out


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_a_fitted_estimator_goes_through_pickle_and_joblib(kind: str) -> None:
    X = walk()
    model = estimators.GaussianHMM(2, kind, random_state=0).fit(X)
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(file)):
        assert copy.score(X) == model.score(X)
        assert (copy.covars_ == model.covars_).all() and list(copy.monitor_.history) == list(model.monitor_.history)
