"""Features of blocks against those of the whole recording, and blocks at another sample rate against soxr."""

import math

import pytest
import torch

from semihmm.audio import resample
from semihmm.errors import DataError
from semihmm.speech import FrontEnd
from semihmm.speech.live import LiveFrontEnd, Resampler

EN_US = FrontEnd(lower_edge=130, upper_edge=6800, filters=25, transform="dct", lifter=22, noise_removal=True)

HTK = FrontEnd(
    window=0.025, padded=False, emphasis_within=True, exponent=1.0, corners="mel", offset=0.0, floor=1.0, filters=26,
    transform="htk", lifter=22, differences=((0.2, 0.1, 0.0, -0.1, -0.2),), columns=(*range(1, 13), *range(14, 26), 13),
)  # fmt: skip


def noise(samples, seed=0):
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed)) / 10


def in_blocks(front_end, wave, seed):
    """Pushed in blocks of random sizes, some of them empty."""
    generator, found, at = torch.Generator().manual_seed(seed), [], 0
    while at < len(wave):
        size = int(torch.randint(0, 700, (), generator=generator))
        found.append(front_end.push(wave[at : at + size]))
        at += size
    return torch.cat([*found, front_end.finish()])


@pytest.mark.parametrize("samples", [410, 411, 569, 570, 571, 3000, 16000])
@pytest.mark.parametrize("front_end", [FrontEnd(), EN_US, HTK], ids=["plain", "en-us", "htk"])
def test_features_of_blocks_are_those_of_the_recording(front_end, samples):
    wave = noise(samples) * torch.linspace(0.1, 1, samples)
    cepstra = front_end.cepstrum(wave)
    loud = cepstra[cepstra[:, 0] >= 0]
    for seed in range(3):
        live = LiveFrontEnd(front_end, mean=(loud if len(loud) else cepstra).mean(0), offset=0.0)
        torch.testing.assert_close(in_blocks(live, wave, seed), front_end(wave), atol=1e-3, rtol=1e-4)


def test_a_frame_is_known_30_ms_after_its_last_sample():
    wave, live = noise(4000), LiveFrontEnd(EN_US)
    known = [len(live.push(sample[None])) for sample in wave]
    assert known.index(1) + 1 == 410 + 3 * 160
    assert [at + 1 for at, count in enumerate(known) if count][:3] == [890, 1050, 1210]


def test_a_recording_shorter_than_a_window_has_no_frames():
    live = LiveFrontEnd(EN_US)
    assert live.push(noise(409)).shape == live.finish().shape == (0, 39)


def test_a_constant_offset_is_taken_off():
    live = LiveFrontEnd(EN_US, mean=torch.zeros(13), offset=0.25)
    expected = LiveFrontEnd(EN_US, mean=torch.zeros(13), offset=0.0)
    torch.testing.assert_close(
        in_blocks(live, noise(8000) + 0.25, 0), in_blocks(expected, noise(8000), 1), atol=1e-2, rtol=0
    )
    running = LiveFrontEnd(EN_US)
    running.push(noise(32000) + 0.25)
    assert abs(running.offset - 0.25) < 0.005


def test_running_means_do_not_depend_on_the_blocks():
    wave = noise(16000)
    first, second = (in_blocks(LiveFrontEnd(EN_US), wave, seed) for seed in (1, 2))
    assert torch.equal(first, second)


def test_the_running_mean_becomes_that_of_the_recording():
    wave, live = noise(16000 * 20), LiveFrontEnd(EN_US)
    live.push(wave)
    torch.testing.assert_close(live.mean, EN_US.cepstrum(wave)[-1500:].mean(0), atol=2.5, rtol=0)


def test_silence_does_not_move_the_mean():
    """Half a second after speech still counts; a minute of a softer room does not."""
    live = LiveFrontEnd(EN_US)
    live.push(noise(32000))
    live.push(noise(16000, seed=1) / 1000)
    mean = live.mean
    live.push(noise(16000 * 20, seed=2) / 1000)
    assert torch.equal(live.mean, mean)


@pytest.mark.parametrize(("first", "last"), [(0, 1), (4000, 4001), (5000, 9000)])
def test_lost_samples_are_those_frames_that_depend_on_them_and_no_others(first, last):
    front_end = FrontEnd(mean_normalisation=False)
    wave = noise(16000)
    broken = wave.clone()
    broken[first:last] = math.nan
    live = LiveFrontEnd(front_end, offset=0.0)
    found, expected = in_blocks(live, broken, 3), front_end(wave)
    # A sample is in the windows that hold it and, as the one before their first, in those that begin just behind it.
    begin = torch.arange(len(expected)) * 160
    touched = (begin - 1 < last) & (begin + 410 > first)
    reached = torch.stack([touched[max(t - 3, 0) : t + 4].any() for t in range(len(touched))])
    assert torch.equal(found.isnan().any(1), reached)
    torch.testing.assert_close(found[~reached], expected[~reached], atol=1e-3, rtol=1e-4)


def test_lost_sound_leaves_no_trace_in_what_is_kept():
    """Neither in the noise nor in the means: they stay numbers."""
    live = LiveFrontEnd(EN_US)
    live.push(noise(8000))
    live.push(torch.full((8000,), math.nan))
    after = live.push(noise(16000, seed=1))
    assert after[-50:].isfinite().all()
    assert live.mean.isfinite().all() and math.isfinite(live.offset)


@pytest.mark.parametrize("source", [48000, 44100, 22050])
def test_resampled_sound_is_that_of_soxr_where_the_model_listens(source):
    wave = resample(noise(16000).double(), source=16000, target=source)
    wave = resample(resample(wave, source=source, target=13000), source=13000, target=source)  # below 6.5 kHz
    resampler = Resampler(source, 16000)
    found = torch.cat([*map(resampler, wave.float().split(777)), resampler.finish()])
    expected = resample(wave, source=source, target=16000)[: len(found)]
    error = (found[: len(expected)] - expected).square().mean() / expected.square().mean()
    assert abs(len(found) - len(wave) * 16000 / source) <= 1
    assert 10 * math.log10(error) < -60


def test_resampled_blocks_do_not_depend_on_their_sizes():
    wave = noise(9000)
    first, second = Resampler(44100, 16000), Resampler(44100, 16000)
    pieces = torch.cat([*map(first, wave.split(100)), first.finish()])
    torch.testing.assert_close(pieces, torch.cat([second(wave), second.finish()]))


def test_what_is_resampled_comes_a_millisecond_later():
    resampler = Resampler(48000, 16000)
    assert 480 / 3 - len(resampler(noise(480))) <= 0.0011 * 16000
    assert resampler.delay < 0.0011


def test_what_cannot_pass_does_not():
    """A tone above half the new rate is 60 dB down, one far above the model's band."""
    time = torch.arange(48000) / 48000
    high = torch.sin(2 * math.pi * 10000 * time)
    assert 10 * math.log10(Resampler(48000, 16000)(high)[100:].square().mean() / 0.5) < -60


def test_a_lost_sample_is_lost_at_the_other_rate_too():
    wave = noise(4800)
    wave[2400] = math.nan
    lost = Resampler(48000, 16000)(wave).isnan().nonzero()[:, 0]
    assert lost.min() >= 800 - 20 and lost.max() <= 800 + 20 and 800 in lost


def test_a_rate_of_nothing_is_refused():
    with pytest.raises(DataError, match="Resampler: both sample rates must be positive, got source=0"):
        Resampler(0, 16000)
