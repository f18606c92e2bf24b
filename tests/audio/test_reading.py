"""Reading and resampling recordings."""

import math
import os
import struct
from pathlib import Path
from random import Random

import pytest
import soundfile
import torch

from semihmm.audio import audio_suffixes, read_audio, resample
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


FORMATS = {
    ".wav": {},
    ".flac": {},
    ".ogg": {},
    ".opus": {"format": "OGG", "subtype": "OPUS"},
    ".mp3": {},
    ".aiff": {},
    ".au": {},
    ".caf": {},
    ".w64": {},
    ".rf64": {"format": "RF64"},
    ".sph": {"format": "NIST"},
}


def written(path, samples, rate=16000, **options):
    soundfile.write(path, samples.numpy(), rate, **options)
    return path.read_bytes()


@pytest.fixture(scope="module")
def noise():
    return torch.randn(80000, generator=torch.Generator().manual_seed(0)) / 10


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_cut_in_half_is_never_taken_for_the_whole(tmp_path, suffix, noise):
    path = tmp_path / f"a{suffix}"
    content = written(path, noise, **FORMATS[suffix])
    assert abs(len(read_audio(path)[0]) - 80000) <= 1
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"was cut short|cannot be read"):
        read_audio(path)


@pytest.mark.parametrize("suffix", [".wav", ".aiff", ".au", ".ogg", ".mp3", ".sph"])
def test_what_there_is_of_a_cut_file_is_read_on_request(tmp_path, suffix, noise):
    path = tmp_path / f"a{suffix}"
    content = written(path, noise, **FORMATS[suffix])
    whole = read_audio(path)[0]
    path.write_bytes(content[: len(content) * 3 // 4])
    part = read_audio(path, partial=True)[0]
    assert 30000 < len(part) < 70000
    torch.testing.assert_close(part[:20000], whole[:20000], atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_a_header_that_does_not_know_its_size_is_followed_by_all_there_is(tmp_path, size, noise):
    path = tmp_path / "a.wav"
    content = written(path, noise)
    whole = read_audio(path)[0]
    at = content.index(b"data") + 4
    path.write_bytes(
        content[:4] + struct.pack("<I", size) + content[8:at] + struct.pack("<I", size) + content[at + 4 :]
    )
    assert torch.equal(read_audio(path)[0], whole)


def test_an_empty_file_with_remarks_is_empty(tmp_path):
    content = float_wav([])
    (tmp_path / "a.wav").write_bytes(content + b"LIST" + struct.pack("<I", 4) + b"INFO")
    with pytest.raises(DataError, match="zero samples"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("other", [-1.0, -0.9], ids=["reversed", "nearly reversed"])
def test_channels_that_cancel_are_not_averaged(tmp_path, other, noise):
    """The loudest is taken, and the plain mean of the same two channels is (nearly) nothing."""
    stereo = torch.stack([noise, other * noise], 1)
    written(tmp_path / "a.wav", stereo, subtype="FLOAT")
    assert torch.equal(read_audio(tmp_path / "a.wav")[0], noise)
    assert stereo.mean(1).norm() < 0.1 * noise.norm()


def test_channels_of_two_speakers_are_averaged(tmp_path, noise):
    stereo = torch.stack([noise, noise.flip(0)], 1)
    written(tmp_path / "a.wav", stereo, subtype="FLOAT")
    torch.testing.assert_close(read_audio(tmp_path / "a.wav")[0], stereo.mean(1), atol=1e-7, rtol=0)


def test_a_channel_can_be_asked_for(tmp_path, noise):
    written(tmp_path / "a.wav", torch.stack([noise, noise / 2], 1), subtype="FLOAT")
    assert torch.equal(read_audio(tmp_path / "a.wav", channel=1)[0], noise / 2)
    with pytest.raises(DataError, match="has channels 0 to 1, and channel=2 is none"):
        read_audio(tmp_path / "a.wav", channel=2)


def test_a_damaged_channel_does_not_spoil_the_one_asked_for(tmp_path, noise):
    written(tmp_path / "a.wav", torch.stack([noise, noise * math.nan], 1), subtype="FLOAT")
    assert torch.equal(read_audio(tmp_path / "a.wav", channel=0)[0], noise)
    with pytest.raises(DataError, match="80000 samples that are NaN"):
        read_audio(tmp_path / "a.wav")


def test_a_name_need_not_be_utf_8(tmp_path, noise):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav"))
    written(tmp_path / "a.wav", noise)
    (tmp_path / "a.wav").rename(path)
    assert len(read_audio(path)[0]) == 80000


@pytest.mark.parametrize("suffix", FORMATS)
def test_damaged_files_are_read_or_refused(tmp_path, suffix):
    """Bytes of the header changed at random: nothing but samples, or the library's own error."""
    path, random = tmp_path / f"a{suffix}", Random(0)
    content = bytearray(written(path, torch.linspace(-0.5, 0.5, 2000), **FORMATS[suffix]))
    for _ in range(100):
        damaged = bytearray(content)
        for _ in range(random.randint(1, 4)):
            damaged[random.randrange(min(len(damaged), 200))] = random.randrange(256)
        path.write_bytes(damaged)
        try:
            wave, rate = read_audio(path)
        except DataError as error:
            assert str(path) in str(error)
        else:
            assert wave.ndim == 1
            assert rate > 0
            assert wave.isfinite().all()


@pytest.mark.parametrize("suffix", [suffix for suffix, read in audio_suffixes().items() if read])
def test_every_ending_that_is_looked_for_is_read(tmp_path, suffix):
    same = {".wave": ".wav", ".oga": ".ogg", ".aif": ".aiff", ".aifc": ".aiff", ".snd": ".au", ".nist": ".sph"}
    form = same.get(suffix, suffix)
    path = tmp_path / f"a{form}"
    written(path, torch.linspace(-0.5, 0.5, 8000), **FORMATS[form])
    assert abs(len(read_audio(path.rename(path.with_suffix(suffix)))[0]) - 8000) <= 1


def test_resampling_refuses_what_it_cannot_do():
    with pytest.raises(ShapeError, match="one channel"):
        resample(torch.zeros(2, 10), source=8000, target=16000)
    with pytest.raises(DataError, match="must be positive"):
        resample(torch.zeros(10), source=0, target=16000)
