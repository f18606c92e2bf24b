"""Praat TextGrids: read in any of Praat's text forms, written with praatio."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.speech.files.textfile import read_text
from semihmm.speech.intervals import Interval, Tiers, ordered
from semihmm.speech.text.phones import is_pause, is_silence
from semihmm.types import Seconds

# In order of preference; EMU's "Word" holds word classes and its "Text" the words.
WORD_TIERS = ("words", "text", "orthography", "ort", "ort-mau", "word")
PHONE_TIERS = ("phones", "phonemes", "phoneme", "phone", "segments", "mau", "phonetic")

# Praat reads numbers, texts in double quotes and flags in angle brackets that stand free, and skips all else: with the
# remarks its long form, without them the short form, and whatever people write between them.
_TOKEN = re.compile(
    r'(?<!\S)(?:"(?P<text>(?:[^"]|"")*)"|<(?P<flag>\w+)>|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\S)|!.*)'
)


def read_tiers(path: Path) -> list[tuple[str, list[Interval]]]:
    """Every interval tier of a TextGrid with its name, empty intervals included. Two tiers may have one name.

    Args:
        path: the file, in Praat's long or short form, or in any other that follows its rule for free text.

    Raises:
        DataError: the file is not a TextGrid, or not all of one.
    """
    text = read_text(path)
    if "ooBinaryFile" in text[:20]:
        raise DataError(f"read_tiers: {path} is a binary TextGrid. Save it as a text file in Praat.")
    reader = _Reader(text)
    try:
        if (reader.text()[:10], reader.text()) != ("ooTextFile", "TextGrid"):
            raise _Unexpected("it does not begin with the texts 'ooTextFile' and 'TextGrid'")
        reader.number(), reader.number()
        tiers = reader.integer() if reader.flag() == "exists" else 0
        return [tier for _ in range(tiers) if (tier := _read_tier(reader)) is not None]
    except (_Unexpected, DataError) as error:
        raise DataError(f"read_tiers: {path} cannot be read as a Praat TextGrid ({error}).") from error


class _Unexpected(Exception):
    """What came where something else should be."""


class _Reader:
    """The free-standing texts, flags and numbers of a file, one after the other."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = (found for found in _TOKEN.finditer(text) if found.lastgroup)

    def text(self) -> str:
        return self._next("text").replace('""', '"')

    def flag(self) -> str:
        return self._next("flag")

    def number(self) -> float:
        value = float(self._next("number"))
        if not math.isfinite(value):
            raise _Unexpected("a number is too large")
        return value

    def integer(self) -> int:
        return int(self.number())

    def _next(self, kind: str) -> str:
        found = next(self._tokens, None)
        if found is None:
            raise _Unexpected(f"it ends where a {kind} should be")
        if found.lastgroup != kind:
            line = self._text.count("\n", 0, found.start()) + 1
            raise _Unexpected(f"line {line} has {found[0][:40]} where a {kind} should be")
        return found[kind]


def _read_tier(reader: _Reader) -> tuple[str, list[Interval]] | None:
    """The next tier; None for one of points."""
    kind, name = reader.text(), reader.text()
    reader.number(), reader.number()
    count = reader.integer()
    if kind == "TextTier":
        for _ in range(count):
            reader.number(), reader.text()
        return None
    if kind != "IntervalTier":
        raise _Unexpected(f"{kind!r} is no class of tier")
    return name.strip(), [Interval(reader.number(), reader.number(), reader.text().strip()) for _ in range(count)]


def name_and_speaker(name: str) -> tuple[str, str | None]:
    """What a tier is called and whose it is, in MFA's convention.

    Example:
        >>> name_and_speaker("Ann - words"), name_and_speaker("Words")
        (('words', 'Ann'), ('Words', None))
    """
    speaker, _, rest = name.rpartition(" - ")
    return rest.strip(), speaker.strip() or None


def read_textgrid(path: Path, *, word_tier: str | None = None, phone_tier: str | None = None) -> Tiers:
    """The words and phones of a TextGrid.

    Tiers that differ in the speaker alone (``Ann - words``, ``Bob - words``) are read as one, in order of time.

    Args:
        path: the file, in any of Praat's text forms.
        word_tier: name of the tier with the words. Default: the first present of words, text, orthography, ort, word.
        phone_tier: name of the tier with the phones. Default: the first of phones, phonemes, phoneme, phone, segments.

    Raises:
        DataError: the file is not a TextGrid, or lacks a tier asked for by name, or has two of that name.
    """
    tiers = read_tiers(path)

    def pick(asked: str | None, usual: Sequence[str], pause: Callable[[str], bool]) -> tuple[Interval, ...] | None:
        if asked is None:
            kinds = [name_and_speaker(name)[0].lower() for name, _ in tiers]
            wanted = next((kind for kind in usual if kind in kinds), None)
            chosen = [tier for tier, kind in zip(tiers, kinds, strict=True) if kind == wanted]
        else:
            chosen = [tier for tier in tiers if tier[0] == asked]
            if not chosen:
                names = sorted(name for name, _ in tiers)
                raise DataError(f"read_textgrid: {path} has no interval tier {asked!r}; it has {names}.")
        if not chosen:
            return None
        twice = [name for name, count in Counter(name for name, _ in chosen).items() if count > 1]
        if twice:
            raise DataError(f"read_textgrid: {path} has two tiers {twice[0]!r}. Rename one of them, or choose another.")
        found = [
            replace(item, speaker=name_and_speaker(name)[1] if len(chosen) > 1 else None)
            for name, items in chosen
            for item in ordered(items, str(path))
            if not pause(item.label)
        ]
        return tuple(sorted(found, key=lambda item: item.start))

    return Tiers(words=pick(word_tier, WORD_TIERS, is_pause), phones=pick(phone_tier, PHONE_TIERS, is_silence))


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
