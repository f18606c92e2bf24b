"""The strategies reach every semiring, every kind of value, and nothing that is not one."""

import math

import pytest
import torch
from hypothesis import find, given

from semihmm import semirings as sr
from semihmm.testing.strategies import log_weights, semirings, values


@pytest.mark.parametrize("name", [name for name in sr.__all__ if name != "Semiring"])
def test_every_semiring_is_drawn(name):
    assert isinstance(find(semirings(), lambda semiring: type(semiring).__name__ == name), sr.Semiring)


@given(log_weights(2, 0, 3), log_weights(5, dtype=torch.float32, low=0.0, high=1.0, forbidden=False))
def test_log_weights_have_the_shape_dtype_and_range_asked_for(nothing, x):
    assert nothing.shape == (2, 0, 3)
    assert nothing.dtype == torch.float64
    assert x.dtype == torch.float32
    assert x.min() >= 0 and x.max() <= 1


def test_ties_and_forbidden_arcs_are_drawn():
    tie = find(log_weights(2), lambda x: bool(x.isfinite().all() and x[0] == x[1]))
    assert tie[0] == tie[1]
    assert find(log_weights(3), lambda x: bool((x == -math.inf).all())).tolist() == [-math.inf] * 3


@given(values(sr.TopK(3), 2), values(sr.SecondOrderExpectation(), 2, dtype=torch.float32))
def test_values_have_all_components(best, moments):
    assert best.shape == (3, 2)
    assert moments.shape == (4, 2)
    assert moments.dtype == torch.float32
