"""Errors of durations against NumPy's figures."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semihmm.speech.metrics import DurationErrors

seconds = st.floats(0.01, 2)


@given(st.lists(st.tuples(seconds, seconds), min_size=3, max_size=20))
def test_figures_are_numpys(pairs):
    errors, (a, b) = DurationErrors(tuple(pairs)), np.array(pairs).T
    assert errors.rmse == pytest.approx(np.sqrt(np.mean((a - b) ** 2)))
    assert errors.mean == pytest.approx(np.mean(abs(a - b)))
    assert errors.bias == pytest.approx(np.mean(b - a), abs=1e-12)
    assert errors.within(0.3) == pytest.approx(np.mean(abs(b - a) / a <= 0.3 + 1e-9))
    if np.std(a) > 1e-6 and np.std(b) > 1e-6:
        assert errors.correlation == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)


def test_no_units_have_no_figures():
    nothing = DurationErrors()
    assert nothing.n == 0
    figures = nothing.rmse, nothing.mean, nothing.bias, nothing.correlation, nothing.within(0.1)
    assert all(math.isnan(figure) for figure in figures)


def test_equal_durations_correlate_with_nothing():
    assert math.isnan(DurationErrors(((0.1, 0.2), (0.1, 0.3))).correlation)


def test_a_reference_of_no_duration_is_met_by_none_alone():
    assert DurationErrors(((0.0, 0.0), (0.0, 0.1))).within(0.5) == 0.5
