"""Log-likelihoods, against densities written out one by one."""

import math

import pytest
import torch

from semihmm.errors import ShapeError
from semihmm.speech.acoustic import tied_mixture


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


def test_streams_add_up(tone_model):
    features = torch.randn(4, 39, generator=torch.Generator().manual_seed(1))
    blocks = features.double().split(13, dim=1)
    parts = [stream(block) for stream, block in zip(tone_model.streams, blocks, strict=True)]
    torch.testing.assert_close(tone_model.log_likelihood(features), parts[0] + parts[1] + parts[2])
    assert tone_model.log_likelihood(features).shape == (4, len(tone_model.phones) * tone_model.states)
    assert not tone_model.log_likelihood(features).requires_grad


def test_features_of_another_width_are_refused(tone_model):
    with pytest.raises(ShapeError, match=r"must be \(T, 39\)"):
        tone_model.log_likelihood(torch.zeros(5, 13))
