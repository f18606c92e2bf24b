"""How what is written is said: in ten languages by rules, in others word by word and number by number."""

import re
from collections.abc import Iterator
from contextlib import suppress

from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.speech.text.english import CURRENCIES, SIGNS, WORD, say_in_english
from semihmm.speech.text.european import say_by_grammar
from semihmm.speech.text.grammars import GRAMMARS
from semihmm.speech.text.japanese import read_japanese
from semihmm.speech.text.korean import read_korean
from semihmm.speech.text.mandarin import read_mandarin

_WORD = re.compile(WORD)
_READERS = {"ja": read_japanese, "ko": read_korean, "zh": read_mandarin}
_INTEGER = re.compile(r"\d{1,15}(?![.,:/⁄]?\d|[^\W\d_])")


def read_out(line: str, start: int = 0, *, language: str = "en") -> Iterator[tuple[int, int, list[str]]]:
    """The words said at each place of a text, in lower case.

    Args:
        line: without format characters, its apostrophes straight (see `semihmm.speech.text.transcript`).
        start: where to begin; what stands before may still decide how something is read.
        language: those without rules of their own have two, words and whole numbers.

    Yields:
        Start, end and the words of each stretch that is read as one; punctuation is in none.

    Raises:
        DataError: ``language`` has no rule for a number or a sign.
        DependencyError: the package that reads the language is not installed.

    Example:
        >>> list(read_out("10km, he said"))
        [(0, 4, ['ten', 'kilometers']), (6, 8, ['he']), (9, 13, ['said'])]
    """
    if language in _READERS:
        yield from _READERS[language](line, start)
        return
    say = say_in_english if language == "en" else lambda line, place: _say_abroad(line, place, language)
    place = start
    while place < len(line):
        end, words = say(line, place)
        if words:
            yield place, end, words.lower().split()
        place = end


def _say_abroad(line: str, place: int, language: str) -> tuple[int, str]:
    if language in GRAMMARS and (said := say_by_grammar(line, place, language)):
        return said
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
            f"read_out: no rule says how {written!r} is read in the language {language!r}. Write it in words."
        )
    return place + 1, ""
