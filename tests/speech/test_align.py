"""Alignment, on tones whose times are known and on real speech."""

import copy
import dataclasses
import itertools
import math
import statistics

import pytest
import torch

from semihmm.audio import read_audio, resample
from semihmm.errors import DataError
from semihmm.speech import Aligner, BoundaryErrors, Tiers, compare, evaluate, read_labels

from .conftest import RATE, spoken


@pytest.fixture(scope="session")
def aligner(tone_model, tone_lexicon):
    return Aligner(tone_model, tone_lexicon)


SAID = [("SIL", 0.15), ("IY", 0.12), ("S", 0.2), ("AA", 0.15), ("SIL", 0.1), ("S", 0.1), ("IY", 0.2), ("SIL", 0.1)]


def test_tones_are_found_where_they_were_played(aligner):
    wave, starts = spoken(*SAID)
    found = aligner(wave, RATE, "Eesah, see!")
    assert [phone.label for phone in found.phones] == ["IY", "S", "AA", "S", "IY"]
    assert [word.label for word in found.words] == ["eesah", "see"]
    expected = [starts[i] for i in (1, 2, 3, 5, 6)]
    assert [phone.start for phone in found.phones] == pytest.approx(expected, abs=0.021)
    assert found.words[0].end == pytest.approx(starts[4], abs=0.021)
    assert found.words[1].end == pytest.approx(starts[7], abs=0.021)


def test_the_pronunciation_that_was_said_is_chosen(aligner):
    wave, _ = spoken(("SIL", 0.1), ("IY", 0.2), ("AA", 0.2), ("SIL", 0.1))
    assert [phone.label for phone in aligner(wave, RATE, "eesah").phones] == ["IY", "AA"]


def test_boundaries_have_no_bias(aligner):
    """The claim of `FrontEnd.boundary`: played backwards, every border is off by as much in the other direction.

    (A loud tone is heard a little beyond its end, on both sides.) So over both directions and all positions within a
    frame, errors cancel; with Sphinx's own convention, the window's first sample, the mean would be 7.8 ms early.
    """
    errors = []
    for first, second, word in (("AA", "IY", "ahee"), ("IY", "AA", "eesah")):
        for step in range(10):
            wave, starts = spoken((first, 0.2 + step / 1000), (second, 0.2))
            errors.append(aligner(wave, RATE, word).phones[1].start - starts[1])
    assert abs(statistics.fmean(errors)) < 0.002
    assert max(map(abs, errors)) < 0.021


def test_confidence_is_high_for_what_was_said_and_low_where_it_could_be_elsewhere(aligner):
    wave, _ = spoken(*SAID)
    sure = aligner(wave, RATE, "eesah see")
    assert all(item.confidence > 0.9 for item in (*sure.words, *sure.phones))
    wave, _ = spoken(("AA", 0.6))
    unsure = aligner(wave, RATE, "ah ah")  # the border may be anywhere
    assert min(item.confidence for item in unsure.words) < 0.6


def test_intervals_tile_their_words_and_stay_inside_the_recording(aligner):
    wave, _ = spoken(*SAID)
    found = aligner(wave, RATE, "eesah see")
    for word in found.words:
        inside = [phone for phone in found.phones if word.start <= phone.start < word.end]
        assert inside[0].start == word.start
        assert inside[-1].end == word.end
        assert all(a.end == b.start for a, b in itertools.pairwise(inside))
    assert found.words[-1].end <= found.duration == len(wave) / RATE


def test_words_and_pauses_tile_the_recording(aligner):
    wave, starts = spoken(("SIL", 0.3), ("AA", 0.2), ("IY", 0.2), ("SIL", 0.3), ("S", 0.2), ("IY", 0.2), *OTHER)
    found = aligner(wave, RATE, "ahee see")
    tiled = sorted((*found.words, *found.pauses), key=lambda item: item.start)
    assert tiled[0].start == 0
    assert tiled[-1].end == found.duration
    assert all(a.end == b.start for a, b in itertools.pairwise(tiled))
    assert [item.label for item in tiled] == ["", "ahee", "", "see", "*"]
    assert tiled[2].start == pytest.approx(starts[3], abs=0.021)
    assert all(0.9 < item.confidence <= 1 for item in found.pauses)


def test_the_entropy_of_a_phone_is_that_of_its_frames(aligner):
    wave, _ = spoken(("AA", 0.6))
    evidence = aligner.explain(wave, RATE, "ah ah")  # the border may be anywhere
    unsure = torch.special.entr(evidence.posterior).sum(1)
    nodes, counts = evidence.nodes.unique_consecutive(return_counts=True)
    means = [float(part.mean()) for part in unsure.split(counts.tolist())]
    spoken_in = [evidence.graph.nodes[node].word >= 0 for node in nodes.tolist()]
    expected = [mean for mean, said in zip(means, spoken_in, strict=True) if said]
    assert [phone.entropy for phone in evidence.alignment.phones] == pytest.approx(expected, rel=1e-6)
    assert max(phone.entropy for phone in evidence.alignment.phones) > 0.1
    assert max(phone.entropy for phone in aligner(*[spoken(*SAID)[0], RATE], "eesah see").phones) < 0.1


def test_posteriors_are_probabilities_of_the_phones(aligner):
    wave, _ = spoken(*SAID)
    evidence = aligner.explain(wave, RATE, "eesah see")
    assert evidence.posterior.shape == (evidence.alignment.frames, len(evidence.graph.nodes))
    torch.testing.assert_close(evidence.posterior.sum(1), torch.ones(evidence.alignment.frames))
    assert len(evidence.boundaries) == evidence.alignment.frames + 1
    assert (evidence.boundaries.diff() >= 0).all()


def test_alternatives_are_readings_the_likeliest_first(aligner):
    wave, _ = spoken(*SAID)
    found = aligner(wave, RATE, "eesah see", nbest=4)
    said = [[item.label for item in reading.phones] for reading in found.alternatives]
    assert said == [["IY", "S", "AA", "S", "IY"], ["IY", "AA", "S", "IY"]]
    times = [(item.start, item.end, item.label) for item in found.phones]
    assert [(item.start, item.end, item.label) for item in found.alternatives[0].phones] == times
    assert sum(math.exp(item.log_prob) for item in found.alternatives) == pytest.approx(1, abs=1e-3)
    assert found.alternatives[0].log_prob > found.alternatives[1].log_prob
    assert aligner(wave, RATE, "eesah see").alternatives == ()


def test_there_are_no_more_alternatives_than_readings(aligner):
    wave, _ = spoken(("AA", 0.5))
    (only,) = aligner(wave, RATE, "ah", nbest=5).alternatives
    assert only.log_prob == pytest.approx(0, abs=1e-3)


OTHER = [("S", 0.2), ("AA", 0.2), ("S", 0.3), ("AA", 0.2), ("S", 0.2), ("AA", 0.3), ("S", 0.2)]


@pytest.mark.parametrize("side", ["before", "after"])
def test_speech_before_and_after_the_words_does_not_stretch_them(aligner, side):
    own = [("SIL", 0.2), ("AA", 0.2), ("IY", 0.2), ("SIL", 0.2)]
    wave, starts = spoken(*(OTHER + own if side == "before" else own + OTHER))
    first = len(OTHER) if side == "before" else 0
    found = aligner(wave, RATE, "ahee")
    assert found.words[0].start == pytest.approx(starts[first + 1], abs=0.021)
    assert found.words[0].end == pytest.approx(starts[first + 3], abs=0.021)
    (odd,) = found.suspicious
    assert odd.label == "speech that the transcript does not hold"
    assert odd.end - odd.start == pytest.approx(1.8, abs=0.05)  # with the pause beside the word


@pytest.mark.parametrize("way", ["extra_speech", "wildcard"])
def test_speech_between_the_words_stretches_none_where_it_is_expected(aligner, way):
    wave, starts = spoken(("AA", 0.2), ("IY", 0.2), ("SIL", 0.1), *OTHER, ("SIL", 0.1), ("IY", 0.2), ("AA", 0.2))
    if way == "extra_speech":
        found = dataclasses.replace(aligner, extra_speech=True)(wave, RATE, "ahee eesah")
        assert [word.label for word in found.words] == ["ahee", "eesah"]
        assert [item.label for item in found.suspicious] == ["speech that the transcript does not hold"]
    else:
        found = aligner(wave, RATE, "ahee * eesah")
        assert [word.label for word in found.words] == ["ahee", "*", "eesah"]
        assert found.words[1].match is None
        assert found.words[1].start == pytest.approx(starts[3], abs=0.05)
        assert found.suspicious == ()
        assert found.match > 0.5
    assert found.words[0].end == pytest.approx(starts[2], abs=0.021)
    assert found.words[-1].start == pytest.approx(starts[-2], abs=0.021)


def test_another_sample_rate_gives_the_same_times(aligner):
    wave, _ = spoken(*SAID)
    here = aligner(wave, RATE, "eesah see")
    there = aligner(resample(wave, source=RATE, target=22050), 22050, "eesah see")
    assert [p.start for p in there.phones] == pytest.approx([p.start for p in here.phones], abs=0.0101)


def test_guessed_words_are_reported(aligner):
    wave, _ = spoken(("AA", 0.5))
    assert aligner(wave, RATE, "ah hm").unknown == {"hm": "AA AA"}


@pytest.mark.parametrize(
    ("seconds", "text", "reason"),
    [
        (0.5, "", "holds no words"),
        (0.5, "[noise]", "holds no words"),
        (0.1, "ah " * 20, "longer than the audio can hold"),
        (0.02, "ah", "one window needs 410"),
    ],
)
def test_what_cannot_be_aligned_is_refused(aligner, seconds, text, reason):
    wave, _ = spoken(("AA", seconds))
    with pytest.raises(DataError, match=reason):
        aligner(wave, RATE, text)


def test_a_recording_that_no_path_fits_is_refused(tone_model, tone_lexicon):
    """A model that holds a phone to be impossible."""
    deaf = dataclasses.replace(tone_model, streams=copy.deepcopy(tone_model.streams))
    deaf.streams[0].log_variance[deaf.phones.index("AA")] = math.inf
    with pytest.raises(DataError, match="no path through the transcript"):
        Aligner(deaf, tone_lexicon)(spoken(("AA", 0.5))[0], RATE, "ah")


@pytest.mark.parametrize("level", [0.0, 0.25])
def test_a_recording_without_any_sound_is_refused(aligner, level):
    with pytest.raises(DataError, match="digitally silent"):
        aligner(torch.full((8000,), level), RATE, "ah")


def test_a_negative_number_of_alternatives_is_refused(aligner):
    with pytest.raises(DataError, match="nbest"):
        aligner(torch.zeros(8000), RATE, "ah", nbest=-1)


@pytest.fixture(scope="session")
def english():
    pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
    return Aligner()


def test_real_speech_is_aligned_as_its_voice_builder_did(english, repository, tmp_path):
    """CMU ARCTIC's own labels are an aligner's too, on 5 ms frames: they must agree, not be equal."""
    wave, rate = read_audio(repository / "examples" / "data" / "arctic_a0009.wav")
    found = english(wave, rate, "He turned sharply, and faced Gregson across the table.")
    found.save(tmp_path / "a.TextGrid", tmp_path / "a.json")
    result = evaluate(repository / "examples" / "data" / "arctic_a0009.lab", tmp_path / "a.TextGrid")
    assert result.phones.n == 38
    assert result.phones.missing == result.phones.extra == 0
    assert result.phones.median < 0.020
    assert result.phones.within(0.050) == 1.0


def test_hand_labels_are_met(english, shared_data):
    """The figure that this aligner promises, on five sentences labelled by hand."""
    total = BoundaryErrors()
    folder = shared_data / "ae-english"
    for path in sorted(folder.glob("*.TextGrid")):
        wave, rate = read_audio(path.with_suffix(".wav"))
        found = english(wave, rate, path.with_suffix(".txt").read_text())
        total += compare(read_labels(path), Tiers(found.words, found.phones)).phones
    assert total.n == 163
    assert total.missing == 0
    assert total.median <= 0.006
    assert total.within(0.020) >= 0.90
    assert total.within(0.050) >= 0.99
