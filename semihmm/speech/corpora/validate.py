"""What is wrong with a corpus, before hours are spent on it."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from semihmm.audio import condition, read_audio
from semihmm.errors import DependencyError, SemihmmError
from semihmm.speech.alignment.align import Aligner
from semihmm.speech.alignment.graph import build_graph
from semihmm.speech.alignment.pronunciation import Pronunciation
from semihmm.speech.corpora.corpus import Recording
from semihmm.types import Seconds

_SLOWEST, _FASTEST = 1.0, 25.0  # phones per second: read and spontaneous speech have 8 to 18
_CLIPPED = 0.999  # of full scale
_OFTEN = 0.001


@dataclass(frozen=True)
class Finding:
    """Something about one recording.

    Args:
        name: of the recording.
        reason: what is wrong, or odd.
        fatal: whether it cannot be aligned.
    """

    name: str
    reason: str
    fatal: bool


def validate(recordings: Iterable[Recording], aligner: Aligner) -> Iterator[Finding]:
    """Look at every recording and its transcript without aligning them: an hour takes seconds.

    Fatal are the faults that `Aligner` and `find_recordings` would report. Odd are: a sample rate too low for the
    model, clipping, words that no dictionary has, text for more or less speech than there is sound.

    Args:
        recordings: as `find_recordings` returns them.
        aligner: what they are to be aligned with.

    Raises:
        DependencyError: a package is missing.

    Example:
        >>> from pathlib import Path
        >>> from semihmm.speech import Aligner, find_recordings
        >>> list(validate(find_recordings(Path("examples/data")), Aligner()))
        []
    """
    for recording in recordings:
        try:
            yield from (Finding(recording.name, reason, False) for reason in _oddities(recording, aligner))
        except DependencyError:
            raise
        except (SemihmmError, OSError) as error:
            yield Finding(recording.name, str(error), True)


def _oddities(recording: Recording, aligner: Aligner) -> Iterator[str]:
    utterances = recording.utterances()
    wave, sample_rate = read_audio(recording.audio)
    condition(wave)
    duration = len(wave) / sample_rate
    if missed := aligner.model.front_end.misses(sample_rate):
        yield missed
    clipped = float((wave.abs() >= _CLIPPED).double().mean())
    if clipped > _OFTEN:
        yield f"{100 * clipped:.1f} % of the samples are at full scale: the recording is clipped."
    unknown: dict[str, None] = {}
    for said in utterances:
        spoken = aligner.lexicon.pronounce_text(said.label, aligner.model)
        seconds = min(said.end, duration) - said.start
        front_end = aligner.model.front_end
        graph = build_graph(spoken, aligner.model, pause_probability=aligner.pause_probability)
        graph.check_length(max(int((seconds - front_end.window) * front_end.frame_rate) + 1, 0))
        unknown |= {item.word: None for item in spoken if not item.known}
        where = "" if said.end == math.inf else f"{said.start:.2f}–{said.end:.2f} s: "
        yield from (where + reason for reason in _pace(spoken, seconds))
    if unknown:
        yield f"not in the dictionary: {', '.join(unknown)}."


def _pace(spoken: Iterable[Pronunciation], seconds: Seconds) -> Iterator[str]:
    phones = sum(min(map(len, item.variants)) for item in spoken)
    if phones > _FASTEST * seconds:
        yield f"{phones} phones in {seconds:.1f} s: the text is longer than what can be said in the time."
    elif phones < _SLOWEST * seconds:
        yield f"{phones} phones in {seconds:.1f} s: does the text lack something that is said?"
