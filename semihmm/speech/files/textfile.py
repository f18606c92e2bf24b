"""Text files of any Unicode encoding."""

import codecs
import re
from pathlib import Path

from semihmm.errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark its own begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(content: bytes) -> str:
    """The encoding that a byte-order mark names; without one, UTF-16 where its zero bytes show, else UTF-8."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name
    if len(content) >= 2 and (content[0] == 0) != (content[1] == 0):
        return "utf-16-be" if content[0] == 0 else "utf-16-le"
    return "utf-8"


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.

    Raises:
        DataError: the file cannot be read, or is in none of these.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> _ = path.write_text("naïve", encoding="utf-16")
        >>> read_text(path)
        'naïve'
    """
    content = _read(path)
    try:
        return content.decode(encoding_of(content))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"cannot read {path}: line {line} is not {error.encoding.upper()}, the encoding expected here. Save the "
            f"file as UTF-8."
        ) from error


def read_lines(path: Path) -> list[str | None]:
    """The lines of such a file without their ends; None for each that is not UTF-8, so that the others can be used.

    Raises:
        DataError: the file cannot be read, or is not the UTF-16 or UTF-32 that it says.
    """
    content = _read(path)
    if not encoding_of(content).startswith("utf-8"):
        return list(re.split(r"\r\n|\r|\n", read_text(path)))
    lines: list[str | None] = []
    for line in re.split(rb"\r\n|\r|\n", content.removeprefix(codecs.BOM_UTF8)):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            lines.append(None)
    return lines


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path} ({error.strerror}).") from error
