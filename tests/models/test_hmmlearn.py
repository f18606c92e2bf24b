"""Code that we did not write, from equal parameters: likelihoods, posteriors, paths, and one EM step."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hmmlearn import hmm as peer  # type: ignore[import-untyped]
from torch import Tensor
from torch.testing import assert_close

from semihmm.models import HMM, FullGaussian, Gaussian, GaussianMixture, emissions

LENGTHS = [12, 7, 1, 20]
STATES, FEATURES = 3, 2


def gaussian(model: Any) -> Any:
    other = peer.GaussianHMM(STATES, covariance_type="diag", covars_prior=0.0, covars_weight=1.0)
    other.means_ = model.emission.mean.detach().numpy().copy()
    other.covars_ = model.emission.log_variance.exp().detach().numpy().copy()
    return other


def full(model: Any) -> Any:
    other = peer.GaussianHMM(STATES, covariance_type="full", covars_prior=0.0, covars_weight=1.0)
    other.means_ = model.emission.mean.detach().numpy().copy()
    other.covars_ = model.emission.covariance().detach().numpy().copy()
    return other


def spherical(model: Any) -> Any:
    other = peer.GaussianHMM(STATES, covariance_type="spherical", covars_prior=0.0, covars_weight=1.0)
    other.means_ = model.emission.mean.detach().numpy().copy()
    other.covars_ = model.emission.log_variance.exp().squeeze(-1).detach().numpy().copy()
    return other


def tied(model: Any) -> Any:
    other = peer.GaussianHMM(STATES, covariance_type="tied", covars_prior=0.0, covars_weight=1.0)
    other.means_ = model.emission.mean.detach().numpy().copy()
    other.covars_ = model.emission.covariance()[0].detach().numpy().copy()
    return other


def poisson(model: Any) -> Any:
    other = peer.PoissonHMM(STATES)
    other.n_features = FEATURES
    other.lambdas_ = model.emission.log_rate.exp().detach().numpy().copy()
    return other


def mixture(model: Any) -> Any:
    other = peer.GMMHMM(STATES, n_mix=2, covariance_type="diag")
    other.means_ = model.emission.mean.detach().numpy().copy()
    other.covars_ = model.emission.log_variance.exp().detach().numpy().copy()
    other.weights_ = model.emission.weights().exp().detach().numpy().copy()
    return other


def categorical(model: Any) -> Any:
    other = peer.CategoricalHMM(STATES, n_features=5)
    other.emissionprob_ = model.emission.table().exp().detach().numpy().copy()
    return other


def multinomial(model: Any) -> Any:
    other = peer.MultinomialHMM(STATES, n_trials=6)
    other.n_features = 5
    other.emissionprob_ = model.emission.table().exp().detach().numpy().copy()
    return other


KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "gaussian": (lambda: Gaussian(STATES, FEATURES, variance_floor=1e-9), gaussian),
    "full": (lambda: FullGaussian(STATES, FEATURES, variance_floor=1e-9), full),
    "spherical": (lambda: Gaussian(STATES, FEATURES, variance_floor=1e-9, covariance="spherical"), spherical),
    "tied": (lambda: FullGaussian(STATES, FEATURES, variance_floor=1e-9, tied=True), tied),
    "poisson": (lambda: emissions.Poisson(STATES, FEATURES), poisson),
    "mixture": (lambda: GaussianMixture(STATES, FEATURES, 2, variance_floor=1e-9), mixture),
    "categorical": (lambda: emissions.Categorical(STATES, 5), categorical),
    "multinomial": (lambda: emissions.Multinomial(STATES, 5, trials=6), multinomial),
}


def build(kind: str) -> tuple[HMM, Any, Tensor, np.ndarray]:
    """Our model, theirs, and the data in the shape that each takes."""
    generator = torch.Generator().manual_seed(1)
    make, theirs = KINDS[kind]
    model = HMM(STATES, make()).double()
    if kind == "categorical":
        x = torch.randint(5, (len(LENGTHS), max(LENGTHS)), generator=generator)
    elif kind == "multinomial":
        symbols = torch.randint(5, (len(LENGTHS), max(LENGTHS), 6), generator=generator)
        x = torch.nn.functional.one_hot(symbols, 5).sum(-2)
    elif kind == "poisson":
        x = torch.randint(9, (len(LENGTHS), max(LENGTHS), FEATURES), generator=generator)
    else:
        x = torch.randn(len(LENGTHS), max(LENGTHS), FEATURES, dtype=torch.float64, generator=generator)
    model.initialise(x, torch.tensor(LENGTHS), generator)
    with torch.no_grad():
        for table in (model.initial, model.transition):
            table.logits.normal_(generator=generator)
    flat = np.concatenate([sequence[:n].numpy() for sequence, n in zip(x, LENGTHS, strict=True)])
    return model, prepared(theirs(model), model), x, flat.reshape(sum(LENGTHS), -1)


def prepared(other: Any, model: Any) -> Any:
    other.startprob_ = model.initial().exp().detach().numpy().copy()
    other.transmat_ = model.transition().exp().detach().numpy().copy()
    other.n_iter, other.init_params = 1, ""
    return other


@pytest.mark.parametrize("kind", KINDS)
def test_likelihoods_posteriors_and_paths_are_theirs(kind: str) -> None:
    model, other, x, flat = build(kind)
    lengths = torch.tensor(LENGTHS)
    assert model.score(x, lengths) == pytest.approx(other.score(flat, LENGTHS), rel=1e-10)
    log_likelihood, posterior = other.score_samples(flat, LENGTHS)
    score, states = other.decode(flat, LENGTHS)
    inside = torch.arange(max(LENGTHS)) < lengths.unsqueeze(-1)
    both = model.score_samples(x, lengths)
    assert float(both[0].sum()) == pytest.approx(log_likelihood, rel=1e-10)
    assert_close(both[1][inside].numpy(), posterior)
    assert torch.equal(model.predict_proba(x, lengths), both[1])
    assert (model.predict_proba(x, lengths)[~inside] == 0).all()
    assert (model.predict(x, lengths)[inside].numpy() == states).all()
    assert (model.predict(x, lengths)[~inside] == -1).all()
    assert float(model.decode(x, lengths).score.sum()) == pytest.approx(score, rel=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_one_em_step_is_theirs(kind: str) -> None:
    model, other, x, flat = build(kind)
    before = other.means_.copy() if kind == "mixture" else 0.0
    model.fit(x, torch.tensor(LENGTHS), initialise=False, iterations=1)
    other.fit(flat, LENGTHS)
    assert_close(model.initial().exp().detach().numpy(), other.startprob_)
    assert_close(model.transition().exp().detach().numpy(), other.transmat_)
    emission: Any = model.emission
    if isinstance(emission, emissions.Categorical | emissions.Multinomial):
        assert_close(emission.table().exp().detach().numpy(), other.emissionprob_)
        return
    if isinstance(emission, emissions.Poisson):
        assert_close(emission.log_rate.exp().detach().numpy(), other.lambdas_)
        return
    assert_close(emission.mean.detach().numpy(), other.means_)
    if isinstance(emission, FullGaussian):
        theirs = np.broadcast_to(other.covars_, (STATES, FEATURES, FEATURES)).copy()
        assert_close(emission.covariance().detach().numpy(), theirs)
    elif isinstance(emission, GaussianMixture):
        assert_close(emission.weights().exp().detach().numpy(), other.weights_)
        # Theirs are about the means before the step, which is not where the likelihood is greatest.
        assert_close(emission.log_variance.exp().detach().numpy(), other.covars_ - (other.means_ - before) ** 2)
    else:
        diagonal = np.stack([c.diagonal() for c in other.covars_])
        diagonal = diagonal.reshape(STATES, -1, FEATURES)[:, 0]  # spherical: one matrix for each state and feature
        assert_close(emission.log_variance.exp().expand(STATES, FEATURES).detach().numpy(), diagonal)
