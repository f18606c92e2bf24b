"""Finding recordings and their transcripts."""

import errno
import math
import os

import pytest

from semihmm.errors import DataError
from semihmm.speech import Interval, find_recordings, save_textgrid


@pytest.fixture
def corpus(tmp_path):
    def corpus(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return corpus


def transcripts(folder):
    return {item.name: item.transcript() for item in find_recordings(folder)}


def test_transcripts_lie_beside_their_recordings(corpus):
    folder = corpus(
        {"a.wav": "", "a.txt": " text a \n", "deep/b.flac": "", "deep/b.lab": "lab b", "C.WAV": "", "C.txt": "c"}
    )
    assert transcripts(folder) == {"C": "c", "a": "text a", "deep/b": "lab b"}


def test_a_textgrid_is_a_transcript(corpus):
    folder = corpus({"a.wav": "", "b.wav": ""})
    words = [Interval(0, 1, "hello"), Interval(1, 2, ""), Interval(2, 3, "world")]
    save_textgrid(folder / "a.TextGrid", {"phones": [Interval(0, 1, "HH")], "words": words}, duration=3)
    save_textgrid(folder / "b.TextGrid", {"speaker": [Interval(0, 3, "a whole phrase")]}, duration=3)
    assert transcripts(folder) == {"a": "hello world", "b": "a whole phrase"}


def test_text_goes_before_lab_before_textgrid_before_lists(corpus):
    sounds = {"a.wav": "", "b.wav": "", "c.wav": ""}
    folder = corpus({**sounds, "a.txt": "text", "a.lab": "lab", "b.lab": "lab", "metadata.csv": "a|l\nb|l\nc|l\n"})
    assert transcripts(folder) == {"a": "text", "b": "lab", "c": "l"}


@pytest.mark.parametrize("place", ["wavs/", ""])
def test_a_metadata_table_in_the_manner_of_ljspeech(corpus, place):
    table = 'LJ1|He said "$3".|He said three dollars.\nLJ2|Only this\n\n'
    folder = corpus({"metadata.csv": table, f"{place}LJ1.wav": "", f"{place}LJ2.flac": ""})
    assert transcripts(folder) == {f"{place}LJ1": "He said three dollars.", f"{place}LJ2": "Only this"}


def test_trans_files_in_the_manner_of_librispeech(corpus):
    lines = "61-70968-0000 HE BEGAN A CONFUSED COMPLAINT\n61-70968-0001 GIVE NOT\n"
    chapter = "61/70968/61-70968"
    folder = corpus({f"{chapter}.trans.txt": lines, f"{chapter}-0000.flac": "", f"{chapter}-0001.flac": ""})
    assert transcripts(folder) == {
        f"{chapter}-0000": "HE BEGAN A CONFUSED COMPLAINT",
        f"{chapter}-0001": "GIVE NOT",
    }


def test_a_listed_recording_that_is_missing_is_found_missing(corpus):
    folder = corpus({"metadata.csv": "here|yes\ngone|no\n", "here.wav": ""})
    found = {item.name: item.audio.is_file() for item in find_recordings(folder)}
    assert found == {"gone": False, "here": True}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "no .txt, .lab, .textgrid, .eaf, .srt, .vtt, .csv, .tsv, .json beside it"),
        ({"a.txt": " \n"}, "says nothing"),
        ({"metadata.csv": "a| \n"}, "says nothing"),
        ({"a.lab": "0 100 x\n100 200 y\n"}, "labels with times"),
        ({"a.TextGrid": "nonsense"}, "cannot be read as a Praat TextGrid"),
    ],
)
def test_a_recording_without_a_transcript_says_why(corpus, files, reason):
    (recording,) = find_recordings(corpus({"a.wav": "", **files}))
    with pytest.raises(DataError, match=reason):
        recording.transcript()


def test_a_transcript_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"cannot read .*a\.txt: line 1 is not UTF-8"):
        find_recordings(tmp_path)[0].transcript()


def test_two_recordings_of_one_name_are_named_and_the_others_found(corpus):
    folder = corpus({"a.wav": "", "a.flac": "", "a.txt": "text", "b.wav": "", "b.txt": "text"})
    first, second = find_recordings(folder)
    with pytest.raises(DataError, match=r"a\.flac and a\.wav would both be called a\. Rename or remove one"):
        first.transcript()
    assert second.transcript() == "text"


def test_folders_without_recordings_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        find_recordings(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"no sound files \(\.wav .*\.flac .*\.mp3"):
        find_recordings(tmp_path)
    (tmp_path / "x.m4a").touch()
    with pytest.raises(DataError, match=r"Passed over: x\.m4a, as \.m4a files cannot be read here"):
        find_recordings(tmp_path)


def test_a_corpus_is_a_sequence_of_recordings(corpus):
    found = find_recordings(corpus({"a.wav": "", "b.wav": "", "c.wav": "", "x.m4a": ""}))
    assert [item.name for item in found[1:]] == ["b", "c"]
    assert len(found) == 3
    assert found[0] in found
    assert list(found.passed_over) == ["x.m4a"]


def test_utterances_have_times_and_plain_text_has_none(corpus):
    folder = corpus(
        {"a.wav": "", "b.wav": "", "a.txt": "he was", "metadata.tsv": "file\tstart\tend\ttext\nb\t1\t2\tnot\n"}
    )
    whole, timed = find_recordings(folder)
    assert whole.utterances() == [Interval(0, math.inf, "he was")]
    assert timed.utterances() == [Interval(1, 2, "not")]


def test_what_overlaps_is_said_by_two(corpus):
    folder = corpus({"a.wav": "", "a.stm": "a 1 ann 0 2 he was\na 1 ann 1 3 not\na 1 bob 1 3 ill\n"})
    (recording,) = find_recordings(folder)
    assert [(item.speaker, item.label) for item in recording.utterances()] == [
        ("ann", "he was"), ("ann 2", "not"), ("bob", "ill"),
    ]  # fmt: skip


def test_the_text_column_can_be_named(corpus):
    folder = corpus({"a.wav": "", "metadata.csv": "a|one two|three four\n"})
    found = find_recordings(folder, text_column="3")
    assert found[0].transcript() == "three four"


def test_a_folder_that_cannot_be_read_is_passed_over(corpus, monkeypatch):
    folder = corpus({"a.wav": "", "deep/b.wav": ""})
    scandir = os.scandir

    def forbidden(path):
        if os.path.basename(path) == "deep":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    found = find_recordings(folder)
    assert [item.name for item in found] == ["a"]
    assert found.passed_over == {"deep": "the folder cannot be read (Permission denied)"}
