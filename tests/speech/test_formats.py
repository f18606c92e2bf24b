"""Alignments in the formats of other tools, read back by readers that we did not write, or by ours."""

import csv
from pathlib import Path
from xml.etree import ElementTree

import pysubs2
import pytest

from semihmm.errors import DataError
from semihmm.speech import Alignment, Interval, read_labels, write_labels
from semihmm.speech.corpora.segments import read_segments
from semihmm.speech.files.formats import WRITERS
from semihmm.speech.text.transcript import timed, tokens_of

TEXT = "He was 19. And she -- <b>bold</b> & quick -- left."


def made(text=TEXT, speakers=(None,)):
    """Each word lasts 0.3 s; there is a pause of 1 s after the number."""
    tokens, words, phones, place = [], [], [], 0.25
    for speaker in speakers:
        spoken = []
        for word in [word for token in tokens_of(text) for word in token.spoken]:
            place += 1.0 if word == "and" and spoken and spoken[-1].label != "bold" else 0.0
            spoken.append(Interval(place, place + 0.3, word, 0.5, speaker=speaker))
            phones += [
                Interval(place, place + 0.1, "HH", speaker=speaker),
                Interval(place + 0.1, place + 0.3, "AH", speaker=speaker),
            ]
            place += 0.3
        tokens += [type(token)(**vars(token) | {"speaker": speaker}) for token in timed(tokens_of(text), spoken)]
        words += spoken
    return Alignment(text, place + 0.5, tuple(words), tuple(phones), 9, 0.0, tokens=tuple(tokens))


@pytest.fixture
def alignment():
    return made()


def test_ctm_has_a_line_for_each_word(tmp_path, alignment):
    write_labels(alignment, tmp_path / "my file.ctm")
    lines = [line.split() for line in (tmp_path / "my file.ctm").read_text().splitlines()]
    assert [line[4] for line in lines] == [word.label for word in alignment.words]
    assert lines[0] == ["my_file", "1", "0.250", "0.300", "he", "0.500"]


def test_ctm_names_speakers(tmp_path):
    write_labels(made(speakers=("Ann B", "Bob")), tmp_path / "a.ctm")
    lines = [line.split() for line in (tmp_path / "a.ctm").read_text().splitlines()]
    assert {line[1] for line in lines} == {"Ann_B", "Bob"}


@pytest.mark.parametrize("form", ["srt", "vtt", "ass"])
def test_subtitles_hold_the_written_text_and_break_at_pauses(tmp_path, alignment, form):
    write_labels(alignment, tmp_path / f"a.{form}")
    cues = list(pysubs2.load(str(tmp_path / f"a.{form}"), encoding="utf-8"))
    assert len(cues) == 2
    assert cues[0].plaintext == "He was 19."
    assert (cues[0].start, cues[0].end) == pytest.approx((250, 1150), abs=10)  # ASS has centiseconds
    assert cues[1].start == pytest.approx(2150, abs=10)
    assert "left." in cues[1].plaintext


def test_karaoke_adds_up_to_the_subtitle(tmp_path, alignment):
    write_labels(alignment, tmp_path / "a.ass")
    for cue in pysubs2.load(str(tmp_path / "a.ass"), encoding="utf-8"):
        beats = [int(part.split("}")[0]) for part in cue.text.split("{\\k")[1:]]
        assert 10 * sum(beats) == pytest.approx(cue.duration, abs=10 * len(beats))


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_subtitles_are_read_back_as_utterances(tmp_path, form):
    write_labels(made("He was 19. And she left."), tmp_path / f"a.{form}")
    found = read_segments(tmp_path / f"a.{form}")
    assert [item.label for item in found] == ["He was 19.", "And she left."]
    assert [item.start for item in found] == pytest.approx([0.25, 2.15])


def test_a_long_text_is_cut_into_subtitles_that_fit(tmp_path):
    write_labels(made(" ".join(["word"] * 100)), tmp_path / "a.srt")
    cues = list(pysubs2.load(str(tmp_path / "a.srt")))
    assert len(cues) > 5
    assert all(len(cue.plaintext) <= 84 for cue in cues)
    assert " ".join(cue.plaintext for cue in cues) == " ".join(["word"] * 100)


def test_csv_has_words_and_phones(tmp_path, alignment):
    write_labels(alignment, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["Label"] for row in rows if row["Type"] == "words"] == [word.label for word in alignment.words]
    assert [float(row["Begin"]) for row in rows if row["Type"] == "phones"] == pytest.approx(
        [phone.start for phone in alignment.phones], abs=1e-4
    )
    assert {row["Confidence"] for row in rows} == {"0.5000", ""}


def test_lab_is_read_back_and_covers_the_recording(tmp_path, alignment):
    write_labels(alignment, tmp_path / "a.lab")
    phones = read_labels(tmp_path / "a.lab").phones
    assert [(item.label, pytest.approx(item.start), pytest.approx(item.end)) for item in phones] == [
        (item.label, item.start, item.end) for item in alignment.phones
    ]
    lines = [line.split() for line in (tmp_path / "a.lab").read_text().splitlines()]
    assert [line[0] for line in lines] == ["0", *(line[1] for line in lines[:-1])]
    assert int(lines[-1][1]) == round(alignment.duration * 1e7)


@pytest.mark.parametrize("speakers", [(None,), ("Ann", "Bob")], ids=["one", "two"])
def test_elan_has_every_tier(tmp_path, speakers):
    alignment = made(speakers=speakers)
    write_labels(alignment, tmp_path / "a.eaf")
    root = ElementTree.parse(tmp_path / "a.eaf").getroot()
    times = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE")) / 1000 for slot in root.iter("TIME_SLOT")}
    tiers = {
        tier.get("TIER_ID"): [
            (times[item.get("TIME_SLOT_REF1")], times[item.get("TIME_SLOT_REF2")], item.findtext("ANNOTATION_VALUE"))
            for item in tier.iter("ALIGNABLE_ANNOTATION")
        ]
        for tier in root.iter("TIER")
    }
    assert tiers == {
        name: [(round(item.start, 3), round(item.end, 3), item.label) for item in items]
        for name, items in alignment.tiers().items()
    }


def test_textgrid_is_read_back(tmp_path, alignment):
    write_labels(alignment, tmp_path / "a.TextGrid")
    assert [word.label for word in read_labels(tmp_path / "a.TextGrid").words] == [w.label for w in alignment.words]


@pytest.mark.parametrize("suffix", WRITERS)
def test_nothing_said_is_written_too(tmp_path, suffix):
    write_labels(Alignment("", 1.0, (), (), 9, 0.0), tmp_path / f"a{suffix}")
    assert (tmp_path / f"a{suffix}").exists()
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_an_unknown_ending_is_refused(tmp_path, alignment):
    with pytest.raises(DataError, match=r"should end in one of \.textgrid, \.ctm"):
        write_labels(alignment, tmp_path / "a.docx")
    assert not list(Path(tmp_path).iterdir())
