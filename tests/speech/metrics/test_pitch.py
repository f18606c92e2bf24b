"""Errors of pitch contours, on cases worked out by hand and by the definitions."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semihmm.errors import DataError, ShapeError
from semihmm.speech.metrics import pitch_errors

contours = st.lists(st.tuples(*[st.sampled_from([0.0, 90.0, 100.0, 119.0, 121.0, 200.0])] * 2), min_size=1, max_size=12)


@given(contours)
def test_figures_are_their_definitions(frames):
    found = pitch_errors(*map(list, zip(*frames, strict=True)))
    both = [(a, b) for a, b in frames if a and b]
    gross = [(a, b) for a, b in both if abs(b / a - 1) > 0.2]
    fine = [(a, b) for a, b in both if (a, b) not in gross]
    unlike = [(a, b) for a, b in frames if bool(a) != bool(b)]
    assert (found.frames, found.voiced) == (len(frames), len(both))
    assert found.voicing == pytest.approx(len(unlike) / len(frames))
    assert found.frame == pytest.approx((len(unlike) + len(gross)) / len(frames))
    if both:
        assert found.gross == pytest.approx(len(gross) / len(both))
    if fine:
        assert found.rmse == pytest.approx(math.sqrt(sum((b - a) ** 2 for a, b in fine) / len(fine)))
        cents = [1200 * math.log2(b / a) for a, b in fine]
        assert found.rmse_cents == pytest.approx(math.sqrt(sum(c * c for c in cents) / len(cents)))


def test_an_octave_is_gross_and_a_semitone_a_hundred_cents():
    assert pitch_errors([100.0], [200.0]).gross == 1.0
    assert pitch_errors([100.0], [100 * 2 ** (1 / 12)]).rmse_cents == pytest.approx(100)


def test_nan_is_no_voice():
    assert pitch_errors([100.0, math.nan], torch.tensor([100.0, 0.0])).voicing == 0.0


def test_without_voice_there_is_no_pitch():
    found = pitch_errors([0.0, 0.0], [0.0, 100.0])
    assert all(math.isnan(x) for x in (found.gross, found.rmse, found.rmse_cents))
    assert found.frame == 0.5


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]])])
def test_the_same_frames_are_wanted(a, b):
    with pytest.raises(ShapeError, match="of the same frames"):
        pitch_errors(a, b)


@pytest.mark.parametrize("odd", [-1.0, math.inf])
def test_what_is_no_frequency_is_refused(odd):
    with pytest.raises(DataError, match="other has"):
        pitch_errors([100.0], [odd])
