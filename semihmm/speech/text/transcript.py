"""From a transcript's text to the words that were spoken, with what was written for them beside."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

from semihmm.speech.intervals import Interval
from semihmm.speech.text.phones import is_pause
from semihmm.speech.text.spoken import read_out
from semihmm.types import Seconds

_FILLER = re.compile(
    r"\[[^\[\]]*\]|<(?=[\w/!:*])[^<>]*>|\{[^{}]*\}|\+{1,2}[A-Za-z_]+\+{1,2}(?!\w)|(?<!\S)\*(?:\s+\*)*(?!\S)"
)
UNSPACED = {"ja", "zh"}
"""Languages that are written without blanks between words."""

_PIECE = re.compile(r"\S+")
_CHARACTER = re.compile(r"\s+|\S[\u0300-\u036f\u3099\u309a\uff9e\uff9f]*")  # with its accents, or blanks
_MARKUP = re.compile(r"</|<(?:[biu]|br|s|v|c|p|font|lang|ruby|rt|span)\b|<[\d:.]+>|\{\\", re.IGNORECASE)
_QUOTED = re.compile(r"(?<!\w)'((?:[^']|(?<=\w)'(?=\w))*)'(?!\w)")
_SPELT = {
    **dict.fromkeys("’‘‛ʼ`´′", "'"),
    **dict.fromkeys("“”″", '"'),
    **dict.fromkeys("‐‑", "-"),
    **{"º": "°", "ª": "a", "№": "No.", "²": "^2", "³": "^3"},
}


@dataclass(frozen=True)
class Token:
    """A piece of a transcript, as it was written and as it is said.

    Args:
        written: as the transcript has it, with case and punctuation, and everything that stands between blanks; more
            than one such piece where they are read as one, as in "$5 million".
        spoken: its words, as `words_of` has them; none for a dash or other punctuation by itself.
        start: when it was said, in seconds; None before it is aligned, and if nothing of it was heard.
        end: when that was over.
        speaker: who said it, where the transcript tells speakers apart.

    Example:
        >>> Token("1984,", ("nineteen", "eighty", "four")).spoken[0]
        'nineteen'
    """

    written: str
    spoken: tuple[str, ...]
    start: Seconds | None = None
    end: Seconds | None = None
    speaker: str | None = None


def words_of(text: str, *, language: str = "en") -> list[str]:
    """The words of a transcript, in lower case, without punctuation: those of `tokens_of`, one after the other.

    Example:
        >>> words_of("He turned sharply, and faced Gregson across the table.")
        ['he', 'turned', 'sharply', 'and', 'faced', 'gregson', 'across', 'the', 'table']
        >>> words_of("Don't [cough] wait -- it's well-known!")
        ["don't", '[cough]', 'wait', "it's", 'well-known']
    """
    return [word for token in tokens_of(text, language=language) for word in token.spoken]


def tokens_of(text: str, *, language: str = "en") -> tuple[Token, ...]:
    r"""All that a transcript holds, in order, each piece with the words that are said for it.

    Numbers, amounts, dates, times, units and signs are read out in Dutch, English, French, German, Italian, Japanese,
    Korean, Mandarin, Portuguese and Spanish; in other languages whole numbers are, and other digits are refused.
    Mandarin and Japanese, which put no blanks between words, are cut where words begin; what is said for a word is
    characters in Mandarin, and its reading in katakana in Japanese (see `semihmm.speech.text.japanese`). Hyphens
    inside a word stay, and apostrophes that are not quotation marks: the dictionary may have such words. An annotation
    in square, angle or curly brackets, or between plus signs as in ``+breath+``, is one word, a filler (see
    `is_filler`); those that mean silence and the marks of subtitles (``<i>``, ``{\an8}``) are not said. An asterisk
    between blanks is a word that stands for any speech; several are the ornament between two scenes. Accents are
    composed (NFC), letters of full width and ligatures made plain, format characters left out.

    Args:
        text: the transcript.
        language: its language, as ISO 639 has it.

    Raises:
        DataError: digits that ``language`` has no rule for.
        DependencyError: there are numbers, and ``num2words`` is not installed.

    Example:
        >>> for token in tokens_of("In 1984, he [laughs] paid $5 million -- in cash."):
        ...     print(token.written, token.spoken)
        In ('in',)
        1984, ('nineteen', 'eighty', 'four')
        he ('he',)
        [laughs] ('[laughs]',)
        paid ('paid',)
        $5 million ('five', 'million', 'dollars')
        -- ()
        in ('in',)
        cash. ('cash',)
    """
    pieces = list((_CHARACTER if language in UNSPACED else _PIECE).finditer(text))
    plain = [_plainly(piece[0]) for piece in pieces]
    blank = "" if language in UNSPACED else " "
    starts = [0, *accumulate(len(piece + blank) for piece in plain)]
    spoken: list[list[str]] = [[] for _ in pieces]
    joined = set()  # pieces that belong to the one before
    begun = {0}
    for start, end, words in _spans(blank.join(plain), language):
        first, last = (bisect_right(starts, place) - 1 for place in (start, end - 1))
        spoken[first] += words
        joined |= {*range(first + 1, last + 1)}
        while first > 0 and unicodedata.category(text[pieces[first - 1].start()]) in {"Ps", "Pi"}:
            first -= 1
        begun.add(first)
    if language in UNSPACED:
        joined = {*range(len(pieces))} - begun
    tokens = []
    for index, piece in enumerate(pieces):
        if index not in joined:
            last = next((later for later in range(index + 1, len(pieces)) if later not in joined), len(pieces)) - 1
            said = [word for words in spoken[index : last + 1] for word in words]
            tokens.append(Token(text[piece.start() : pieces[last].end()].strip(), tuple(said)))
    return tuple(token for token in tokens if token.written)


def is_filler(word: str) -> bool:
    """Whether a word stands for a sound that is no speech, or for speech that nobody understood.

    Example:
        >>> [word for word in words_of("[door slams] well {sl} hm <noise>") if is_filler(word)]
        ['[door_slams]', '{sl}', '<noise>']
    """
    return word[:1] in {"[", "<", "{", "+"}


def timed(tokens: Sequence[Token], words: Sequence[Interval]) -> tuple[Token, ...]:
    """Tokens with the times of their words.

    Args:
        tokens: of a transcript.
        words: of its alignment, in order; a filler may be missing.
    """
    found, place = [], 0
    for token in tokens:
        first = place
        for word in token.spoken:
            place += place < len(words) and words[place].label == word
        heard = words[first:place]
        found.append(replace(token, start=heard[0].start, end=heard[-1].end) if heard else token)
    return tuple(found)


def _spans(line: str, language: str) -> Iterator[tuple[int, int, list[str]]]:
    """What is read as one: start, end and words. Annotations go before everything, and nothing is read across them."""
    line = _QUOTED.sub(r" \1 ", line)
    place = 0
    for filler in _FILLER.finditer(line):
        yield from read_out(line[: filler.start()], place, language=language)
        inside = filler[0].strip("[]<>{}+ ")
        ornament = filler[0].count("*") > 1
        silent = ornament or any(map(is_pause, (filler[0], inside))) or inside.isdigit() or _MARKUP.match(filler[0])
        yield filler.start(), filler.end(), [] if silent else ["_".join(filler[0].lower().split())]
        place = filler.end()
    yield from read_out(line, place, language=language)


def _plainly(piece: str) -> str:
    """A piece of a transcript in the form that the dictionary and the rules know."""
    if piece.isspace():
        return " "
    return unicodedata.normalize("NFC", "".join(map(_plain, unicodedata.normalize("NFC", piece))))


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    """A character in the form that the dictionary and the rules know, or nothing for one that is not to be seen."""
    if character.isascii() or character in _SPELT:
        return _SPELT.get(character, character)
    kind, form = unicodedata.category(character), unicodedata.decomposition(character)
    if kind in {"Cf", "Cc", "Co"} or "\ufe00" <= character <= "\ufe0f" or form.startswith("<super>"):
        return ""
    if kind == "Nd":
        return str(unicodedata.digit(character))
    if form.startswith("<fraction>"):
        return " " + unicodedata.normalize("NFKC", character)  # 5½ is not 51/2
    return unicodedata.normalize("NFKC", character) if form.startswith("<") else character
