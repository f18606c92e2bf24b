"""The English dictionary inside the ``gruut`` package, in ARPAbet: where the CMU dictionary is not installed."""

import sqlite3
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.speech.text.dictionary import Entries
from semihmm.speech.text.phones import arpabet_from_ipa


def gruut_dictionary() -> Entries:
    """Pronunciations by word, the first variant first; those with sounds that English lacks are left out.

    Raises:
        DependencyError: ``gruut`` is not installed.

    Example:
        >>> gruut_dictionary()["tomato"]
        (('T', 'AH', 'M', 'EY', 'T', 'OW'), ('T', 'AH', 'M', 'AA', 'T', 'OW'))
    """
    purpose = "Pronouncing English words without pocketsphinx, which has the CMU dictionary,"
    package = require("gruut_lang_en", extra="speech", purpose=purpose)
    with closing(sqlite3.connect(f"{(Path(package.__file__).parent / 'lexicon.db').as_uri()}?mode=ro", uri=True)) as db:
        rows = db.execute("SELECT word, phonemes FROM word_phonemes ORDER BY id").fetchall()
    entries: dict[str, dict[tuple[str, ...], None]] = {}
    for word, sounds in rows:
        with suppress(DataError):
            phones = tuple([phone for sound in sounds.split() for phone in _phones(sound)])
            entries.setdefault(word.lower(), {})[phones] = None
    return {word: tuple(variants) for word, variants in entries.items() if variants}


@cache
def _phones(sound: str) -> tuple[str, ...]:
    return arpabet_from_ipa([sound])
