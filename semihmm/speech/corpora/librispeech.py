"""What LibriSpeech says of its readers and chapters. Its recordings and transcripts are those of `find_recordings`."""

from pathlib import Path

from semihmm.errors import DataError
from semihmm.speech.files.textfile import read_text


def read_librispeech_table(path: Path) -> dict[str, dict[str, str]]:
    r"""``SPEAKERS.TXT``, ``CHAPTERS.TXT`` or ``BOOKS.TXT`` of LibriSpeech, by the number in its first column.

    Args:
        path: the table. Lines that begin with ``;`` are remarks, of which the last names the columns; a ``|`` stands
            between columns.

    Returns:
        What each column says, by its name in capitals: a speaker's SEX, SUBSET, MINUTES and NAME; a chapter's READER.

    Raises:
        DataError: the file cannot be read, or no line names columns; a line has fewer than there are names for.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "SPEAKERS.TXT"
        >>> _ = path.write_text(";ID |SEX| SUBSET     |MINUTES| NAME\n14 | F | test-clean | 25.03 | Ann\n")
        >>> read_librispeech_table(path)["14"]["SEX"]
        'F'
    """
    names: list[str] = []
    rows: dict[str, dict[str, str]] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.startswith(";"):
            names = [name.strip().upper() for name in line[1:].split("|")] if "|" in line else names
        elif line.strip():
            if not names:
                raise DataError(f"read_librispeech_table: no line of {path} that begins with ; names the columns.")
            cells = [cell.strip() for cell in line.split("|", len(names) - 1)]
            if len(cells) < len(names):
                raise DataError(
                    f"read_librispeech_table: {path}, line {number} has {len(cells)} columns; there are "
                    f"{', '.join(names)}."
                )
            rows[cells[0]] = dict(zip(names, cells, strict=True))
    return rows


def librispeech_speaker(name: str) -> str:
    """Who reads a recording of LibriSpeech, by its name.

    Example:
        >>> librispeech_speaker("test-clean/61/70968/61-70968-0000")
        '61'
    """
    return name.rpartition("/")[2].partition("-")[0]
