"""A corpus in which everything that can be wrong with a recording is wrong with one."""

import json
import math

import pytest
import soundfile
import torch

from semihmm.errors import DependencyError
from semihmm.speech import Aligner, Lexicon, find_recordings, read_labels
from semihmm.speech.batch import Summary, align_recordings

from .conftest import RATE, spoken

GOOD = {"good": "ah ah", "also/good": "eesah see"}
BAD = {
    "empty": "is an empty file",
    "unreadable": "cannot be read as audio",
    "zero": "zero samples",
    "nan": "NaN or infinite",
    "short": "one window needs 410",
    "silent transcript": "says nothing",
    "no transcript": "no transcript",
    "no words": "holds no words",
    "too long": "longer than the audio can hold",
    "gone": "No such file",
    "silent": "the recording is silent",
}


@pytest.fixture
def aligner(tone_model, tone_lexicon):
    return Aligner(tone_model, tone_lexicon)


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    (folder / "also").mkdir(parents=True)
    wave = spoken(("SIL", 0.1), ("IY", 0.1), ("S", 0.1), ("AA", 0.1), ("S", 0.1), ("IY", 0.1))[0].numpy()
    texts = GOOD | {"silent transcript": "\n", "no words": "...", "too long": "see " * 30}
    for name in GOOD | BAD:
        soundfile.write(folder / f"{name}.wav", wave, RATE)
        if name != "no transcript":
            (folder / f"{name}.txt").write_text(texts.get(name, "ah"))
    (folder / "empty.wav").write_bytes(b"")
    (folder / "unreadable.wav").write_bytes(b"no sound at all" * 9)
    soundfile.write(folder / "zero.wav", wave[:0], RATE)
    soundfile.write(folder / "silent.wav", 0 * wave, RATE)
    soundfile.write(folder / "short.wav", wave[:300], RATE)
    soundfile.write(folder / "nan.wav", [0.1, math.nan, 0.1], RATE, subtype="FLOAT")
    (folder / "gone.wav").unlink()
    (folder / "gone.txt").unlink()
    (folder / "metadata.csv").write_text("gone|ah\n")
    return folder


def run(aligner, corpus, out, **options):
    return list(align_recordings(aligner, find_recordings(corpus), out, **options))


def test_bad_recordings_are_reported_and_the_rest_aligned(aligner, corpus, tmp_path):
    outcomes = run(aligner, corpus, tmp_path / "out")
    failures = {item.recording.name: item.failure for item in outcomes if item.failure}
    assert failures.keys() == BAD.keys()
    for name, reason in BAD.items():
        assert reason in failures[name]
    written = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert written == {f"{name}{suffix}" for name in GOOD for suffix in (".TextGrid", ".json")}
    for name in GOOD:
        words = read_labels(tmp_path / "out" / f"{name}.TextGrid").words
        assert " ".join(word.label for word in words) == GOOD[name]


def test_a_summary_names_suspicious_recordings_the_worst_first(aligner, tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    wave = spoken(("SIL", 0.2), ("S", 0.2), ("IY", 0.2), ("S", 0.2), ("IY", 0.2), ("SIL", 0.2))[0].numpy()
    for name, text in {"right": "see see", "half": "see ahee", "wrong": "ahee ahee"}.items():
        soundfile.write(folder / f"{name}.wav", wave, RATE)
        (folder / f"{name}.txt").write_text(text)
    summary = Summary.of(run(aligner, folder, tmp_path / "out"))
    assert list(summary.suspicious) == ["wrong", "half"]
    written = json.loads((tmp_path / "out" / "half.json").read_text())
    assert [item["label"] for item in written["suspicious"]] == [item.label for item in summary.suspicious["half"]]
    assert [word["match"] > 0.5 for word in written["words"]] == [True, False]
    assert all(phone[side] > 0 for phone in written["phones"] for side in ("start_sd", "end_sd"))


def test_a_summary_adds_up(aligner, corpus, tmp_path):
    outcomes = run(aligner, corpus, tmp_path / "out")
    summary = Summary.of(outcomes)
    done = [item.alignment for item in outcomes if item.alignment]
    assert (summary.aligned, summary.resumed, len(summary.failures)) == (2, 0, len(BAD))
    assert summary.audio == pytest.approx(1.2)
    assert summary.frames == sum(item.frames for item in done)
    assert summary.log_likelihood == pytest.approx(sum(item.log_likelihood for item in done))
    assert summary.spent == pytest.approx(sum(item.seconds for item in outcomes))


def test_words_without_an_entry_are_counted(aligner, corpus, tmp_path):
    (corpus / "good.txt").write_text("ah hm hm")
    summary = Summary.of(run(aligner, corpus, tmp_path / "out"))
    assert summary.unknown == {"hm": 2}


def test_a_resumed_run_leaves_finished_results_alone(aligner, corpus, tmp_path):
    out = tmp_path / "out"
    run(aligner, corpus, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.*")}
    outcomes = run(aligner, corpus, out, resume=True)
    assert [item.recording.name for item in outcomes if item.resumed] == sorted(GOOD)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.*")} == before


@pytest.mark.parametrize("change", ["record", "textgrid", "text", "audio", "dictionary", "option"])
def test_a_resumed_run_does_again_what_is_not_finished(aligner, corpus, tmp_path, change, tone_model, tone_lexicon):
    out = tmp_path / "out"
    run(aligner, corpus, out)
    if change == "record":
        (out / "good.json").write_text((out / "good.json").read_text()[:100])
    elif change == "textgrid":
        (out / "good.TextGrid").unlink()
    elif change == "text":
        (corpus / "good.txt").write_text("ah ah ah")
    elif change == "audio":
        soundfile.write(corpus / "good.wav", torch.zeros(9000).index_fill(0, torch.tensor([0]), 0.1).numpy(), RATE)
    elif change == "dictionary":
        aligner = Aligner(tone_model, Lexicon(tone_lexicon.entries | {"ah": (("AA",), ("S",))}))
    outcomes = run(aligner, corpus, out, resume=True, nbest=2 if change == "option" else 0)
    again = {item.recording.name for item in outcomes if item.alignment}
    assert again == (set(GOOD) if change == "option" else {"good"})
    assert json.loads((out / "good.json").read_text())["format"]


def test_a_run_without_resume_does_everything_again(aligner, corpus, tmp_path):
    run(aligner, corpus, tmp_path / "out")
    assert sum(item.alignment is not None for item in run(aligner, corpus, tmp_path / "out")) == len(GOOD)


def test_a_missing_package_is_nobody_s_fault(tone_model, corpus, tmp_path):
    def guess(word):
        raise DependencyError("pip install it")

    with pytest.raises(DependencyError):
        run(Aligner(tone_model, Lexicon({}, guess)), corpus, tmp_path / "out")
