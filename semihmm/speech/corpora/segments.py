"""Utterances and their times: TextGrid, ELAN, subtitles, recognisers' JSON, tables, Audacity's labels."""

import html
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree.ElementTree import Element

from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.speech.corpora.tables import as_seconds, read_table
from semihmm.speech.files.textfile import read_text
from semihmm.speech.files.textgrid import PHONE_TIERS, WORD_TIERS, name_and_speaker, read_tiers
from semihmm.speech.intervals import Interval
from semihmm.speech.text.phones import is_pause
from semihmm.types import Seconds

SEGMENT_SUFFIXES = (".textgrid", ".eaf", ".srt", ".vtt", ".csv", ".tsv", ".json")
"""What `read_segments` reads, in order of preference."""

LONGEST_GAP: Seconds = 0.5
"""Up to which pause labels of single words are one utterance."""

_TOUCHING: Seconds = 0.01  # by how little utterances may overlap and still count as one after the other

_LONGEST_WORD: Seconds = 100.0  # with all pauses around it; in milliseconds, words take 200 and more

_UTTERANCE_TIERS = "transcription transcript utterances utterance sentences sentence phrases phrase ipu".split()
_NOT_SPOKEN = {*PHONE_TIERS, *"notes note comments comment misc events gloss glosses translation pos tones".split()}
_NOT_SPOKEN |= {*"breaks syll syllables syllable stress accents states".split()}

# How diarising recognisers mark who speaks, within a subtitle's text.
_SPEAKER = re.compile(r"^(?:\[(?P<bracketed>[^\]:]+)\]|(?P<bare>SPEAKER_\d+)):\s+")
_STYLE = re.compile(r"<[^>]*>|\{\\[^}]*\}")
_TIME = r"\s*\d+:\d{1,2}:\d{1,2}[,.]\d{3}\s*"
_CUE = re.compile(rf"{_TIME}-->{_TIME}([^\s:]+:\S+(\s+[^\s:]+:\S+)*\s*)?")
_AUDACITY = re.compile(r"\d+[.,]\d+\t\d+[.,]\d+(\t.*)?|\\\t.*")


@dataclass(frozen=True)
class Tier:
    """A tier of an annotation, and whose it is where its name or the file says so."""

    name: str
    speaker: str | None
    intervals: Sequence[Interval]


def read_segments(path: Path) -> list[Interval]:
    """What is said when in one recording, in order of time; by several speakers, if the file tells them apart.

    Raises:
        DataError: the file cannot be read, or its format is not known by its ending.
        DependencyError: the package that reads it is not installed.
    """
    kind = path.suffix.lower()
    if kind == ".textgrid":
        return utterances_of(Tier(*name_and_speaker(name), intervals) for name, intervals in read_tiers(path))
    if kind == ".eaf":
        return utterances_of(_read_eaf(path))
    if kind in (".srt", ".vtt"):
        return in_lanes(_read_cues(path))
    if kind == ".json":
        return in_lanes(_read_json(path))
    return utterances_of(_read_table(path))


def is_audacity(text: str) -> bool:
    """Whether a text is a label track of Audacity's: lines of a start, an end and a label, separated by tabs."""
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and all(map(_AUDACITY.fullmatch, lines))


def utterances_of(tiers: Iterable[Tier]) -> list[Interval]:
    """The utterances of an annotation.

    They are those of the tiers for utterances or, without such, for words, by their usual names; in a file without
    either, of every tier, which then is named after its speaker, but for tiers of phones or notes. Single words that
    follow each other are joined to utterances.

    Example:
        >>> tiers = [Tier("Ann", None, [Interval(0, 1, "hello there")]), Tier("Bob", None, [Interval(1, 2, "hi")])]
        >>> [(item.speaker, item.label) for item in utterances_of(tiers)]
        [('Ann', 'hello there'), ('Bob', 'hi')]
    """
    spoken = [
        replace(tier, intervals=said)
        for tier in tiers
        if tier.name.lower() not in _NOT_SPOKEN
        and (said := [item for item in tier.intervals if not is_pause(item.label)])
    ]
    names = {tier.name.lower() for tier in spoken}
    usual = next((name for name in (*_UTTERANCE_TIERS, *WORD_TIERS) if name in names), None)
    found: list[Interval] = []
    for tier in spoken:
        if usual in (None, tier.name.lower()):
            speaker = tier.speaker or (tier.name or None if usual is None else None)
            said = [replace(item, speaker=speaker) for item in sorted(tier.intervals, key=_start)]
            found += join_words(said) if usual in WORD_TIERS else said
    return in_lanes(found)


def join_words(items: Sequence[Interval]) -> list[Interval]:
    """Utterances in place of single words, if most of the intervals are such: across gaps of at most `LONGEST_GAP`."""
    if 2 * sum(len(item.label.split()) == 1 for item in items) <= len(items):
        return list(items)
    joined: list[Interval] = []
    for item in items:
        if joined and item.start - joined[-1].end <= LONGEST_GAP:
            end = max(item.end, joined[-1].end)
            joined[-1] = replace(joined[-1], end=end, label=f"{joined[-1].label} {item.label}")
        else:
            joined.append(item)
    return joined


def in_lanes(utterances: Iterable[Interval]) -> list[Interval]:
    """The utterances in order of time, each speaker's without overlap: what overlaps gets a speaker of its own.

    Example:
        >>> [item.speaker for item in in_lanes([Interval(0, 2, "a"), Interval(1, 3, "b"), Interval(2, 4, "c")])]
        [None, '2', None]
    """
    lanes: dict[str | None, list[Seconds]] = {}
    placed = []
    for item in sorted(utterances, key=_start):
        ends = lanes.setdefault(item.speaker, [])
        lane = next((lane for lane, end in enumerate(ends) if end <= item.start + _TOUCHING), len(ends))
        if lane < len(ends):
            item = replace(item, start=min(max(item.start, ends[lane]), item.end))
        ends[lane : lane + 1] = [item.end]
        if lane:
            item = replace(item, speaker=f"{item.speaker} {lane + 1}" if item.speaker else str(lane + 1))
        placed.append(item)
    if len({item.speaker for item in placed}) == 1:
        placed = [replace(item, speaker=None) for item in placed]
    return placed


def _start(item: Interval) -> Seconds:
    return item.start


def _read_eaf(path: Path) -> list[Tier]:
    """The tiers of an ELAN file that depend on no other."""
    trees = require("defusedxml.ElementTree", extra="speech", purpose="Reading ELAN files")
    try:
        root = trees.fromstring(path.read_bytes())
    except (OSError, SyntaxError, ValueError, LookupError) as error:  # a ParseError is a SyntaxError
        raise DataError(f"{path} cannot be read as an ELAN file ({error}).") from error
    if root.tag != "ANNOTATION_DOCUMENT":
        raise DataError(f"{path} cannot be read as an ELAN file (it is a {root.tag}).")
    slots = {slot.get("TIME_SLOT_ID"): slot.get("TIME_VALUE", "") for slot in root.iter("TIME_SLOT")}

    def time(annotation: Element, which: str) -> Seconds:
        value = slots.get(annotation.get(which), "")
        if not re.fullmatch(r"\d{1,15}", value, re.ASCII):
            raise DataError(f"{path}: annotation {annotation.get('ANNOTATION_ID')} has no {which} with a time.")
        return int(value) / 1000

    tiers = []
    for tier in root.iter("TIER"):
        if tier.get("PARENT_REF"):
            continue
        kind, _, speaker = tier.get("TIER_ID", "").partition("@")
        intervals = [
            Interval(
                time(item, "TIME_SLOT_REF1"),
                time(item, "TIME_SLOT_REF2"),
                item.findtext("ANNOTATION_VALUE", "").strip(),
            )
            for item in tier.iter("ALIGNABLE_ANNOTATION")
        ]
        tiers.append(Tier(kind.strip(), tier.get("PARTICIPANT") or speaker or None, intervals))
    return tiers


def _read_cues(path: Path) -> list[Interval]:
    """The cues of an SRT or WebVTT file."""
    webvtt = require("webvtt", extra="speech", purpose="Reading subtitles")
    text = read_text(path).removeprefix("\ufeff").strip()
    kind = path.suffix.lower()[1:]
    try:
        captions = webvtt.WebVTT.from_buffer(io.StringIO(text), format=kind, strict=True).captions
    except (webvtt.errors.MalformedFileError, webvtt.errors.MalformedCaptionError) as error:
        raise DataError(f"{path} cannot be read as {kind.upper()} subtitles ({error}).") from error
    if kind == "srt":
        _check_srt(path, text, len(captions))
    cues = []
    for caption in captions:
        said = html.unescape(_STYLE.sub("", caption.text)).strip()
        speaker = _SPEAKER.match(said)
        if speaker:
            said = said[speaker.end() :]
        name = caption.voice or (speaker and (speaker["bracketed"] or speaker["bare"])) or None
        start, end = (time.in_milliseconds() / 1000 for time in (caption.start_time, caption.end_time))
        if said:
            cues.append(Interval(start, end, " ".join(said.split()), speaker=name))
    return cues


def _check_srt(path: Path, text: str, captions: int) -> None:
    """The library passes over what it cannot read; nobody's words shall be."""
    lines = text.splitlines()
    timings = [number for number, line in enumerate(lines, 1) if "-->" in line]
    for number in timings:
        if not _CUE.fullmatch(lines[number - 1]):
            raise DataError(f"{path} cannot be read as SRT subtitles: line {number} holds no two times.")
    silent = sum(not "".join(lines[number : number + 1]).strip() for number in timings)
    if captions + silent < len(timings):
        raise DataError(f"{path} cannot be read as SRT subtitles: a line of times has no number above it.")


def _read_json(path: Path) -> list[Interval]:
    """The segments that a recogniser found: Whisper's, WhisperX's, whisper.cpp's."""
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}).") from error
    of_cpp = isinstance(content, dict) and "transcription" in content
    found = content.get("transcription" if of_cpp else "segments") if isinstance(content, dict) else content
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise DataError(f"{path} is no transcript: it has no list 'segments' of objects with start, end and text.")
    said = []
    for number, item in enumerate(found, 1):
        times = item.get("offsets") if of_cpp else item
        start, end = ("from", "to") if of_cpp else ("start", "end")
        text, speaker = item.get("text"), item.get("speaker")
        try:
            if not isinstance(times, dict) or not isinstance(text, str):
                raise DataError("it has no times, or no text")
            unit = 1000 if of_cpp else 1
            interval = Interval(as_seconds(times.get(start)) / unit, as_seconds(times.get(end)) / unit, text.strip())
        except DataError as error:
            raise DataError(f"{path}: segment {number} cannot be used: {error}") from error
        if interval.label:
            said.append(replace(interval, speaker=str(speaker) if speaker else None))
    return said


def _in_milliseconds(said: Sequence[Interval]) -> bool:
    """Whether times are Whisper's: whole numbers, of which seconds would be too long for what is said."""
    whole = all(item.start.is_integer() and item.end.is_integer() for item in said)
    words = sum(len(item.label.split()) for item in said)
    return whole and words * _LONGEST_WORD < sum(item.end - item.start for item in said)


def _read_table(path: Path) -> list[Tier]:
    """A tier for each speaker of a table with columns for start, end and text, or of Audacity's labels."""
    rows = [row for row in read_table(path) if isinstance(row.said, Interval) or row.problem]
    wrong = next((row for row in rows if row.problem), None)
    if wrong or not rows:
        reason = f"line {wrong.line}: {wrong.problem}" if wrong else "no columns for start, end and text"
        raise DataError(f"{path} cannot be read as utterances with times ({reason}).")
    said = [row.said for row in rows if isinstance(row.said, Interval)]
    if _in_milliseconds(said):
        said = [replace(item, start=item.start / 1000, end=item.end / 1000) for item in said]
    tiers: dict[str | None, list[Interval]] = defaultdict(list)
    for item in said:
        tiers[item.speaker].append(item)
    return [Tier(speaker or "", None, said) for speaker, said in tiers.items()]
