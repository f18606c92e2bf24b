"""Mandarin: words where there are no blanks, numbers as they are said, and initials and finals.

Words come from ``jieba``, the words of numbers from ``cn2an``, and pronunciations from ``pypinyin``. A transcript may
also be in Pinyin with digits for the tones, ``jin1tian1 tian1qi4``.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.speech.text.rules import compiled, first_match

_SYLLABLE = r"[a-zü:]{1,7}[1-5]"
_PINYIN = re.compile(rf"(?<![A-Za-z])(?:'?(?i:{_SYLLABLE}))+(?![A-Za-z])")
_HAN = re.compile(r"[〇㐀-䶿一-鿿豈-﫿\U00020000-\U0003ffff]+")
_LATIN = re.compile(r"[^\W\d_㐀-鿿]+(?:['-][^\W\d_㐀-鿿]+)*")
_NUMBER = r"((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)"
_DIGITS = "零一二三四五六七八九"
_CURRENCIES = {"¥": "元", "$": "美元", "€": "欧元", "£": "英镑", "₩": "韩元"}
_SIGN = "".join(map(re.escape, _CURRENCIES))
_UNITS = {
    "km/h": "公里每小时", "km": "公里", "kg": "公斤", "cm": "厘米", "mm": "毫米", "m^2": "平方米", "m": "米", "g": "克",
    "ml": "毫升", "L": "升", "h": "小时", "min": "分钟", "s": "秒", "MB": "兆", "GB": "吉", "kW": "千瓦", "W": "瓦",
}  # fmt: skip
_UNIT = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_SIGNS = {
    "%": "百分号",
    "+": "加",
    "=": "等于",
    "×": "乘",
    "÷": "除以",
    "&": "和",
    "@": "艾特",
    "°": "度",
    "±": "正负",
    **_CURRENCIES,
}
_MEASURES = "个位本天次条张只块件双人点小分秒年岁家种口斤层遍千万亿瓶杯辆名把页句"

_MOST = 4  # readings of a character
_FINALS = set(
    """a o e ê ai ei ao ou an en ang eng ong er i ia ie iao iou ian in iang ing iong
    u ua uo uai uei uan uen uang ueng v ve van vn""".split()
)
_APICAL = {**dict.fromkeys(("z", "c", "s"), "ii"), **dict.fromkeys(("zh", "ch", "sh", "r"), "iii")}


def read_mandarin(line: str, start: int = 0) -> Iterator[tuple[int, int, list[str]]]:
    """Start, end and the words of each stretch of a text that is read as one, from a place on.

    Raises:
        DependencyError: ``jieba``, or, where there are numbers, ``cn2an`` is not installed.
    """
    place = start
    while place < len(line):
        if word := _PINYIN.match(line, place) or _LATIN.match(line, place):
            end = word.end()
            yield place, end, [word[0].lower()]
        elif said := first_match(_RULES, line, place):
            end, text = said
            yield place, end, [text]
        elif run := _HAN.match(line, place):
            end = run.end()
            for text, first, last in _jieba().tokenize(run[0], HMM=False):
                yield place + first, place + last, [text]
        else:
            end = place + 1
        place = end


def pronounce_mandarin(word: str, *, tones: bool = False) -> tuple[tuple[str, ...], ...]:
    """The pronunciations of a word, in characters or Pinyin with digits: an initial, if any, and a final per syllable.

    Finals are those of Pinyin written in full (``iou``, ``uei``, ``uen``, with ``v`` for ü), and ``ii`` after z, c, s
    and ``iii`` after zh, ch, sh, r. A single character has its readings, the most frequent first.

    Args:
        word: as `read_mandarin` gives it.
        tones: put the tone's digit behind each final; 5 is the neutral tone.

    Raises:
        DataError: a character has no reading.
        DependencyError: ``pypinyin`` is not installed.
    """
    if re.fullmatch(rf"(?:'?{_SYLLABLE})+", word):
        readings = [re.findall(_SYLLABLE, word)]
    else:
        pypinyin = require("pypinyin", extra="zh", purpose="Pronouncing Mandarin words")
        syllables = pypinyin.pinyin(
            word,
            style=pypinyin.Style.TONE3,
            heteronym=len(word) == 1,
            errors=lambda _: [""],
            neutral_tone_with_five=True,
        )
        readings = (
            [[syllable[0] for syllable in syllables]] if len(word) != 1 else [[one] for one in syllables[0][:_MOST]]
        )
    return tuple(
        dict.fromkeys(tuple(phone for one in reading for phone in _split(one, word, tones)) for reading in readings)
    )


def _split(syllable: str, word: str, tones: bool) -> list[str]:
    """``zhong1`` as ``zh ong``."""
    convert: Any = require("pypinyin.contrib.tone_convert", extra="zh", purpose="Pronouncing Mandarin words")
    plain, tone = syllable[:-1].replace("u:", "v").replace("ü", "v"), syllable[-1:]
    plain = {"n": "en", "ng": "en"}.get(plain, plain)  # 嗯
    initial, final = convert.to_initials(plain), convert.to_finals(plain) if plain else ""
    if final not in _FINALS:
        raise DataError(f"pronounce_mandarin: {word!r} has no reading in Mandarin. Add it to the dictionary.")
    if final == "i":
        final = _APICAL.get(initial, final)
    return [*([initial] if initial else []), final + tone * tones]


@lru_cache(maxsize=1)
def _jieba() -> Any:
    jieba = require("jieba", extra="zh", purpose="Finding the words of Mandarin text")
    jieba.setLogLevel("ERROR")
    return jieba


def _number(written: str) -> str:
    whole, point, decimals = written.replace(",", "").partition(".")
    if (len(whole) > 1 and whole[0] == "0") or (len(whole) > 7 and "," not in written) or len(whole) > 16:
        said = _one_by_one(whole)
    else:
        cn2an = require("cn2an", extra="zh", purpose="Reading out the numbers in a Mandarin transcript")
        said = cn2an.an2cn(str(int(whole)), "low")
    return f"{said}点{_one_by_one(decimals)}" if point else said


def _counted(written: str) -> str:
    return "两" if written == "2" else _number(written)


def _one_by_one(digits: str) -> str:
    return "".join(_DIGITS[int(digit)] for digit in digits if digit.isdecimal())


def _say_date(match: re.Match[str]) -> str:
    return f"{_one_by_one(match['year'])}年{_number(match['month'].lstrip('0'))}月{_number(match['day'].lstrip('0'))}日"


def _say_time(match: re.Match[str]) -> str:
    hour, minute, second = match.groups()
    said = _counted(str(int(hour))) + "点"
    if int(minute) or second:
        said += ("零" if minute[0] == "0" and int(minute) else "") + _number(str(int(minute))) + "分"
    return said + (_number(str(int(second))) + "秒" if second else "")


def _say_money(amount: str, scale: str | None, sign: str) -> str:
    """¥5.30 in yuan and jiao, as it is read; other amounts in one unit."""
    name = _CURRENCIES[sign]
    yuan, _, rest = amount.partition(".")
    if sign != "¥" or scale or len(rest) != 2:
        return _counted(amount) + (scale or "") + name
    jiao, fen = rest[0], rest[1]
    said = _counted(yuan) + name + ("" if rest == "00" else f"{_number(jiao)}角" if jiao != "0" else "零")
    return said + (f"{_number(fen)}分" if fen != "0" else "")


_RULES = compiled(
    (
        (
            r"(?P<year>\d{4})(?P<sep>[-/.])(?P<month>0?[1-9]|1[0-2])(?P=sep)(?P<day>[12]\d|3[01]|0?[1-9])(?!\d)",
            _say_date,
        ),
        (r"(\d{4}|\d\d)(?=年)", lambda m: _one_by_one(m[1])),
        (r"(\d{1,2}):([0-5]\d)(?::([0-5]\d))?(?!\d)", _say_time),
        (rf"{_NUMBER}%", lambda m: f"百分之{_number(m[1])}"),
        (rf"([-−])?{_NUMBER}°C", lambda m: ("零下" if m[1] else "") + _number(m[2]) + "摄氏度"),
        (rf"([{_SIGN}]) ?{_NUMBER}([万亿])?", lambda m: _say_money(m[2], m[3], m[1])),
        (rf"{_NUMBER}([万亿])?([{_SIGN}])", lambda m: _say_money(m[1], m[2], m[3])),
        (r"(\d{1,4})[/⁄](\d{1,4})(?![\d/⁄])", lambda m: f"{_number(m[2])}分之{_number(m[1])}"),
        (r"(?:\d{3,4}-){1,2}\d{4,8}(?!\d)", lambda m: _one_by_one(m[0])),
        (rf"{_NUMBER} ?({_UNIT})(?![\w^/])", lambda m: _counted(m[1]) + _UNITS[m[2]]),
        (rf"(?<![第\d.])2(?=[{_MEASURES}])", lambda _: "两"),
        (_NUMBER, lambda m: _number(m[1])),
        (r"(?<=\d)[-–~](?=\d)", lambda _: "到"),
        (r"(?<![\w)%])[-−](?=\d)", lambda _: "负"),
        ("[{}]".format("".join(map(re.escape, _SIGNS))), lambda m: _SIGNS[m[0]]),
    )
)
