"""Expectation semirings against numpy's weighted averages over listed paths."""

import itertools
import math

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from semihmm.errors import SemiringError
from semihmm.semirings import Expectation, SecondOrderExpectation
from semihmm.testing.strategies import log_weights

weights, features = log_weights(3, 4), log_weights(2, 3, 4, forbidden=False)


def chain(semiring, w, *f):
    """Three steps with a choice of four arcs each."""
    arcs = semiring.lift(w, *f)
    step = semiring.sum(arcs, -1)
    return semiring.lower(semiring.times(semiring.times(step[:, 0], step[:, 1]), step[:, 2]))


def moments(w, f):
    """Log-mass, means and covariance matrix over all 64 paths."""
    paths = list(itertools.product(range(4), repeat=3))
    log_mass = numpy.array([sum(float(w[t, s]) for t, s in enumerate(path)) for path in paths])
    value = numpy.array([[sum(float(g[t, s]) for t, s in enumerate(path)) for path in paths] for g in f])
    if log_mass.max() == -math.inf:
        return -math.inf, numpy.zeros(2), numpy.zeros((2, 2))
    p = numpy.exp(log_mass)
    return math.log(p.sum()), numpy.average(value, weights=p, axis=1), numpy.cov(value, aweights=p, ddof=0)


@given(w=weights, f=features)
def test_the_moments_are_those_over_paths(w, f):
    log_mass, means, covariance = moments(w, f)
    semiring = SecondOrderExpectation()
    first, second = chain(Expectation(2), w, *f), chain(semiring, w, *f)
    if log_mass > -math.inf:
        assert_close(first, torch.tensor([log_mass, *means]))
        assert_close(second, torch.tensor([log_mass, *means, covariance[0, 1]]))
        assert_close(chain(semiring, w, f[0], f[0])[3], torch.tensor(covariance[0, 0]))
    else:  # some step is impossible, and so is its normal form
        assert first[0] == second[0] == -math.inf
        assert Expectation(2).sum(first.unsqueeze(-1), -1).tolist() == list(Expectation(2).zero)
        assert semiring.sum(second.unsqueeze(-1), -1).tolist() == list(semiring.zero)


@given(w=log_weights(3, 4, forbidden=False), f=features)
def test_a_mean_is_the_derivative_of_the_log_partition(w, f):
    tilt = torch.zeros((), dtype=w.dtype, requires_grad=True)
    chain(Expectation(1), w + tilt * f[0], f[1])[0].backward()
    assert tilt.grad is not None
    assert_close(tilt.grad, chain(Expectation(1), w, f[0])[1])


def test_a_variance_survives_a_large_mean():
    f = torch.tensor([1e4, 1e4 + 1.0])  # float32: the mean of the squares would lose it
    value = SecondOrderExpectation().sum(SecondOrderExpectation().lift(torch.zeros(2), f, f), -1)
    assert_close(value[3].item(), 0.25)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_forbidden_arc_has_no_features(bad):
    w, f = torch.tensor([0.0, -math.inf]), torch.tensor([3.0, bad])
    assert Expectation(1).sum(Expectation(1).lift(w, f), -1).tolist() == [0.0, 3.0]
    value = SecondOrderExpectation().sum(SecondOrderExpectation().lift(w, f, f), -1)
    assert value.tolist() == [0.0, 3.0, 3.0, 0.0]


@given(given=st.integers(0, 4).filter(lambda count: count != 2))
def test_a_wrong_number_of_features_is_refused(given):
    with pytest.raises(SemiringError, match=rf"2 feature\(s\), got {given}"):
        Expectation(2).lift(torch.zeros(3), *[torch.zeros(3)] * given)
