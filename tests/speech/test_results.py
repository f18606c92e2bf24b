"""Results on disk: complete or not there."""

import json
from dataclasses import replace

import pytest

from semihmm._files import atomically
from semihmm.errors import DataError
from semihmm.speech import Alignment, Alternative, Interval
from semihmm.speech.files.results import finished
from semihmm.speech.files.textgrid import read_tiers

ALIGNMENT = Alignment(
    text="ähm, one",
    duration=1.0,
    words=(Interval(0.1, 0.3, "ähm", 0.5, 0.25, 0.01, 0.02, 0.7), Interval(0.3, 1.0, "one", 1.0)),
    phones=(Interval(0.1, 0.3, "AH", 0.25), Interval(0.3, 1.0, "W", 0.75)),
    frames=99,
    log_likelihood=-1234.5,
    free_log_likelihood=-1200.5,
    match=0.25,
    suspicious=(Interval(0.1, 0.3, "not what was said: ähm"),),
    unknown={"ähm": "AH M"},
    alternatives=(Alternative(-0.5, (Interval(0.1, 0.4, "ähm"),), (Interval(0.1, 0.4, "AH"),)),),
)


def paths(folder):
    return folder / "deep" / "a.TextGrid", folder / "deep" / "a.json"


def test_an_alignment_comes_back(tmp_path):
    ALIGNMENT.save(*paths(tmp_path))
    assert Alignment.load(paths(tmp_path)[1]) == ALIGNMENT


def test_a_result_is_finished_if_both_files_are_whole_and_the_options_the_same(tmp_path):
    textgrid, record = paths(tmp_path)
    assert not finished(textgrid, record, options={"nbest": 1})
    ALIGNMENT.save(textgrid, record, options={"nbest": 1})
    assert finished(textgrid, record, options={"nbest": 1})
    assert not finished(textgrid, record, options={"nbest": 2})
    textgrid.unlink()
    assert not finished(textgrid, record, options={"nbest": 1})


def test_several_speakers_and_what_could_not_be_aligned_come_back(tmp_path):
    words = replace(ALIGNMENT.words[0], speaker="Ann"), replace(ALIGNMENT.words[1], speaker="Bob")
    alignment = replace(ALIGNMENT, words=words, unaligned={"Bob 0.900–1.000 s": "too short"})
    alignment.save(*paths(tmp_path))
    assert Alignment.load(paths(tmp_path)[1]) == alignment


def test_a_record_does_not_vouch_for_a_textgrid_that_came_after_it(tmp_path, monkeypatch):
    textgrid, record = paths(tmp_path)
    ALIGNMENT.save(textgrid, record, options={"nbest": 1})
    monkeypatch.setattr(json, "dumps", None)  # as if the run were killed between the two files
    with pytest.raises(TypeError):
        ALIGNMENT.save(textgrid, record, options={"nbest": 2})
    monkeypatch.undo()
    assert read_tiers(textgrid)
    assert not finished(textgrid, record, options={"nbest": 1})


def test_a_textgrid_that_is_cut_off_is_not_finished_and_one_that_was_corrected_is(tmp_path):
    textgrid, record = paths(tmp_path)
    ALIGNMENT.save(textgrid, record, options={})
    whole = textgrid.read_text()
    textgrid.write_text(whole.replace('"one"', '"won"'))
    assert finished(textgrid, record, options={}) == ALIGNMENT
    textgrid.write_text(whole[: whole.rindex('"') - 1])
    assert finished(textgrid, record, options={}) is None


def test_a_record_of_an_earlier_version_comes_back(tmp_path):
    ALIGNMENT.save(*paths(tmp_path))
    content = json.loads(paths(tmp_path)[1].read_text(encoding="utf-8"))
    for name in ("free_log_likelihood", "match", "suspicious"):
        del content[name]
    for item in (*content["words"], *content["phones"]):
        for name in ("match", "start_sd", "end_sd", "entropy"):
            del item[name]
    paths(tmp_path)[1].write_text(json.dumps(content), encoding="utf-8")
    old = Alignment.load(paths(tmp_path)[1])
    assert (old.match, old.suspicious, old.words[0].match) == (None, (), None)
    assert old.words[0].confidence == 0.5


@pytest.mark.parametrize("broken", ["", "{", "[]", "{}", '{"format": "another"}'])
def test_a_broken_record_is_refused_and_does_not_count_as_finished(tmp_path, broken):
    ALIGNMENT.save(*paths(tmp_path), options={})
    paths(tmp_path)[1].write_text(broken)
    with pytest.raises(DataError, match=r"Alignment\.load"):
        Alignment.load(paths(tmp_path)[1])
    assert not finished(*paths(tmp_path), options={})


def test_a_record_that_lacks_a_part_does_not_count_as_finished(tmp_path):
    textgrid, record = paths(tmp_path)
    ALIGNMENT.save(textgrid, record, options={})
    content = json.loads(record.read_text(encoding="utf-8"))
    del content["words"]
    record.write_text(json.dumps(content))
    with pytest.raises(DataError, match="lacks a part"):
        Alignment.load(record)
    assert not finished(textgrid, record, options={})


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomically(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError("the disk is full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_appears_only_when_the_writing_is_over(tmp_path):
    path = tmp_path / "new folder" / "a.txt"
    with atomically(path) as temporary:
        temporary.write_text("all")
        assert not path.exists()
        assert temporary.parent == path.parent  # the same disk, so that renaming is one step
    assert path.read_text() == "all"


def test_saving_writes_the_record_last(tmp_path, monkeypatch):
    """A record is the mark of completeness: it must not be there if the TextGrid could not be written."""
    textgrid, record = paths(tmp_path)
    textgrid.mkdir(parents=True)  # a folder in its place cannot be replaced by a file
    with pytest.raises(OSError, match=r"a\.TextGrid"):
        ALIGNMENT.save(textgrid, record)
    assert not record.exists()
    assert list(record.parent.iterdir()) == [textgrid]
