"""Pronunciations of words, whatever the word."""

import pytest

from semihmm.errors import DataError
from semihmm.speech import Lexicon
from semihmm.speech.pronunciation import guess_with_gruut

ENTRIES = {
    "cat": (("K", "AE", "T"),),
    "dog": (("D", "AO", "G"), ("D", "AA", "G"), ("D", "AO", "G")),
    "horse": (("HH", "AO", "R", "S"),),
    "dogs": (("D", "AO", "G", "Z"),),
    "it's": (("IH", "T", "S"),),
}


def refuse(word):
    raise AssertionError(f"nobody should have asked about {word}")


@pytest.mark.parametrize(
    ("word", "variants"),
    [
        ("cat", [("K", "AE", "T")]),
        ("dog", [("D", "AO", "G"), ("D", "AA", "G")]),  # each once
        ("it's", [("IH", "T", "S")]),
        ("cat's", [("K", "AE", "T", "S")]),
        ("dog's", [("D", "AO", "G", "Z"), ("D", "AA", "G", "Z")]),
        ("horse's", [("HH", "AO", "R", "S", "IH", "Z")]),
        ("dogs'", [("D", "AO", "G", "Z")]),
        ("cat-dog", [("K", "AE", "T", "D", "AO", "G"), ("K", "AE", "T", "D", "AA", "G")]),
    ],
)
def test_what_the_dictionary_implies_is_known(word, variants):
    found = Lexicon(ENTRIES, refuse).pronounce(word)
    assert list(found.variants) == variants
    assert found.known


def test_the_variants_of_a_long_compound_do_not_explode():
    assert 1 < len(Lexicon(ENTRIES, refuse).pronounce("-".join(["dog"] * 60)).variants) <= 16


@pytest.mark.parametrize("word", ["cow", "cow's", "cat-cow", "cow'"])
def test_other_words_are_guessed_once_and_marked(word):
    asked = []
    lexicon = Lexicon(ENTRIES, lambda word: asked.append(word) or ("K", "AW"))
    for _ in range(2):
        found = lexicon.pronounce(word)
        assert found.variants == (("K", "AW"),)
        assert not found.known
    assert asked == [word]


def test_gruut_knows_any_word_in_the_model_s_phones():
    pytest.importorskip("gruut", reason="the speech extra is not installed")
    assert guess_with_gruut("judge") == ("JH", "AH", "JH")
    assert guess_with_gruut("flibbertigibbet")[:4] == ("F", "L", "IH", "B")


def test_what_cannot_be_said_is_refused():
    pytest.importorskip("gruut", reason="the speech extra is not installed")
    with pytest.raises(DataError, match="no pronunciation found for '。'"):
        guess_with_gruut("。")
