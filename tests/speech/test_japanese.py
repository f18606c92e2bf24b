"""Japanese: words and their readings in a sentence, and the phones of a reading."""

import re
import sys

import pytest

from semihmm.errors import DataError, DependencyError
from semihmm.speech import dictionary_lines, load_lexicon, tokens_of, words_of
from semihmm.speech.text import japanese
from semihmm.speech.text.japanese import pronounce_japanese

READINGS = """
今日はいい天気ですね。 | キョー ワ イイ テンキ デス' ネ
2020年5月3日 | ニ セン ニ ジュー ネン ゴガツ ミッカ
2020/5/3 | ニ セン ニ ジュー ネン ゴガツ ミッカ
14:30 | ジュー ヨ ジ サン ジュッ プン
120円 | ヒャク ニ ジュー エン
¥500 | ゴ ヒャク エン
$20 | ニ ジュー ドル
5% | ゴ パーセント
3.14 | サン テン イチ ヨン
1,234人 | セン ニ ヒャク サン ジュー ヨ ニン
-5℃ | マイナス ゴ ド
1/2 | ニ ブン ノ イチ
10本 | ジュッ ポン
"""
ROWS = [line.split(" | ") for line in READINGS.strip().splitlines()]


@pytest.mark.parametrize(("written", "spoken"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_written_is_said(written, spoken):
    pytest.importorskip("pyopenjtalk", reason="the ja extra is not installed")
    assert words_of(written, language="ja") == spoken.split()


def test_words_are_found_and_everything_written_is_accounted_for():
    pytest.importorskip("pyopenjtalk", reason="the ja extra is not installed")
    text = "「今日は」、3.5本と¥500 [laughs] 買った。ｶﾞｯｺｳ"
    tokens = tokens_of(text, language="ja")
    assert [token.written for token in tokens] == ("「今日 は」、 3.5 本 と ¥500 [laughs] 買っ た。 ｶﾞｯｺｳ".split())
    assert [token.spoken[0] for token in tokens] == "キョー ワ サン ホン ト ゴ [laughs] カッ タ ガッコー".split()


@pytest.mark.parametrize(
    ("reading", "phones"),
    [
        ("キョー", "ky o o"),
        ("デス'", "d e s U"),
        ("マシ'タ", "m a sh I t a"),
        ("ガッコー", "g a cl k o o"),
        ("シンブン", "sh i N b u N"),
        ("ティー", "t i i"),
        ("ファイル", "f a i r u"),
        ("ヲ", "o"),
    ],
)
def test_a_reading_is_phones(reading, phones):
    assert pronounce_japanese(reading)[0] == tuple(phones.split())


def test_devoiced_vowels_may_be_voiced():
    assert pronounce_japanese("デス'") == (("d", "e", "s", "U"), ("d", "e", "s", "u"))
    assert pronounce_japanese("ネ") == (("n", "e"),)


@pytest.mark.parametrize("word", ["今日", "ok", "", "ー", "'"])
def test_what_is_no_reading_is_named(word):
    with pytest.raises(DataError, match=f"{word!r} is no reading in katakana"):
        pronounce_japanese(word)


def test_what_open_jtalk_cannot_read_is_named_and_signs_are_not_said():
    pytest.importorskip("pyopenjtalk", reason="the ja extra is not installed")
    assert words_of("☃です", language="ja") == ["デス'"]
    (unread, _) = words_of("안녕です", language="ja")
    with pytest.raises(DataError, match="'안녕' is no reading in katakana"):
        pronounce_japanese(unread)


def test_a_reading_is_pronounced_as_it_was_given():
    assert words_of("デス'", language="ja") == ["デス'"]
    assert list(dictionary_lines(["デス'"], load_lexicon("ja"))) == ["デス' d e s U", "デス'(2) d e s u"]


def test_all_morae_are_those_of_open_jtalk():
    open_jtalk = pytest.importorskip("pyopenjtalk", reason="the ja extra is not installed")
    for kana in japanese._MORAE.keys() - {" "}:
        feature = dict.fromkeys(("pos_group2", "pos_group3", "ctype", "cform", "chain_rule"), "*")
        feature |= dict.fromkeys(("string", "orig", "read", "pron"), kana)
        feature |= {"pos": "名詞", "pos_group1": "一般", "acc": 0, "mora_size": 1, "chain_flag": -1}
        (found,) = open_jtalk.make_phoneme_mapping([feature])
        assert pronounce_japanese(kana)[0] == tuple(found["phonemes"]), kana


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyopenjtalk", None)
    japanese._open_jtalk.cache_clear()
    with pytest.raises(DependencyError, match=re.escape("pip install 'semihmm[ja]'")):
        words_of("今日", language="ja")
