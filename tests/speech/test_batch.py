"""A corpus in which everything that can be wrong with a recording is wrong with one."""

import gc
import json
import math
import os
import pickle
import platform
import subprocess
import sys
import time
import weakref

import pytest
import soundfile
import torch

from semihmm.errors import DataError, DependencyError
from semihmm.speech import Aligner, Interval, Lexicon, find_recordings, read_labels, save_textgrid
from semihmm.speech.corpora.batch import Summary, align_recordings
from semihmm.speech.engines.local import Local

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
    "silent": "digitally silent",
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
    assert written == {".semihmm.lock", *(f"{name}{suffix}" for name in GOOD for suffix in (".TextGrid", ".json"))}
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


def test_entropies_are_written_on_request(tone_model, corpus, tmp_path):
    (corpus / "good.txt").write_text("either see")
    lexicon = Lexicon({"either": (("AA",), ("IY", "S", "AA")), "eesah": (("IY",),), "see": (("S", "IY"),)})
    for entropy in (False, True):
        run(Aligner(tone_model, lexicon), corpus, tmp_path / "out", resume=True, entropy=entropy)
        written = json.loads((tmp_path / "out" / "good.json").read_text())
        unsure = [item["entropy"] for item in (*written["words"], *written["phones"])]
        assert all(number >= 0 for number in unsure) if entropy else unsure == [None] * len(unsure)


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


@pytest.mark.parametrize("change", ["record", "textgrid", "cut", "text", "audio", "samples", "dictionary", "option"])
def test_a_resumed_run_does_again_what_is_not_finished(aligner, corpus, tmp_path, change, tone_model, tone_lexicon):
    out = tmp_path / "out"
    run(aligner, corpus, out)
    if change == "record":
        (out / "good.json").write_text((out / "good.json").read_text()[:100])
    elif change == "textgrid":
        (out / "good.TextGrid").unlink()
    elif change == "cut":
        content = (out / "good.TextGrid").read_bytes()
        (out / "good.TextGrid").write_bytes(content[: len(content) - 9])
    elif change == "text":
        (corpus / "good.txt").write_text("ah ah ah")
    elif change == "audio":
        soundfile.write(corpus / "good.wav", torch.randn(9000).numpy() / 10, RATE)
    elif change == "samples":
        size = (corpus / "good.wav").stat().st_size
        soundfile.write(corpus / "good.wav", soundfile.read(corpus / "good.wav")[0] * 0.9, RATE)
        assert (corpus / "good.wav").stat().st_size == size
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


@pytest.mark.parametrize("left", [1, 40, 0.3, 0.9])
def test_a_textgrid_cut_off_anywhere_is_made_again(aligner, corpus, tmp_path, left):
    out = tmp_path / "out"
    run(aligner, corpus, out)
    whole = (out / "good.TextGrid").read_bytes()
    (out / "good.TextGrid").write_bytes(whole[: left if isinstance(left, int) else int(left * len(whole))])
    run(aligner, corpus, out, resume=True)
    assert (out / "good.TextGrid").read_bytes() == whole


def test_a_resumed_run_keeps_what_somebody_corrected(aligner, corpus, tmp_path):
    out = tmp_path / "out"
    run(aligner, corpus, out)
    save_textgrid(out / "good.TextGrid", {"words": [Interval(0.1, 0.2, "mine")]}, duration=0.6)
    outcomes = run(aligner, corpus, out, resume=True)
    assert {item.recording.name for item in outcomes if item.resumed} == set(GOOD)
    assert read_labels(out / "good.TextGrid").words == (Interval(0.1, 0.2, "mine"),)


def test_utterances_that_fail_are_named_and_stay_so_in_a_resumed_run(aligner, corpus, tmp_path):
    (corpus / "good.txt").unlink()
    save_textgrid(corpus / "good.TextGrid", {"ann": [Interval(0, 0.4, "ah"), Interval(0.4, 0.402, "ah")]}, duration=1)
    for resume in (False, True):
        outcomes = {item.recording.name: item for item in run(aligner, corpus, tmp_path / "out", resume=resume)}
        assert outcomes["good"].failure is None
        assert outcomes["good"].resumed is resume
        assert "one window needs" in outcomes["good"].unaligned["0.400–0.402 s"]
        summary = Summary.of(outcomes.values())
        assert summary.failures.keys() == {"good 0.400–0.402 s", *BAD}


def test_an_error_that_nobody_foresaw_is_its_recording_s(tone_model, corpus, tmp_path):
    def guess(word):
        raise RuntimeError("no such thing")

    (corpus / "good.txt").write_text("ah hm")
    lexicon = Lexicon({"ah": (("AA",),), "eesah": (("IY",),), "see": (("S",),)}, guess)
    outcomes = {item.recording.name: item for item in run(Aligner(tone_model, lexicon), corpus, tmp_path / "out")}
    assert outcomes["good"].failure == "unexpected RuntimeError: no such thing"
    assert outcomes["also/good"].failure is None


def test_a_run_keeps_no_alignments(aligner, corpus, tmp_path):
    summary, seen = Summary(), []
    for outcome in align_recordings(aligner, find_recordings(corpus), tmp_path / "out"):
        summary.add(outcome)
        assert all(alignment() is None for alignment in seen)
        if outcome.alignment is not None:
            seen.append(weakref.ref(outcome.alignment))
        del outcome
        gc.collect()
    assert len(seen) == summary.aligned == len(GOOD)


def test_two_runs_do_not_write_to_one_folder(aligner, corpus, tmp_path):
    first = align_recordings(aligner, find_recordings(corpus), tmp_path / "out")
    next(first)
    with pytest.raises(DataError, match=r"another run on .+ is writing its results to .*out"):
        run(aligner, corpus, tmp_path / "out")
    first.close()
    assert run(aligner, corpus, tmp_path / "out")


def from_elsewhere(out, seconds):
    """What a run of another machine keeps there, last touched so long ago."""
    out.mkdir(exist_ok=True)
    mark = out / ".semihmm.run"
    mark.write_text("elsewhere")
    os.utime(mark, (time.time() - seconds,) * 2)


def test_a_run_of_another_machine_keeps_others_out_where_locks_do_not_reach(aligner, corpus, tmp_path):
    from_elsewhere(tmp_path / "out", 5)
    reason = r"another run on elsewhere is writing its results to .*out.* If it was killed, wait a minute"
    with pytest.raises(DataError, match=reason):
        run(aligner, corpus, tmp_path / "out")
    from_elsewhere(tmp_path / "out", 120)
    assert run(aligner, corpus, tmp_path / "out")
    assert not (tmp_path / "out" / ".semihmm.run").exists()


def test_a_run_says_all_the_while_that_it_is_there(aligner, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("semihmm.speech.corpora.locking._BEAT", 0.01)
    going = align_recordings(aligner, find_recordings(corpus), tmp_path / "out")
    next(going)
    mark = tmp_path / "out" / ".semihmm.run"
    assert mark.read_text() == platform.node()
    os.utime(mark, (0, 0))
    for _ in range(1000):
        if mark.stat().st_mtime > 0:
            break
        time.sleep(0.01)
    assert mark.stat().st_mtime > 0
    going.close()
    assert not mark.exists()


@pytest.mark.parametrize("place", ["file", "file/below", "link"])
def test_a_folder_that_cannot_be_written_to_is_noticed_before_any_work(aligner, tmp_path, place):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("link")

    def recordings():
        pytest.fail("work was begun")
        yield

    with pytest.raises(DataError, match=r"results cannot be written to .* Choose another folder"):
        next(align_recordings(aligner, recordings(), tmp_path / place))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_several_processes_give_the_same_bytes(tone_model, tone_lexicon, corpus, tmp_path):
    aligner = Aligner(tone_model, Lexicon(tone_lexicon.entries))
    alone = run(aligner, corpus, tmp_path / "one", nbest=2)
    together = run(aligner, corpus, tmp_path / "two", nbest=2, engine=Local(2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert [(item.recording, item.alignment) for item in alone] == [(i.recording, i.alignment) for i in together]
    assert [item.failure and item.failure.replace("/two/", "/one/") for item in together] == [i.failure for i in alone]


# Dies before, in the middle of or after the first, second, ... moment at which a file of results becomes what it is.
KILLED = """
import os, pickle, signal, sys
from pathlib import Path
import torch
from semihmm.speech import find_recordings
from semihmm.speech.corpora.batch import align_recordings

torch.set_num_threads(1)
aligner, corpus, out = pickle.loads(Path(sys.argv[1]).read_bytes())
replace = Path.replace

def run(folder, **options):
    return list(align_recordings(aligner, find_recordings(corpus), folder, **options))

def dying(moment, how):
    count = 0
    def replace_or_die(self, target):
        nonlocal count
        count += 1
        if count == moment and how == "middle":
            os.truncate(self, self.stat().st_size // 2)
        if count < moment or how == "after":
            replace(self, target)
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)
    return replace_or_die

for moment in range(1, 5):
    for how in ("before", "middle", "after"):
        folder = out / f"{moment} {how}"
        child = os.fork()
        if child == 0:
            Path.replace = dying(moment, how)
            run(folder)
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        outcomes = run(folder, resume=True)
        assert sum(item.resumed for item in outcomes) == (moment - (how != "after")) // 2, (moment, how)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")
def test_a_run_that_was_killed_and_resumed_gives_the_same_bytes(tone_model, tone_lexicon, corpus, tmp_path):
    aligner = Aligner(tone_model, Lexicon(tone_lexicon.entries))
    (tmp_path / "job").write_bytes(pickle.dumps((aligner, corpus, tmp_path / "killed")))
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "job"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run(aligner, corpus, tmp_path / "whole")
    finally:
        torch.set_num_threads(threads)
    for folder in (tmp_path / "killed").iterdir():
        assert contents(folder) == contents(tmp_path / "whole")


def test_other_formats_are_written_beside_and_made_up_for(aligner, corpus, tmp_path):
    """Also by a later run that asks for them, which aligns nothing again."""
    out = tmp_path / "out"
    run(aligner, corpus, out, formats=["ctm"])
    assert (out / "good.ctm").read_text().split()[:2] == ["good", "1"]
    outcomes = run(aligner, corpus, out, resume=True, formats=["ctm", "srt"])
    assert all(item.alignment is None for item in outcomes)
    assert (out / "good.srt").is_file()


def test_a_format_that_nobody_writes_is_refused(aligner, corpus, tmp_path):
    with pytest.raises(DataError, match="no format 'docx'; choose among json, textgrid, ctm"):
        run(aligner, corpus, tmp_path / "out", formats=["docx"])
