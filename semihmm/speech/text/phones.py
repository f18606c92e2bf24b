"""Phone alphabets: ARPAbet (which the models speak), IPA and SAMPA, and how alike two phones are.

The IPA table turns a grapheme-to-phoneme converter's output into the model's phones. The others serve evaluation:
reference labels come in many alphabets, and have to be matched with ours before times can be compared.
"""

from collections.abc import Sequence
from typing import Literal

from semihmm.errors import DataError

Alphabet = Literal["arpabet", "ipa", "sampa"]

_VOWELS = "AA AE AH AO AW AX AXR AY EH ER EY IH IX IY OW OY UH UW UX"
_GLIDES = "L R W Y EL"
_NASALS = "M N NG EM EN NX"
_STOPS = "P B T D K G DX Q"
_FRICATIVES = "F V TH DH S Z SH ZH HH HV CH JH"
_CLASS = {
    phone: name
    for name, phones in (
        ("vowel", _VOWELS),
        ("glide", _GLIDES),
        ("nasal", _NASALS),
        ("stop", _STOPS),
        ("fricative", _FRICATIVES),
    )
    for phone in phones.split()
}


def _table(text: str) -> dict[str, str]:
    """``"a AA b B"`` as a dictionary."""
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=True))


_IPA = _table("""
    a AA æ AE ɐ AH ɑ AA ɒ AO ɔ AO ə AH ɚ ER ɛ EH ɜ ER ɝ ER e EH ɪ IH i IY ʊ UH u UW ʌ AH o AO ɨ IH ᵻ IH y UW ø ER œ ER
    aɪ AY aʊ AW eɪ EY oʊ OW əʊ OW ɔɪ OY tʃ CH dʒ JH
    p P b B t T d D k K ɡ G g G ʔ T ɾ D f F v V θ TH ð DH s S z Z ʃ SH ʒ ZH h HH x HH
    m M n N ŋ NG l L ɫ L r R ɹ R ɻ R j Y w W ʍ W
""")

_SAMPA = _table(r"""
    a AH A AA { AE V AH Q AO O AO @ AH E EH e EH I IH i IY U UH u UW 3 ER o AO 6 AH y UW Y UH 2 ER 9 ER } UW
    ai AY aI AY ei EY eI EY oi OY OI OY au AW aU AW @u OW @U OW oU OW @: ER 3: ER tS CH dZ JH
    p P b B t T d D k K g G ? T 4 D f F v V T TH D DH s S z Z S SH Z ZH h HH x HH H HH
    m M n N N NG J N l L L L r R R R r\ R j Y w W
""")

_DIACRITICS = {*"AGHMNOTacdehjklmnoqtvwx"}  # letters that say how the phone before an underline is said, in X-SAMPA
_SILENCES = {"", *"sil sp spn nsn pau h# # _ - <eps> <sil> <p:> silence ssil +nsn+ +spn+".split()}
_PAUSES = {"", *"sil sp h# # _ - <eps> <sil> <s> </s> <p:> <p>".split()}

INSERTION = 1.0
"""Cost of an item that only one side has, on the scale of `distance`."""


def is_silence(label: str) -> bool:
    """Whether a label of a tier of phones marks a pause or a noise rather than a phone."""
    return label.strip().lower() in _SILENCES


def is_pause(label: str) -> bool:
    """Whether a label of a tier of words marks a pause rather than a word: "silence" is a word of English."""
    return label.strip().lower() in _PAUSES


def arpabet_from_ipa(symbols: Sequence[str]) -> tuple[str, ...]:
    """Phones of American English in the CMU dictionary's ARPAbet.

    Args:
        symbols: one IPA symbol per phone; stress, length and tie marks are ignored.

    Raises:
        DataError: a symbol is not one that English uses.
    """
    plain = plain_ipa(symbols)
    strange = [symbol for symbol in plain if symbol not in _IPA]
    if strange:
        raise DataError(
            f"arpabet_from_ipa: {' '.join(strange)} is no sound of English, so no phone here stands for it."
        )
    return tuple(_IPA[symbol] for symbol in plain)


def plain_ipa(symbols: Sequence[str]) -> tuple[str, ...]:
    """IPA symbols without marks of stress, length and ties; what is left empty is left out."""
    return tuple(symbol for symbol in ("".join(c for c in s if c not in "ˈˌː͡ˑ‖|") for s in symbols) if symbol)


def alphabet_of(labels: Sequence[str]) -> Alphabet:
    """Guess which alphabet a recording's labels are in, from all of them together: ``S`` alone could be any."""
    if all(_strip_stress(label) in _CLASS for label in labels):
        return "arpabet"
    return "ipa" if any(ord(c) > 0x7F for label in labels for c in label) else "sampa"


def to_arpabet(label: str, alphabet: Alphabet) -> str | None:
    """The nearest ARPAbet phone, or None for a symbol nobody here knows. Compound labels count by their beginning."""
    if alphabet == "arpabet":
        phone = _strip_stress(label)
        return phone if phone in _CLASS else None
    table = _IPA if alphabet == "ipa" else _SAMPA
    plain = "".join(c for c in label if c not in "ˈˌː͡\"%'")
    return next((table[plain[:size]] for size in (3, 2, 1) if plain[:size] in table), None)


def is_vowel(phone: str) -> bool:
    """Whether an ARPAbet phone, without its stress, is a vowel."""
    return _CLASS.get(phone) == "vowel"


def is_compound(label: str) -> bool:
    """Whether a label joins two phones that run together, as EMU's ``z_s`` does; ``p_h`` is one phone, aspirated."""
    first, joint, second = label.strip().partition("_")
    return bool(joint) and first != second and {first, second} <= _SAMPA.keys() and second not in _DIACRITICS


def manners(labels: Sequence[str]) -> list[str]:
    """How each phone of a recording is articulated: vowel, glide, nasal, stop or fricative; ``"other"`` if unknown."""
    alphabet = alphabet_of(labels)
    phones = (to_arpabet(label, alphabet) for label in labels)
    return ["other" if phone is None else _CLASS[phone] for phone in phones]


def distance(a: str | None, b: str | None) -> float:
    """How unlike two ARPAbet phones are: 0 the same, 0.5 the same manner, 1 another, 2 vowel against consonant.

    2 is what leaving both out would cost, so a vowel is never paired with an obstruent; glides may stand for vowels.
    """
    if a == b and a is not None:
        return 0.0
    if a is None or b is None:
        return 1.0
    kinds = {_CLASS[a], _CLASS[b]}
    if len(kinds) == 1:
        return 0.5
    return 2 * INSERTION if "vowel" in kinds and "glide" not in kinds else 1.0


def _strip_stress(label: str) -> str:
    return label.strip().upper().rstrip("012")
