"""Phone alphabets."""

import pytest

from semihmm.errors import DataError
from semihmm.speech.text.phones import (
    alphabet_of,
    arpabet_from_ipa,
    distance,
    is_compound,
    is_pause,
    is_silence,
    plain_ipa,
    to_arpabet,
)


def test_ipa_becomes_the_dictionary_s_phones():
    assert arpabet_from_ipa(["d͡ʒ", "ˈaʊ", "ə", "ˌoʊ", "ŋ", ""]) == ("JH", "AW", "AH", "OW", "NG")
    with pytest.raises(DataError, match="ʘ is no sound of English"):
        arpabet_from_ipa(["ʘ"])


@pytest.mark.parametrize(
    ("labels", "alphabet"),
    [
        (["HH", "AH0", "L", "OW1"], "arpabet"),
        (["hh", "ax", "l", "ow"], "arpabet"),
        (["h", "@", "l", "@u"], "sampa"),
        (["h", "ə", "l", "oʊ"], "ipa"),
    ],
)
def test_the_alphabet_is_seen_from_all_labels_together(labels, alphabet):
    assert alphabet_of(labels) == alphabet


@pytest.mark.parametrize(
    ("label", "alphabet", "phone"),
    [
        ("ah0", "arpabet", "AH"),
        ("zz", "arpabet", None),
        ("S", "sampa", "SH"),
        ("S", "arpabet", "S"),
        ("z_s", "sampa", "Z"),
        ("ei", "sampa", "EY"),
        ("i:", "sampa", "IY"),
        ("*", "sampa", None),
        ("ˈaɪ", "ipa", "AY"),
    ],
)
def test_a_label_means_what_its_alphabet_says(label, alphabet, phone):
    assert to_arpabet(label, alphabet) == phone


@pytest.mark.parametrize(
    ("label", "joined"),
    [
        ("z_s", True),
        (" d_b ", True),
        ("_", False),
        ("z", False),
        ("t_H", False),
        ("p_h", False),
        ("a_1", False),
        ("1_s", False),
        ("@_r", True),
        ("r_r", False),
        ("r_q_s", False),
    ],
)
def test_compounds_are_two_phones_and_no_more(label, joined):
    assert is_compound(label) is joined


def test_distance_grows_with_unlikeness_and_has_no_order():
    phones = ["AA", "AE", "R", "M", "N", "T", "D", "S", None]
    for a in phones:
        for b in phones:
            assert distance(a, b) == distance(b, a)
    assert distance("AA", "AA") < distance("AA", "AE") < distance("AA", "R") < distance("AA", "T")
    assert distance("S", "T") == 1


@pytest.mark.parametrize("label", ["", " ", "sil", "SIL", "pau", "H#", "<eps>", "sp"])
def test_pauses_are_recognised(label):
    assert is_silence(label)


def test_phones_are_not_pauses():
    assert not any(map(is_silence, ["S", "SH", "s", "AA"]))


@pytest.mark.parametrize("label", ["", " ", "sil", "SIL", "sp", "<eps>", "<sil>", "<p:>", "_", "#"])
def test_pauses_among_words_are_recognised(label):
    assert is_pause(label)


@pytest.mark.parametrize("word", ["silence", "Silence", "pau", "spn", "<unk>", "[noise]"])
def test_what_marks_silence_among_phones_may_be_a_word(word):
    assert not is_pause(word)


def test_plain_ipa_has_no_stress_length_or_ties():
    assert plain_ipa(["ˈaː", "t͡ʃ", "ˌ", "|", "ɪ"]) == ("a", "tʃ", "ɪ")
