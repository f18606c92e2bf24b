"""Japanese: words where there are no blanks, as they are said in their sentence, and their phones.

Open JTalk (``pyopenjtalk-plus``) finds the words and reads them, numbers and counters too. What is said of a word is
its reading in katakana, with an apostrophe behind each devoiced mora: デス', キョー. So it can be pronounced by itself.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.speech.text.rules import compiled, first_match

_CURRENCIES = {"¥": "円", "$": "ドル", "€": "ユーロ", "£": "ポンド", "₩": "ウォン"}
_SIGN = "".join(map(re.escape, _CURRENCIES))
_NUMBER = r"((?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)"
_REWRITTEN = compiled(  # as Open JTalk reads it
    (
        (
            r"(\d{4})([-/.])(0?[1-9]|1[0-2])\2([12]\d|3[01]|0?[1-9])(?!\d)",
            lambda m: f"{m[1]}年{int(m[3])}月{int(m[4])}日",
        ),
        (
            r"(\d{1,2}):([0-5]\d)(?!\d|:)",
            lambda m: f"{int(m[1])}時" + (f"{int(m[2])}分" if int(m[2]) else ""),
        ),
        (rf"([{_SIGN}]) ?{_NUMBER}([万億])?", lambda m: m[2] + (m[3] or "") + _CURRENCIES[m[1]]),
        (rf"{_NUMBER}([万億])?([{_SIGN}])", lambda m: m[1] + (m[2] or "") + _CURRENCIES[m[3]]),
        (r"([-−])(?=\d)(?<![\w)%]-)(?<![\w)%]−)", lambda _: "マイナス"),
        (r"(\d{1,4})[/⁄](\d{1,4})(?![\d/⁄])", lambda m: f"{m[2]}分の{m[1]}"),
        (r"°C", lambda _: "度"),
    )
)
_READING = re.compile(r"[ァ-ヶー]+(?:'[ァ-ヶー]*)+")
_SILENT = {"pau", "sil", "sp", "unk", "xx"}

_ROWS = {
    "k": "カキクケコ", "s": "サ スセソ", "t": "タ  テト", "n": "ナニヌネノ", "h": "ハヒ ヘホ", "m": "マミムメモ",
    "y": "ヤ ユ ヨ", "r": "ラリルレロ", "w": "ワ    ", "g": "ガギグゲゴ", "z": "ザ ズゼゾ", "d": "ダ  デド",
    "b": "バビブベボ", "p": "パピプペポ", "v": "  ヴ  ", "y ": "ャ ュ ョ",
}  # fmt: skip
_GLIDED = {
    "キ": "ky", "ギ": "gy", "ニ": "ny", "ヒ": "hy", "ビ": "by", "ピ": "py", "ミ": "my", "リ": "ry", "シ": "sh",
    "チ": "ch", "ジ": "j",
}  # fmt: skip
_FOREIGN = """
    シェ sh e チェ ch e ジェ j e イェ y e キェ ky e ファ f a フィ f i フェ f e フォ f o フュ fy u
    ツァ ts a ツィ ts i ツェ ts e ツォ ts o ティ t i ディ d i トゥ t u ドゥ d u テュ ty u デュ dy u
    ヴァ v a ヴィ v i ヴェ v e ヴォ v o ウィ w i ウェ w e ウォ w o クァ kw a グァ gw a スィ s i ズィ z i
    シ sh i チ ch i ツ ts u フ f u ジ j i ヂ j i ヅ z u
""".split()
_MORAE: dict[str, tuple[str, ...]] = {
    **{kana: (row.strip(), vowel) for row, line in _ROWS.items() for kana, vowel in zip(line, "aiueo", strict=True)},
    **{kana: (vowel,) for line in ("アイウエオ", "ァィゥェォ") for kana, vowel in zip(line, "aiueo", strict=True)},
    **{
        kana + small: (row, vowel)
        for kana, row in _GLIDED.items()
        for small, vowel in zip("ャュョ", "auo", strict=True)
    },
    **{kana: (row, vowel) for kana, row, vowel in zip(_FOREIGN[::3], _FOREIGN[1::3], _FOREIGN[2::3], strict=True)},
    **{"ヲ": ("o",), "ヰ": ("i",), "ヱ": ("e",), "ン": ("N",), "ッ": ("cl",)},
}
_MORA = re.compile("|".join(sorted(_MORAE.keys() - {" "}, key=len, reverse=True)) + "|(?P<mark>[ー'])")


def read_japanese(line: str, start: int = 0) -> Iterator[tuple[int, int, list[str]]]:
    """Start, end and the readings of each stretch of a text that is read as one, from a place on.

    Raises:
        DataError: Open JTalk cannot say where in the text its words are.
        DependencyError: ``pyopenjtalk`` is not installed.
    """
    place = start
    for reading in _READING.finditer(line, start):
        yield from _analyse(line, place, reading.start())
        yield *reading.span(), [reading[0]]
        place = reading.end()
    yield from _analyse(line, place, len(line))


def pronounce_japanese(reading: str) -> tuple[tuple[str, ...], ...]:
    """The phones of a reading, in Open JTalk's alphabet; where vowels are devoiced, also as if they were not.

    Args:
        reading: as `read_japanese` gives it, in katakana.

    Raises:
        DataError: it holds something else.
    """
    phones: list[str] = []
    place = 0
    while mora := _MORA.match(reading, place):
        place = mora.end()
        if not mora["mark"]:
            phones += _MORAE[mora[0]]
        elif phones and phones[-1] in "aiueo":  # the vowel is long, or devoiced
            phones[-1:] = [phones[-1]] * 2 if mora[0] == "ー" else [phones[-1].upper()]
    if not phones or place < len(reading):
        raise DataError(
            f"pronounce_japanese: {reading!r} is no reading in katakana, with an apostrophe behind devoiced morae. "
            f"Add it to the dictionary."
        )
    voiced = (phone.lower() if phone in set("AIUEO") else phone for phone in phones)
    return tuple(dict.fromkeys((tuple(phones), tuple(voiced))))


def _analyse(line: str, start: int, end: int) -> Iterator[tuple[int, int, list[str]]]:
    said, spans = _rewrite(line, start, end)
    if not said.strip():
        return
    held: list[str] = []
    begin = stop = start
    for item in _open_jtalk(said):
        first, last = item["char_span"]
        reading = item["pron"].replace("’", "'")
        if not set(item["phonemes"]) - _SILENT or not reading.strip():
            if not any(map(str.isalnum, said[first:last])):
                continue
            reading = said[first:last]  # which `pronounce_japanese` will refuse by name
        if first == last:  # what a number has beside its digits: 十 of 34
            held.append(reading)
            continue
        place, after = spans[first][0], spans[last - 1][1]
        if held and place >= stop and not re.fullmatch(r"[\d,.]+", line[stop - 1 : place + 1]):
            yield begin, stop, held
            held = []
        if not held:
            begin = place
        held.append(reading)
        stop = after
    if held:
        yield begin, stop, held


def _rewrite(line: str, start: int, end: int) -> tuple[str, list[tuple[int, int]]]:
    """What Open JTalk is given for a stretch, and the start and end of what each of its characters stands for."""
    said, spans, place, line = "", [], start, line[:end]
    while place < end:
        after, text = first_match(_REWRITTEN, line, place) or (place + 1, line[place])
        said += text
        spans += [(place, after)] * len(text)
        place = after
    return said, spans


@lru_cache(maxsize=64)
def _open_jtalk(text: str) -> Any:
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")  # of its own dependencies
        open_jtalk = require("pyopenjtalk", extra="ja", purpose="Reading Japanese")
        try:
            return open_jtalk.g2p_mapping(text, predict_nani=False)
        except ValueError as error:
            raise DataError(f"read_japanese: Open JTalk cannot read {text[:40]!r} ({error}).") from error
