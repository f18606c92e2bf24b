"""Aligning a whole corpus: one result per recording, whatever is wrong with some of them."""

import hashlib
import re
import time
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from semihmm._optional import require
from semihmm.audio import condition, read_audio
from semihmm.errors import DataError, DependencyError, SemihmmError
from semihmm.speech.alignment.align import Aligner
from semihmm.speech.corpora.corpus import Recording
from semihmm.speech.corpora.processes import in_processes
from semihmm.speech.corpora.utterances import align_utterances
from semihmm.speech.files.formats import WRITERS, write_labels
from semihmm.speech.files.results import Alignment, finished
from semihmm.speech.intervals import Interval
from semihmm.types import Hertz, Seconds

_LOCK = ".semihmm.lock"
_PARTIAL = re.compile(r"\..+\.\d+\.partial")  # what `atomically` leaves behind if it is killed


@dataclass(frozen=True)
class Outcome:
    """What became of one recording.

    Args:
        recording: which one.
        alignment: the result; None if it failed, or was finished before.
        failure: why it could not be aligned; None if it could.
        unaligned: why, by stretch, for utterances of it that could not be aligned.
        seconds: time spent on it.
    """

    recording: Recording
    alignment: Alignment | None = None
    failure: str | None = None
    unaligned: Mapping[str, str] = field(default_factory=dict)
    seconds: Seconds = 0.0

    @property
    def resumed(self) -> bool:
        """Whether it was finished by an earlier run and left alone."""
        return self.alignment is None and self.failure is None


@dataclass
class Summary:
    """A run in numbers; it keeps no alignments.

    Args:
        passed_over: what of the corpus was no recording, though it looked like one: reasons by path.
        aligned: recordings aligned now.
        resumed: recordings left alone, as an earlier run had finished them.
        failures: reasons by name, of recordings and of utterances.
        audio: seconds of audio aligned now.
        spent: seconds spent on all of it, by all processes together.
        frames: number of feature vectors aligned now.
        log_likelihood: of them all, in nats.
        doubts: the match of each recording that is suspicious, its name, and what to listen to.
        unknown: how often each word without a dictionary entry occurred.
        words: number of words aligned now.
        sample_rates: how many of the recordings aligned now have each.
    """

    passed_over: Mapping[str, str] = field(default_factory=dict)
    aligned: int = 0
    resumed: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    audio: Seconds = 0.0
    spent: Seconds = 0.0
    frames: int = 0
    log_likelihood: float = 0.0
    doubts: list[tuple[float, str, tuple[Interval, ...]]] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    words: int = 0
    sample_rates: Counter[Hertz] = field(default_factory=Counter)

    @property
    def suspicious(self) -> dict[str, tuple[Interval, ...]]:
        """What to listen to, by recording, those with the lowest match first."""
        return {name: stretches for _, name, stretches in sorted(self.doubts, key=lambda doubt: doubt[:2])}

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> "Summary":
        """Add up the outcomes of a run."""
        summary = cls()
        for outcome in outcomes:
            summary.add(outcome)
        return summary

    def add(self, outcome: Outcome) -> None:
        """Count one more recording."""
        name, done = outcome.recording.name, outcome.alignment
        self.spent += outcome.seconds
        self.resumed += outcome.resumed
        if outcome.failure is not None:
            self.failures[name] = outcome.failure
        self.failures |= {f"{name} {stretch}": reason for stretch, reason in outcome.unaligned.items()}
        if done is not None:
            self.aligned += 1
            self.audio += done.duration
            self.frames += done.frames
            self.words += len(done.words)
            if done.sample_rate is not None:
                self.sample_rates[done.sample_rate] += 1
            self.log_likelihood += done.log_likelihood
            if done.suspicious:
                self.doubts.append((done.match or 0.0, name, done.suspicious))
            self.unknown.update(word.label for word in done.words if word.label in done.unknown)


def result_paths(out: Path, recording: Recording) -> tuple[Path, Path]:
    """Where a recording's TextGrid and JSON go: the corpus's folders, repeated under ``out``."""
    return out / f"{recording.name}.TextGrid", out / f"{recording.name}.json"


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Keeps other runs out of a folder of results, which is made as needed and rid of what a killed run left half done.

    Raises:
        DataError: another run writes there now, or nobody can.
        DependencyError: ``filelock`` is not installed.
    """
    filelock = require("filelock", extra="speech", purpose="Keeping two runs out of one folder")
    lock = filelock.FileLock(out / _LOCK, timeout=0)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        reason = f"another run is writing its results to {out}. Wait for it, or choose another folder."
        raise DataError(reason) from None
    except OSError as error:
        raise DataError(f"results cannot be written to {out} ({error.strerror}). Choose another folder.") from error
    try:
        for path in out.rglob(".*.partial"):
            if _PARTIAL.fullmatch(path.name):
                path.unlink()
        yield
    finally:
        lock.release()


def align_recordings(
    aligner: Aligner,
    recordings: Iterable[Recording],
    out: Path,
    *,
    nbest: int = 0,
    resume: bool = False,
    jobs: int = 1,
    formats: Collection[str] = (),
) -> Iterator[Outcome]:
    """Align recordings in their order, writing each result as soon as it is there.

    A recording that cannot be aligned gives an outcome with the reason, and the next one is taken. The results are the
    same whatever the number of processes, and whether or not earlier runs were cut short.

    Args:
        aligner: does the work.
        recordings: as `find_recordings` returns them.
        out: folder for the results; made as needed. Two runs cannot write to one at once.
        nbest: number of alternatives to write with each.
        resume: leave alone what an earlier run with the same options and the same audio has finished.
        jobs: number of processes. With several, a script's own work must be under ``if __name__ == "__main__":``.
        formats: endings of what to write beside the TextGrid and the JSON, of those that `write_labels` knows, without
            their dot.

    Raises:
        DataError: ``out`` cannot be written to, or another run is writing there; a format is not known.
        DependencyError: a package is missing, which no recording is to blame for.
    """
    unknown = [name for name in formats if f".{name}" not in WRITERS]
    if unknown:
        known = ", ".join(suffix.lstrip(".") for suffix in WRITERS)
        raise DataError(f"align_recordings: there is no format {unknown[0]!r}; choose among json, {known}.")
    task = partial(_outcome, aligner, out=out, nbest=nbest, resume=resume, formats=formats)
    with only_writer(out):
        if jobs == 1:
            yield from map(task, recordings)
        else:
            yield from in_processes(task, recordings, jobs, died=_died)


def _outcome(
    aligner: Aligner, recording: Recording, *, out: Path, nbest: int, resume: bool, formats: Collection[str]
) -> Outcome:
    begin = time.perf_counter()
    alignment, failure, unaligned = None, None, {}
    try:
        alignment, is_new = _align(aligner, recording, out, nbest=nbest, resume=resume)
        for suffix in formats:
            path = out / f"{recording.name}.{suffix}"
            if is_new or not path.exists():
                write_labels(alignment, path)
        unaligned = alignment.unaligned
        alignment = alignment if is_new else None
    except DependencyError:
        raise
    except (SemihmmError, OSError) as error:
        failure = str(error)
    except Exception as error:  # nothing that one recording does may stop the others
        failure = f"unexpected {type(error).__name__}: {error}"
    return Outcome(recording, alignment, failure, unaligned, time.perf_counter() - begin)


def _died(recording: Recording) -> Outcome:
    return Outcome(recording, failure="the process that aligned it died, perhaps for want of memory.")


def _align(aligner: Aligner, recording: Recording, out: Path, *, nbest: int, resume: bool) -> tuple[Alignment, bool]:
    """The alignment, written to its files, and whether it was not there before."""
    paths = result_paths(out, recording)
    utterances = recording.utterances()
    pronunciations = [_pronunciations(aligner, item.label) for item in utterances]
    options: dict[str, Any] = {
        "model": aligner.model.name,
        "pause_probability": aligner.pause_probability,
        "extra_speech": aligner.extra_speech,
        "durations": zlib.crc32(repr(aligner.durations).encode()),
        "nbest": nbest,
        "text": " ".join(item.label for item in utterances),
        "utterances": zlib.crc32(repr(utterances).encode()),
        "pronunciations": zlib.crc32(repr(pronunciations).encode()),
        "audio": _digest(recording.audio),
    }
    done = finished(*paths, options=options) if resume else None
    if done is not None:
        return done, False
    wave, sample_rate = read_audio(recording.audio)
    wave = condition(wave, in_place=True)
    alignment = align_utterances(aligner, wave, sample_rate, utterances, nbest=nbest)
    alignment.save(*paths, options=options)
    return alignment, True


def _pronunciations(aligner: Aligner, text: str) -> object:
    """How the aligner would say it; the reason where it could not."""
    try:
        return aligner.lexicon.pronounce_text(text, aligner.model)
    except DependencyError:
        raise
    except SemihmmError as error:
        return str(error)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
