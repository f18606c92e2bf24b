"""Transforms of a speaker, against closed forms, numerical optimisation, and what was done to the data."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.optimize
import torch

from semihmm.errors import ShapeError
from semihmm.speech.acoustics.transform import identity, transformed
from semihmm.speech.training.fmllr import TransformStatistics, fmllr

STATES, FEATURES = 5, 3


def gaussians(seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(STATES, FEATURES, generator=generator, dtype=torch.float64) * 2
    return mean, torch.rand(STATES, FEATURES, generator=generator, dtype=torch.float64) + 0.2


def drawn(frames=2000, seed=1):
    mean, variance = gaussians()
    generator = torch.Generator().manual_seed(seed)
    states = torch.randint(STATES, (frames,), generator=generator)
    noise = torch.randn(frames, FEATURES, generator=generator, dtype=torch.float64)
    return mean[states] + variance[states].sqrt() * noise, states


def statistics(x, states):
    mean, variance = gaussians()
    return TransformStatistics.of(x, 1 / variance[states], (mean / variance)[states])


def log_likelihood(transform, x, states):
    """Written out: a density for each frame, and the logarithm of how much the transform blows space up."""
    mean, variance = gaussians()
    normal = torch.distributions.Normal(mean[states], variance[states].sqrt())
    density = normal.log_prob(x @ transform[:, :-1].t() + transform[:, -1]).sum()
    return density + len(x) * transform[:, :-1].det().abs().log()


def test_the_gain_is_the_likelihood_less_a_constant():
    x, states = drawn()
    other = identity(FEATURES) + torch.randn(3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64) / 3
    gain = statistics(x, states).gain
    expected = log_likelihood(other, x, states) - log_likelihood(identity(FEATURES), x, states)
    torch.testing.assert_close(gain(other) - gain(identity(FEATURES)), expected)


def test_data_that_fit_are_left_alone():
    mean, variance = gaussians()
    away = (FEATURES * variance).sqrt()[:, :, None] * torch.eye(FEATURES, dtype=torch.float64)
    around = torch.cat([mean[:, None] + away.mT, mean[:, None] - away.mT], 1)  # of these means and variances exactly
    states = torch.arange(STATES).repeat_interleave(2 * FEATURES)
    found = fmllr(statistics(around.flatten(0, 1), states), frames_each=1)
    torch.testing.assert_close(found, identity(FEATURES))


def test_what_was_done_to_a_speaker_is_undone():
    x, states = drawn(frames=40_000)
    mix = torch.tensor([[1.3, 0.2, 0.0], [-0.1, 0.8, 0.1], [0.0, 0.3, 1.1]], dtype=torch.float64)
    found = fmllr(statistics(x @ mix.t() + 3.0, states), iterations=50)
    torch.testing.assert_close(transformed(x @ mix.t() + 3.0, found), x, rtol=0, atol=0.1)
    torch.testing.assert_close(found[:, :-1] @ mix, torch.eye(3).double(), rtol=0, atol=0.02)


def test_one_feature_has_a_closed_form():
    x = torch.tensor([[1.0], [2.0], [6.0]], dtype=torch.float64)
    precision, mean = torch.full((3, 1), 4.0), torch.tensor(5.0)
    found = fmllr(TransformStatistics.of(x, precision, precision * mean), frames_each=1)
    new = transformed(x, found)  # of the Gaussian's mean and variance
    assert float(new.mean()) == pytest.approx(5.0)
    assert float(new.var(correction=0)) == pytest.approx(1 / 4)


def test_it_is_where_numerical_optimisation_ends():
    x, states = drawn(frames=300)
    x = x * torch.tensor([1.5, 0.7, 1.2]) - 1
    known = statistics(x, states)

    def loss(flat):
        transform = torch.tensor(flat.reshape(FEATURES, FEATURES + 1), requires_grad=True)
        value = -known.gain(transform)
        value.backward()
        return value.item(), transform.grad.flatten().numpy()

    best = scipy.optimize.minimize(loss, identity(FEATURES).flatten().numpy(), jac=True, method="BFGS")
    found = fmllr(known, iterations=100)
    assert float(known.gain(found)) == pytest.approx(-best.fun, abs=1e-4)
    np.testing.assert_allclose(found.flatten(), best.x, atol=1e-3)


def test_the_likelihood_never_falls():
    x, states = drawn()
    x = x @ torch.tensor([[0.2, 1.0, 0.0], [-1.0, 0.3, 0.0], [0.5, 0.0, 2.0]], dtype=torch.float64) + 2
    known = statistics(x, states)
    likelihood = [float(log_likelihood(fmllr(known, iterations=n), x, states)) for n in range(8)]
    assert all(after >= before - 1e-8 for before, after in pairwise(likelihood))
    assert likelihood[-1] > likelihood[0] + 100


def test_too_few_frames_change_nothing():
    x, states = drawn(frames=39)
    assert torch.equal(fmllr(statistics(x + 5, states)), identity(FEATURES))
    x, states = drawn(frames=40)
    assert not torch.equal(fmllr(statistics(x + 5, states)), identity(FEATURES))


def test_features_that_do_not_vary_change_nothing():
    x, states = drawn(frames=500)
    x[:, 1] = 0.0
    assert torch.equal(fmllr(statistics(x, states)), identity(FEATURES))


def test_statistics_of_recordings_add_up():
    x, states = drawn()
    together, apart = statistics(x, states), statistics(x[:700], states[:700]) + statistics(x[700:], states[700:])
    assert together.count == apart.count
    torch.testing.assert_close(together.outer, apart.outer)
    torch.testing.assert_close(together.cross, apart.cross)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="must be"):
        TransformStatistics.of(torch.zeros(4, 2), torch.zeros(4, 2), torch.zeros(3, 2))
