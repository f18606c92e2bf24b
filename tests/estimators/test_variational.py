"""Variational estimators: hmmlearn's posteriors and bounds where it has the exact ones, and what theirs has not."""

from typing import Any

import numpy as np
import pytest
from hmmlearn import vhmm as peer  # type: ignore[import-untyped]
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from semihmm import estimators

LENGTHS = [60, 1, 99, 40]
STATES = 3
KINDS = ("spherical", "diag", "full", "tied")
# Theirs takes Wishart's moments for variances without correlations too: there, the same with one feature alone.
EXACT = [("full", 3), ("tied", 3), ("diag", 1), ("spherical", 1)]


def random() -> np.random.RandomState:
    return np.random.RandomState(1)


def symbols() -> NDArray[Any]:
    return random().randint(1, 5, size=(200, 1)).cumsum(0) % 5


def real(features: int) -> NDArray[np.float64]:
    return random().randn(200, features) + 4.0 * (np.arange(200)[:, None] // 40 % 3) + 100.0


def both(name: str, features: int = 3, states: int = STATES, **arguments: Any) -> tuple[Any, Any]:
    """Our estimator and theirs from the same beliefs."""
    draw = random()
    believed = {"startprob": draw.uniform(0.5, 3, states), "transmat": draw.uniform(0.5, 3, (states, states))}
    if name == "VariationalCategoricalHMM":
        believed["emissionprob"] = draw.uniform(0.5, 3, (states, 5))
    else:
        kind = arguments["covariance_type"]
        root = draw.randn(states, features, features)
        matrices = root @ np.swapaxes(root, 1, 2) + np.eye(features)
        scale = {"spherical": matrices[:, 0, 0], "diag": matrices.diagonal(axis1=1, axis2=2), "tied": matrices[0]}
        believed["means"] = real(features)[[5, 50, 90][:states]]
        believed["beta"] = draw.uniform(1, 3, states)
        believed["dof"] = 7.5 if kind == "tied" else draw.uniform(features, 9, states)
        believed["scale"] = scale.get(kind, matrices)
    models = []
    for module in (estimators, peer):
        model = getattr(module, name)(states, init_params="", tol=-np.inf, **arguments)
        for quantity, value in believed.items():
            setattr(model, f"{quantity}_posterior_", np.copy(value) if np.ndim(value) else value)
            setattr(model, f"{quantity}_prior_", value * 0.9 if quantity in ("scale", "beta") else value)
        model.n_features = 5 if name == "VariationalCategoricalHMM" else features
        models.append(model)
    return models[0], models[1]


def assert_same_beliefs(ours: Any, theirs: Any) -> None:
    for quantities in ours.quantities.values():
        for quantity in quantities:
            for side in ("prior", "posterior"):
                name = f"{quantity}_{side}_"
                assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-7, err_msg=name)


def constant(features: int) -> float:
    """What theirs leaves out of the bound."""
    return 200 * features / 2 * np.log(2 * np.pi)


@pytest.mark.parametrize("iterations", [1, 5])
def test_symbols_have_the_posteriors_and_bounds_that_theirs_have(iterations: int) -> None:
    ours, theirs = both("VariationalCategoricalHMM", n_iter=iterations)
    assert_same_beliefs(ours.fit(symbols(), LENGTHS), theirs.fit(symbols(), LENGTHS))
    assert_allclose(ours.monitor_.history, theirs.monitor_.history, rtol=1e-10)
    assert ours.score(symbols(), LENGTHS) == pytest.approx(theirs.score(symbols(), LENGTHS), rel=1e-9)
    assert (ours.predict(symbols(), LENGTHS) == theirs.predict(symbols(), LENGTHS)).all()


@pytest.mark.parametrize("iterations", [1, 5])
@pytest.mark.parametrize(("kind", "features"), EXACT)
def test_gaussians_have_the_posteriors_and_bounds_that_theirs_have(kind: str, features: int, iterations: int) -> None:
    ours, theirs = both("VariationalGaussianHMM", features, covariance_type=kind, n_iter=iterations)
    X = real(features)
    assert_same_beliefs(ours.fit(X, LENGTHS), theirs.fit(X, LENGTHS))
    bounds = np.array(theirs.monitor_.history) - constant(features)
    assert_allclose(ours.monitor_.history, bounds, rtol=1e-9)
    assert ours.score(X, LENGTHS) == pytest.approx(theirs.score(X, LENGTHS), rel=1e-9)
    assert_allclose(ours.predict_proba(X, LENGTHS), theirs.predict_proba(X, LENGTHS), atol=1e-8)
    assert_allclose(ours.covars_, theirs.covars_, rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_one_state_has_their_posterior_for_any_number_of_features(kind: str) -> None:
    ours, theirs = both("VariationalGaussianHMM", states=1, covariance_type=kind, n_iter=1)
    assert_same_beliefs(ours.fit(real(3)), theirs.fit(real(3)))


@pytest.mark.parametrize(("kind", "features"), EXACT)
def test_a_fit_from_the_same_seed_is_theirs(kind: str, features: int) -> None:
    arguments: dict[str, Any] = {"covariance_type": kind, "random_state": 3, "n_iter": 20}
    modules = (estimators, peer)
    ours, theirs = (m.VariationalGaussianHMM(4, **arguments).fit(real(features), LENGTHS) for m in modules)
    assert_same_beliefs(ours, theirs)
    assert ours.monitor_.converged == theirs.monitor_.converged


@pytest.mark.parametrize("prior", [None, 0.3])
def test_symbols_from_the_same_seed_are_theirs(prior: float | None) -> None:
    arguments: dict[str, Any] = {"random_state": 3, "n_iter": 20, "emissionprob_prior": prior, "transmat_prior": prior}
    ours, theirs = (m.VariationalCategoricalHMM(4, **arguments).fit(symbols(), LENGTHS) for m in (estimators, peer))
    assert_same_beliefs(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_never_falls(kind: Any) -> None:
    model = estimators.VariationalGaussianHMM(5, kind, n_iter=40, tol=-np.inf, random_state=0).fit(real(3), LENGTHS)
    history = np.array(model.monitor_.history)
    assert (np.diff(history) > -1e-8 * abs(history[0])).all() and history[-1] > history[0] + 1


@pytest.mark.parametrize("kind", KINDS)
def test_states_that_the_data_do_not_need_keep_their_prior(kind: Any) -> None:
    X = random().randn(300, 2) + 8.0 * (np.arange(300)[:, None] // 30 % 2)
    fits = [estimators.VariationalGaussianHMM(4, kind, n_iter=300, random_state=seed).fit(X) for seed in range(3)]
    best = max(fits, key=lambda fit: fit.monitor_.history[-1])
    used = np.sort(best.beta_posterior_ - best.beta_prior_)
    assert_allclose(used[:2], 0, atol=1)
    assert_allclose(used[2:], 150, atol=1)


def test_letters_say_which_posteriors_are_learnt() -> None:
    for params in ("", "s", "t", "mc", "stmc"):
        ours, _ = both("VariationalGaussianHMM", covariance_type="full", params=params, n_iter=2)
        before = {name: np.copy(getattr(ours, name)) for name in ours.letters.values()}
        ours.fit(real(3), LENGTHS)
        changed = {letter for letter, name in ours.letters.items() if (getattr(ours, name) != before[name]).any()}
        assert changed == set(params)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"params": "stm"}, "means and covariances have one posterior together"),
        ({"dof_prior": 0.5}, "dof_prior_ is of no distribution"),
        ({"beta_prior": 0}, "beta_prior_ is of no distribution"),
        ({"scale_prior": -np.eye(2)}, "scale_prior_ is of no distribution"),
        ({"means_prior": np.zeros((2, 2, 2))}, r"means_prior must broadcast to \(2, 2\), got \(2, 2, 2\)"),
        ({"covariance_type": "round"}, "covariance_type must be one of"),
    ],
)
def test_priors_that_are_none_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        estimators.VariationalGaussianHMM(2, **arguments).fit(real(2))


def test_what_is_missing_is_refused() -> None:
    X = real(2)
    X[3, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        estimators.VariationalGaussianHMM(2).fit(X)
