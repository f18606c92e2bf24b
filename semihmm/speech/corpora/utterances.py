"""Aligning the utterances of a recording, each in its own stretch."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from heapq import nlargest
from statistics import fmean

from torch import Tensor

from semihmm.errors import DataError, DependencyError, SemihmmError
from semihmm.speech.alignment.align import Aligner
from semihmm.speech.files.results import Alignment, Alternative
from semihmm.speech.intervals import Interval
from semihmm.types import Hertz, Seconds


def align_utterances(
    aligner: Aligner, wave: Tensor, sample_rate: Hertz, utterances: Sequence[Interval], *, nbest: int = 0
) -> Alignment:
    """Align each utterance with its stretch of a recording.

    Args:
        aligner: does the work.
        wave: ``(N,)`` samples of the whole recording.
        sample_rate: of ``wave``.
        utterances: at least one, in order of time, each speaker's without overlap
            (`semihmm.speech.corpora.segments.in_lanes`). One without end is said in all of the recording.
        nbest: how many of the best paths, through all utterances together, to return.

    Returns:
        One alignment with the times of the whole recording, whose words and phones have the speakers of their
        utterances. It lists what could not be aligned, and why.

    Raises:
        DataError: no utterance could be aligned.
    """
    if utterances[0].end == math.inf:
        return aligner(wave, sample_rate, utterances[0].label, nbest=nbest)
    duration = len(wave) / sample_rate
    parts: list[Alignment] = []
    unaligned: dict[str, str] = {}
    for said in utterances:
        first, last = (round(min(time, duration) * sample_rate) for time in (said.start, said.end))
        try:
            if (said.start + said.end) / 2 >= duration:
                raise DataError(
                    f"most of it is after the recording, which ends at {duration:.3f} s. Are these seconds?"
                )
            part = aligner(wave[first:last], sample_rate, said.label, nbest=nbest)
        except DependencyError:
            raise
        except SemihmmError as error:
            who = f"{said.speaker} " if said.speaker else ""
            unaligned[f"{who}{said.start:.3f}–{said.end:.3f} s"] = str(error)
        else:
            parts.append(_placed(part, first / sample_rate, duration, said.speaker))
    if not parts:
        stretch, reason = next(iter(unaligned.items()))
        raise DataError(f"none of its {len(utterances)} utterances can be aligned. {stretch}: {reason}")
    words = _in_order(word for part in parts for word in part.words)
    matches = [word.match for word in words if word.match is not None]
    free = [part.free_log_likelihood for part in parts if part.free_log_likelihood is not None]
    return Alignment(
        " ".join(said.label for said in utterances),
        duration,
        words,
        _in_order(phone for part in parts for phone in part.phones),
        frames=sum(part.frames for part in parts),
        log_likelihood=sum(part.log_likelihood for part in parts),
        free_log_likelihood=sum(free) if free else None,
        match=fmean(matches) if matches else None,
        suspicious=_in_order(stretch for part in parts for stretch in part.suspicious),
        unknown={word: phones for part in parts for word, phones in part.unknown.items()},
        alternatives=_together([part.alternatives for part in parts], nbest),
        tokens=tuple(token for part in parts for token in part.tokens),
        unaligned=unaligned,
        sample_rate=sample_rate,
        pauses=_in_order(pause for part in parts for pause in part.pauses),
    )


def _placed(part: Alignment, start: Seconds, duration: Seconds, speaker: str | None) -> Alignment:
    """An utterance's alignment in the time of the whole recording."""

    def move(items: Iterable[Interval]) -> tuple[Interval, ...]:
        return tuple(
            replace(item, start=min(item.start + start, duration), end=min(item.end + start, duration), speaker=speaker)
            for item in items
        )

    tokens = (
        token
        if token.start is None or token.end is None
        else replace(token, start=min(token.start + start, duration), end=min(token.end + start, duration))
        for token in part.tokens
    )
    alternatives = (Alternative(item.log_prob, move(item.words), move(item.phones)) for item in part.alternatives)
    return replace(
        part,
        words=move(part.words),
        phones=move(part.phones),
        suspicious=move(part.suspicious),
        pauses=move(part.pauses),
        alternatives=tuple(alternatives),
        tokens=tuple(replace(token, speaker=speaker) for token in tokens),
    )


def _together(parts: Sequence[Sequence[Alternative]], nbest: int) -> tuple[Alternative, ...]:
    """The best combinations of independent utterances' alternatives: those of the first few, with the next one's."""
    best = [Alternative(0.0, (), ())]
    for alternatives in parts:
        joined = (
            Alternative(a.log_prob + b.log_prob, _in_order(a.words + b.words), _in_order(a.phones + b.phones))
            for a in best
            for b in alternatives
        )
        best = nlargest(nbest, joined, key=lambda item: item.log_prob)
    return tuple(best)


def _in_order(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    return tuple(sorted(intervals, key=lambda item: item.start))
