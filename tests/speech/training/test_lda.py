"""Discriminants against SciPy's generalised eigenvectors and Fisher's; the rotation after them against closed forms."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import torch

from semihmm.errors import DataError, ShapeError
from semihmm.speech.acoustics.transform import spliced
from semihmm.speech.training.lda import Moments, lda, mllt, mllt_gain


def classes(states=4, features=5, each=60, seed=0):
    """Frames of states that spread alike, about means of their own; the states come in turn."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(states, features, generator=generator, dtype=torch.float64) * 2
    mix = torch.randn(features, features, generator=generator, dtype=torch.float64)
    label = torch.arange(states).repeat(each)
    return mean[label] + torch.randn(len(label), features, generator=generator, dtype=torch.float64) @ mix, label


def covariances(states=5, size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(states, size, size, generator=generator, dtype=torch.float64)
    return root @ root.mT + 0.1 * torch.eye(size, dtype=torch.float64), torch.arange(1.0, states + 1) * 10


def test_moments_are_those_of_each_state_alone():
    x, label = classes()
    moments = Moments.of(x, label)
    for state in range(4):
        own = x[label == state].numpy()
        np.testing.assert_allclose(moments.mean[state], own.mean(0), atol=1e-12)
        np.testing.assert_allclose(moments.covariance[state], np.cov(own.T, bias=True), atol=1e-12)
    np.testing.assert_allclose(moments.within + moments.between, np.cov(x.numpy().T, bias=True), atol=1e-12)


def test_directions_are_the_generalised_eigenvectors():
    x, label = classes()
    moments = Moments.of(x, label)
    value, vector = scipy.linalg.eigh(moments.between.numpy(), moments.within.numpy())
    found = lda(x, label, 3)
    for row, best in zip(found.numpy(), vector.T[::-1], strict=False):
        np.testing.assert_allclose(row, best * np.sign(best @ row), atol=1e-8)
    ratio = (found @ moments.between @ found.t()).diagonal()
    np.testing.assert_allclose(ratio, value[::-1][:3], atol=1e-8)
    np.testing.assert_allclose(found @ moments.within @ found.t(), np.eye(3), atol=1e-8)


def test_two_states_lie_along_fishers_direction():
    x, label = classes(states=2)
    moments = Moments.of(x, label)
    fisher = torch.linalg.solve(moments.within, moments.mean[1] - moments.mean[0])
    cosine = torch.nn.functional.cosine_similarity(lda(x, label, 1)[0], fisher, dim=0)
    assert float(cosine.abs()) == pytest.approx(1.0, abs=1e-10)


def test_how_features_were_mixed_makes_no_difference_to_what_is_kept():
    x, label = classes()
    mix = torch.randn(5, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    kept, again = x @ lda(x, label, 3).t(), (x @ mix) @ lda(x @ mix, label, 3).t()
    torch.testing.assert_close(again * (again[0] / kept[0]).sign(), kept)


def test_splicing_repeats_the_ends():
    x = torch.arange(8.0).reshape(4, 2)
    found = spliced(x, 2).unflatten(1, (5, 2))
    for t in range(4):
        for offset in range(-2, 3):
            assert found[t, offset + 2].tolist() == x[min(max(t + offset, 0), 3)].tolist()


def test_of_one_state_the_rotation_makes_the_covariance_diagonal():
    covariance, _ = covariances(states=1)
    count = torch.tensor([7.0])
    found = mllt(covariance, count)
    full = -7 * covariance[0].logdet() / 2  # Hadamard: no diagonal does better, and this one reaches it
    assert float(mllt_gain(found, covariance, count)) == pytest.approx(float(full), abs=1e-4)


def test_what_was_mixed_is_taken_apart():
    generator = torch.Generator().manual_seed(3)
    variance = torch.rand(6, 4, generator=generator, dtype=torch.float64) + 0.2
    mix = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    covariance = mix @ torch.diag_embed(variance) @ mix.t()
    found = mllt(covariance, torch.ones(6), iterations=400)
    after = found @ covariance @ found.t()
    scale = after.diagonal(dim1=1, dim2=2).sqrt()
    torch.testing.assert_close(
        after / scale[:, :, None] / scale[:, None], torch.eye(4).double().expand(6, -1, -1), rtol=0, atol=1e-4
    )


def test_the_rotation_is_where_numerical_optimisation_ends():
    covariance, count = covariances(states=3, size=3)

    def loss(flat):
        transform = torch.tensor(flat.reshape(3, 3), requires_grad=True)
        gain = -mllt_gain(transform, covariance, count)
        gain.backward()
        return gain.item(), transform.grad.flatten().numpy()

    best = min(
        scipy.optimize.minimize(loss, np.random.default_rng(seed).normal(size=9), jac=True, method="BFGS").fun
        for seed in range(6)
    )
    assert float(mllt_gain(mllt(covariance, count, iterations=200), covariance, count)) == pytest.approx(
        -best, abs=1e-4
    )


def test_the_likelihood_of_the_rotation_never_falls():
    covariance, count = covariances()
    gains = [float(mllt_gain(mllt(covariance, count, iterations=n), covariance, count)) for n in range(8)]
    assert all(after >= before - 1e-9 for before, after in pairwise(gains))
    assert gains[-1] > gains[0] + 1


def test_states_of_few_frames_do_no_harm():
    covariance, count = covariances()
    empty = torch.cat([covariance, torch.zeros(2, 4, 4)])
    empty[-1, 0, 0] = 1.0  # two frames, that differ in one feature alone
    found = mllt(empty, torch.cat([count, torch.tensor([0.0, 2.0])]))
    assert found.isfinite().all()
    assert float(found.det().abs()) == pytest.approx(1.0)


def test_what_cannot_be_learnt_is_refused():
    x, label = classes()
    with pytest.raises(ShapeError, match="1 to 5 directions can be kept, not 6"):
        lda(x, label, 6)
    with pytest.raises(ShapeError, match="one state for each frame"):
        lda(x, label[1:], 2)
    with pytest.raises(DataError, match="no frames"):
        lda(x[:0], label[:0], 2)
    with pytest.raises(DataError, match="does not vary inside states"):
        lda(torch.cat([x, x[:, :1]], 1), label, 2)
    with pytest.raises(DataError, match="varies in no state"):
        mllt(torch.zeros(2, 3, 3), torch.ones(2))
    with pytest.raises(ShapeError, match="covariance must be"):
        mllt(torch.zeros(2, 3, 3), torch.ones(3))
