"""Whoever does the work, its results are the same: processes, a Dask cluster, the ranks of torchrun."""

import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest
import soundfile
import torch

from semihmm.errors import DataError
from semihmm.speech import Aligner, Lexicon, Pronunciation, evaluate, find_recordings, open_engine
from semihmm.speech.corpora.batch import align_recordings
from semihmm.speech.engines.engine import in_order
from semihmm.speech.training import Recipe, Utterance, train
from semihmm.speech.training.sharing import by_engine

from .conftest import RATE, spoken

DIES = "__import__('os')._exit(1)"
RECORDINGS = 7


@pytest.fixture
def aligner(tone_model, tone_lexicon):
    return Aligner(tone_model, Lexicon(tone_lexicon.entries))


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(RECORDINGS):
        wave = spoken(("SIL", 0.1), ("IY", 0.1 + number / 50), ("S", 0.1), ("AA", 0.1), ("S", 0.1), ("IY", 0.1))[0]
        soundfile.write(folder / f"{number}.wav", wave.numpy(), RATE)
        (folder / f"{number}.txt").write_text("eesah see")
    (folder / "3.wav").write_bytes(b"no sound")
    return folder


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def undisturbed(aligner, corpus, tmp_path):
    """What a run of this process alone writes."""
    outcomes = list(align_recordings(aligner, find_recordings(corpus), tmp_path / "undisturbed", nbest=2))
    assert [item.recording.name for item in outcomes if item.failure] == ["3"]
    return contents(tmp_path / "undisturbed")


@pytest.fixture
def lesson():
    """What a model is trained on, and how."""
    said = tuple(Pronunciation(word, (phones,)) for word, phones in (("ah", ("AA",)), ("see", ("S", "IY"))))
    waves = [spoken(("SIL", 0.2), ("AA", 0.2 + n / 50), ("S", 0.15), ("IY", 0.2), ("SIL", 0.2))[0] for n in range(4)]
    return [Utterance(str(n), wave, RATE, said) for n, wave in enumerate(waves)], Recipe.for_rate(RATE, gaussians=1)


@pytest.fixture
def learnt(lesson, tmp_path):
    """The file of a model that this process alone trained."""
    utterances, recipe = lesson
    train(utterances, recipe=recipe).save(tmp_path / "learnt")
    return (tmp_path / "learnt").read_bytes()


class Pool:
    """One that an item called "dies" breaks, for all that are submitted until somebody waits."""

    is_broken = False

    def submit(self, item):
        future = Future()
        self.is_broken = self.is_broken or item == "dies"
        future.set_exception(KeyError("dead")) if self.is_broken else future.set_result(eval(item))
        return future

    def wait(self, futures):
        self.is_broken = False


def test_results_come_in_order_and_who_dies_has_a_result_of_its_own():
    pool, items = Pool(), ["1", "2", "dies", "3", "dies", *map(str, range(4, 30))]
    results = in_order(pool.submit, items, died=len, workers=lambda: 2, lost=KeyError, wait=pool.wait)
    assert list(results) == [1, 2, 4, 3, 4, *range(4, 30)]


def test_items_are_taken_as_they_are_needed_and_what_a_task_raises_is_raised_here():
    taken = []

    def items():
        for item in ["1", "oops", *map(str, range(50))]:
            taken.append(item)
            yield item

    def submit(item):
        future = Future()
        future.set_exception(ZeroDivisionError()) if item == "oops" else future.set_result(item)
        return future

    results = in_order(submit, items(), died=len, workers=lambda: 2, lost=KeyError, wait=list)
    assert next(results) == "1"
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert len(taken) <= 9


def test_a_process_that_dies_is_survived():
    with open_engine("local", jobs=2) as engine:
        assert list(engine.map(eval, [DIES], died=len)) == [len(DIES)]


ORPHAN = """
from semihmm.speech.engines.local import Local
if __name__ == "__main__":
    item = "print(__import__('os').getpid(), flush=True) or __import__('time').sleep(600)"
    list(Local(2).map(eval, [item], died=len))
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's list of processes")
def test_no_process_outlives_a_parent_that_was_killed(tmp_path):
    (tmp_path / "orphan.py").write_text(ORPHAN)
    with subprocess.Popen([sys.executable, tmp_path / "orphan.py"], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    assert parent.returncode == -signal.SIGKILL
    state = Path(f"/proc/{worker}/stat")
    for _ in range(1000):
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.01)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the process goes on")


def test_tasks_have_one_thread_and_the_caller_keeps_its_own(aligner, corpus, tmp_path, undisturbed):
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with open_engine("local") as engine:
            assert list(engine.map(eval, ["__import__('torch').get_num_threads()"], died=len)) == [1]
            list(align_recordings(aligner, find_recordings(corpus), tmp_path / "out", nbest=2, engine=engine))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert contents(tmp_path / "out") == undisturbed


def test_dask_gives_the_same_bytes_though_a_worker_is_killed(aligner, corpus, lesson, tmp_path, undisturbed, learnt):
    pytest.importorskip("distributed", reason="the dask extra is not installed")
    with open_engine("dask", jobs=2) as engine:
        run = align_recordings(aligner, find_recordings(corpus), tmp_path / "out", nbest=2, engine=engine)
        outcomes = [next(run)]
        workers = engine._client.run(os.getpid).values()
        os.kill(min(workers), signal.SIGKILL)
        outcomes += run
        assert [item.recording.name for item in outcomes] == [str(number) for number in range(RECORDINGS)]
        assert contents(tmp_path / "out") == undisturbed
        both = tmp_path / "out", tmp_path / "out"
        assert evaluate(*both, engine=engine) == evaluate(*both)
        train(lesson[0], recipe=lesson[1], each=by_engine(engine)).save(tmp_path / "trained")
    assert (tmp_path / "trained").read_bytes() == learnt


# In the first life of the ranks, rank 1 is killed amid its second recording; torchrun starts all of them once more.
RANK = """
import os, pickle, signal, sys
from pathlib import Path
import torch
from semihmm.speech import evaluate, find_recordings, open_engine
from semihmm.speech.corpora import batch
from semihmm.speech.training import train
from semihmm.speech.training.sharing import by_engine

torch.set_num_threads(1)
aligner, corpus, out, (utterances, recipe) = pickle.loads(Path(sys.argv[1]).read_bytes())
align = batch._align

def align_or_die(aligner, recording, out, **options):
    if recording.name == "4" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    return align(aligner, recording, out, **options)

batch._align = align_or_die
with open_engine("torchrun") as engine:
    run = batch.align_recordings(aligner, find_recordings(corpus), out, nbest=2, resume=True, engine=engine)
    print([(item.recording.name, bool(item.failure)) for item in run], os.environ["TORCHELASTIC_RESTART_COUNT"])
    assert evaluate(out, out, engine=engine) == evaluate(out, out)
    train(utterances, recipe=recipe, each=by_engine(engine)).save(out.parent / "trained")
"""


def test_torchrun_gives_the_same_bytes_though_a_rank_is_killed(aligner, corpus, lesson, tmp_path, undisturbed, learnt):
    (tmp_path / "rank.py").write_text(RANK)
    (tmp_path / "job").write_bytes(pickle.dumps((aligner, corpus, tmp_path / "out", lesson)))
    ranks = "--standalone --nproc-per-node=3 --max-restarts=1 --monitor-interval=0.1".split()
    command = [sys.executable, "-m", "torch.distributed.run", *ranks, tmp_path / "rank.py", tmp_path / "job"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{[(str(n), n == 3) for n in range(RECORDINGS)]} 1"]
    assert (tmp_path / "trained").read_bytes() == learnt
    assert contents(tmp_path / "out") == undisturbed


def test_a_process_that_is_no_rank_is_told_how_to_become_one(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with (
        pytest.raises(DataError, match="torchrun --nproc-per-node 4 --no-python semihmm align"),
        open_engine("torchrun"),
    ):
        pytest.fail("there are no ranks")


def test_an_engine_that_nobody_knows_is_refused():
    with pytest.raises(DataError, match="no engine 'spark'; choose local, dask or torchrun"):
        open_engine("spark")


def test_without_dask_the_command_to_install_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'semihmm\[dask\]'"):
        open_engine("dask")
