"""What English speakers say that dictionaries leave out."""

from dataclasses import replace

import pytest

from semihmm.speech import Aligner, Lexicon
from semihmm.speech.alignment.pronunciation import Pronunciation
from semihmm.speech.text.variants import as_said

from .conftest import RATE, spoken


@pytest.mark.parametrize(
    ("entry", "beside"),
    [
        ("P R IH N S", ["P R IH N T S"]),
        ("S AH M TH IH NG", ["S AH M P TH IH NG"]),
        ("EH M F AH S IH S", ["EH M P F AH S IH S"]),
        ("L EH NG TH S", ["L EH NG K TH S"]),
        ("IH N S T AH N S", ["IH N T S T AH N S", "IH N S T AH N T S"]),
        ("P EH N Z", []),
        ("N IY S", []),
        ("AA R|ER", ["AH R"]),
        ("F AO R|F ER|F R ER", ["F AH R"]),
        ("HH ER", []),
        ("B ER D|B AH D", []),
        ("B ER D|B AH L D", []),
        ("M IH R ER|M IH R AO R", ["M IH R AH R"]),
        ("", []),
    ],
)
def test_entries_have_their_variants_first_and_then_what_is_said_beside_them(entry, beside):
    variants = [tuple(item.split()) for item in entry.split("|")]
    assert as_said(variants) == (*variants, *(tuple(item.split()) for item in beside))


def test_a_stop_that_no_dictionary_has_is_found_where_it_was_said(tone_model):
    model = replace(tone_model, phones=("SIL", "N", "T", "S"))  # tones of these names
    aligner = Aligner(model, Lexicon({"ns": (("N", "S"),)}))
    without, _ = spoken(("SIL", 0.1), ("AA", 0.15), ("S", 0.15), ("SIL", 0.1))
    wave, _ = spoken(("SIL", 0.1), ("AA", 0.15), ("IY", 0.1), ("S", 0.15), ("SIL", 0.1))
    assert [phone.label for phone in aligner(without, RATE, "ns").phones] == ["N", "S"]
    assert [phone.label for phone in aligner(wave, RATE, "ns").phones] == ["N", "T", "S"]


def test_other_languages_and_phones_that_a_model_lacks_have_no_such_variants(tone_model):
    item = Pronunciation("ns", (("N", "S"),))
    model = replace(tone_model, phones=("SIL", "N", "T", "S"))
    assert Lexicon({}, language="en").as_said(item, model).variants == (("N", "S"), ("N", "T", "S"))
    assert Lexicon({}, language="de").as_said(item, model) == item
    assert Lexicon({}).as_said(item, tone_model) == item
