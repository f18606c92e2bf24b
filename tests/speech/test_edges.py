"""Edges finer than the frames."""

import dataclasses
import math

import pytest
import torch

from semihmm.audio import read_audio
from semihmm.errors import DataError
from semihmm.speech import Aligner, FrontEnd
from semihmm.speech.acoustics.edges import EdgeCorrection, around_edges

from .conftest import RATE, spoken


def constant(late):
    """Says the same of every edge."""
    return EdgeCorrection(torch.zeros(1, 1, 233), torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([late / 0.010]))


def test_networks_are_their_formula():
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(*shape, generator=generator) / 9 for shape in ((2, 3, 233), (2, 3), (2, 3), (2,))]
    wave = torch.randn(8000, generator=generator)
    times = torch.arange(250, dtype=torch.float64) / 500  # more than one block
    phones = ["AA", "SIL", "S", "XX", "N"] * 50
    found = EdgeCorrection(*parts)(FrontEnd(), wave, times, phones, phones[::-1])
    for edge in (0, 3, 199, 200, 249):
        kinds = {"SIL": 0, "AA": 1, "S": 3, "N": 4, "XX": 5}
        x = around_edges(
            FrontEnd(),
            wave,
            times[edge : edge + 1],
            torch.tensor([kinds[phones[edge]]]),
            torch.tensor([kinds[phones[::-1][edge]]]),
        )[0]
        of_each = [
            sum(parts[2][k, h] * math.tanh(parts[0][k, h] @ x + parts[1][k, h]) for h in range(3)) + parts[3][k]
            for k in range(2)
        ]
        assert float(found[edge]) == pytest.approx(0.010 * float(sum(of_each)) / 2, abs=1e-6)


def test_short_cepstra_hear_16_ms_and_nothing_beyond_the_wave():
    front_end = FrontEnd()
    wave, _ = spoken(("AA", 0.1))
    wave = wave.float()
    around = front_end.short_cepstra(wave, torch.tensor([0.05]))
    other = wave.clone()
    other[: 800 - 129] = other[800 + 128 :] = 0.5
    torch.testing.assert_close(front_end.short_cepstra(other, torch.tensor([0.05])), around)
    other[800 + 127] += 0.5
    assert (front_end.short_cepstra(other, torch.tensor([0.05])) - around).abs().max() > 1e-3
    padded = torch.cat([torch.zeros(1600), wave, torch.zeros(1600)])
    for time in (-0.05, 0.0, 0.004, 0.099, 0.2):
        found = front_end.short_cepstra(wave, torch.tensor([time]))
        torch.testing.assert_close(found, front_end.short_cepstra(padded, torch.tensor([time + 0.1])))


def test_onsets_move_and_what_follows_them_stays_in_order(tone_model, tone_lexicon):
    wave, _ = spoken(("SIL", 0.15), ("IY", 0.12), ("S", 0.2), ("AA", 0.15), ("SIL", 0.1), ("S", 0.1), ("IY", 0.2))
    on_grid = Aligner(tone_model, tone_lexicon)(wave, RATE, "eesah see", nbest=2)
    for late in (0.004, -0.003):
        model = dataclasses.replace(tone_model, edges=constant(late))
        found = Aligner(model, tone_lexicon)(wave, RATE, "eesah see", nbest=2)
        starts = [phone.start - late for phone in on_grid.phones]
        assert [phone.start for phone in found.phones] == pytest.approx(starts)
        assert [found.words[1].start, found.words[0].end] == pytest.approx([starts[3], on_grid.words[0].end])
        assert found.phones[0].end == found.phones[1].start
        best = found.alternatives[0]
        assert [phone.start for phone in best.phones] == pytest.approx(starts)


def test_no_edge_passes_the_middle_of_a_phone(tone_model, tone_lexicon):
    wave, _ = spoken(("IY", 0.12), ("S", 0.2), ("AA", 0.15))
    on_grid = Aligner(tone_model, tone_lexicon, durations=None)(wave, RATE, "eesah").phones
    model = dataclasses.replace(tone_model, edges=constant(9.0))
    found = Aligner(model, tone_lexicon)(wave, RATE, "eesah").phones
    middles = [(phone.start + phone.end) / 2 for phone in on_grid]
    assert [phone.start for phone in found[1:]] == pytest.approx(middles[:-1])


def test_what_ships_is_for_the_model_that_ships(repository):
    pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
    english = Aligner()
    assert english.model.edges is EdgeCorrection.load()
    plain = Aligner(dataclasses.replace(english.model, edges=None), english.lexicon)
    wave, rate = read_audio(repository / "examples" / "data" / "austen-0880.wav")
    text = "he was not an ill disposed young man"
    moved = [
        b.start - a.start for a, b in zip(plain(wave, rate, text).phones, english(wave, rate, text).phones, strict=True)
    ]
    assert 0.001 < max(map(abs, moved)) < 0.03
    assert abs(sum(moved)) / len(moved) < 0.006  # no convention was learnt


def test_a_recording_that_is_one_phone_has_no_edge(tone_model, tone_lexicon):
    model = dataclasses.replace(tone_model, edges=constant(0.004))
    wave, _ = spoken(("AA", 0.04))
    (phone,) = Aligner(model, tone_lexicon)(wave, RATE, "ah").phones
    assert phone.start == 0.0
    with pytest.raises(DataError, match="holds no words"):
        Aligner(model, tone_lexicon)(wave, RATE, "")
