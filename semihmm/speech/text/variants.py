"""What English speakers say that dictionaries leave out: pronunciations beside those of an entry.

- **Intrusive stops.** Where the nose closes before the mouth opens, a nasal ends in a stop of its place: *emphasis*
  with a P, *prince* with a T, *length* with a K.
- **R after a vowel.** A dictionary of American English writes the weak form of a vowel and R as one phone: *are* is
  AA R or ER. Before another vowel, and by speakers without such a phone, it is said as two: AH R.

Which of them a recording holds, its sound decides.

References:
    Ohala (1997), "Emergent stops", Proceedings of the 4th Seoul International Conference on Linguistics.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from semihmm.speech.text.phones import is_vowel

_STOP = {"M": "P", "N": "T", "NG": "K"}
_VOICELESS_FRICATIVES = {"F", "TH", "S", "SH"}

Phones = tuple[str, ...]


def as_said(variants: Sequence[Phones]) -> tuple[Phones, ...]:
    """An entry's pronunciations, in ARPAbet, and those beside them.

    Example:
        >>> as_said([("AA", "R"), ("ER",)])
        (('AA', 'R'), ('ER',), ('AH', 'R'))
        >>> as_said([("P", "R", "IH", "N", "S")])[1]
        ('P', 'R', 'IH', 'N', 'T', 'S')
    """
    beside = (other for phones in variants for other in (*_with_stops(phones), *_with_r(phones, variants)))
    return tuple(dict.fromkeys((*variants, *beside)))


def _with_stops(phones: Phones) -> Iterator[Phones]:
    for place, (nasal, fricative) in enumerate(pairwise(phones), 1):
        if nasal in _STOP and fricative in _VOICELESS_FRICATIVES:
            yield (*phones[:place], _STOP[nasal], *phones[place:])


def _with_r(phones: Phones, variants: Sequence[Phones]) -> Iterator[Phones]:
    """An ER that is a vowel and R in another variant, in two."""
    for place, phone in enumerate(phones):
        before, after = phones[:place], phones[place + 1 :]
        if phone == "ER" and any((*before, x, "R", *after) in variants for x in _inside(variants, place)):
            yield (*before, "AH", "R", *after)


def _inside(variants: Sequence[Phones], place: int) -> set[str]:
    return {phones[place] for phones in variants if place < len(phones) and is_vowel(phones[place])}
