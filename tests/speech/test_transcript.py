"""What a transcript says."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semihmm.errors import DataError
from semihmm.speech import Interval, Token, is_filler, tokens_of, words_of
from semihmm.speech.text.transcript import timed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" -- ... !? …", []),
        ("Hello, World.", ["hello", "world"]),
        ("It's John's; the dogs' bowl", ["it's", "john's", "the", "dogs'", "bowl"]),
        ("'tis 'quoted' text", ["'tis", "quoted", "text"]),
        ("“Curly” ‘quotes’ don’t matter", ["curly", "quotes", "don't", "matter"]),
        ("a well-known man -- or not—so", ["a", "well-known", "man", "or", "not", "so"]),
        ("snake_case", ["snake", "case"]),
        ("well * then, 3*x*", ["well", "*", "then", "three", "x"]),
        ("one\n* * *\ntwo", ["one", "two"]),
        ("Café naïve", ["café", "naïve"]),
        ("Mr. Smith (or so)", ["mr", "smith", "or", "so"]),
        ("Silence, please", ["silence", "please"]),
    ],
)
def test_words_are_lower_case_and_without_punctuation(text, words):
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("uh [cough] yes <unk> no", ["uh", "[cough]", "yes", "<unk>", "no"]),
        ("{sl} ++UM++ +breath+", ["{sl}", "++um++", "+breath+"]),
        ("he [door  slams loudly] left", ["he", "[door_slams_loudly]", "left"]),
        ("[5 laughs]", ["[5_laughs]"]),
        ("well[laughs]then", ["well", "[laughs]", "then"]),
        ("[unclosed and <so on", ["unclosed", "and", "so", "on"]),
    ],
)
def test_annotations_are_filler_words(text, words):
    found = words_of(text)
    assert found == words
    assert [word for word in found if is_filler(word)] == [word for word in words if word[0] in "[<{+"]


@pytest.mark.parametrize(
    "text",
    ["<sil>", "[SIL]", "<p:>", "[1]", "[]", "<i> </i>", "<v Bob>", "<00:01.000>", r"{\an8}", "<s> </s>", "<eps>"],
)
def test_silence_and_the_marks_of_subtitles_are_not_said(text):
    assert words_of(text) == []
    assert [token.written for token in tokens_of(text)] == (text.split() if text != "<v Bob>" else [text])


def test_each_token_keeps_what_was_written_beside_what_is_said():
    pytest.importorskip("num2words", reason="the speech extra is not installed")
    text = "In  1984, he\npaid $5 million -- (on Jan. 5, 1985!) [sighs\taudibly]"
    assert tokens_of(text) == (
        Token("In", ("in",)),
        Token("1984,", ("nineteen", "eighty", "four")),
        Token("he", ("he",)),
        Token("paid", ("paid",)),
        Token("$5 million", ("five", "million", "dollars")),
        Token("--", ()),
        Token("(on", ("on",)),
        Token("Jan. 5, 1985!)", ("january", "fifth", "nineteen", "eighty", "five")),
        Token("[sighs\taudibly]", ("[sighs_audibly]",)),
    )


@given(
    text=st.text(st.one_of(st.characters(), st.sampled_from(" \n'-.,:/[]<>{}+#$€%°½²0159aZé\u0301\u00ad")), max_size=60)
)
def test_everything_written_is_in_one_token_and_nothing_written_breaks_it(text):
    tokens = tokens_of(text)
    assert "".join("".join(token.written.split()) for token in tokens) == "".join(text.split())
    for token in tokens:
        assert token.written == token.written.strip() != ""
        assert all(word == word.strip() != "" and not re.search(r"\s", word) for word in token.spoken)


@pytest.mark.parametrize("word", ["naïve", "señor", "Ångström", "Việt"])
def test_decomposed_accents_do_not_split_words(word):
    for form in ("NFC", "NFD"):
        (token,) = tokens_of(unicodedata.normalize(form, word))
        assert token.spoken == (unicodedata.normalize("NFC", word.lower()),)
        assert token.written == unicodedata.normalize(form, word)


@pytest.mark.parametrize("invisible", ["\u00ad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u202a", "\u2068"])
def test_invisible_characters_are_no_word_boundary_and_stay_in_what_was_written(invisible):
    (token,) = tokens_of(f"dis{invisible}posed")
    assert token == Token(f"dis{invisible}posed", ("disposed",))


def test_tokens_take_the_times_of_their_words():
    pytest.importorskip("num2words", reason="the speech extra is not installed")
    tokens = tokens_of("[laughs] In 1984 -- [sighs] yes")
    words = [(0.1, 0.2, "in"), (0.2, 0.5, "nineteen"), (0.6, 0.7, "eighty"), (0.7, 0.9, "four"), (1.0, 1.2, "yes")]
    times = {token.written: (token.start, token.end) for token in timed(tokens, [Interval(*word) for word in words])}
    assert times == {
        "[laughs]": (None, None),  # passed over
        "In": (0.1, 0.2),
        "1984": (0.2, 0.9),
        "--": (None, None),
        "[sighs]": (None, None),
        "yes": (1.0, 1.2),
    }


def test_other_languages_read_whole_numbers_and_refuse_what_they_have_no_rule_for():
    pytest.importorskip("num2words", reason="the speech extra is not installed")
    assert words_of("Es war 1984, 23 Männer", language="de") == (
        "es war neunzehnhundertvierundachtzig dreiundzwanzig männer".split()
    )
    assert words_of("71 à l'école", language="fr") == ["soixante", "et", "onze", "à", "l'école"]
    assert words_of("1984", language="sv")[1:] == ["niohundraåttiofyra"]  # Swedish has no words for years there
    for text in ("1" * 16, "3,5", "5 %", "10:30", "2nd", "$5", "1.000"):
        with pytest.raises(DataError, match=r"no rule says how .* is read in the language 'sv'"):
            words_of(text, language="sv")
    with pytest.raises(DataError, match="language 'xx'"):
        words_of("7", language="xx")
