"""Aligning a whole corpus: one result per recording, whatever is wrong with some of them."""

import hashlib
import logging
import time
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from semihmm.audio import condition, read_audio
from semihmm.errors import DataError, DependencyError, SemihmmError
from semihmm.speech.alignment.align import Aligner
from semihmm.speech.corpora.corpus import Recording
from semihmm.speech.corpora.journal import record
from semihmm.speech.corpora.locking import only_writer
from semihmm.speech.corpora.utterances import align_utterances
from semihmm.speech.engines.engine import Engine
from semihmm.speech.engines.local import ALONE
from semihmm.speech.files.formats import WRITERS, write_labels
from semihmm.speech.files.results import Alignment, finished
from semihmm.speech.intervals import Interval
from semihmm.types import Hertz, Seconds


@dataclass(frozen=True)
class Outcome:
    """What became of one recording.

    Args:
        recording: which one.
        alignment: the result; None if it failed, or was finished before.
        failure: why it could not be aligned; None if it could.
        unaligned: why, by stretch, for utterances of it that could not be aligned.
        warnings: what is to be doubted, each of a kind, which is ``"unknown words"``, ``"suspicious"`` or
            ``"warning"``; of what was finished before, too.
        seconds: time spent on it.
    """

    recording: Recording
    alignment: Alignment | None = None
    failure: str | None = None
    unaligned: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[tuple[str, str], ...] = ()
    seconds: Seconds = 0.0

    @property
    def resumed(self) -> bool:
        """Whether it was finished by an earlier run and left alone."""
        return self.alignment is None and self.failure is None

    def log(self) -> None:
        """Tell the journal."""
        name, done = self.recording.name, self.alignment
        status = "failed" if self.failure is not None else "finished before" if self.resumed else "aligned"
        details: dict[str, Any] = {"name": name, "status": status, "seconds": round(self.seconds, 3)}
        if self.failure is not None:
            details["reason"] = self.failure
        if done is not None:
            details |= {"duration": done.duration, "words": len(done.words), "match": done.match}
        record(logging.ERROR if self.failure is not None else logging.INFO, "recording", details)
        doubts = [*(("not aligned", f"{at}: {why}") for at, why in self.unaligned.items()), *self.warnings]
        for kind, reason in doubts:
            record(logging.WARNING, kind, {"name": name, "reason": reason})


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
        warnings: the names of the recordings that have warnings, by their kinds.
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
    warnings: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

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

    def log_passed_over(self) -> None:
        """Tell the journal what is no recording."""
        for path, reason in self.passed_over.items():
            record(logging.WARNING, "passed over", {"name": path, "reason": reason})

    def log(self) -> None:
        """Tell the journal how it ended."""
        numbers = {"aligned": self.aligned, "finished before": self.resumed, "failures": len(self.failures)}
        record(logging.INFO, "end", numbers | {"audio": self.audio, "seconds": self.spent})

    def add(self, outcome: Outcome) -> None:
        """Count one more recording."""
        name, done = outcome.recording.name, outcome.alignment
        self.spent += outcome.seconds
        self.resumed += outcome.resumed
        if outcome.failure is not None:
            self.failures[name] = outcome.failure
        self.failures |= {f"{name} {stretch}": reason for stretch, reason in outcome.unaligned.items()}
        for kind in dict.fromkeys(kind for kind, _ in outcome.warnings):
            self.warnings[kind].append(name)
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


def align_recordings(
    aligner: Aligner,
    recordings: Iterable[Recording],
    out: Path,
    *,
    nbest: int = 0,
    entropy: bool = False,
    resume: bool = False,
    engine: Engine = ALONE,
    formats: Collection[str] = (),
) -> Iterator[Outcome]:
    """Align recordings in their order, writing each result as soon as it is there.

    A recording that cannot be aligned gives an outcome with the reason, and the next one is taken. The results are the
    same whichever engine does the work, and whether or not earlier runs were cut short.

    Args:
        aligner: does the work.
        recordings: as `find_recordings` returns them.
        out: folder for the results; made as needed. Two runs cannot write to one at once.
        nbest: number of alternatives to write with each.
        entropy: whether to write how unsure words and phones are.
        resume: leave alone what an earlier run with the same options and the same audio has finished.
        engine: who does the work (`open_engine`). Default: this process alone.
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
    task = partial(_outcome, aligner, out=out, nbest=nbest, entropy=entropy, resume=resume, formats=formats)
    with only_writer(out):
        for outcome in engine.map(task, recordings, died=_died):
            outcome.log()
            yield outcome
            del outcome  # and its alignment, before the next is made


def _outcome(aligner: Aligner, recording: Recording, *, out: Path, formats: Collection[str], **options: Any) -> Outcome:
    begin = time.perf_counter()
    alignment, is_new, failure = None, False, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)  # each time, not once in each process
        try:
            alignment, is_new = _align(aligner, recording, out, **options)
            for suffix in formats:
                path = out / f"{recording.name}.{suffix}"
                if is_new or not path.exists():
                    write_labels(alignment, path)
        except DependencyError:
            raise
        except (SemihmmError, OSError) as error:
            failure = str(error)
        except Exception as error:  # nothing that one recording does may stop the others
            failure = f"unexpected {type(error).__name__}: {error}"
    doubts = [("warning", f"{item.category.__name__}: {item.message}") for item in caught]
    unaligned = alignment.unaligned if alignment and failure is None else {}
    if alignment and failure is None:
        doubts += _doubts(alignment, aligner)
    done = alignment if is_new and failure is None else None
    return Outcome(recording, done, failure, unaligned, tuple(doubts), time.perf_counter() - begin)


def _doubts(alignment: Alignment, aligner: Aligner) -> Iterator[tuple[str, str]]:
    """The warnings that an alignment has, each with its kind."""
    if alignment.sample_rate and (missed := aligner.model.front_end.misses(alignment.sample_rate)):
        yield "warning", missed
    if alignment.unknown:
        yield "unknown words", ", ".join(alignment.unknown)
    for item in alignment.suspicious:
        yield "suspicious", f"{item.start:.2f}–{item.end:.2f} s {item.label}"


def _died(recording: Recording) -> Outcome:
    return Outcome(recording, failure="the process that aligned it died, perhaps for want of memory.")


def _align(
    aligner: Aligner, recording: Recording, out: Path, *, nbest: int, entropy: bool, resume: bool
) -> tuple[Alignment, bool]:
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
        "entropy": entropy,
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
    if not entropy:
        alignment = alignment.without_entropy()
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
