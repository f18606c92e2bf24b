"""Mel-cepstral distortion, by its equation and by packages that compute the same."""

import math
from itertools import pairwise

import pytest
import torch

from semihmm.errors import DataError, ShapeError
from semihmm.speech.metrics import mel_cepstra, mel_cepstral_distortion


def cepstra(frames, seed=0, order=4):
    return torch.randn(frames, 1 + order, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def decibels(a, b):
    """The equation, coefficient by coefficient."""
    return 10 / math.log(10) * math.sqrt(2 * sum((x - y) ** 2 for x, y in zip(a[1:], b[1:], strict=True)))


def test_aligned_frames_are_compared_by_the_equation():
    a, b = cepstra(5), cepstra(5, 1)
    expected = sum(map(decibels, a.tolist(), b.tolist())) / 5
    assert mel_cepstral_distortion(a, b, aligned=True) == pytest.approx(expected)


def test_warped_frames_are_those_of_the_best_path():
    """All paths of 4 frames by 3, the best by its total, the mean over its pairs."""
    a, b = cepstra(4), cepstra(3, 1)
    cost = [[decibels(x, y) for y in b.tolist()] for x in a.tolist()]

    def paths(i, j):
        if (i, j) == (3, 2):
            return [[(i, j)]]
        steps = [(i + di, j + dj) for di, dj in ((0, 1), (1, 0), (1, 1)) if i + di < 4 and j + dj < 3]
        return [[(i, j), *rest] for step in steps for rest in paths(*step)]

    best = min(paths(0, 0), key=lambda path: sum(cost[i][j] for i, j in path))
    assert all(0 <= d - c <= 1 for x, y in pairwise(best) for c, d in zip(x, y, strict=True))
    expected = sum(cost[i][j] for i, j in best) / len(best)
    assert mel_cepstral_distortion(a, b) == pytest.approx(expected)


def test_loudness_does_not_count():
    a = cepstra(6)
    assert mel_cepstral_distortion(a, a + torch.tensor([3.0, 0, 0, 0, 0])) == pytest.approx(0, abs=1e-12)


def test_nnmnkwii_computes_the_same():
    peer = pytest.importorskip("nnmnkwii.metrics")
    a, b = cepstra(50), cepstra(50, 1)
    assert mel_cepstral_distortion(a, b, aligned=True) == pytest.approx(peer.melcd(a[:, 1:].numpy(), b[:, 1:].numpy()))


@pytest.mark.parametrize(("a", "b"), [((0, 5), (3, 5)), ((3, 5), (3, 4)), ((3,), (3,)), ((3, 1), (3, 1))])
def test_other_shapes_are_refused(a, b):
    with pytest.raises(ShapeError, match="1 \\+ order"):
        mel_cepstral_distortion(torch.zeros(a), torch.zeros(b))


def test_other_lengths_and_numbers_are_refused():
    with pytest.raises(ShapeError, match="as many frames, got 3 and 4"):
        mel_cepstral_distortion(cepstra(3), cepstra(4), aligned=True)
    with pytest.raises(DataError, match="NaN or infinite"):
        mel_cepstral_distortion(cepstra(3) * math.nan, cepstra(3))


def test_a_recording_is_near_itself_and_far_from_another():
    pytest.importorskip("pyworld")
    pytest.importorskip("pysptk")
    t = torch.arange(8000) / 16000
    pulses = torch.zeros(8000)
    pulses[::128] = 1.0  # 125 Hz
    low, high = (
        torch.nn.functional.conv1d(
            pulses[None, None],
            (torch.exp(-900 * t[:400]) * torch.sin(2 * math.pi * f * t[:400]))[None, None].flip(-1),
            padding=399,
        )[0, 0, :8000]
        for f in (500, 2500)
    )
    a, b = mel_cepstra(low, 16000), mel_cepstra(high, 16000)
    assert a.cepstra.shape == (101, 25)
    assert float(a.pitch[20:80].median()) == pytest.approx(125, abs=2)
    assert bool(a.sounding[20:80].all())
    assert mel_cepstral_distortion(a.cepstra, a.cepstra) == 0
    assert mel_cepstral_distortion(a.cepstra[a.sounding], b.cepstra[b.sounding]) > 5
