"""Mandarin: words, what is said for numbers, and initials and finals."""

import re
import sys

import pytest

from semihmm.errors import DataError, DependencyError
from semihmm.speech import dictionary_lines, load_lexicon, tokens_of, words_of
from semihmm.speech.text.mandarin import pronounce_mandarin

NUMBERS = """
2020年 | 二零二零年
12月2日 | 十二月二日
2020-05-03 | 二零二零年五月三日
14:30 | 十四点三十分
2:05 | 两点零五分
50% | 百分之五十
¥5.30 | 五元三角
¥5.05 | 五元零五分
$100 | 一百美元
¥5万 | 五万元
25°C | 二十五摄氏度
-5℃ | 零下五摄氏度
10-20个 | 十到二十个
2个 | 两个
第2天 | 第二天
20002 | 二万零二
3.14 | 三点一四
1,234 | 一千二百三十四
1/2 | 二分之一
100km/h | 一百公里每小时
010-12345678 | 零一零一二三四五六七八
"""
ROWS = [line.split(" | ") for line in NUMBERS.strip().splitlines()]


@pytest.mark.parametrize(("written", "spoken"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_written_is_said(written, spoken):
    pytest.importorskip("cn2an", reason="the zh extra is not installed")
    if not re.fullmatch(r"[^\u4e00-\u9fff]+", written):
        pytest.importorskip("jieba", reason="the zh extra is not installed")
    assert "".join(words_of(written, language="zh")) == spoken


def test_words_are_found_and_everything_written_is_accounted_for():
    pytest.importorskip("jieba", reason="the zh extra is not installed")
    pytest.importorskip("cn2an", reason="the zh extra is not installed")
    text = "北风跟太阳争论，谁的本事大？[笑] 他花了¥5.30 说：「很好」。"
    tokens = tokens_of(text, language="zh")
    assert [token.written for token in tokens] == (
        "北风 跟 太阳 争论， 谁 的 本事 大？ [笑] 他 花 了 ¥5.30 说： 「很 好」。".split()
    )
    assert words_of(text, language="zh") == "北风 跟 太阳 争论 谁 的 本事 大 [笑] 他 花 了 五元三角 说 很 好".split()


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("今天", "j in t ian"),
        ("银行", "in h ang"),
        ("行长", "h ang zh ang"),
        ("知识", "zh iii sh iii"),
        ("四次", "s ii c ii"),
        ("女儿", "n v er"),
        ("原因", "van in"),
        ("会", "h uei"),
        ("嗯", "en"),
        ("jin1tian1", "j in t ian"),
        ("lu:4se4", "l v s e"),
        ("lü4se4", "l v s e"),
    ],
)
def test_a_word_is_initials_and_finals(word, phones):
    pytest.importorskip("pypinyin", reason="the zh extra is not installed")
    assert pronounce_mandarin(word)[0] == tuple(phones.split())


def test_tones_are_there_on_request_and_a_character_has_all_its_readings():
    pytest.importorskip("pypinyin", reason="the zh extra is not installed")
    assert pronounce_mandarin("好的", tones=True) == (("h", "ao3", "d", "e5"),)
    assert pronounce_mandarin("了") == (("l", "e"), ("l", "iao"))


def test_pinyin_with_tones_is_a_transcript_too():
    pytest.importorskip("pypinyin", reason="the zh extra is not installed")
    assert words_of("jin1tian1 tian1qi4 hen3 hao3, lü4se4!", language="zh") == (
        "jin1tian1 tian1qi4 hen3 hao3 lü4se4".split()
    )
    assert list(dictionary_lines(["hao3"], load_lexicon("zh"))) == ["hao3 h ao"]


@pytest.mark.parametrize("word", ["hm", "abc", "ok", "xyz1"])
def test_a_word_without_a_reading_is_named(word):
    pytest.importorskip("pypinyin", reason="the zh extra is not installed")
    with pytest.raises(DataError, match=f"'{word}' has no reading in Mandarin. Add it to the dictionary"):
        pronounce_mandarin(word)


@pytest.mark.parametrize(("module", "text"), [("jieba", "今天"), ("cn2an", "25%")])
def test_a_missing_package_is_named_with_its_extra(module, text, monkeypatch):
    from semihmm.speech.text import mandarin

    monkeypatch.setitem(sys.modules, module, None)
    mandarin._jieba.cache_clear()
    with pytest.raises(DependencyError, match=re.escape("pip install 'semihmm[zh]'")):
        words_of(text, language="zh")


def test_pronouncing_without_pypinyin_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pypinyin", None)
    with pytest.raises(DependencyError, match=re.escape("pip install 'semihmm[zh]'")):
        pronounce_mandarin("今天")
