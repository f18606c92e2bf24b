"""The front end, against a slow one written from the textbook, and against features that PocketSphinx computed."""

import math

import numpy as np
import pytest
import torch

from semihmm.errors import DataError, ShapeError
from semihmm.speech.acoustics import mfcc
from semihmm.speech.acoustics import noise as noise_removal
from semihmm.speech.acoustics.mfcc import FrontEnd, with_differences
from semihmm.speech.acoustics.noise import remove_noise

EN_US = {"lowerf": "130", "upperf": "6800", "nfilt": "25", "transform": "dct", "lifter": "22", "feat": "1s_c_d_dd"}
EN_US |= {"agc": "none", "cmn": "batch", "varnorm": "no", "remove_noise": "yes", "svspec": "0-12/13-25/26-38"}


def noise(samples, seed=0):
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / 10


def slow_cepstra(wave, filters, lowest, highest, lifter, transform):
    """One frame, one filter and one coefficient at a time."""
    wave = [32768 * x for x in wave.tolist()]
    emphasised = [wave[0]] + [wave[i] - 0.97 * wave[i - 1] for i in range(1, len(wave))]
    mel = lambda f: 2595 * math.log10(1 + f / 700)  # noqa: E731
    hertz = lambda m: 700 * (10 ** (m / 2595) - 1)  # noqa: E731
    step = (mel(highest) - mel(lowest)) / (filters + 1)
    corner = [math.floor(hertz(mel(lowest) + i * step) / 31.25 + 0.5) * 31.25 for i in range(filters + 2)]
    rows = []
    start = 0
    while start == 0 or start + 410 - 160 <= len(emphasised):
        frame = (emphasised[start : start + 410] + [0.0] * 410)[:410]
        frame = [x * (0.54 - 0.46 * math.cos(2 * math.pi * n / 409)) for n, x in enumerate(frame)]
        power = np.abs(np.fft.fft(frame, 512)) ** 2
        logs = []
        for i in range(filters):
            left, peak, right = corner[i : i + 3]
            energy = 0.0
            for k in range(257):
                f = k * 31.25
                weight = (f - left) / (peak - left) if f <= peak else (right - f) / (right - peak)
                energy += max(weight, 0.0) * 2 / (right - left) * power[k]
            logs.append(math.log(energy + 1e-4))
        row = []
        for c in range(13):
            terms = [logs[j] * math.cos(math.pi * c * (j + 0.5) / filters) for j in range(filters)]
            if transform == "legacy":
                value = (sum(terms) - terms[0] / 2) / filters
            else:
                value = sum(terms) * math.sqrt((1 if c == 0 and transform == "dct" else 2) / filters)
            row.append(value * (1 + lifter / 2 * math.sin(math.pi * c / lifter) if lifter else 1))
        rows.append(row)
        start += 160
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("samples", [410, 411, 560, 569, 570, 571, 1000])
@pytest.mark.parametrize(("transform", "lifter"), [("dct", 22), ("htk", 0), ("legacy", 0)])
def test_cepstra_are_those_of_the_textbook(samples, transform, lifter):
    front_end = FrontEnd(filters=25, lower_edge=130, upper_edge=6800, lifter=lifter, transform=transform)
    wave = noise(samples)
    expected = slow_cepstra(wave, 25, 130, 6800, lifter, transform)
    torch.testing.assert_close(front_end.cepstrum(wave), expected)
    assert len(expected) == front_end.frames(samples)


def test_blocks_of_frames_leave_no_seams(monkeypatch):
    """In the windows nor in the noise that is tracked."""
    wave = noise(16000)
    whole = FrontEnd(noise_removal=True)(wave)
    monkeypatch.setattr(mfcc, "_FRAMES", 7)
    monkeypatch.setattr(noise_removal, "_FRAMES", 5)
    torch.testing.assert_close(FrontEnd(noise_removal=True)(wave), whole)


def slow_noise_removal(energies):
    """The recursion, one band at a time."""
    frames, bands = energies.shape
    gains = np.zeros((frames, bands))
    for band in range(bands):
        power = energies[0, band]
        noise_level = floor = energies[0, band] / 20
        peak = 0.0
        for t in range(frames):
            power = 0.7 * power + 0.3 * energies[t, band]
            keep = 0.995 if power >= noise_level else 0.5
            noise_level = keep * noise_level + (1 - keep) * power
            signal = max(power - noise_level, 1.0)
            keep = 0.995 if signal >= floor else 0.5
            floor = keep * floor + (1 - keep) * signal
            heard, peak = signal, peak * 0.85
            if signal < 0.85 * peak:
                signal = 0.2 * peak
            peak = max(peak, heard)
            gains[t, band] = min(max(max(signal, floor) / power, 1 / 20), 20)
    smooth = np.zeros_like(gains)
    for band in range(bands):
        smooth[:, band] = gains[:, max(band - 4, 0) : band + 5].mean(1)
    return energies * smooth


@pytest.mark.parametrize("scale", [1e-3, 10.0, 1e6])
def test_noise_removal_is_its_recursion(scale):
    energies = noise(40 * 11, seed=1).reshape(40, 11).square() * scale
    energies[20:30] *= 50
    expected = torch.from_numpy(slow_noise_removal(energies.numpy()))
    torch.testing.assert_close(remove_noise(energies), expected)


def test_noise_removal_leaves_silence_silent():
    energies = torch.zeros(5, 11)
    assert torch.equal(remove_noise(energies), energies)


def test_a_wave_that_starts_a_frame_later_has_its_features_a_frame_earlier():
    front_end = FrontEnd(mean_normalisation=False)
    wave = noise(8000)
    all_of_it, later = front_end(wave), front_end(wave[160:])
    # The first sample has no predecessor to emphasise against; the differences carry that three frames far.
    torch.testing.assert_close(later[4:], all_of_it[5:])


def test_differences_of_a_straight_line_are_its_slope():
    ramp = torch.arange(20.0)[:, None]
    features = with_differences(ramp)
    assert features.shape == (20, 3)
    assert torch.equal(features[3:-3, 1], torch.full((14,), 4.0))  # c[t+2] - c[t-2]
    assert torch.equal(features[3:-3, 2], torch.zeros(14))


def test_one_frame_has_no_differences():
    assert torch.equal(with_differences(torch.tensor([[1.0, 2.0]])), torch.tensor([[1.0, 2.0, 0.0, 0.0, 0.0, 0.0]]))


def test_mean_normalised_cepstra_have_no_mean_and_do_not_hear_the_gain():
    front_end = FrontEnd.from_parameters(EN_US | {"remove_noise": "no"})
    wave = noise(16000)
    features = front_end(wave)
    torch.testing.assert_close(features[:, :13].mean(0), torch.zeros(13, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(front_end(wave * 2), features, atol=1e-5, rtol=0)  # up to the floor under the log


def test_digital_silence_does_not_count_in_the_mean():
    front_end = FrontEnd.from_parameters(EN_US | {"remove_noise": "no"})
    padded = torch.cat([noise(16000), torch.zeros(16000, dtype=torch.float64)])
    raw = front_end.cepstrum(padded)
    sounding = torch.stack([row for row in raw if row[0] >= 0])
    assert 95 < len(sounding) < 105 < len(raw)
    torch.testing.assert_close(raw - front_end(padded)[:, :13], sounding.mean(0).expand_as(raw))
    assert front_end(torch.zeros(16000)).isfinite().all()


def test_a_frame_begins_half_way_between_two_windows_centres():
    front_end = FrontEnd()
    before, after = 0.010 * 6 + 0.025625 / 2, 0.010 * 7 + 0.025625 / 2
    assert front_end.boundary(7) == pytest.approx((before + after) / 2)


def test_feature_parameters_are_followed():
    front_end = FrontEnd.from_parameters(EN_US)
    assert (front_end.filters, front_end.lower_edge, front_end.upper_edge) == (25, 130.0, 6800.0)
    assert (front_end.transform, front_end.lifter) == ("dct", 22)
    assert front_end.noise_removal and front_end.mean_normalisation
    assert not FrontEnd.from_parameters({"cmn": "none"}).mean_normalisation
    assert FrontEnd.from_parameters({}) == FrontEnd()


@pytest.mark.parametrize(
    "option", [{"feat": "s3_1x39"}, {"agc": "max"}, {"varnorm": "yes"}, {"transform": "fft"}, {"cmn": "prior"}]
)
def test_features_that_cannot_be_computed_are_refused(option):
    with pytest.raises(DataError, match=f"-{next(iter(option))} {next(iter(option.values()))}"):
        FrontEnd.from_parameters(EN_US | option)


def test_waves_that_have_no_frame_are_refused():
    with pytest.raises(DataError, match="409 samples, but one window needs 410"):
        FrontEnd()(torch.zeros(409))
    with pytest.raises(ShapeError, match="one channel"):
        FrontEnd()(torch.zeros(2, 1000))


def test_the_wave_is_left_alone_and_its_dtype_followed():
    wave = noise(4000).float()
    before = wave.clone()
    assert FrontEnd()(wave).dtype == torch.float32
    assert torch.equal(wave, before)


def test_features_are_those_of_pocketsphinx(tmp_path):
    """PocketSphinx logs the cepstra that it computes; ours are the same to single precision."""
    pocketsphinx = pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
    wave = noise(16000, seed=3)
    wave[4000:9000] += torch.sin(torch.arange(5000, dtype=torch.float64) / 5) / 3
    samples = (wave * 32768).clamp(-32768, 32767).to(torch.int16)
    decoder = pocketsphinx.Decoder(lm=None, mfclogdir=str(tmp_path), loglevel="FATAL")
    decoder.set_align_text("yes")
    decoder.start_utt()
    decoder.process_raw(samples.numpy().tobytes(), no_search=True, full_utt=True)
    decoder.end_utt()
    (log,) = tmp_path.glob("*.mfc")
    expected = torch.from_numpy(np.frombuffer(log.read_bytes(), ">f4", offset=4).astype(np.float64).reshape(-1, 13))
    found = FrontEnd.from_parameters(EN_US).cepstrum(samples.double() / 32768)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
