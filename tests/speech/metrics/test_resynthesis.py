"""Recordings taken apart and put together again."""

import math
import warnings

import pytest
import torch

from semihmm.errors import ShapeError
from semihmm.speech import Interval
from semihmm.speech.metrics import at_durations, duration_statistics, resynthesis_errors, vocode

PHONES = [Interval(0.1, 0.2, "AA"), Interval(0.2, 0.25, "T"), Interval(0.3, 0.4, "S")]


def test_the_own_durations_say_each_frame_once():
    own = [phone.end - phone.start for phone in PHONES]
    assert at_durations(PHONES, own, 0.5).tolist() == list(range(101))


def test_other_durations_stretch_phones_and_leave_pauses():
    frames = at_durations(PHONES, [0.2, 0.05, 0.05], 0.5)
    assert len(frames) == 111
    assert frames[:21].tolist() == list(range(21))
    assert frames[20:61].diff().tolist() == [0, 1] * 20  # AA takes twice as long
    assert frames[60:80].tolist() == list(range(40, 60))  # T and the pause
    assert frames[80:91].diff().tolist() == [2] * 10  # S half as long
    assert frames[-20:].tolist() == list(range(81, 101))


def test_as_many_durations_as_phones_are_needed():
    with pytest.raises(ShapeError, match="there are 3 phones, and 1 durations"):
        at_durations(PHONES, [0.1], 0.5)


def test_statistics_of_durations_are_those_of_the_textbook():
    durations = [0.1, 0.1, 0.1, 0.5]
    tiers = [[Interval(0.0, seconds, "AA")] for seconds in durations] + [[Interval(0.0, 0.2, "T")]]
    found = duration_statistics(tiers)
    assert list(found) == ["AA", "T"]
    assert (found["AA"].n, found["T"].n) == (4, 1)
    assert found["AA"].mean == pytest.approx(0.2)
    assert found["AA"].sd == pytest.approx(0.2)  # sqrt((3 * 0.01 + 0.09) / 3)
    assert found["AA"].skewness == pytest.approx(2 / math.sqrt(3))
    assert math.isnan(found["T"].sd) and math.isnan(found["T"].skewness)


@pytest.fixture
def world():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyworld asks for pkg_resources
        pytest.importorskip("pyworld", reason="the metrics extra is not installed")
        pytest.importorskip("pysptk", reason="the metrics extra is not installed")


def tone():
    time = torch.arange(16000) / 16000
    return sum(torch.sin(2 * math.pi * 150 * k * time) / k for k in range(1, 20)) / 10


def test_a_tone_is_nearly_what_the_vocoder_makes_of_it(world):
    distortion, pitch = resynthesis_errors(tone(), 16000)
    assert 0 < distortion < 6
    assert pitch.rmse < 2
    assert pitch.gross == 0


def test_other_frames_change_the_length_and_not_the_figures(world):
    wave = tone()
    twice = torch.arange(200).repeat_interleave(2)
    assert len(vocode(wave, 16000, frames=twice)) == pytest.approx(2 * len(vocode(wave, 16000)), rel=0.02)
    distortion, pitch = resynthesis_errors(wave, 16000, frames=twice)
    assert distortion == pytest.approx(resynthesis_errors(wave, 16000)[0], abs=0.5)
    assert pitch.rmse < 2
