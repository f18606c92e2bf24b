"""Other people's code, from equal parameters: statsmodels, pomegranate, and scipy where no other test asks it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor
from torch.testing import assert_close

import semihmm
from semihmm.models import HMM, FullGaussian, Gaussian, durations, emissions


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("tied", [False, True], ids=["switching-variance", "one-variance"])
@pytest.mark.parametrize("regimes", [2, 3])
def test_a_markov_regression_of_statsmodels_is_a_gaussian_hmm(regimes: int, tied: bool) -> None:
    """Its first regime has the stationary distribution of the chain, and its matrices are ``[to, from]``."""
    switching = pytest.importorskip("statsmodels.tsa.regime_switching.markov_regression")
    y = torch.randn(60, dtype=torch.float64, generator=generator(1)).cumsum(0)
    other = switching.MarkovRegression(y.numpy(), k_regimes=regimes, switching_variance=not tied)
    emission = FullGaussian(regimes, features=1, tied=tied)
    model = HMM(regimes, emission).double()
    model.initialise(y.unsqueeze(-1), generator=generator(2))
    with torch.no_grad():
        model.transition.logits.normal_(generator=generator(3))
        move: Tensor = model.transition().exp()
        variance = emission.covariance().flatten()[: 1 if tied else regimes]
        parameters = torch.cat([move[:, :-1].T.flatten(), emission.mean.flatten(), variance])
    theirs = other.smooth(parameters.numpy())
    assert_close(other.regime_transition_matrix(parameters.numpy())[..., 0], move.T.numpy())
    assert_close(theirs.initial_probabilities @ move.numpy(), theirs.initial_probabilities)
    ours = model(y.unsqueeze(-1)).replace(initial=torch.tensor(theirs.initial_probabilities).log())
    assert semihmm.log_partition(ours).item() == pytest.approx(theirs.llf, rel=1e-12)
    assert_close(semihmm.filtering(ours).exp().detach().numpy(), theirs.filtered_marginal_probabilities)
    assert_close(semihmm.smoothing(ours).exp().detach().numpy(), theirs.smoothed_marginal_probabilities)


def parameter(value: Any) -> np.ndarray:
    found: np.ndarray = value.detach().numpy().copy()
    return found


STATES, FEATURES = 3, 2


def normals(distributions: Any, e: Any) -> list[Any]:
    moments = zip(parameter(e.mean), parameter(e.log_variance.exp()), strict=True)
    return [distributions.Normal(mean, variance, covariance_type="diag") for mean, variance in moments]


def full_normals(distributions: Any, e: Any) -> list[Any]:
    moments = zip(parameter(e.mean), parameter(e.covariance()), strict=True)
    return [distributions.Normal(mean, covariance) for mean, covariance in moments]


# How we say it, how pomegranate does, what of it both learn, and draws that both take.
POMEGRANATE: dict[str, tuple[Callable[[], Any], Callable[..., list[Any]], Callable[[Any], Tensor], str]] = {
    "diagonal": (lambda: Gaussian(STATES, FEATURES, variance_floor=1e-9), normals, lambda e: e.mean, "means"),
    "full": (lambda: FullGaussian(STATES, FEATURES, variance_floor=1e-9), full_normals, lambda e: e.mean, "means"),
    "poisson": (
        lambda: emissions.Poisson(STATES, FEATURES),
        lambda d, e: [d.Poisson(rate) for rate in parameter(e.log_rate.exp())],
        lambda e: e.log_rate.exp(),
        "lambdas",
    ),
    "exponential": (
        lambda: emissions.Exponential(STATES, FEATURES),
        lambda d, e: [d.Exponential(mean) for mean in parameter(e.log_mean.exp())],
        lambda e: e.log_mean.exp(),
        "scales",
    ),
    "bernoulli": (
        lambda: emissions.Bernoulli(STATES, FEATURES),
        lambda d, e: [d.Bernoulli(chance) for chance in parameter(e.table()[..., 1].exp())],
        lambda e: e.table()[..., 1].exp(),
        "probs",
    ),
}


@pytest.mark.parametrize("kind", POMEGRANATE)
def test_pomegranate_says_the_same(kind: str) -> None:
    """Likelihoods, posteriors, and one EM step; its chain may end after every state alike, ours goes on."""
    distributions = pytest.importorskip("pomegranate.distributions")
    from pomegranate.hmm import DenseHMM  # type: ignore[import-untyped]

    make, theirs, learned, name = POMEGRANATE[kind]
    model = HMM(STATES, make()).double()
    states = torch.randint(STATES, (4, 15), generator=generator(1))
    x = make().double().sample(states, generator(2))
    model.initialise(x, generator=generator(3))
    with torch.no_grad():
        for table in (model.initial, model.transition):
            table.logits.normal_(generator=generator(4))
    other = DenseHMM(
        [one.double() for one in theirs(distributions, model.emission)],
        edges=parameter(model.transition().exp()),
        starts=parameter(model.initial().exp()),
        ends=np.full(STATES, 1 / STATES),
        max_iter=1,
        random_state=0,
    ).double()
    their_x = x.numpy()
    assert_close(other.log_probability(their_x), model.log_prob(x).detach() - np.log(STATES))
    assert_close(other.predict_proba(their_x), model.predict_proba(x))
    model.fit(x, initialise=False, iterations=1)
    other.fit(their_x)
    assert_close(other.starts.exp(), model.initial().exp())
    moves = other.edges.exp()  # beside those to the end, which ours does not count
    assert_close(moves / moves.sum(-1, keepdim=True), model.transition().exp())
    found = torch.stack([getattr(one, name) for one in other.distributions])
    assert_close(found, learned(model.emission))


def test_a_multinomial_is_that_of_scipy() -> None:
    emission = emissions.Multinomial(STATES, 4).double()
    counts = torch.randint(6, (5, 4), generator=generator())
    chances = emission.table().exp().detach().numpy()
    expected = stats.multinomial(counts.sum(-1, keepdim=True).numpy(), chances).logpmf(counts.numpy()[:, None])
    assert_close(emission(counts.double()).detach().numpy(), expected)


def test_uniform_lengths_are_those_of_scipy() -> None:
    law = durations.Uniform(2, max_duration=9, ranges=[(2, 5), (1, 9)]).double()
    lengths = np.arange(1, 10)
    expected = np.stack([stats.randint(2, 6).logpmf(lengths), stats.randint(1, 10).logpmf(lengths)])
    assert_close(law().numpy(), expected)
