"""How what is written is said: in English by many rules, in other languages word by word and number by number."""

import re
from collections.abc import Iterator
from contextlib import suppress

from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.speech.text.english import CURRENCIES, SIGNS, WORD, say_in_english

_WORD = re.compile(WORD)
_INTEGER = re.compile(r"\d{1,15}(?![.,:/⁄]?\d|[^\W\d_])")


def read_out(line: str, start: int = 0, *, language: str = "en") -> Iterator[tuple[int, int, list[str]]]:
    """The words said at each place of a text, in lower case.

    Args:
        line: without format characters, its apostrophes straight (see `semihmm.speech.text.transcript`).
        start: where to begin; what stands before may still decide how something is read.
        language: other languages than English have two rules, words and whole numbers.

    Yields:
        Start, end and the words of each stretch that is read as one; punctuation is in none.

    Raises:
        DataError: ``language`` has no rule for a number or a sign.

    Example:
        >>> list(read_out("10km, he said"))
        [(0, 4, ['ten', 'kilometers']), (6, 8, ['he']), (9, 13, ['said'])]
    """
    say = say_in_english if language == "en" else lambda line, place: _say_abroad(line, place, language)
    place = start
    while place < len(line):
        end, words = say(line, place)
        if words:
            yield place, end, words.lower().split()
        place = end


def _say_abroad(line: str, place: int, language: str) -> tuple[int, str]:
    if word := _WORD.match(line, place):
        return word.end(), word[0]
    number = _INTEGER.match(line, place)
    if number:
        num2words = require("num2words", extra="speech", purpose="Reading out the numbers in a transcript").num2words
        for form in ("year", "cardinal") if re.fullmatch(r"1[1-9]\d\d", number[0]) else ("cardinal",):
            with suppress(NotImplementedError):
                return number.end(), num2words(int(number[0]), lang=language, to=form)
    if line[place].isdecimal() or line[place] in SIGNS.keys() | CURRENCIES.keys():
        written = line[place:].split()[0]
        raise DataError(
            f"read_out: no rule says how {written!r} is read in the language {language!r}; only English numbers and "
            f"signs, and whole numbers, are read out. Write it in words."
        )
    return place + 1, ""
