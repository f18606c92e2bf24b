"""Log-likelihoods, against densities written out one by one."""

import dataclasses
import math

import pytest
import torch

from semihmm.audio import read_audio
from semihmm.errors import ShapeError
from semihmm.models import GaussianMixture
from semihmm.speech import AcousticModel, load_acoustic_model
from semihmm.speech.acoustics.model import tied_mixture


def parameters(seed=0, codebooks=2, states=3, components=4, features=5):
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(codebooks, components, features, generator=generator, dtype=torch.float64) * 3
    variances = torch.rand(codebooks, components, features, generator=generator, dtype=torch.float64) + 0.1
    log_weights = torch.randn(codebooks, states, components, generator=generator, dtype=torch.float64).log_softmax(-1)
    return means, variances, log_weights


def slow_log_prob(means, variances, log_weights, x):
    codebooks, states, _ = log_weights.shape
    found = torch.zeros(len(x), codebooks * states, dtype=torch.float64)
    for t, frame in enumerate(x):
        for c in range(codebooks):
            normal = torch.distributions.Normal(means[c], variances[c].sqrt())
            density = normal.log_prob(frame).sum(-1)
            for s in range(states):
                found[t, c * states + s] = torch.logsumexp(log_weights[c, s] + density, 0)
    return found


def observations(rows=6):
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 3


def test_states_of_a_phone_share_its_gaussians_and_weigh_them_differently():
    emission = tied_mixture(*parameters())
    torch.testing.assert_close(emission(observations()), slow_log_prob(*parameters(), observations()))


def test_far_from_every_mean_nothing_underflows():
    found = tied_mixture(*parameters())(observations() * 1e4)
    torch.testing.assert_close(found, slow_log_prob(*parameters(), observations() * 1e4), rtol=1e-7, atol=0)


def test_weights_that_do_not_sum_to_one_are_made_to():
    means, variances, log_weights = parameters()
    torch.testing.assert_close(
        tied_mixture(means, variances, log_weights - 0.3)(observations()),
        tied_mixture(means, variances, log_weights)(observations()),
    )


def test_a_weight_of_zero_is_no_component():
    means, variances, log_weights = parameters()
    log_weights[0, 1, 2] = -math.inf
    log_weights = log_weights.log_softmax(-1)
    found = tied_mixture(means, variances, log_weights)(observations())
    torch.testing.assert_close(found, slow_log_prob(means, variances, log_weights, observations()))


def model_of(means, variances, log_weights, like):
    """One stream of all features."""
    transitions = torch.zeros(len(means), log_weights.shape[1], log_weights.shape[1] + 1)
    names = tuple(f"P{index}" for index in range(len(means)))
    return AcousticModel(names, (tied_mixture(means, variances, log_weights),), transitions, like.front_end)


def test_streams_add_up(tone_model):
    features = torch.randn(4, 39, generator=torch.Generator().manual_seed(1))
    blocks = features.double().split(13, dim=1)
    parts = [stream(block) for stream, block in zip(tone_model.streams, blocks, strict=True)]
    found = tone_model.log_likelihood(features)
    torch.testing.assert_close(found, (parts[0] + parts[1] + parts[2]).float())
    assert found.shape == (4, len(tone_model.phones) * tone_model.states)
    assert not found.requires_grad


def test_log_likelihoods_are_the_mixtures_own(tone_model):
    """At every length of the last block."""
    model = model_of(*parameters(), like=tone_model)
    x = observations(205)
    expected = slow_log_prob(*parameters(), x).float()
    for rows in (1, 99, 100, 101, 205):
        torch.testing.assert_close(model.log_likelihood(x[:rows]), expected[:rows], rtol=1e-5, atol=1e-4)


def test_narrow_gaussians_far_from_zero_keep_their_digits(tone_model):
    """In float32, the square expanded would be off by thousands of nats."""
    means, variances, log_weights = parameters()
    means[0, 1], variances[0, 1] = 300.0, 1e-4
    x = 300 + observations(20) / 300
    found = model_of(means, variances, log_weights, like=tone_model).log_likelihood(x.float())
    torch.testing.assert_close(
        found, slow_log_prob(means, variances, log_weights, x.float().double()).float(), rtol=1e-5, atol=1e-3
    )


def test_a_state_that_has_no_weight_on_the_nearest_gaussian_hears_the_others(tone_model):
    """The others' share of the peak is far below what float32 holds; so is that of a state without any weight there."""
    means, variances, log_weights = parameters()
    means[0, 2] += 200
    log_weights[0, 1, 2] = -math.inf
    log_weights = log_weights.log_softmax(-1)
    x = means[0, 2] + observations(5) / 100
    found = model_of(means, variances, log_weights, like=tone_model).log_likelihood(x)
    torch.testing.assert_close(found, slow_log_prob(means, variances, log_weights, x).float(), rtol=1e-5, atol=1e-3)


def test_the_english_model_is_computed_to_rounding(repository):
    """On speech: against the mixtures' own densities, in float64."""
    pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
    model = load_acoustic_model()
    wave, _ = read_audio(repository / "examples" / "data" / "austen-0880.wav")
    features = model.front_end(wave)
    parts = zip(model.streams, features.double().split(13, dim=1), strict=True)
    expected = torch.stack([stream(part) for stream, part in parts]).sum(0)
    assert (model.log_likelihood(features) - expected).abs().max() < 2e-4


def test_mixtures_that_are_none_or_too_few_are_refused(tone_model):
    model = dataclasses.replace(tone_model, streams=(GaussianMixture(12, 39, 3, covariance="full"),))
    with pytest.raises(ShapeError, match="as tied_mixture makes them"):
        model.log_likelihood(torch.zeros(1, 39))
    with pytest.raises(ShapeError, match="must have a state for each of 3 of 4 phones, got 11"):
        dataclasses.replace(tone_model, streams=(tone_model.streams[0], GaussianMixture(11, 39, 3)))


def test_features_of_another_width_are_refused(tone_model):
    with pytest.raises(ShapeError, match=r"must be \(T, 39\)"):
        tone_model.log_likelihood(torch.zeros(5, 13))
