"""Reading and resampling recordings."""

import math
import struct

import pytest
import soundfile
import torch

from semihmm.audio import read_audio, resample
from semihmm.errors import DataError, ShapeError


def tone(frequency, rate, seconds=0.5):
    return torch.sin(2 * math.pi * frequency * torch.arange(int(rate * seconds), dtype=torch.float64) / rate) / 2


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_what_was_written_is_read(tmp_path, suffix, rate):
    wave = tone(440, rate)
    soundfile.write(tmp_path / f"a{suffix}", wave.numpy(), rate)
    read, found_rate = read_audio(tmp_path / f"a{suffix}")
    assert found_rate == rate
    assert read.dtype == torch.float32
    torch.testing.assert_close(read.double(), wave, atol=1 / 32768, rtol=0)


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", [[0.5, 0.0], [0.25, -0.25]], 8000)
    assert read_audio(str(tmp_path / "a.wav"))[0].tolist() == [0.25, 0.0]


def float_wav(samples):
    data = struct.pack(f"<{len(samples)}f", *samples)
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 8000, 32000, 4, 32) + b"data" + struct.pack("<I", len(data))
    return b"RIFF" + struct.pack("<I", len(head) + len(data)) + head + data


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "there is no file"),
        (b"", "is an empty file"),
        (b"this is not sound", "cannot be read as audio"),
        (float_wav([]), "zero samples"),
        (float_wav([0.0, 0.1, math.nan, 0.2]), r"1 samples that are NaN or infinite, the first at sample 2"),
        (float_wav([math.inf, 0.1, -math.inf]), r"2 samples that are NaN or infinite, the first at sample 0"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_reason(tmp_path, content, reason):
    path = tmp_path / "bad.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        read_audio(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("source", "target"), [(20000, 16000), (8000, 16000), (44100, 16000)])
def test_a_tone_resampled_is_the_tone_at_the_other_rate(source, target):
    """Not shifted, not scaled: away from the ends, it is the very samples one would have recorded."""
    found = resample(tone(1000, source), source=source, target=target)
    expected = tone(1000, target)
    assert abs(len(found) - len(expected)) <= 1
    torch.testing.assert_close(found[400:-400], expected[400 : len(found) - 400], atol=1e-4, rtol=0)


def test_the_same_rate_is_the_same_wave():
    wave = tone(100, 8000)
    assert resample(wave, source=8000, target=8000) is wave


def test_resampling_follows_dtype_and_leaves_its_input_alone():
    wave = tone(100, 8000).float()
    before = wave.clone()
    assert resample(wave, source=8000, target=16000).dtype == torch.float32
    assert torch.equal(wave, before)


def test_resampling_refuses_what_it_cannot_do():
    with pytest.raises(ShapeError, match="one channel"):
        resample(torch.zeros(2, 10), source=8000, target=16000)
    with pytest.raises(DataError, match="must be positive"):
        resample(torch.zeros(10), source=0, target=16000)
