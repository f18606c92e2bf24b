"""Finding recordings and their transcripts."""

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
        ({}, "no .txt, .lab or .TextGrid beside it"),
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
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(DataError, match=r"cannot read the transcript .*a\.txt"):
        find_recordings(tmp_path)[0].transcript()
    (tmp_path / "metadata.csv").write_bytes(b"a|\xff\xfe\xfa\n")
    with pytest.raises(DataError, match=r"cannot read the transcripts in .*metadata\.csv"):
        find_recordings(tmp_path)


def test_two_recordings_of_one_name_are_refused(corpus):
    with pytest.raises(DataError, match="would both be called a"):
        find_recordings(corpus({"a.wav": "", "a.flac": ""}))


def test_folders_without_recordings_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        find_recordings(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"no \.wav or \.flac files"):
        find_recordings(tmp_path)
