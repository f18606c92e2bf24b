"""Korean: what is said for numbers, and the sounds of spelling."""

import re
import sys

import pytest

from semihmm.errors import DataError, DependencyError
from semihmm.speech import load_lexicon, tokens_of, unknown_words, words_of
from semihmm.speech.text.korean import pronounce_korean

pytest.importorskip("num2words", reason="the speech extra is not installed")

NUMBERS = """
2020년 6월 3일 | 이천이십년 유월 삼일
2020-10-03 | 이천이십년 시월 삼일
사과 3개를 샀다 | 사과 세 개를 샀다
3개월 | 삼개월
20살 21살 | 스무 살 스물한 살
100명 | 백 명
10-20명 | 십에서 이십명
1번째 | 첫 번째
오후 2:30 | 오후 두 시 삼십 분
14:00 | 십사 시
12시 30분 | 열두 시 삼십분
₩5,000 | 오천 원
$20 | 이십 달러
50% | 오십 퍼센트
3.14 | 삼 점 일사
-5°C | 영하 오 도
5 kg | 오 킬로그램
1/2 | 이분의 일
010-1234-5678 | 공일공 일이삼사 오육칠팔
"""
ROWS = [line.split(" | ") for line in NUMBERS.strip().splitlines()]


@pytest.mark.parametrize(("written", "spoken"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_written_is_said(written, spoken):
    assert words_of(written, language="ko") == spoken.split()
    assert " ".join(token.written for token in tokens_of(written, language="ko")) == written


def test_a_text_is_cut_at_its_blanks_and_annotations():
    text = "안녕하세요, [laughs] -- 네!"
    assert [(token.written, token.spoken) for token in tokens_of(text, language="ko")] == [
        ("안녕하세요,", ("안녕하세요",)),
        ("[laughs]", ("[laughs]",)),
        ("--", ()),
        ("네!", ("네",)),
    ]


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("안녕하세요", "ɐ n n j ʌ ŋ h ɐ s e j o"),
        ("같이", "k ɐ tɕʰ i"),  # palatalised
        ("국민", "k u ŋ m i n"),  # nasalised
        ("신라", "s i l l ɐ"),
        ("학교", "h ɐ k̚ k͈ j o"),  # tense
        ("좋습니다", "tɕ o s͈ ɯ m n i d ɐ".replace("d", "t")),
        ("값이", "k ɐ p̚ s͈ i"),  # liaison
        ("못했습니다", "m o tʰ ɛ t̚ s͈ ɯ m n i t ɐ"),  # aspirated
        ("의사", "ɰ i s ɐ"),
    ],
)
def test_spelling_is_said_by_the_rules(word, phones):
    pytest.importorskip("ko_pron", reason="the ko extra is not installed")
    # ㄹ in the onset is ɾ, even where it doubles one
    assert tuple(phone.replace("ɾ", "l") for phone in pronounce_korean(word)[0]) == tuple(phones.split())


@pytest.mark.parametrize("word", ["ok", "ㅋㅋ", "", "3"])
def test_what_is_not_in_hangul_is_named(word):
    with pytest.raises(DataError, match=f"{word!r} is not in syllables of Hangul. Add it to the dictionary"):
        pronounce_korean(word)


def test_what_can_be_read_is_known():
    pytest.importorskip("ko_pron", reason="the ko extra is not installed")
    lexicon = load_lexicon("ko")
    assert lexicon.pronounce("같이").known
    assert unknown_words(["같이 OK 3시 [laughs]"], lexicon) == {"ok": 1}


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ko_pron", None)
    with pytest.raises(DependencyError, match=re.escape("pip install 'semihmm[ko]'")):
        pronounce_korean("같이")
