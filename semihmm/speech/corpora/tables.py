"""Lists of transcripts: tables in the layouts that people have, manifests, LibriSpeech's lists, NIST's STM and CTM."""

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from semihmm.errors import DataError
from semihmm.speech.files.textfile import read_lines
from semihmm.speech.intervals import Interval
from semihmm.types import Seconds

# The names that columns have, in order of preference.
_ID = """audio_file audio_path audio_filepath audio file_name filename file filepath file_path path wav_filename
wav_file wav_path wav sound clip recording utt_id utterance_id segment_id id key name""".split()
_NORMALISED = [
    order
    for how in ("normalized", "normalised", "clean", "cleaned")
    for what in ("text", "transcription", "transcript", "sentence")
    for order in (how, f"{how}_{what}", f"{what}_{how}")
]
_TEXT = "text transcript transcription sentence utterance orthography".split()
_RAW = [f"raw_{name}" for name in _TEXT]
_SPEAKER = "speaker speaker_name speaker_id spk client_id participant tier".split()
_START = "start start_time begin begin_time onset xmin tmin".split()
_END = "end end_time stop stop_time offset xmax tmax".split()

_LONGEST = 131_072  # characters of one line's text, far more than anybody says in one breath
_LONGEST_TIME: Seconds = 1e9
_LONGEST_NAME = 4096  # of a path, in most systems
_ALTERNATIVES = re.compile(r"\{([^/{}]*)/[^{}]*\}")  # STM: { what was said / what else counts as right }
_NOT_SCORED = "ignore_time_segment_in_scoring"


@dataclass(frozen=True)
class Row:
    """One line of a list.

    Args:
        line: its number, from 1.
        name: what it says of which recording; nothing where that cannot be known.
        said: the transcript, as an interval where the line says when it is said.
        problem: why the line cannot be used; None if it can.
    """

    line: int
    name: str = ""
    said: str | Interval = ""
    problem: str | None = None


def read_trans(path: Path) -> Iterator[Row]:
    """The lines ``id text`` of a list in LibriSpeech's manner.

    Raises:
        DataError: the file cannot be read.
    """
    for number, line in _lines(path):
        if line is None:
            yield _undecodable(number)
        else:
            name, text = [*line.split(maxsplit=1), ""][:2]
            yield _row(number, name, text.strip())


def read_kss(path: Path) -> Iterator[Row]:
    """The lines ``path|as written|read out|in letters|seconds|English`` of the Korean Single Speaker dataset's list.

    The text is the one in which numbers are read out.

    Raises:
        DataError: the file cannot be read.
    """
    for number, line in _lines(path):
        if line is None:
            yield _undecodable(number)
            continue
        name, *texts = [cell.strip() for cell in line.split("|")]
        if len(texts) < 4:
            yield Row(number, name, problem=f"it has {1 + len(texts)} columns, and KSS's list at least 5")
        else:
            yield _row(number, name, texts[1])


def read_stm(path: Path) -> Iterator[Row]:
    """The lines ``recording channel speaker start end [<label>] text`` of an STM file.

    Raises:
        DataError: the file cannot be read.
    """
    for number, line in _lines(path, comment=";;"):
        if line is None:
            yield _undecodable(number)
            continue
        name, _channel, speaker, start, end, text = [*line.split(maxsplit=5), *[""] * 5][:6]
        text = re.sub(r"^<[^>]*>\s*", "", text)
        if text.strip().lower() != _NOT_SCORED:
            yield _timed(number, name, start, end, _ALTERNATIVES.sub(r"\1", text), speaker)


def read_ctm(path: Path) -> Iterator[Row]:
    """The lines ``recording channel start duration word [confidence type speaker]`` of a CTM file.

    Of alternatives, the first is taken.

    Raises:
        DataError: the file cannot be read.
    """
    skipping = False
    for number, line in _lines(path, comment=";;"):
        if line is None:
            yield _undecodable(number)
            continue
        name, _channel, start, duration, word, _confidence, _kind, speaker = [*line.split(), *[""] * 8][:8]
        if word.upper() in ("<ALT_BEGIN>", "<ALT>", "<ALT_END>"):
            skipping = word.upper() == "<ALT>"
        elif not skipping:
            try:
                end = str(_seconds(start) + _seconds(duration))
            except DataError as error:
                yield Row(number, name, problem=str(error))
            else:
                yield _timed(number, name, start, end, word, speaker)


def read_manifest(path: Path) -> Iterator[Row]:
    """The lines of a manifest in NeMo's manner: a JSON object for each recording or, with an ``offset``, utterance.

    Raises:
        DataError: the file cannot be read, or is one list rather than lines.
    """
    for number, line in _lines(path):
        if line is None:
            yield _undecodable(number)
            continue
        if number == 1 and line.lstrip().startswith("["):
            raise DataError(f"{path} is a list in JSON, and should have a line with an object for each recording.")
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Row(number, problem=f"it is not JSON ({error})")
            continue
        yield _entry(number, entry) if isinstance(entry, dict) else Row(number, problem="it is no object of JSON")


def _entry(number: int, entry: dict[str, Any]) -> Row:
    """A line of a manifest."""

    def find(*usual: str) -> Any:
        return next((entry[name] for name in usual if entry.get(name) is not None), "")

    name, text, speaker = find(*_ID), find(*_NORMALISED, *_TEXT, *_RAW), find(*_SPEAKER)
    if not isinstance(name, str):
        return Row(number, problem=f"its recording is {name!r}, and should be a text")
    if not isinstance(text, str):
        return Row(number, name, problem=f"its text is {text!r:.40}")
    if "offset" not in entry:
        return _row(number, name, text.strip())
    try:
        start, duration = as_seconds(entry["offset"]), as_seconds(find("duration"))
        said = Interval(start, start + duration, text.strip(), speaker=str(speaker) or None)
    except DataError as error:
        return Row(number, name, problem=str(error))
    return _row(number, name, said)


def as_seconds(value: Any) -> Seconds:
    """A time that JSON has.

    Raises:
        DataError: it is no number, or less than 0, or more than any recording has.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= _LONGEST_TIME:
        raise DataError(f"{value!r:.40} is no time. Times are in seconds, or like 0:00:12.5.")
    return float(value)


def read_table(
    path: Path, *, exists: Callable[[str], bool] = lambda name: False, text_column: str | None = None
) -> list[Row]:
    """The lines of a table of transcripts, separated by ``|``, tabs or commas.

    Where the first line names columns, they are found by their names. Without names, the first column is the
    recording. The text is the only other column that has more than one word in a cell, so that no speaker, language
    or number is taken for it; or, of two such columns beside each other that mostly say the same, the second, and the
    first where that is empty (LJSpeech: the text as written, and read out).

    Args:
        path: the table.
        exists: whether there is a recording of a name; a first line that names one holds no names of columns.
        text_column: name or number, from 1, of the column with the text.

    Raises:
        DataError: the file cannot be read, or ``text_column`` is not in it, or it must be given.
    """
    lines = list(_lines(path, comment="\\"))  # Audacity continues a label's line with one that begins so
    first = next((line for _, line in lines if line is not None), "")
    delimiter = next((mark for mark in "|\t" if mark in first), ",")
    rows: list[Row | tuple[int, list[str]]] = [_cells(number, line, delimiter) for number, line in lines]
    table = [cells for row in rows if isinstance(row, tuple) for cells in [row[1]]]
    if not table:
        return [row for row in rows if isinstance(row, Row)]
    layout = _Layout.of(table, exists, text_column, path)
    if layout.named:
        del rows[next(i for i, row in enumerate(rows) if isinstance(row, tuple))]
    return [row if isinstance(row, Row) else layout.row(*row) for row in rows]


@dataclass(frozen=True)
class _Layout:
    """Which columns of a table hold what.

    Args:
        width: number of columns.
        name: of the recording; None if the table is of one.
        texts: of the text, in order of preference: the first that is not empty.
        times: of start and end, if it says them.
        speaker: whose utterance it is.
        named: whether the first line names the columns.
    """

    width: int
    name: int | None
    texts: tuple[int, ...]
    times: tuple[int, int] | None = None
    speaker: int | None = None
    named: bool = False

    @classmethod
    def of(
        cls, table: Sequence[Sequence[str]], exists: Callable[[str], bool], text_column: str | None, path: Path
    ) -> "_Layout":
        head = [re.sub(r"[\s\-]+", "_", cell.strip().lower()) for cell in table[0]]

        def find(*usual: str) -> int | None:
            return next((head.index(name) for name in usual if name in head), None)

        name, start, end = find(*_ID), find(*_START), find(*_END)
        of_one = start is not None and end is not None and find(*_TEXT) is not None
        if not of_one and (name is None or exists(table[0][name].strip())):
            if all(map(_is_time, table[0][:2])) and len(table[0]) > 2:
                return cls(max(map(len, table)), None, (2,), (0, 1), 3)
            texts = _asked(text_column, None, table[0], path) or _guessed(table, path)
            return cls(max(map(len, table)), 0, texts)
        texts = _asked(text_column, head, table[0], path) or _named(head)
        if not texts:
            raise DataError(_which(table[0], path))
        times = (start, end) if start is not None and end is not None else None
        return cls(len(head), name, texts, times, find(*_SPEAKER), named=True)

    def row(self, number: int, cells: list[str]) -> Row:
        name = cells[self.name].strip() if self.name is not None and self.name < len(cells) else ""
        if len(cells) > self.width:
            return Row(number, name, problem=f"it has {len(cells)} columns, and the table {self.width}: quote its text")
        cells = [cell.strip() for cell in cells] + [""] * (self.width + 1 - len(cells))
        text = next((cells[column] for column in self.texts if cells[column]), "")
        if self.times is None:
            return _row(number, name, text)
        start, end = (cells[column] for column in self.times)
        return _timed(number, name, start, end, text, "" if self.speaker is None else cells[self.speaker])


def _asked(text_column: str | None, head: Sequence[str] | None, first: Sequence[str], path: Path) -> tuple[int, ...]:
    """The column that the user named, or none."""
    if text_column is None:
        return ()
    wanted = text_column.strip().lower()
    if head is not None and wanted in (names := [cell.strip().lower() for cell in first]):
        return (names.index(wanted),)
    if wanted.isdecimal() and 0 < int(wanted) <= len(first):
        return (int(wanted) - 1,)
    raise DataError(f"{path} has no column {text_column!r} for the text. {_columns(first)}")


def _named(head: Sequence[str]) -> tuple[int, ...]:
    """The text columns of a table that names them; none where that leaves a choice."""
    kinds = [[i for i, name in enumerate(head) if name in names] for names in (_NORMALISED, _TEXT, _RAW)]
    return () if any(len(columns) > 1 for columns in kinds) else tuple(i for columns in kinds for i in columns)


def _guessed(table: Sequence[Sequence[str]], path: Path) -> tuple[int, ...]:
    """The text columns of a table that does not name them."""
    width = max(map(len, table))
    if width == 1:
        return (1,)  # names alone: they say nothing
    columns = [[row[i].strip() if i < len(row) else "" for row in table] for i in range(width)]
    if width == 2:
        return (1,)
    wordy = [i for i in range(1, width) if any(len(cell.split()) > 1 for cell in columns[i])]
    if not wordy and width == 3 and _alike(columns[1], columns[2]) == 1:
        return (2, 1)
    if len(wordy) == 1:
        return (wordy[0],)
    if len(wordy) == 2 and wordy[1] == wordy[0] + 1 and _alike(columns[wordy[0]], columns[wordy[1]]) >= 0.5:
        return (wordy[1], wordy[0])
    raise DataError(_which(table[0], path))


def _alike(left: Sequence[str], right: Sequence[str]) -> float:
    """The median share of words that two columns have in common; 1 if no line has both."""
    words = [[set(re.findall(r"\w+", cell.lower())) for cell in column] for column in (left, right)]
    shares = [len(a & b) / min(len(a), len(b)) for a, b in zip(*words, strict=True) if a and b]
    return median(shares) if shares else 1.0


def _which(first: Sequence[str], path: Path) -> str:
    return f"it is not clear which column of {path} holds the text. {_columns(first)} Choose one with --text-column."


def _columns(first: Sequence[str]) -> str:
    return f"Its columns begin with {', '.join(f'{i} {cell.strip()[:40]!r}' for i, cell in enumerate(first, 1))}."


def _cells(number: int, line: str | None, delimiter: str) -> Row | tuple[int, list[str]]:
    if line is None:
        return _undecodable(number)
    if delimiter != ",":
        return number, line.split(delimiter)
    try:
        return number, next(csv.reader([line], strict=True))
    except csv.Error as error:
        return Row(number, problem=f"it is not comma-separated ({error})")


def _lines(path: Path, comment: str | None = None) -> Iterator[tuple[int, str | None]]:
    """The numbered lines that hold something; None for one that is not text."""
    for number, line in enumerate(read_lines(path), 1):
        if line is None or (line.strip() and not (comment and line.lstrip().startswith(comment))):
            yield number, line


def _undecodable(number: int) -> Row:
    return Row(number, problem="it is not UTF-8")


def _row(number: int, name: str, said: str | Interval) -> Row:
    text = said.label if isinstance(said, Interval) else said
    if len(name) > _LONGEST_NAME:
        return Row(number, problem=f"its recording has a name of {len(name)} characters")
    if "\0" in name + text:
        return Row(number, name.replace("\0", ""), problem="it holds a NUL character")
    if len(text) > _LONGEST:
        return Row(number, name, problem=f"its text has {len(text)} characters, more than the {_LONGEST} of a line")
    return Row(number, name, said)


def _timed(number: int, name: str, start: str, end: str, text: str, speaker: str) -> Row:
    try:
        return _row(number, name, Interval(_seconds(start), _seconds(end), text.strip(), speaker=speaker or None))
    except DataError as error:
        return Row(number, name, problem=str(error))


def _seconds(text: str) -> Seconds:
    """``12.5`` or ``0:00:12.5``."""
    if not re.fullmatch(r"(\d+:){0,2}\d+([.,]\d+)?", text, re.ASCII) or len(text) > 40:
        raise DataError(f"{text[:40]!r} is no time. Times are in seconds, or like 0:00:12.5.")
    seconds = 0.0
    for part in text.replace(",", ".").split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def _is_time(text: str) -> bool:
    try:
        return _seconds(text.strip()) >= 0
    except DataError:
        return False
