"""Annotations and written forms, through an alignment and its files."""

import json
from dataclasses import replace

import pytest

from semihmm.speech import Aligner, Alignment, Lexicon, read_textgrid

from .conftest import RATE, WORDS, spoken


@pytest.fixture(scope="module")
def noisy_model(tone_model):
    """The tones, with one of them heard as a noise."""
    return replace(tone_model, phones=("SIL", "AA", "IY", "+NSN+"))


@pytest.fixture(scope="module")
def aligner(noisy_model):
    entries = {word: variants for word, variants in WORDS.items() if word in {"ah", "ahee"}}
    return Aligner(noisy_model, Lexicon(entries | {"two": (("IY",),)}, lambda word: ("AA",) * len(word)))


def test_a_filler_that_is_heard_has_a_time_and_one_that_is_not_has_none(aligner):
    wave, starts = spoken(("AA", 0.3), ("S", 0.25), ("AA", 0.3), ("IY", 0.3), ("SIL", 0.2))
    found = aligner(wave, RATE, "ah [laughs] ahee {sl} <noise>")
    assert [word.label for word in found.words[:3]] == ["ah", "[laughs]", "ahee"]
    assert found.words[1].start == pytest.approx(starts[1], abs=0.03)
    assert found.words[1].end == pytest.approx(starts[2], abs=0.03)
    assert [phone.label for phone in found.phones[:2]] == ["AA", "+NSN+"]
    plain = aligner(wave[: round((0.3 + 0.25) * RATE)], RATE, "ah")
    assert [word.label for word in plain.words] == ["ah"]
    quiet, _ = spoken(("AA", 0.3), ("IY", 0.3))
    passed_over = aligner(quiet, RATE, "ah [laughs] two")
    assert [word.label for word in passed_over.words] == ["ah", "two"]
    assert [(token.written, token.start is None) for token in passed_over.tokens] == [
        ("ah", False),
        ("[laughs]", True),
        ("two", False),
    ]


def test_a_dictionary_may_say_what_a_filler_is(noisy_model):
    lexicon = Lexicon({"ah": (("AA",),), "[laughs]": (("IY",),)})
    found = lexicon.pronounce_text("ah [laughs] <noise>", noisy_model)
    assert [item.variants for item in found] == [(("AA",),), (("IY",),), (("SIL",), ("+NSN+",), ())]
    assert all(item.known for item in found)


def test_what_was_written_is_in_both_files_with_its_time(aligner, tmp_path):
    wave, _ = spoken(("SIL", 0.2), ("AA", 0.3), ("IY", 0.3), ("SIL", 0.2))
    found = aligner(wave, RATE, "“Ah,” -- 2!")
    ah, two = found.words
    assert [(token.written, token.spoken, token.start, token.end) for token in found.tokens] == [
        ("“Ah,”", ("ah",), ah.start, ah.end),
        ("--", (), None, None),
        ("2!", ("two",), two.start, two.end),
    ]
    found.save(tmp_path / "a.TextGrid", tmp_path / "a.json")
    assert Alignment.load(tmp_path / "a.json") == found
    written = read_textgrid(tmp_path / "a.TextGrid", word_tier="written").words
    assert [item.label for item in written] == ["“Ah,”", "2!"]
    assert [item.label for item in read_textgrid(tmp_path / "a.TextGrid").words] == ["ah", "two"]
    content = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert content["tokens"][2]["written"] == "2!"
    assert content["tokens"][2]["spoken"] == ["two"]


def test_records_of_before_tokens_were_kept_are_still_read(aligner, tmp_path):
    wave, _ = spoken(("AA", 0.3))
    aligner(wave, RATE, "ah").save(tmp_path / "a.TextGrid", tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    del content["tokens"]
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert Alignment.load(tmp_path / "a.json").tokens == ()


def test_readings_that_differ_in_a_filler_that_is_passed_over_are_one(noisy_model):
    model = replace(noisy_model, phones=("SIL", "AA", "+UH+", "+NSN+"))
    aligner = Aligner(model, Lexicon({"ah": (("AA",),)}))
    quiet, _ = spoken(("AA", 0.3), ("SIL", 0.3))
    found = aligner(quiet, RATE, "ah [laughs] [laughs]", nbest=6)
    assert [[phone.label for phone in reading.phones] for reading in found.alternatives] == [["AA"]]
