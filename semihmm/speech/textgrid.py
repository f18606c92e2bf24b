"""Praat TextGrids, read and written with praatio."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.speech.intervals import Interval, Tiers, ordered
from semihmm.speech.phones import is_silence
from semihmm.types import Seconds

# In order of preference; EMU's "Word" holds word classes and its "Text" the words.
_WORD_TIERS = ("words", "text", "orthography", "ort", "ort-mau", "word")
_PHONE_TIERS = ("phones", "phonemes", "phoneme", "phone", "segments", "mau", "phonetic")


def read_tiers(path: Path) -> dict[str, list[Interval]]:
    """Every interval tier of a TextGrid by name, pauses included as far as they are labelled.

    Raises:
        DataError: the file is not a TextGrid.
        DependencyError: ``praatio`` is not installed.
    """
    textgrid = require("praatio.textgrid", extra="speech", purpose="Reading TextGrid files")
    errors = require("praatio.utilities.errors", extra="speech", purpose="Reading TextGrid files")
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, reportingMode="silence")
        intervals = [tier for tier in grid.tiers if isinstance(tier, textgrid.IntervalTier)]
    except (errors.PraatioException, OSError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise DataError(f"read_tiers: {path} cannot be read as a Praat TextGrid ({error}).") from error
    return {tier.name: [Interval(e.start, e.end, e.label) for e in tier.entries] for tier in intervals}


def read_textgrid(path: Path, *, word_tier: str | None = None, phone_tier: str | None = None) -> Tiers:
    """The words and phones of a TextGrid.

    Args:
        path: the file, in Praat's long or short text form.
        word_tier: name of the tier with the words. Default: the first present of words, text, orthography, ort, word.
        phone_tier: name of the tier with the phones. Default: the first of phones, phonemes, phoneme, phone, segments.

    Raises:
        DataError: the file is not a TextGrid, or lacks a tier asked for by name.
    """
    tiers = read_tiers(path)

    def pick(asked: str | None, usual: Sequence[str]) -> tuple[Interval, ...] | None:
        if asked is not None and asked not in tiers:
            raise DataError(f"read_textgrid: {path} has no interval tier {asked!r}; it has {sorted(tiers)}.")
        folded = {name.lower().split(" - ")[-1]: name for name in reversed(tiers)}  # also "speaker - words"
        name = asked or next((folded[name] for name in usual if name in folded), None)
        if name is None:
            return None
        return ordered((item for item in tiers[name] if not is_silence(item.label)), str(path))

    return Tiers(words=pick(word_tier, _WORD_TIERS), phones=pick(phone_tier, _PHONE_TIERS))


def save_textgrid(path: Path, tiers: Mapping[str, Sequence[Interval]], *, duration: Seconds) -> None:
    """Write interval tiers in Praat's long text form; the time between intervals becomes empty ones.

    Args:
        path: written in place; see `semihmm._files.atomically` for doing so without half-written files.
        tiers: intervals by tier name, in order and without overlap.
        duration: of the recording; every tier spans ``[0, duration]``.
    """
    textgrid = require("praatio.textgrid", extra="speech", purpose="Writing TextGrid files")
    duration = round(duration, 9)  # to a nanosecond: neighbours must not overlap by the last bit of a float
    grid = textgrid.Textgrid(0, duration)
    for name, intervals in tiers.items():
        entries = [
            (round(item.start, 9), round(item.end, 9), item.label) for item in intervals if item.end > item.start
        ]
        grid.addTier(textgrid.IntervalTier(name, entries, 0, duration))
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)
