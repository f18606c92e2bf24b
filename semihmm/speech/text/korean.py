"""Korean: numbers as they are said, and phones by the rules of pronunciation.

Sino-Korean number words are those of ``num2words``; before most counters the native ones are taken (세 개, 열두 시).
The rules that turn spelling into sounds (같이 is said 가치) are those of ``ko_pron``.
"""

import re
from collections.abc import Iterator

from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.speech.text.rules import compiled, first_match

_NUMBER = r"((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)"
_DIGITS = "영일이삼사오육칠팔구"
_CURRENCIES = {"₩": "원", "$": "달러", "€": "유로", "£": "파운드", "¥": "엔"}
_SIGN = "".join(map(re.escape, _CURRENCIES))
_UNITS = {
    "km/h": "킬로미터 퍼 아워", "km": "킬로미터", "kg": "킬로그램", "cm": "센티미터", "mm": "밀리미터", "m": "미터",
    "g": "그램", "ml": "밀리리터", "L": "리터",
    "h": "시간", "min": "분", "s": "초", "MB": "메가바이트", "GB": "기가바이트",
    "W": "와트",
}  # fmt: skip
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_SIGNS = {"%": "퍼센트", "+": "더하기", "=": "는", "×": "곱하기", "÷": "나누기", "&": "앤드", "@": "골뱅이", "°": "도"}
_SIGNS |= _CURRENCIES

_NATIVE_ONES = ["", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉"]
_NATIVE_TENS = ["", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔"]
_COUNTERS = "시간|개(?!월)|명|시|살|마리|권|잔|병|번째|번|장|벌|켤레|송이|그루|사람|가지|달|군데|채|자루"

_ONSETS = "k k͈ n t t͈ ɾ m p p͈ s s͈ - tɕ t͈ɕ tɕʰ kʰ tʰ pʰ h".split()
_NUCLEI = "ɐ|ɛ|j ɐ|j ɛ|ʌ|e|j ʌ|j e|o|w ɐ|w ɛ|w e|j o|u|w ʌ|w e|w i|j u|ɯ|ɰ i|i".split("|")
_CODAS = {1: "k̚", 4: "n", 7: "t̚", 8: "l", 16: "m", 17: "p̚", 21: "ŋ"}  # by their place in Unicode
_FIRST, _LAST = 0xAC00, 0xD7A3


def read_korean(line: str, start: int = 0) -> Iterator[tuple[int, int, list[str]]]:
    """Start, end and the words of each stretch of a text that is read as one, from a place on: between two blanks.

    Raises:
        DependencyError: there are numbers, and ``num2words`` is not installed.
    """
    for piece in re.finditer(rf"\S+(?:(?<=\d)\s(?:{_UNIT}))?", line):
        if piece.end() <= start:
            continue
        words = re.findall(r"[^\W_]+(?:['-][^\W\d_]+)*", _rewrite(line[max(piece.start(), start) : piece.end()]))
        if words:
            yield max(piece.start(), start), piece.end(), [word.lower() for word in words]


def pronounce_korean(word: str) -> tuple[tuple[str, ...], ...]:
    """The pronunciations of a word in Hangul, in IPA, phoneme by phoneme; ``k̚ t̚ p̚`` are the unreleased codas.

    Args:
        word: as `read_korean` gives it.

    Raises:
        DataError: it holds something else than syllables in Hangul.
        DependencyError: ``ko_pron`` is not installed.
    """
    if not word or not all(_FIRST <= ord(character) <= _LAST for character in word):
        raise DataError(f"pronounce_korean: {word!r} is not in syllables of Hangul. Add it to the dictionary.")
    romanise = require("ko_pron", extra="ko", purpose="Pronouncing Korean words").romanise
    return tuple(
        dict.fromkeys(
            tuple(phone for syllable in said for phone in _phones(syllable)) for said in romanise(word, "ph").split("/")
        )
    )


def _phones(syllable: str) -> list[str]:
    onset, rest = divmod(ord(syllable) - _FIRST, 21 * 28)
    nucleus, coda = divmod(rest, 28)
    first = _ONSETS[onset]
    return [
        *([] if first == "-" else [first]),
        *_NUCLEI[nucleus].split(),
        *([_CODAS[coda]] if coda else []),
    ]


def _number(written: str) -> str:
    whole, point, decimals = written.replace(",", "").partition(".")
    if (len(whole) > 1 and whole[0] == "0") or len(whole) > 16:
        said = _one_by_one(whole)
    else:
        num2words = require("num2words", extra="speech", purpose="Reading out the numbers in a transcript").num2words
        said = num2words(int(whole), lang="ko").replace(" ", "")
    return f"{said} 점 {_one_by_one(decimals)}" if point else said


def _one_by_one(digits: str, zero: str = "영") -> str:
    return "".join(zero if digit == "0" else _DIGITS[int(digit)] for digit in digits if digit.isdecimal())


def _native(number: int) -> str:
    """Below 100, as it stands before a counter."""
    tens, ones = divmod(number, 10)
    return "스무" if number == 20 else _NATIVE_TENS[tens] + _NATIVE_ONES[ones]


def _counted(written: str, counter: str) -> str:
    number = int(written)
    first = "첫" if (number, counter) == (1, "번째") else None
    return f"{first or (_native(number) if 0 < number < 100 else _number(written))} {counter}"


def _say_time(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    said = (_native(hour) if 0 < hour <= 12 else _number(str(hour))) + " 시"
    return said + (f" {_number(str(minute))} 분" if minute else "")


def _say_month(number: str) -> str:
    return {6: "유월", 10: "시월"}.get(int(number), f"{_number(str(int(number)))}월")


def _say_date(match: re.Match[str]) -> str:
    return f"{_number(match[1])}년 {_say_month(match[3])} {_number(str(int(match[4])))}일"


_RULES = compiled(
    (
        (r"(\d{4})([-/.])(0?[1-9]|1[0-2])\2([12]\d|3[01]|0?[1-9])(?!\d)", _say_date),
        (r"(?<!\d)(\d{1,2}):([0-5]\d)(?!\d)", _say_time),
        (r"(?<!\d)(1[0-2]|0?[1-9])월", lambda m: _say_month(m[1])),
        (
            rf"([{_SIGN}])\s?{_NUMBER}(조|억|만|천)?",
            lambda m: f"{_number(m[2])}{m[3] or ''} {_CURRENCIES[m[1]]}",
        ),
        (
            rf"{_NUMBER}(조|억|만|천)?([{_SIGN}])",
            lambda m: f"{_number(m[1])}{m[2] or ''} {_CURRENCIES[m[3]]}",
        ),
        (r"0\d{1,2}-\d{3,4}-\d{4}", lambda m: " ".join(_one_by_one(part, "공") for part in m[0].split("-"))),
        (r"(\d{1,4})[/⁄](\d{1,4})(?!\d)", lambda m: f"{_number(m[2])}분의 {_number(m[1])}"),
        (rf"{_NUMBER}\s?({_UNIT})(?![\w/])", lambda m: f"{_number(m[1])} {_UNITS[m[2]]}"),
        (rf"[-−]{_NUMBER}\s?°C", lambda m: f"영하 {_number(m[1])} 도"),
        (rf"{_NUMBER}\s?°C", lambda m: f"{_number(m[1])} 도"),
        (r"[-−](?=\d)(?<![\w)%].)", lambda _: "마이너스 "),
        (r"(?<=\d)[-–~](?=\d)", lambda _: "에서 "),
        (rf"(?<![\d.,~–-])(\d{{1,3}})({_COUNTERS})", lambda m: _counted(m[1], m[2])),
        (_NUMBER, lambda m: _number(m[1])),
        ("[{}]".format("".join(map(re.escape, _SIGNS))), lambda m: f" {_SIGNS[m[0]]} "),
    )
)


def _rewrite(piece: str) -> str:
    said, place = "", 0
    while place < len(piece):
        place, text = first_match(_RULES, piece, place) or (place + 1, piece[place])
        said += text
    return said
