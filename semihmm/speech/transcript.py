"""From a transcript's text to the words that were spoken."""

import re
from collections.abc import Iterator

from semihmm._optional import require

_ANNOTATION = re.compile(r"\[[^\]]*\]|<[^>]*>")  # [noise], <unk>: not spoken
_QUOTES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "–": " ", "—": " "})
_QUOTED = re.compile(r"(?<!\w)'((?:[^']|(?<=\w)'(?=\w))*)'(?!\w)")
_WORD = re.compile(r"(?<!\S)\*(?!\S)|'?[^\W_]+(?:['\-][^\W_]+)*'?")
_SYMBOLS = re.compile(r"[\d&$£€%@+=°]")


def words_of(text: str) -> list[str]:
    """The words of a transcript, in lower case, without punctuation.

    Numbers, amounts and times are read out, as ``gruut`` reads them; annotations in square or angle brackets are left
    out. Hyphens inside a word stay, and apostrophes that are not quotation marks: the dictionary may have such words.
    An asterisk between blanks is a word that stands for any speech.

    Example:
        >>> words_of("He turned sharply, and faced Gregson across the table.")
        ['he', 'turned', 'sharply', 'and', 'faced', 'gregson', 'across', 'the', 'table']
        >>> words_of("Don't [cough] wait -- it's well-known!")
        ["don't", 'wait', "it's", 'well-known']
    """
    text = _QUOTED.sub(r" \1 ", _ANNOTATION.sub(" ", text.translate(_QUOTES)))
    if _SYMBOLS.search(text):
        text = " ".join(_read_out(text))
    return [word.lower() for word in _WORD.findall(text)]


def _read_out(text: str) -> Iterator[str]:
    """Tokens with digits or symbols as words, the rest untouched."""
    gruut = require("gruut", extra="speech", purpose="Reading out the numbers in a transcript")
    for token in text.split():
        if _SYMBOLS.search(token):
            yield from (word.text for sentence in gruut.sentences(token, lang="en-us") for word in sentence)
        else:
            yield token
