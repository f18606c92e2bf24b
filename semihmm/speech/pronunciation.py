"""How words are pronounced: a dictionary, and a rule and a converter for the words it lacks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.speech.free import FREE
from semihmm.speech.phones import arpabet_from_ipa

Phones = tuple[str, ...]

_SIBILANTS = {"S", "Z", "SH", "ZH", "CH", "JH"}
_MOST_VARIANTS = 16  # of a word with hyphens, whose parts' variants multiply
_VOICELESS = {"P", "T", "K", "F", "TH"}


@dataclass(frozen=True)
class Pronunciation:
    """The pronunciations of one word of a transcript.

    Args:
        word: as the transcript has it.
        variants: at least one; each at least one phone.
        known: whether they come from the dictionary, rather than from a guess.
    """

    word: str
    variants: tuple[Phones, ...]
    known: bool = True


def guess_with_gruut(word: str) -> Phones:
    """A pronunciation for any English word, in ARPAbet, without network access.

    Raises:
        DataError: the word has no letters that English could read.
        DependencyError: ``gruut`` is not installed.
    """
    gruut = require("gruut", extra="speech", purpose="Guessing the pronunciation of words that the dictionary lacks")
    spoken = [item for sentence in gruut.sentences(word, lang="en-us") for item in sentence if item.is_spoken]
    phones = tuple(phone for item in spoken for phone in arpabet_from_ipa(item.phonemes or ()))
    if not phones:
        raise DataError(f"guess_with_gruut: no pronunciation found for {word!r}. Add the word to the dictionary.")
    return phones


@dataclass(frozen=True)
class Lexicon:
    """Pronunciations of words, whatever the word.

    In this order: the dictionary; the parts of a hyphenated word; a word of the dictionary with a possessive ``'s`` or
    ``'``; the converter, whose words count as unknown.

    Args:
        entries: pronunciations by lower-case word.
        guess: from a word to its phones, for the words that ``entries`` lacks.

    Example:
        >>> lexicon = Lexicon({"cat": (("K", "AE", "T"),)})
        >>> lexicon.pronounce("cat's").variants
        (('K', 'AE', 'T', 'S'),)
    """

    entries: Mapping[str, Sequence[Phones]]
    guess: Callable[[str], Phones] = guess_with_gruut
    _guessed: dict[str, Phones] = field(default_factory=dict, repr=False, compare=False)

    def pronounce(self, word: str) -> Pronunciation:
        """All pronunciations of one word.

        Raises:
            DataError: nobody knows how the word could be said.
        """
        variants = ((FREE,),) if word == FREE else self._variants(word)
        if variants:
            return Pronunciation(word, variants)
        if word not in self._guessed:
            self._guessed[word] = self.guess(word)
        return Pronunciation(word, (self._guessed[word],), known=False)

    def _variants(self, word: str) -> tuple[Phones, ...]:
        if word in self.entries:
            return tuple(dict.fromkeys(self.entries[word]))
        if "-" in word:
            joined: list[Phones] = [()]
            for part in filter(None, word.split("-")):
                joined = [before + after for before in joined for after in self._variants(part)][:_MOST_VARIANTS]
            return tuple(joined)
        stem, apostrophe, ending = word.rpartition("'")
        if apostrophe and ending == "s":
            return tuple(phones + _possessive(phones[-1]) for phones in self._variants(stem))
        if apostrophe and not ending:
            return self._variants(stem)
        return ()


def _possessive(last: str) -> Phones:
    if last in _SIBILANTS:
        return ("IH", "Z")
    return ("S",) if last in _VOICELESS else ("Z",)
