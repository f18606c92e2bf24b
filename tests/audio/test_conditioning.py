"""What recordings bring along that is no sound."""

import math

import pytest
import torch

from semihmm.audio import condition
from semihmm.errors import DataError, ShapeError


@pytest.mark.parametrize("offset", [0.0, 0.3, -0.9])
def test_an_offset_makes_no_difference(offset):
    wave = torch.randn(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 10
    wave -= wave.mean()
    torch.testing.assert_close(condition(wave + offset), wave, atol=1e-12, rtol=0)


def test_less_than_the_last_bit_is_no_offset():
    wave = torch.tensor([0.5, -0.5, 1e-6])
    assert condition(wave) is wave


def test_an_offset_can_be_taken_off_in_place():
    wave = torch.tensor([0.5, 1.0, 0.0])
    assert condition(wave, in_place=True) is wave
    assert wave.tolist() == [0.0, 0.5, -0.5]


def test_the_input_is_left_alone_and_its_dtype_kept():
    wave = torch.tensor([0.5, 1.0, 0.0])
    assert condition(wave).dtype == torch.float32
    assert wave.tolist() == [0.5, 1.0, 0.0]


@pytest.mark.parametrize(
    ("wave", "reason"),
    [
        ([0.0] * 100, "digitally silent"),
        ([0.25] * 100, "digitally silent"),
        ([0.0, 1 / 32768] * 50, "digitally silent"),
        ([0.0, 1e30], "is no recording"),
        ([0.0, -1e30], "is no recording"),
        ([0.0, math.nan], "is no recording"),
        ([0.0, math.inf], "is no recording"),
    ],
)
def test_what_is_no_recording_is_refused(wave, reason):
    with pytest.raises(DataError, match=reason):
        condition(torch.tensor(wave))


@pytest.mark.parametrize("shape", [(0,), (2, 10), ()])
def test_one_channel_is_wanted(shape):
    with pytest.raises(ShapeError, match="one channel"):
        condition(torch.zeros(shape))
