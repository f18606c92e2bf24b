"""Pronunciations of words, whatever the word."""

import sys
import unicodedata

import pytest

from semihmm.errors import DataError, DependencyError
from semihmm.speech import LANGUAGES, Lexicon, dictionary_lines, load_acoustic_model, load_lexicon, unknown_words
from semihmm.speech.alignment.pronunciation import guess_with_gruut

ENTRIES = {
    "cat": (("K", "AE", "T"),),
    "dog": (("D", "AO", "G"), ("D", "AA", "G"), ("D", "AO", "G")),
    "horse": (("HH", "AO", "R", "S"),),
    "dogs": (("D", "AO", "G", "Z"),),
    "it's": (("IH", "T", "S"),),
    "cafe": (("K", "AH", "F", "EY"),),
    "résumé": (("R", "EH", "Z"),),
    "resume": (("R", "IH", "Z"),),
    "strasse": (("S", "T"),),
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


@pytest.mark.parametrize(
    ("word", "variants"),
    [
        ("café", [("K", "AH", "F", "EY")]),
        ("café's", [("K", "AH", "F", "EY", "Z")]),
        ("café-cat", [("K", "AH", "F", "EY", "K", "AE", "T")]),
        ("résumé", [("R", "EH", "Z")]),  # as written goes before without accents
        ("résume", [("R", "IH", "Z")]),
        ("straße", [("S", "T")]),
    ],
)
def test_accents_are_folded_for_look_up_only(word, variants):
    found = Lexicon(ENTRIES, refuse).pronounce(word)
    assert found.word == word
    assert list(found.variants) == variants
    assert found.known


def test_marks_that_make_another_letter_are_no_accents():
    lexicon = Lexicon({"カ": (("k", "a"),)}, lambda word: ("g", "a"), "ja")
    assert lexicon.pronounce("ガ").variants == (("g", "a"),)


@pytest.fixture(scope="module")
def english():
    """The model and the lexicon that come with the speech extra."""
    pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
    return load_acoustic_model(), load_lexicon()


@pytest.mark.parametrize("word", ["café", "naïve", "señor", "cliché"])
def test_accented_words_are_those_of_the_cmu_dictionary(english, word):
    _, lexicon = english
    plain = "".join(c for c in unicodedata.normalize("NFD", word) if c.isascii())
    assert lexicon.pronounce(word).variants == lexicon.entries[plain]


def test_gruut_guesses_without_accents_and_names_the_word_it_cannot_say(monkeypatch):
    gruut = pytest.importorskip("gruut", reason="the speech extra is not installed")
    assert guess_with_gruut("blåhaj") == guess_with_gruut("blahaj")

    class Sound:
        is_spoken, phonemes = True, ("ʘ",)

    monkeypatch.setattr(gruut, "sentences", lambda word, lang: [[Sound]])
    with pytest.raises(DataError, match=r"'nǃxau': .* ʘ is no sound of English, .* Add the word to the dictionary"):
        guess_with_gruut("nǃxau")


def test_a_phone_that_the_model_lacks_is_named_with_its_word(tone_model):
    lexicon = Lexicon({"ah": (("AA",),), "zoo": (("Z", "UW"),)})
    with pytest.raises(DataError, match="the word 'zoo' has the phone 'Z', which tones lacks; it has SIL AA IY S"):
        lexicon.pronounce_text("ah zoo", tone_model)


def test_a_text_that_is_mostly_unknown_is_refused_unless_its_language_was_named(tone_model):
    def pronounce(text, language=None):
        known = dict.fromkeys("a b c d e f g h".split(), (("AA",),))
        return Lexicon(known, lambda word: ("AA",), language).pronounce_text(text, tone_model)

    with pytest.raises(
        DataError, match=r"5 of the transcript's 12 words are not in .* \(eins, zwei, .* language is 'en'"
    ):
        pronounce("eins zwei drei vier fünf a b c d e f g a b c d e f g eins")
    assert len(pronounce("eins zwei drei vier fünf a b c d e f g", language="en")) == 12
    assert len(pronounce("eins zwei drei vier fünf a b c d e f g h")) == 13  # fewer than two in five
    assert len(pronounce("eins zwei drei vier")) == 4  # a few names


GERMAN = "Es war einmal ein alter Mann der hatte drei Söhne und wohnte in einem kleinen Haus am Rande des Waldes"
FRENCH = "Il était une fois un vieil homme qui avait trois fils et qui habitait dans une petite maison près de la forêt"


@pytest.mark.parametrize("text", [GERMAN, FRENCH], ids=["German", "French"])
def test_german_and_french_are_not_taken_for_english(english, text):
    model, lexicon = english
    with pytest.raises(DataError, match="is it English"):
        lexicon.pronounce_text(text, model)


def test_another_language_has_only_its_own_dictionary(tmp_path):
    (tmp_path / "de.dict").write_text("haus h aʊ s\n", encoding="utf-8")
    lexicon = load_lexicon("de", dictionary=tmp_path / "de.dict")
    assert dict(lexicon.entries) == {"haus": (("h", "aʊ", "s"),)}
    assert lexicon.language == "de"
    assert LANGUAGES["de"] == "German"
    with pytest.raises(DataError, match=r"language 'tlh' is not known here. Known are ar \(Arabic\)"):
        load_lexicon("tlh")


def test_a_language_whose_package_is_missing_says_how_to_install_it(monkeypatch):
    pytest.importorskip("gruut", reason="the speech extra is not installed")
    monkeypatch.setitem(sys.modules, "gruut_lang_de", None)
    with pytest.raises(DependencyError, match=r"German words .* 'gruut_lang_de'") as error:
        guess_with_gruut("haus", "de")
    assert "pip install 'semihmm[languages]'" in str(error.value)


def test_a_language_s_words_are_guessed_in_plain_ipa():
    pytest.importorskip("gruut_lang_de", reason="the languages extra is not installed")
    assert guess_with_gruut("haus", "de")[0] == "h"
    assert not set("ˈˌː") & set("".join(guess_with_gruut("übergroß", "de")))


def test_unknown_words_are_counted_and_written_as_a_dictionary():
    lexicon = Lexicon(ENTRIES, lambda word: ("X",) * len(word))
    texts = ["A café [laughs], a cow's dog", "THE cow's; the cat"]
    assert unknown_words(texts, lexicon) == {"a": 2, "cow's": 2, "the": 2}
    assert list(dictionary_lines(["dog", "ox"], lexicon)) == ["dog D AO G", "dog(2) D AA G", "ox X X"]


def test_initials_are_spelled_and_interjections_are_not():
    letters = {"n": (("EH", "N"),), "l": (("EH", "L"),), "p": (("P", "IY"),), "s": (("EH", "S"),), "t": (("T", "IY"),)}
    lexicon = Lexicon(letters, lambda word: ("X",))
    assert lexicon.pronounce("nlp").variants == (("EH", "N", "EH", "L", "P", "IY"),)
    assert not lexicon.pronounce("nlp").known
    for word in ("psst", "nlw", "nil", "nlpnlpn"):  # a noise, a letter without a name, a vowel, a long one
        assert lexicon.pronounce(word).variants == (("X",),)
    assert Lexicon(letters, lambda word: ("X",), "de").pronounce("nlp").variants == (("X",),)
