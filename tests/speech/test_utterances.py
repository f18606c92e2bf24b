"""Utterances of one recording, each aligned in its own stretch."""

import itertools
import math
from dataclasses import replace
from statistics import fmean

import pytest
import torch

from semihmm.errors import DataError, DependencyError
from semihmm.speech import Aligner, Interval, Lexicon, read_labels
from semihmm.speech.corpora.utterances import align_utterances
from semihmm.speech.files.textgrid import read_tiers

from .conftest import RATE, spoken


@pytest.fixture
def aligner(tone_model, tone_lexicon):
    return Aligner(tone_model, tone_lexicon)


@pytest.fixture(scope="module")
def wave():
    return spoken(("IY", 0.2), ("S", 0.1), ("AA", 0.2), ("SIL", 0.1), ("S", 0.2), ("IY", 0.2), ("AA", 0.2))[0]


TWO = [Interval(0, 0.5, "eesah", speaker="Ann"), Interval(0.6, 1.2, "see ah", speaker="Bob")]


def test_an_utterance_without_end_is_the_whole_recording(aligner, wave):
    whole = align_utterances(aligner, wave, RATE, [Interval(0, math.inf, "eesah see")], nbest=2)
    assert whole == aligner(wave, RATE, "eesah see", nbest=2)


def test_each_utterance_is_aligned_as_if_its_stretch_were_a_recording(aligner, wave):
    together = align_utterances(aligner, wave, RATE, TWO)
    parts = [aligner(wave[round(s.start * RATE) : round(s.end * RATE)], RATE, s.label) for s in TWO]
    assert together.text == "eesah see ah"
    assert together.duration == len(wave) / RATE
    assert together.frames == sum(part.frames for part in parts)
    assert together.free_log_likelihood == pytest.approx(sum(part.free_log_likelihood for part in parts))
    matches = [word.match for part in parts for word in part.words]
    assert [word.match for word in together.words] == matches
    assert together.match == pytest.approx(sum(matches) / len(matches))
    assert [item.label for item in together.suspicious] == [item.label for part in parts for item in part.suspicious]
    assert together.log_likelihood == sum(part.log_likelihood for part in parts)
    for name in ("words", "phones"):
        alone = [(item, said) for part, said in zip(parts, TWO, strict=True) for item in getattr(part, name)]
        for item, (own, said) in zip(getattr(together, name), alone, strict=True):
            assert (item.label, item.confidence, item.speaker) == (own.label, own.confidence, said.speaker)
            assert (item.start, item.end) == pytest.approx((own.start + said.start, own.end + said.start))
    assert together.words[-1].end <= together.duration


def test_the_best_paths_are_those_of_all_utterances_together(aligner, wave):
    together = align_utterances(aligner, wave, RATE, TWO, nbest=4)
    parts = [align_utterances(aligner, wave, RATE, [said], nbest=4).alternatives for said in TWO]
    scores = sorted((a.log_prob + b.log_prob for a, b in itertools.product(*parts)), reverse=True)[:4]
    assert [item.log_prob for item in together.alternatives] == scores
    best = together.alternatives[0]
    assert [word.label for word in best.words] == ["eesah", "see", "ah"]
    assert [(w.start, w.end) for w in best.words] == [(w.start, w.end) for w in together.words]
    assert align_utterances(aligner, wave, RATE, TWO).alternatives == ()


def test_an_utterance_that_ends_after_the_recording_is_cut_off_there(aligner, wave):
    late = Interval(0.6, 1.5, "see ah")
    assert align_utterances(aligner, wave, RATE, [late]).words[-1].end == len(wave) / RATE


def test_what_cannot_be_aligned_is_listed_and_the_rest_aligned(aligner, wave):
    said = [TWO[0], Interval(0.5, 0.501, "ah"), Interval(0.6, 0.7, "see " * 20, speaker="Bob"), Interval(7, 8, "ah")]
    result = align_utterances(aligner, wave, RATE, said)
    assert [word.label for word in result.words] == ["eesah"]
    assert list(result.unaligned) == ["0.500–0.501 s", "Bob 0.600–0.700 s", "7.000–8.000 s"]
    reasons = list(result.unaligned.values())
    assert "one window needs" in reasons[0]
    assert "longer than the audio can hold" in reasons[1]
    assert "after the recording, which ends at 1.200 s" in reasons[2]


def test_where_nothing_can_be_aligned_the_first_reason_is_given(aligner, wave):
    with pytest.raises(
        DataError, match=r"none of its 2 utterances can be aligned\. 7\.000–8\.000 s: most of it is after"
    ):
        align_utterances(aligner, wave, RATE, [Interval(7, 8, "ah"), Interval(8, 9, "ah")])


def test_a_missing_package_is_no_utterance_s_fault(tone_model, wave):
    def guess(word):
        raise DependencyError("pip install it")

    with pytest.raises(DependencyError):
        align_utterances(Aligner(tone_model, Lexicon({}, guess)), wave, RATE, TWO)


def test_several_speakers_have_tiers_of_their_own_and_speak_at_once(aligner, wave, tmp_path):
    said = [Interval(0, 0.5, "eesah", speaker="Ann"), Interval(0, 0.6, "eesah", speaker="Bob"), *TWO[1:]]
    result = align_utterances(aligner, torch.cat([wave, wave]), RATE, said)
    result.save(tmp_path / "a.TextGrid", tmp_path / "a.json")
    tiers = dict(read_tiers(tmp_path / "a.TextGrid"))
    assert [name for name in tiers if name.endswith("words")] == ["Ann - words", "Bob - words"]
    assert [name for name in tiers if name.endswith("phones")] == ["Ann - phones", "Bob - phones"]
    words = read_labels(tmp_path / "a.TextGrid").words
    assert sorted((w.label, w.speaker) for w in words) == [
        ("ah", "Bob"), ("eesah", "Ann"), ("eesah", "Bob"), ("see", "Bob"),
    ]  # fmt: skip
    assert [w.start for w in words] == sorted(w.start for w in words)


def test_pauses_are_moved_and_keep_their_speakers(aligner, wave):
    alone = aligner(wave[: round(0.6 * RATE)], RATE, "eesah")
    both = torch.cat([wave[: round(0.6 * RATE)]] * 2)
    said = [Interval(0, 0.6, "eesah", speaker="Ann"), Interval(0.6, 1.2, "eesah", speaker="Bob")]
    found = align_utterances(aligner, both, RATE, said).pauses
    expected = [(who, item.start + at) for who, at in (("Ann", 0.0), ("Bob", 0.6)) for item in alone.pauses]
    assert alone.pauses
    assert [item.speaker for item in found] == [who for who, _ in expected]
    assert [item.start for item in found] == pytest.approx([start for _, start in expected])


def test_matches_of_utterances_are_put_together_and_their_stretches_moved(aligner, wave):
    said = [replace(TWO[0], label="see see"), TWO[1]]
    together = align_utterances(aligner, wave, RATE, said)
    first, second = (aligner(wave[round(s.start * RATE) : round(s.end * RATE)], RATE, s.label) for s in said)
    assert together.match == pytest.approx(fmean(word.match for word in (*first.words, *second.words)))
    assert together.free_log_likelihood == pytest.approx(first.free_log_likelihood + second.free_log_likelihood)
    moved = [(item.start, item.label) for item in first.suspicious]
    moved += [(item.start + 0.6, item.label) for item in second.suspicious]
    assert [(item.start, item.label) for item in together.suspicious] == sorted(moved, key=lambda item: item[0])
    assert together.suspicious
