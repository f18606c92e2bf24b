"""How words are pronounced: a dictionary, and a rule and a converter for the words it lacks."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.speech.acoustics.loading import load_dictionary
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.free import FREE
from semihmm.speech.text.japanese import pronounce_japanese
from semihmm.speech.text.korean import pronounce_korean
from semihmm.speech.text.mandarin import pronounce_mandarin
from semihmm.speech.text.phones import arpabet_from_ipa, is_silence, plain_ipa
from semihmm.speech.text.transcript import is_filler, words_of
from semihmm.speech.text.variants import as_said

Phones = tuple[str, ...]

LANGUAGES = {
    "ar": "Arabic", "ca": "Catalan", "cs": "Czech", "de": "German", "en": "English", "es": "Spanish", "fa": "Farsi",
    "fr": "French", "it": "Italian", "ja": "Japanese", "ko": "Korean", "lb": "Luxembourgish", "nl": "Dutch",
    "pt": "Portuguese", "ru": "Russian", "sv": "Swedish", "sw": "Swahili", "zh": "Mandarin",
}  # fmt: skip
"""Languages whose words can be pronounced without a dictionary, by their ISO 639 codes."""

_SIBILANTS = {"S", "Z", "SH", "ZH", "CH", "JH"}
_MOST_VARIANTS = 16  # of a word with hyphens, whose parts' variants multiply
_VOICELESS = {"P", "T", "K", "F", "TH"}
_UNFOLDED = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ı": "i"}
)
_INITIALS = re.compile(r"(?=.*[cdjlnqvwx])[b-df-hj-np-tv-xz]{2,6}")
_FEW, _MOSTLY = 5, 0.4  # unknown words, and their share, from where on a text is hardly in the dictionary's language


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


_READERS: dict[str, Callable[[str], tuple[Phones, ...]]] = {
    "ja": pronounce_japanese,
    "ko": pronounce_korean,
    "zh": pronounce_mandarin,
}


def converter(language: str | None) -> Callable[[str], Phones | tuple[Phones, ...]]:
    """What pronounces the words of a language that the dictionary lacks.

    Args:
        language: one of `LANGUAGES`; None is English.

    Returns:
        From a word to its phones, or to several pronunciations. Japanese, Korean and Mandarin have converters of their
        own, whose phones are Open JTalk's, IPA, and initials and finals; other languages have `guess_with_gruut`.

    Raises:
        DataError: the language is not known.
    """
    code = check_language(language or "en")
    return _READERS.get(code) or partial(guess_with_gruut, language=code)


def guess_with_gruut(word: str, language: str = "en") -> Phones:
    """A pronunciation for any word, without network access.

    Args:
        word: in letters.
        language: one of `LANGUAGES` that has no converter of its own.

    Returns:
        ARPAbet for English, as the CMU dictionary has it; otherwise IPA, without stress and length.

    Raises:
        DataError: the word has no letters that the language could read, or ``language`` is none of `LANGUAGES`.
        DependencyError: ``gruut``, or its package for the language, is not installed.
    """
    purpose = f"Guessing the pronunciation of {LANGUAGES[check_language(language)]} words that the dictionary lacks"
    gruut = require("gruut", extra="speech", purpose=purpose)
    english = language == "en"
    require(f"gruut_lang_{language}", extra="speech" if english else "languages", purpose=purpose)
    sentences = gruut.sentences(_fold(word) if english else word, lang="en-us" if english else language)
    sounds = [sound for sentence in sentences for item in sentence if item.is_spoken for sound in item.phonemes or ()]
    try:
        phones = arpabet_from_ipa(sounds) if english else plain_ipa(sounds)
    except DataError as error:
        raise DataError(f"guess_with_gruut: {word!r}: {error} Add the word to the dictionary.") from error
    if not phones:
        raise DataError(
            f"guess_with_gruut: no pronunciation found for {word!r}. Add the word to the dictionary.",
            see="unknown-words",
        )
    return phones


def check_language(language: str) -> str:
    """Refuse what is none of `LANGUAGES`.

    Raises:
        DataError: it is not.
    """
    if language not in LANGUAGES:
        known = ", ".join(f"{code} ({name})" for code, name in LANGUAGES.items())
        raise DataError(f"language {language!r} is not known here. Known are {known}.")
    return language


@dataclass(frozen=True)
class Lexicon:
    """Pronunciations of words, whatever the word.

    In this order: the dictionary; the parts of a hyphenated word; a word of the dictionary with a possessive ``'s`` or
    ``'``; all of these again without accents (``café`` has the entry ``cafe``). Other words count as unknown: English
    initials without a vowel (``nlp``) are spelled, and the rest is for the converter. Those of Japanese, Korean and
    Mandarin read and do not guess: what they can pronounce is known.

    Args:
        entries: pronunciations by lower-case word.
        guess: from a word to its phones, or to several pronunciations, for the words that ``entries`` lacks.
        language: of the words, one of `LANGUAGES`. None is English, if the words bear that out: see `pronounce_text`.

    Example:
        >>> lexicon = Lexicon({"cat": (("K", "AE", "T"),)})
        >>> lexicon.pronounce("cat's").variants
        (('K', 'AE', 'T', 'S'),)
    """

    entries: Mapping[str, Sequence[Phones]]
    guess: Callable[[str], Phones | tuple[Phones, ...]] = guess_with_gruut
    language: str | None = None
    _guessed: dict[str, tuple[Phones, ...]] = field(default_factory=dict, repr=False, compare=False)

    def pronounce(self, word: str) -> Pronunciation:
        """All pronunciations of one word.

        Raises:
            DataError: nobody knows how the word could be said.
        """
        variants = ((FREE,),) if word == FREE else self._variants(word) or self._variants(_fold(word))
        if variants:
            return Pronunciation(word, variants)
        if word not in self._guessed:
            guessed = self._spelled(word) or self.guess(word)
            self._guessed[word] = guessed if isinstance(guessed[0], tuple) else (guessed,)
        return Pronunciation(word, self._guessed[word], known=self.language in _READERS)

    def knows(self, word: str) -> bool:
        """Whether the word needs no guess."""
        if is_filler(word) or self._variants(word) or self._variants(_fold(word)):
            return True
        with suppress(DataError):
            return self.language in _READERS and self.pronounce(word).known
        return False

    def pronounce_text(self, text: str, model: AcousticModel) -> list[Pronunciation]:
        """The pronunciations of a transcript's words, in order, for a model that is to hear them.

        A filler that the dictionary lacks is any of the model's noises, or silence, or nothing at all; fillers alone
        are no transcript, and so none is returned.

        Args:
            text: the transcript.
            model: whose phones may occur.

        Raises:
            DataError: a word has a phone that the model lacks, or nobody knows how it could be said; no language was
                given, and so many words are unknown that the text can hardly be English.
        """
        words = words_of(text, language=self.language or "en")
        if all(map(is_filler, words)):
            return []
        noises = tuple((phone,) for phone in model.phones if is_silence(phone))
        found = [
            Pronunciation(word, (*noises, ())) if is_filler(word) and word not in self.entries else self.pronounce(word)
            for word in words
        ]
        for item in found:
            strange = [phone for phones in item.variants for phone in phones if phone not in (*model.phones, FREE)]
            if strange:
                raise DataError(
                    f"the word {item.word!r} has the phone {strange[0]!r}, which {model.name} lacks; it has "
                    f"{' '.join(model.phones)}. Use a dictionary that was made for the model.",
                    see="unknown-words",
                )
        self._check_language(found)
        return found

    def as_said(self, item: Pronunciation, model: AcousticModel) -> Pronunciation:
        """A word of English with what speakers say beside its pronunciations: see `semihmm.speech.text.variants`.

        Args:
            item: as `pronounce_text` returns it. Words of another language stay as they are.
            model: whose phones may occur.
        """
        if self.language not in {None, "en"}:
            return item
        said = (phones for phones in as_said(item.variants) if phones in item.variants or {*phones} <= {*model.phones})
        return replace(item, variants=tuple(said))

    def _check_language(self, found: Sequence[Pronunciation]) -> None:
        words = {item.word for item in found}
        unknown = list(dict.fromkeys(item.word for item in found if not item.known))
        if self.language is None and len(unknown) >= max(_FEW, _MOSTLY * len(words)):
            raise DataError(
                f"{len(unknown)} of the transcript's {len(words)} words are not in the dictionary "
                f"({', '.join(unknown[:_FEW])}, ...): is it English? If so, say that the language is 'en'; if not, "
                f"name its language, and give its acoustic model and dictionary.",
                see="unknown-words",
            )

    def _spelled(self, word: str) -> Phones:
        """The names of the letters of an English word that has no vowel and is no "psst"; else nothing."""
        if self.language not in {None, "en"} or not _INITIALS.fullmatch(word) or not self.entries.keys() >= set(word):
            return ()
        return tuple(phone for letter in word for phone in self.entries[letter][0])

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


def load_lexicon(
    language: str | None = None, *, dictionary: Path | None = None, model: AcousticModel | None = None
) -> Lexicon:
    """The lexicon of a language.

    Args:
        language: one of `LANGUAGES`. English has the CMU dictionary, the others only what ``dictionary`` holds; words
            that are in neither are pronounced by the language's `converter`. Default: English, unless most words are
            unknown.
        dictionary: a file of pronunciations, in any form that `read_dictionary` knows, that add to those or replace
            them.
        model: refuse entries of ``dictionary`` with phones that it lacks.

    Raises:
        DataError: the language is not known, or the dictionary cannot be used.
        DependencyError: ``pocketsphinx``, which holds the CMU dictionary, is not installed.

    Example:
        >>> import tempfile
        >>> own = Path(tempfile.mkdtemp()) / "de.dict"
        >>> _ = own.write_text("haus h aʊ s", encoding="utf-8")
        >>> load_lexicon("de", dictionary=own).pronounce("haus").variants
        (('h', 'aʊ', 's'),)
    """
    language = check_language(language) if language else None
    own = load_dictionary(dictionary, model=model) if dictionary else {}
    common = load_dictionary() if language in {None, "en"} else {}
    return Lexicon(common | own, converter(language), language)


def unknown_words(texts: Iterable[str], lexicon: Lexicon) -> Counter[str]:
    """The words that a lexicon does not know, with how often each occurs in the texts.

    Example:
        >>> unknown_words(["A cat and a cow", "the cow's"], Lexicon({"cat": (("K", "AE", "T"),)})).most_common(2)
        [('a', 2), ('and', 1)]
    """
    words = Counter(word for text in texts for word in words_of(text, language=lexicon.language or "en"))
    return Counter({word: count for word, count in words.items() if not lexicon.knows(word)})


def dictionary_lines(words: Iterable[str], lexicon: Lexicon) -> Iterator[str]:
    """The pronunciations of words as lines of a dictionary, to be mended by hand and given back as one.

    Example:
        >>> list(dictionary_lines(["tomato"], Lexicon({"tomato": (("T", "AH"), ("T", "AA"))})))
        ['tomato T AH', 'tomato(2) T AA']
    """
    for word in words:
        for number, phones in enumerate(lexicon.pronounce(word).variants, 1):
            yield f"{word}{f'({number})' if number > 1 else ''} {' '.join(phones)}"


def _fold(word: str) -> str:
    """A word without accents: for look-up only. ガ is not カ with an accent."""
    plain = unicodedata.normalize("NFD", word.translate(_UNFOLDED))
    return unicodedata.normalize("NFC", re.sub("[\u0300-\u036f]", "", plain))
