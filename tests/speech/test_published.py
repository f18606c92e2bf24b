"""Corpora in the layouts that they are published in, in miniature."""

import unicodedata

import pytest

from semihmm.errors import DataError
from semihmm.speech import find_recordings, librispeech_speaker, read_librispeech_table

soundfile = pytest.importorskip("soundfile", reason="the speech extra is not installed")

SPEAKERS = """\
; Some pipe(|) separated metadata about all LibriVox speakers
;
;ID  |SEX| SUBSET           |MINUTES| NAME
14   | F | train-clean-360  | 25.03 | Kristin LeMoine
60   | M | train-clean-100  | 20.18 | | CBW | Simon
84   | F | dev-clean        |  8.02 | Christie Nowak
"""
CHAPTERS = """\
; Some pipe(|) separated metadata about all the audio chapters in the corpus
;ID    |READER|MINUTES| SUBSET           | PROJ.|BOOK ID| CH. TITLE | PROJECT TITLE
121123 | 84   | 8.02  | dev-clean        | 1044 | 1184  | Ch. 1     | Count of Monte Cristo
"""


def sound(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, [0.0] * 160, 16000)


@pytest.fixture
def librispeech(tmp_path):
    root = tmp_path / "LibriSpeech"
    for subset, speaker, chapter in (("dev-clean", 84, 121123), ("train-clean-100", 60, 121082)):
        folder = root / subset / str(speaker) / str(chapter)
        for number in range(2):
            sound(folder / f"{speaker}-{chapter}-{number:04}.flac")
        lines = (f"{speaker}-{chapter}-{number:04} GO {'DO YOU HEAR ' * number}\n" for number in range(2))
        (folder / f"{speaker}-{chapter}.trans.txt").write_text("".join(lines))
    (root / "SPEAKERS.TXT").write_text(SPEAKERS)
    (root / "CHAPTERS.TXT").write_text(CHAPTERS)
    (root / "README.TXT").write_text("LibriSpeech")
    return root


def test_librispeech_is_read_as_it_is_unpacked(librispeech):
    corpus = find_recordings(librispeech)
    assert [(recording.name, recording.transcript()) for recording in corpus] == [
        ("dev-clean/84/121123/84-121123-0000", "GO"),
        ("dev-clean/84/121123/84-121123-0001", "GO DO YOU HEAR"),
        ("train-clean-100/60/121082/60-121082-0000", "GO"),
        ("train-clean-100/60/121082/60-121082-0001", "GO DO YOU HEAR"),
    ]
    assert not corpus.passed_over


def test_its_speakers_and_chapters_are_known(librispeech):
    speakers = read_librispeech_table(librispeech / "SPEAKERS.TXT")
    assert speakers["84"] == {
        "ID": "84", "SEX": "F", "SUBSET": "dev-clean", "MINUTES": "8.02", "NAME": "Christie Nowak",
    }  # fmt: skip
    assert speakers["60"]["NAME"] == "| CBW | Simon"
    assert read_librispeech_table(librispeech / "CHAPTERS.TXT")["121123"]["READER"] == "84"
    names = [recording.name for recording in find_recordings(librispeech)]
    assert [speakers[librispeech_speaker(name)]["SEX"] for name in names] == ["F", "F", "M", "M"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("14 | F\n", "names the columns"), (";ID|SEX|NAME\n14 | F\n", "line 2 has 2 columns; there are ID, SEX, NAME")],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, reason):
    (tmp_path / "SPEAKERS.TXT").write_text(text)
    with pytest.raises(DataError, match=reason):
        read_librispeech_table(tmp_path / "SPEAKERS.TXT")


@pytest.mark.parametrize("folder", ["", "kss"])
def test_kss_is_read_as_it_is_unpacked(tmp_path, folder):
    rows = []
    for number, (written, said) in enumerate([("그는 3시에", "그는 세시에"), ("네.", "네.")]):
        sound(tmp_path / folder / "1" / f"1_{number:04}.wav")
        rows.append(f"1/1_{number:04}.wav|{written}|{said}|{unicodedata.normalize('NFD', said)}|3.5|English.\n")
    (tmp_path / "transcript.v.1.4.txt").write_text("".join(rows), encoding="utf-8")
    corpus = find_recordings(tmp_path)
    assert [recording.transcript() for recording in corpus] == ["그는 세시에", "네."]
    assert [recording.audio.name for recording in corpus] == ["1_0000.wav", "1_0001.wav"]


def test_a_line_of_kss_that_is_cut_off_is_named(tmp_path):
    sound(tmp_path / "1" / "1_0000.wav")
    (tmp_path / "transcript.v.1.4.txt").write_text("1/1_0000.wav|네.|네.\n", encoding="utf-8")
    (recording,) = find_recordings(tmp_path)
    with pytest.raises(DataError, match=r"transcript.v.1.4.txt line 1: it has 3 columns, and KSS's list at least 5"):
        recording.transcript()
