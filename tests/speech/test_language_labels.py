"""Pronunciations against the phones of synthetic voices that say the same sentences."""

import json

import pytest

from semihmm.speech import words_of
from semihmm.speech.text.japanese import pronounce_japanese
from semihmm.speech.text.korean import pronounce_korean
from semihmm.speech.text.mandarin import pronounce_mandarin


def sentences(folder):
    """Text and phones of each sentence."""
    rows = (json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
    return [(row["text"], [label for _, _, label in row["phones"] if label != "sil"]) for row in rows]


def pronounced(text, language, pronounce):
    return [phone for word in words_of(text, language=language) for phone in pronounce(word)[0]]


def edits(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(row[-1] + 1, before[j] + 1, before[j - 1] + (x != y)))
    return row[-1]


def test_japanese_is_open_jtalk_s_but_for_three_devoiced_vowels(shared_data):
    pytest.importorskip("pyopenjtalk", reason="the ja extra is not installed")
    pairs = [
        (pronounced(text, "ja", pronounce_japanese), phones)
        for text, phones in sentences(shared_data / "synth" / "ja-mei")
    ]
    assert sum(len(phones) for _, phones in pairs) == 942
    assert sum(edits(*pair) for pair in pairs) == 3
    voiced = [[[phone.lower() if phone in "IU" else phone for phone in side] for side in pair] for pair in pairs]
    assert all(a == b for a, b in voiced)


INITIALS = dict(zip("b p m f d t n l g k h j q x zh ch sh r z c s".split(),
                    "p ph m f t th n l k kh χ tɕ tɕh ɕ ts. ts.h s. ʐ ts tsh s".split(), strict=True))  # fmt: skip
FINALS = {
    "a": "a", "o": "o", "e": "ə", "ai": "ai", "ei": "ei", "ao": "au", "ou": "ou", "an": "a n", "en": "ə n",
    "ang": "a ŋ", "eng": "ə ŋ", "ong": "onɡ", "i": "i", "ii": "i.", "iii": "i.", "ia": "a", "ie": "ɛ", "iao": "au",
    "iou": "ou", "ian": "ɛ n", "in": "i n", "iang": "a ŋ", "ing": "i ŋ", "iong": "yu ŋ", "u": "u", "ua": "a",
    "uo": "o", "uei": "ei", "uan": "a n", "uen": "ə n", "uang": "a ŋ", "v": "y", "ve": "ɛ", "van": "ɛ n",
}  # fmt: skip
GLIDELESS = {
    "o-": "ə", "i̪": "i.", "ɑ": "a", "ɑu": "au", "iɛ": "ɛ", "iou": "ou", "iɑ": "a", "ua": "a", "uo": "o", "uei": "ei",
    "uə": "ə", "yɛ": "ɛ", "yæ": "ɛ",
}  # fmt: skip


def test_mandarin_is_espeak_s_but_for_glides(shared_data):
    pytest.importorskip("pypinyin", reason="the zh extra is not installed")
    for text, phones in sentences(shared_data / "synth" / "zh-espeak"):
        found = pronounced(text, "zh", pronounce_mandarin)
        ours = [label for phone in found for label in (INITIALS.get(phone) or FINALS[phone]).split()]
        assert ours == [GLIDELESS.get(phone, phone) for phone in phones if phone not in {"j", "w", "ʲ"}], text


KOREAN = {
    **dict.fromkeys("q q- k- kh k͈ kʰ k̚ ɡ".split(), "k"),
    **dict.fromkeys("t- d d- t͈ tʰ t̚".split(), "t"),
    **dict.fromkeys("b ph p͈ pʰ p̚".split(), "p"),
    **dict.fromkeys("s- s͈".split(), "s"),
    **dict.fromkeys("tʃ dʑ tɕʰ t͈ɕ".split(), "tɕ"),
    **{"ɫ": "l", "ɾ": "l", "ɛ": "e", "ɰ": "ɯ"},
}


def test_korean_is_espeak_s_at_most_places(shared_data):
    pytest.importorskip("ko_pron", reason="the ko extra is not installed")
    wrong = total = 0
    for text, phones in sentences(shared_data / "synth" / "ko-espeak"):
        # espeak-ng writes tʰ as t h, and tɕʰ as tʃ h
        one = [p for p, before in zip(phones, ["", *phones], strict=False) if not (p == "h" and before in ("t", "tʃ"))]
        theirs = [KOREAN.get(phone, phone) for phone in one]
        ours = [KOREAN.get(phone, phone) for phone in pronounced(text, "ko", pronounce_korean)]
        wrong, total = wrong + edits(ours, theirs), total + len(theirs)
    assert (wrong, total) == (45, 911)
