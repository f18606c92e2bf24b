"""Aligning a whole corpus: one result per recording, whatever is wrong with some of them."""

import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semihmm.audio import read_audio
from semihmm.errors import DependencyError, SemihmmError
from semihmm.speech.align import Aligner
from semihmm.speech.corpus import Recording
from semihmm.speech.intervals import Interval
from semihmm.speech.results import Alignment, is_finished
from semihmm.speech.transcript import words_of
from semihmm.types import Seconds


@dataclass(frozen=True)
class Outcome:
    """What became of one recording.

    Args:
        recording: which one.
        alignment: the result; None if it failed, or was finished before.
        failure: why it could not be aligned; None if it could.
        seconds: time spent on it.
    """

    recording: Recording
    alignment: Alignment | None = None
    failure: str | None = None
    seconds: Seconds = 0.0

    @property
    def resumed(self) -> bool:
        """Whether it was finished by an earlier run and left alone."""
        return self.alignment is None and self.failure is None


@dataclass(frozen=True)
class Summary:
    """A run in numbers.

    Args:
        aligned: recordings aligned now.
        resumed: recordings left alone, as an earlier run had finished them.
        failures: reasons by name.
        audio: seconds of audio aligned now.
        spent: seconds spent on all of it.
        frames: number of feature vectors aligned now.
        log_likelihood: of them all, in nats.
        suspicious: what to listen to, by recording, those with the lowest match first.
        unknown: how often each word without a dictionary entry occurred.
    """

    aligned: int
    resumed: int
    failures: dict[str, str]
    audio: Seconds
    spent: Seconds
    frames: int
    log_likelihood: float
    suspicious: dict[str, tuple[Interval, ...]]
    unknown: Counter[str]

    @classmethod
    def of(cls, outcomes: Iterable[Outcome]) -> "Summary":
        """Add up the outcomes of a run."""
        items = list(outcomes)
        aligned = {item.recording.name: item.alignment for item in items if item.alignment is not None}
        done = list(aligned.values())
        doubtful = sorted((item.match or 0.0, name) for name, item in aligned.items() if item.suspicious)
        return cls(
            aligned=len(done),
            resumed=sum(item.resumed for item in items),
            failures={item.recording.name: item.failure for item in items if item.failure is not None},
            audio=sum(item.duration for item in done),
            spent=sum(item.seconds for item in items),
            frames=sum(item.frames for item in done),
            log_likelihood=sum(item.log_likelihood for item in done),
            suspicious={name: aligned[name].suspicious for _, name in doubtful},
            unknown=Counter(word.label for item in done for word in item.words if word.label in item.unknown),
        )


def result_paths(out: Path, recording: Recording) -> tuple[Path, Path]:
    """Where a recording's TextGrid and JSON go: the corpus's folders, repeated under ``out``."""
    return out / f"{recording.name}.TextGrid", out / f"{recording.name}.json"


def align_recordings(
    aligner: Aligner, recordings: Iterable[Recording], out: Path, *, nbest: int = 0, resume: bool = False
) -> Iterator[Outcome]:
    """Align recordings one after the other, writing each result as soon as it is there.

    A recording that cannot be aligned gives an outcome with the reason, and the next one is taken.

    Args:
        aligner: does the work.
        recordings: as `find_recordings` returns them.
        out: folder for the results; made as needed.
        nbest: number of alternatives to write with each.
        resume: leave alone what an earlier run with the same options has finished.

    Raises:
        DependencyError: a package is missing, which no recording is to blame for.
    """
    for recording in recordings:
        begin = time.perf_counter()
        try:
            alignment = _align(aligner, recording, out, nbest=nbest, resume=resume)
        except DependencyError:
            raise
        except (SemihmmError, OSError) as error:
            yield Outcome(recording, failure=str(error), seconds=time.perf_counter() - begin)
        else:
            yield Outcome(recording, alignment, seconds=time.perf_counter() - begin)


def _align(aligner: Aligner, recording: Recording, out: Path, *, nbest: int, resume: bool) -> Alignment | None:
    """The alignment, written to its files; None if it was finished already."""
    paths = result_paths(out, recording)
    text = recording.transcript()
    options: dict[str, Any] = {
        "model": aligner.model.name,
        "pause_probability": aligner.pause_probability,
        "extra_speech": aligner.extra_speech,
        "nbest": nbest,
        "text": text,
        "pronunciations": zlib.crc32(repr([aligner.lexicon.pronounce(word) for word in words_of(text)]).encode()),
        "audio_bytes": recording.audio.stat().st_size,
    }
    if resume and is_finished(*paths, options=options):
        return None
    wave, sample_rate = read_audio(recording.audio)
    alignment = aligner(wave, sample_rate, text, nbest=nbest)
    alignment.save(*paths, options=options)
    return alignment
