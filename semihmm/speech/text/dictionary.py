"""Reading dictionaries of pronunciations, as Sphinx, CMUdict, HTK and the Montreal Forced Aligner (MFA) write them."""

import re
import unicodedata
from collections.abc import Collection
from pathlib import Path

from semihmm.errors import DataError

Entries = dict[str, tuple[tuple[str, ...], ...]]

_VARIANT = re.compile(r"(?<=.)\(\d+\)$")
_STRESSED = re.compile(r"([A-Z]{2})[0-2]")  # of CMUdict's vowels, AA0 to UW2
_PROBABILITY = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_NOISES = {"sil": "SIL", "sp": "SIL", "spn": "+SPN+", "nsn": "+NSN+"}


def read_dictionary(path: Path, *, phones: Collection[str] | None = None) -> Entries:
    r"""Pronunciations by word, in the file's order.

    A line is a word and its phones, between blanks or tabs; ``word(2)`` is another pronunciation of ``word``, and so is
    a second line of the same word. Passed over: a bracketed ``[output]`` (HTK, SPPAS) and probabilities (MFA) between
    word and phones, the digits of stress (CMUdict), lines that begin with ``;;;``, and what follows a ``#`` at the
    beginning or after a blank. The file is UTF-8, with or without a byte-order mark.

    Args:
        path: the file.
        phones: those that the acoustic model has; others are refused. Default: any are taken.

    Returns:
        By word in lower case, its accents composed (NFC).

    Raises:
        DataError: the file cannot be read, or holds no pronunciations; a line is not UTF-8, has a word without phones,
            or a phone that is not among ``phones``. The message names the file and the line.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "own.dict"
        >>> _ = path.write_text(";;; two words\nHELLO  HH AH0 L OW1\nhello(2)  HH EH0 L OW1\nwell\t0.9\tW EH L\n")
        >>> read_dictionary(path)
        {'hello': (('HH', 'AH', 'L', 'OW'), ('HH', 'EH', 'L', 'OW')), 'well': (('W', 'EH', 'L'),)}
    """
    entries: dict[str, list[tuple[str, ...]]] = {}
    plain: dict[str, str] = {}
    for number, line in enumerate(_lines(path), 1):
        word, *rest = (re.split(r"(?:^|\s)#", line, maxsplit=1)[0] if "#" in line else line).split() or [""]
        if not word or word.startswith(";;;"):
            continue
        if rest and not rest[0][0].isalpha():
            rest = rest[_aside(rest, phones or ()) :]
        where = f"read_dictionary: {path}, line {number}: {word!r}"
        if not rest:
            raise DataError(f"{where} has no phones. A line is a word and its phones: hello HH AH L OW.")
        for phone in rest:
            if phone not in plain:
                plain[phone] = _plain(phone, phones)
                if phones is not None and plain[phone] not in phones:
                    raise DataError(
                        f"{where} has the phone {phone!r}, which the acoustic model lacks; it has {' '.join(phones)}.",
                        see="unknown-words",
                    )
        word = (_VARIANT.sub("", word) if word[-1] == ")" else word).lower()
        word = word if word.isascii() else unicodedata.normalize("NFC", word)
        entries.setdefault(word, []).append(tuple([plain[phone] for phone in rest]))
    if not entries:
        raise DataError(f"read_dictionary: {path} holds no pronunciations. A line is a word and its phones.")
    return {word: tuple(variants) for word, variants in entries.items()}


def _lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"read_dictionary: cannot read {path} ({error.strerror}).") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = len(re.findall(rb"\r\n|\r|\n", data[: error.start])) + 1
        raise DataError(
            f"read_dictionary: {path}, line {number} is not UTF-8 (byte {data[error.start]:#04x}: {error.reason}). "
            f"Save the dictionary as UTF-8."
        ) from error
    return re.split(r"\r\n|\r|\n", text)


def _aside(fields: list[str], phones: Collection[str]) -> int:
    """How many of the fields after a word are HTK's ``[output]`` or MFA's numbers, up to four; the last is a phone."""
    first = count = int(len(fields) > 1 and fields[0][0] == "[" and fields[0][-1] == "]")
    while count < min(first + 4, len(fields) - 1) and _PROBABILITY.fullmatch(fields[count]):
        if fields[count] in phones:
            break
        count += 1
    return count


def _plain(phone: str, phones: Collection[str] | None) -> str:
    """A phone as the model writes it: without stress, and noises by the model's names."""
    if phones is not None and phone in phones:
        return phone
    stressed = _STRESSED.fullmatch(phone)
    if stressed:
        return stressed[1]
    return _NOISES.get(phone.lower(), phone) if phones is not None else phone
