"""What a page shows of one recording: tiers to look at and to correct, alternatives, and how far to trust them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from semihmm.speech.files.results import Alignment, Alternative
from semihmm.speech.files.textgrid import name_and_speaker
from semihmm.speech.intervals import Interval
from semihmm.speech.view.posteriorgram import Posteriorgram
from semihmm.types import Seconds

_SHORTEST = 1e-8  # seconds: what TextGrids leave out


@dataclass(frozen=True)
class Sheet:
    """One recording, its alignment, and what else a page can show of it.

    Args:
        name: of the recording; what the corrected TextGrid is called.
        alignment: the result.
        tiers: of the TextGrid beside it, which somebody may have corrected. Default: those of the alignment.
        sound: from `semihmm.speech.view.sound`; None if there is none.
        posteriors: when each phone was probably said, where the aligner was asked.
        notes: what the reader should know of this page.
    """

    name: str
    alignment: Alignment
    tiers: Sequence[tuple[str, Sequence[Interval]]] | None = None
    sound: Mapping[str, Any] | None = None
    posteriors: Posteriorgram | None = None
    notes: tuple[str, ...] = ()

    def content(self) -> dict[str, Any]:
        """Everything, as JSON has it. Times are in seconds, to a nanosecond, as in TextGrids."""
        alignment = self.alignment
        tiers = self.tiers if self.tiers is not None else list(alignment.tiers().items())
        found = {"words": alignment.words, "phones": alignment.phones}
        return {
            "name": self.name,
            "text": alignment.text,
            "duration": round(alignment.duration, 9),
            "tiers": [
                _tier(name, items, found.get(name_and_speaker(name)[0].lower(), ()), alignment.duration)
                for name, items in tiers
            ],
            "alternatives": [
                {"log_prob": item.log_prob, "phones": [_edges(phone) for phone in item.phones]}
                for item in _readings(alignment.alternatives)
            ],
            "suspicious": [_edges(item) for item in alignment.suspicious],
            "posteriors": self.posteriors.content() if self.posteriors else None,
            "sound": self.sound,
            "notes": [*self.notes, *(f"Not aligned: {when}: {why}" for when, why in alignment.unaligned.items())],
        }

    def row(self, address: str) -> dict[str, Any]:
        """What an overview says of it.

        Args:
            address: of the page, relative to the overview.
        """
        alignment = self.alignment
        sure = [word.confidence for word in alignment.words if word.confidence is not None]
        return {
            "name": self.name,
            "address": address,
            "duration": alignment.duration,
            "match": alignment.match,
            "confidence": fmean(sure) if sure else None,
            "suspicious": len(alignment.suspicious) + len(alignment.unaligned),
            "per_frame": alignment.log_likelihood / alignment.frames if alignment.frames else None,
        }


def _readings(alternatives: Iterable[Alternative]) -> list[Alternative]:
    """Those that are seen to differ: fillers that nobody hears make no difference to the phones."""
    found: dict[tuple[str, ...], Alternative] = {}
    for item in alternatives:
        found.setdefault(tuple(phone.label for phone in item.phones), item)
    return list(found.values())


def _tier(name: str, items: Sequence[Interval], found: Iterable[Interval], duration: Seconds) -> dict[str, Any]:
    """Intervals without gaps, each with the aligner's figures where it is as the aligner had it."""
    figures = {(round(item.start, 9), round(item.end, 9), item.label): _figures(item) for item in found}
    tiled: list[list[Any]] = []
    end = 0.0
    for item in (*items, Interval(duration, duration, "")):
        start = round(item.start, 9)
        if start - end >= _SHORTEST:
            tiled.append([round(end, 9), start, "", None])
        if item.end - item.start >= _SHORTEST:
            key = (round(item.start, 9), round(item.end, 9), item.label)
            tiled.append([start, round(item.end, 9), item.label, figures.get(key)])
        end = max(end, round(item.end, 9))
    kind, speaker = name_and_speaker(name)
    return {"name": name, "kind": kind.lower(), "speaker": speaker, "items": tiled}


def _figures(item: Interval) -> dict[str, float]:
    """Confidence, match, standard deviations and entropy, as far as they are known, to four digits."""
    names = ("confidence", "match", "start_sd", "end_sd", "entropy")
    return {name: float(f"{value:.4g}") for name in names if (value := getattr(item, name)) is not None}


def _edges(item: Interval) -> list[Any]:
    return [round(item.start, 4), round(item.end, 4), item.label]
