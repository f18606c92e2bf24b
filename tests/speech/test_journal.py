"""The log of a run: a line for each recording and each warning, whole whatever becomes of the run."""

import json
import logging
import os
import subprocess
import sys
import time
import warnings

import pytest
import soundfile

from semihmm.speech import Aligner, Lexicon, find_recordings
from semihmm.speech.corpora import journal as journal_module
from semihmm.speech.corpora.batch import Summary, align_recordings
from semihmm.speech.corpora.journal import JOURNAL, journal, record

from .conftest import RATE, spoken

SAID = {"fine": "eesah see", "unknown": "eesah see hm", "wrong": "ahee ahee", "noisy": "eesah beep", "gone": "see"}


def guess(word):
    if word == "beep":
        warnings.warn("that was no word", stacklevel=1)
    return ("AA",)


@pytest.fixture
def aligner(tone_model, tone_lexicon):
    return Aligner(tone_model, Lexicon(tone_lexicon.entries, guess))


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    wave = spoken(("IY", 0.1), ("S", 0.1), ("AA", 0.1), ("S", 0.1), ("IY", 0.2), ("SIL", 0.1))[0].numpy()
    for name, text in SAID.items():
        soundfile.write(folder / f"{name}.wav", wave, RATE)
        (folder / f"{name}.txt").write_text(text)
    soundfile.write(folder / "slow.wav", wave[::4], RATE // 4)
    (folder / "slow.txt").write_text("ah")
    (folder / "gone.wav").write_bytes(b"")
    (folder / "x.m4a").touch()
    return folder


def run(aligner, corpus, out, log, **options):
    recordings = find_recordings(corpus)
    summary = Summary(recordings.passed_over)
    with journal(log):
        summary.log_passed_over()
        for outcome in align_recordings(aligner, recordings, out, **options):
            summary.add(outcome)
        summary.log()
    return summary


def lines(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_each_recording_and_each_warning_has_a_line(aligner, corpus, tmp_path):
    log = tmp_path / "logs" / "log.jsonl"
    summary = run(aligner, corpus, tmp_path / "out", log)
    found = lines(log)
    assert all({"time", "level", "event"} <= line.keys() for line in found)
    statuses = {line["name"]: line["status"] for line in found if line["event"] == "recording"}
    assert statuses == dict.fromkeys(sorted([*SAID, "slow"]), "aligned") | {"gone": "failed"}
    (failed,) = [line for line in found if line["level"] == "error"]
    assert (failed["name"], failed["reason"]) == ("gone", summary.failures["gone"])
    told = {(line["event"], line["name"]): line["reason"] for line in found if line["level"] == "warning"}
    assert told["passed over", "x.m4a"].startswith(".m4a files cannot be read")
    assert told["unknown words", "unknown"] == "hm"
    assert told["warning", "noisy"] == "UserWarning: that was no word"
    assert told["warning", "slow"].startswith("4000 Hz: the acoustic model listens up to 6800 Hz")
    assert any("not what was said: ahee" in line.get("reason", "") for line in found if line["event"] == "suspicious")
    assert not [name for _, name in told if name == "fine"]
    assert (found[-1]["event"], found[-1]["aligned"], found[-1]["failures"]) == ("end", 5, 1)
    assert summary.warnings["unknown words"] == ["noisy", "unknown"]
    assert summary.warnings["warning"] == ["noisy", "slow"]


def test_a_resumed_run_adds_its_lines_and_has_the_same_warnings(aligner, corpus, tmp_path):
    log = tmp_path / "log.jsonl"
    first = run(aligner, corpus, tmp_path / "out", log)
    count = len(lines(log))
    second = run(aligner, corpus, tmp_path / "out", log, resume=True)
    assert lines(log)[count + 1]["status"] == "finished before"
    for kind in ("unknown words", "suspicious"):
        assert first.warnings[kind] == second.warnings[kind]


ENDLESS = """
import logging, runpy, sys
from pathlib import Path
own = runpy.run_path(sys.argv[1])
with own["journal"](Path(sys.argv[2])):
    while True:
        own["record"](logging.INFO, "recording", {"name": "a" * 3000})
"""


def test_a_run_that_was_killed_leaves_whole_lines(tmp_path):
    log = tmp_path / "log.jsonl"
    with subprocess.Popen([sys.executable, "-c", ENDLESS, journal_module.__file__, log]) as run:
        while not log.exists() or log.stat().st_size < 1_000_000:
            time.sleep(0.001)
        run.kill()
    assert all(line["name"] == "a" * 3000 for line in lines(log))
    assert log.read_bytes().endswith(b"}\n")


def test_a_name_that_no_encoding_has_is_written_and_read(tmp_path):
    with journal(tmp_path / "log"):
        record(logging.INFO, "recording", {"name": "\udcff\n\u00e9"})
    assert lines(tmp_path / "log")[0]["name"] == "\udcff\n\u00e9"


def test_a_line_for_which_the_disk_has_no_room_is_not_begun(tmp_path, monkeypatch):
    write = os.write
    with journal(tmp_path / "log"):
        record(logging.INFO, "recording", {"name": "a"})
        monkeypatch.setattr(os, "write", lambda file, line: write(file, line[:5]))
        with pytest.raises(OSError, match="disk is full"):
            record(logging.INFO, "recording", {"name": "b"})
    assert [line["name"] for line in lines(tmp_path / "log")] == ["a"]


def test_without_a_file_nothing_is_printed_and_other_handlers_hear_all(capfd, caplog):
    with journal(None):
        record(logging.WARNING, "suspicious", {"name": "a", "reason": "b"})
    assert capfd.readouterr().err == ""
    assert [item.getMessage() for item in caplog.records] == ["suspicious: a b"]
    assert JOURNAL.level == logging.NOTSET
