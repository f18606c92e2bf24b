"""What a transcript says."""

import pytest

from semihmm.speech import words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" -- ... !?", []),
        ("Hello, World.", ["hello", "world"]),
        ("It's John's; the dogs' bowl", ["it's", "john's", "the", "dogs'", "bowl"]),
        ("'tis 'quoted' text", ["'tis", "quoted", "text"]),
        ("“Curly” ‘quotes’ don’t matter", ["curly", "quotes", "don't", "matter"]),
        ("a well-known man -- or not—so", ["a", "well-known", "man", "or", "not", "so"]),
        ("uh [cough] yes <unk> no", ["uh", "yes", "no"]),
        ("snake_case", ["snake", "case"]),
        ("well * then, 3*x*", ["well", "*", "then", "three", "x"]),
        ("Café naïve", ["café", "naïve"]),
        ("Mr. Smith (or so)", ["mr", "smith", "or", "so"]),
    ],
)
def test_words_are_lower_case_and_without_punctuation(text, words):
    assert words_of(text) == words


def test_numbers_and_signs_are_read_out():
    pytest.importorskip("gruut", reason="the speech extra is not installed")
    assert words_of("In 1984 we paid $3 & left") == "in nineteen eighty four we paid three dollars and left".split()
