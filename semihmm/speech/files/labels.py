"""Label files: one recording's words and phones with their times, in the formats that speech tools write."""

import re
from collections.abc import Iterator
from pathlib import Path

from semihmm.errors import DataError
from semihmm.speech.files.results import Alignment
from semihmm.speech.files.textfile import read_text
from semihmm.speech.files.textgrid import read_textgrid
from semihmm.speech.intervals import Interval, Tiers, ordered
from semihmm.speech.text.phones import is_silence
from semihmm.types import Seconds

LABEL_SUFFIXES = (".TextGrid", ".lab", ".json")
"""What `read_labels` reads."""

HTS_UNIT: Seconds = 1e-7
"""What HTS counts in."""

_HTS_TIME = re.compile(r"\d{1,18}", re.ASCII)
_ESPS_TIME = re.compile(r"(\d+\.?\d*|\.\d+)(e-?\d{1,2})?", re.ASCII | re.IGNORECASE)
_FULL_CONTEXT = re.compile(r"^[^-]+-([^+]+)\+")
_STATE = re.compile(r"\[\d+\]$")


def read_labels(path: Path, *, word_tier: str | None = None, phone_tier: str | None = None) -> Tiers:
    """Words and phones of one recording.

    Args:
        path: a TextGrid; a ``.lab`` file of HTS (100 ns) or ESPS (end times after a ``#`` line), taken for phones; or
            the JSON that ``semihmm align`` writes.
        word_tier: which tier of a TextGrid holds the words, where the usual names do not say.
        phone_tier: the same for the phones.

    Raises:
        DataError: the file is in none of these formats.
    """
    kind = path.suffix.lower()
    if kind == ".textgrid":
        return read_textgrid(path, word_tier=word_tier, phone_tier=phone_tier)
    if kind == ".json":
        alignment = Alignment.load(path)
        return Tiers(words=alignment.words, phones=alignment.phones)
    if kind == ".lab":
        return Tiers(phones=read_lab(path))
    raise DataError(f"read_labels: {path} should end in one of {', '.join(LABEL_SUFFIXES)} for its format to be known.")


def read_lab(path: Path) -> tuple[Interval, ...]:
    """The labels of an HTS or ESPS ``.lab`` file, pauses left out.

    HTS full-context labels are cut to their phone, and the lines of a phone's states joined.

    Raises:
        DataError: the file holds no timed labels.
    """
    text = read_text(path)
    if not is_timed(text):
        raise DataError(
            f"read_lab: {path} holds no times. Expected lines 'start end label' with times in 100 ns (HTS), or, after "
            f"a line '#', lines 'end colour label' with times in seconds (ESPS)."
        )
    found = ordered(_esps(text) if _is_esps(text) else _hts(text), str(path))
    return tuple(item for item in found if not is_silence(item.label))


def is_timed(text: str) -> bool:
    """Whether the text of a ``.lab`` file is a list of labels with times, rather than a transcript."""
    if _is_esps(text):
        return True
    lines = [line.split() for line in text.splitlines() if line.strip()]
    return bool(lines) and all(len(line) > 2 and all(map(_HTS_TIME.fullmatch, line[:2])) for line in lines)


def _is_esps(text: str) -> bool:
    return any(line.strip() == "#" for line in text.splitlines())


def _esps(text: str) -> Iterator[Interval]:
    start = 0.0
    lines = iter(text.splitlines())
    for line in lines:
        if line.strip() == "#":
            break
    for line in lines:
        end, _, label = [*line.split(maxsplit=2), "", "", ""][:3]
        if end:
            try:
                time = float(end)
            except ValueError:
                raise DataError(
                    f"read_lab: {end[:40]!r} stands where a line after '#' has its time in seconds."
                ) from None
            yield Interval(start, time, label.strip())
            start = time


def _hts(text: str) -> Iterator[Interval]:
    previous: tuple[str, Interval] | None = None
    for line in text.splitlines():
        if not line.strip():
            continue
        start, end, label = line.split()[:3]
        context, state = _STATE.sub("", label), _STATE.search(label)
        phone = _FULL_CONTEXT.match(context)
        item = Interval(int(start) * HTS_UNIT, int(end) * HTS_UNIT, phone[1] if phone else context)
        if previous and state and previous[0] == context:
            item = Interval(previous[1].start, item.end, item.label)
        elif previous:
            yield previous[1]
        previous = (context, item)
    if previous:
        yield previous[1]
