"""Finding recordings and their transcripts in a folder."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from semihmm.errors import DataError
from semihmm.speech.labels import is_timed
from semihmm.speech.textgrid import read_textgrid, read_tiers

AUDIO_SUFFIXES = (".wav", ".flac")
_AUDIO_FOLDERS = ("", "wavs", "wav", "audio")  # where a metadata.csv's recordings lie, relative to it


@dataclass(frozen=True)
class Recording:
    """A sound file of a corpus, and how to find out what is said in it.

    Args:
        name: path inside the corpus without its ending: unique, and where results go.
        audio: the sound file; it need not exist, if a transcript names it.
        source: the file with its transcript, or None if there is none.
        line: the transcript itself, if ``source`` holds many.
    """

    name: str
    audio: Path
    source: Path | None
    line: str | None = None

    def transcript(self) -> str:
        """What is said.

        Raises:
            DataError: no transcript, an unreadable one, or one without text.
        """
        if self.source is None:
            raise DataError(
                "no transcript: no .txt, .lab or .TextGrid beside it, no line in a .trans.txt or metadata.csv"
            )
        text = self.line if self.line is not None else _read_transcript(self.source)
        if not text.strip():
            raise DataError(f"no transcript: {self.source} says nothing about it.")
        return text.strip()


def find_recordings(corpus: Path) -> list[Recording]:
    """Every recording under a folder, sorted by name, whether or not it can be aligned.

    Transcripts are looked for in this order: a ``.txt``, ``.lab`` or ``.TextGrid`` of the same name beside the sound;
    a line of a LibriSpeech-style ``*.trans.txt`` in the same folder; a line of an LJSpeech-style ``metadata.csv``
    (``id|text`` or ``id|text|normalised text``) in the same folder or above it. What such a list names is a recording
    even if its sound file is missing: that is for the aligner to report.

    Raises:
        DataError: the folder does not exist, or holds no recordings; two of them would have the same name.
    """
    if not corpus.is_dir():
        raise DataError(f"find_recordings: there is no folder {corpus}.")
    listed = dict(_listed(corpus))
    files = [path for path in sorted(corpus.rglob("*")) if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()]
    found: dict[str, Recording] = {}
    for audio in [*files, *(path for path in listed if not path.is_file())]:
        name = audio.relative_to(corpus).with_suffix("").as_posix()
        if name in found:
            raise DataError(
                f"find_recordings: {found[name].audio} and {audio} would both be called {name}. Rename or remove one."
            )
        beside = (audio.with_suffix(suffix) for suffix in (".txt", ".lab", ".TextGrid"))
        source = next((path for path in beside if path.is_file()), None)
        found[name] = (
            Recording(name, audio, source) if source else Recording(name, audio, *listed.get(audio, (None, None)))
        )
    if not found:
        raise DataError(f"find_recordings: no {' or '.join(AUDIO_SUFFIXES)} files in {corpus} or below.")
    return [found[name] for name in sorted(found)]


def _listed(corpus: Path) -> Iterator[tuple[Path, tuple[Path, str]]]:
    """Sound files that a list of transcripts names, each with the list and its line."""
    for table in sorted(corpus.rglob("metadata.csv")):
        for row in csv.reader(_lines(table), delimiter="|", quoting=csv.QUOTE_NONE):
            if len(row) > 1:
                yield _sound([table.parent / folder / row[0] for folder in _AUDIO_FOLDERS]), (table, row[-1])
    for table in sorted(corpus.rglob("*.trans.txt")):
        for line in _lines(table):
            name, _, text = line.strip().partition(" ")
            if name:
                yield _sound([table.parent / name]), (table, text)


def _sound(stems: list[Path]) -> Path:
    """The first of these names that exists as a sound file; else the first, as .wav, to be reported as missing."""
    candidates = [Path(f"{stem}{suffix}") for stem in stems for suffix in (*AUDIO_SUFFIXES, "")]
    known = (path for path in candidates if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file())
    return next(known, candidates[0])


def _lines(table: Path) -> list[str]:
    try:
        return table.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"find_recordings: cannot read the transcripts in {table} ({error}).") from error


def _read_transcript(source: Path) -> str:
    if source.suffix == ".TextGrid":
        words = read_textgrid(source).words
        if words is None:  # no tier of a usual name: the first tier holds the phrases
            words = tuple(next(iter(read_tiers(source).values()), []))
        return " ".join(word.label for word in words)
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the transcript {source} ({error}).") from error
    if source.suffix == ".lab" and is_timed(text):
        raise DataError(
            f"no transcript: {source} holds labels with times, not words. Put the words into a .txt beside it."
        )
    return text
