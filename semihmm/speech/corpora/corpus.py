"""Finding recordings and what is said in them, whatever else lies in the folder."""

import math
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import overload

from semihmm.audio import audio_suffixes
from semihmm.errors import DataError
from semihmm.speech.corpora.folders import KSS_NAMES, LIST_NAMES, TEXT_SUFFIXES, Files
from semihmm.speech.corpora.segments import SEGMENT_SUFFIXES, in_lanes, is_audacity, join_words, read_segments
from semihmm.speech.corpora.tables import Row, read_ctm, read_kss, read_manifest, read_stm, read_table, read_trans
from semihmm.speech.files.labels import is_timed
from semihmm.speech.files.textfile import read_text
from semihmm.speech.intervals import Interval


@dataclass(frozen=True)
class Recording:
    """A sound file of a corpus, and how to find out what is said in it.

    Args:
        name: path inside the corpus without its ending: unique, and where results go.
        audio: the sound file; it need not exist, if a transcript names it.
        source: the file with its transcript, or None if there is none.
        said: what a list says of it: the transcript, or utterances with their times; None if ``source`` is about this
            recording alone.
        problem: what is wrong with it, if that is known before it is read.
    """

    name: str
    audio: Path
    source: Path | None
    said: str | tuple[Interval, ...] | None = None
    problem: str | None = None

    def utterances(self) -> list[Interval]:
        """What is said when, in order of time; a single utterance without end, where nobody says when.

        Raises:
            DataError: no transcript, an unreadable one, or one without text.
        """
        if self.problem is not None:
            raise DataError(self.problem)
        if self.source is None:
            raise DataError(
                f"no transcript: no {', '.join(TEXT_SUFFIXES)} beside it, no line in a file {', '.join(LIST_NAMES)}.",
                see="no-transcript",
            )
        said = self.said if self.said is not None else _read_transcript(self.source)
        if isinstance(said, str):
            said = [Interval(0.0, math.inf, said.strip())] if said.strip() else []
        if not said:
            raise DataError(f"no transcript: {self.source} says nothing about it.", see="no-transcript")
        return in_lanes(said)

    def transcript(self) -> str:
        """All that is said, in order of time.

        Raises:
            DataError: no transcript, an unreadable one, or one without text.
        """
        return " ".join(item.label for item in self.utterances())


@dataclass(frozen=True)
class Corpus(Sequence[Recording]):
    """The recordings of a folder, sorted by name, and what looks like sound but cannot be used.

    Args:
        recordings: whether or not they can be aligned.
        passed_over: reasons by path.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("a.wav", "b.m4a"):
        ...     (folder / name).touch()
        >>> corpus = find_recordings(folder)
        >>> [recording.name for recording in corpus], list(corpus.passed_over)
        (['a'], ['b.m4a'])
    """

    recordings: tuple[Recording, ...]
    passed_over: dict[str, str] = field(default_factory=dict)

    @overload
    def __getitem__(self, index: int) -> Recording: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Recording]: ...
    def __getitem__(self, index: int | slice) -> Recording | Sequence[Recording]:
        return self.recordings[index]

    def __len__(self) -> int:
        return len(self.recordings)


def find_recordings(corpus: Path, *, text_column: str | None = None) -> Corpus:
    """Every recording under a folder, sorted by name, whether or not it can be aligned.

    Transcripts are looked for in this order:

    1. a file of the same name beside the sound, or in a folder for texts that lies as the sound's does
       (``txt/p225/a.txt`` for ``wav48/p225/a.wav``): ``.txt``, ``.lab``, or one with the times of utterances, which
       are ``.TextGrid``, ``.eaf``, ``.srt``, ``.vtt``, ``.csv``, ``.tsv`` and ``.json`` (Whisper's);
    2. a line of a LibriSpeech-style ``*.trans.txt``, of the ``transcript.v.1.4.txt`` of the Korean Single Speaker
       dataset, of a ``metadata.csv`` (`semihmm.speech.corpora.tables.read_table`) or of an ``.stm``, ``.ctm`` or
       ``.jsonl`` (NeMo's manifests), whose recordings may lie in folders below it.

    What such a list names is a recording even if its sound file is missing, and so is a line of no use: whatever is
    wrong with one recording is for the aligner to report, and the others are aligned.

    Args:
        corpus: the folder, whose links to folders are followed; or a single sound file in it.
        text_column: name or number, from 1, of the column with the text in a ``metadata.csv`` that does not show it.

    Raises:
        DataError: the folder does not exist, or holds no recordings.
        DependencyError: ``soundfile`` is not installed.
    """
    if corpus.is_file():
        beside = find_recordings(corpus.parent, text_column=text_column)
        if alone := tuple(recording for recording in beside if recording.audio == corpus):
            return Corpus(alone)
        why = beside.passed_over.get(corpus.name, "it is no sound file")
        raise DataError(f"find_recordings: {corpus} cannot be read, as {why}.")
    if not corpus.is_dir():
        raise DataError(f"find_recordings: there is no folder and no file {corpus}.")
    files = Files(corpus)
    found: dict[str, Recording] = {}
    for audio in files.sounds:
        name = posixpath.splitext(audio)[0]
        if name in found:
            both = f"{found[name].audio.name} and {posixpath.basename(audio)} would both be called {name}"
            found[name] = replace(found[name], problem=f"{both}. Rename or remove one.")
        else:
            text = files.text(name)
            found[name] = Recording(name, corpus / audio, corpus / text if text else None)
    for listed in _listed(files, text_column):
        known = found.setdefault(listed.name, listed)
        if known.source is None and known.problem is None:
            found[listed.name] = listed
    if not found:
        readable = " ".join(suffix for suffix, is_read in audio_suffixes().items() if is_read)
        passed = "".join(f" Passed over: {path}, as {why}." for path, why in [*files.passed_over.items()][:3])
        raise DataError(f"find_recordings: no sound files ({readable}) in {corpus} or below.{passed}")
    return Corpus(tuple(found[name] for name in sorted(found)), files.passed_over)


def _listed(files: Files, text_column: str | None) -> Iterator[Recording]:
    """What the lists of transcripts say: a recording for each that they name, and for each line of no use."""
    for path in files.lists:
        table, folder = files.corpus / path, posixpath.dirname(path)
        try:
            rows = list(_read_list(files, path, text_column))
        except DataError as error:
            yield Recording(path, table, table, problem=str(error))
            continue
        alone = path.lower().endswith((".stm", ".ctm")) and len({row.name for row in rows}) == 1
        own = files.known(posixpath.splitext(path)[0]) if alone else None  # a.ctm is about a.wav, whatever it calls it
        about: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            try:
                about[own or files.sound(row.name, folder)].append(row)
            except DataError as error:
                line = f"{path} line {row.line}"
                yield Recording(line, table, table, problem=f"{line}: {row.problem or error}.")
        for audio, its in about.items():
            said, problem = _said(its, path)
            yield Recording(posixpath.splitext(audio)[0], files.corpus / audio, table, said, problem)


def _read_list(files: Files, path: str, text_column: str | None) -> Iterable[Row]:
    table = files.corpus / path
    readers = {".trans.txt": read_trans, ".stm": read_stm, ".ctm": read_ctm, **dict.fromkeys(KSS_NAMES, read_kss)}
    readers |= {".jsonl": read_manifest, "manifest.json": read_manifest}
    for ending, reader in readers.items():
        if path.lower().endswith(ending):
            return reader(table)

    def exists(name: str) -> bool:
        try:
            return files.sound(name, posixpath.dirname(path)) in files.sounds
        except DataError:
            return False

    return read_table(table, exists=exists, text_column=text_column)


def _said(rows: Sequence[Row], path: str) -> tuple[str | tuple[Interval, ...], str | None]:
    """What the lines of a list say of one recording, and what is wrong with that."""
    wrong = next((row for row in rows if row.problem), None)
    if wrong:
        return "", f"{path} line {wrong.line}: {wrong.problem}."
    timed = [row.said for row in rows if isinstance(row.said, Interval)]
    texts = {row.said: row.line for row in rows if isinstance(row.said, str)}
    if timed and not texts:
        timed.sort(key=lambda item: item.start)
        return tuple(join_words(timed) if path.lower().endswith(".ctm") else timed), None
    if len(texts) + len(timed) > 1:
        first, second = [*texts.values(), *(row.line for row in rows)][:2]
        return "", f"{path} lines {first} and {second} say different things about it."
    return next(iter(texts)), None


def _read_transcript(source: Path) -> str | list[Interval]:
    """The text of a file beside a recording, or its utterances."""
    suffix = source.suffix.lower()
    if suffix in SEGMENT_SUFFIXES:
        return read_segments(source)
    text = read_text(source)
    if suffix == ".lab" and is_timed(text):
        raise DataError(
            f"no transcript: {source} holds labels with times, not words. Put the words into a .txt beside it.",
            see="no-transcript",
        )
    if "\0" in text or text.startswith("{\\rtf"):
        raise DataError(f"cannot read the transcript {source}: it is no plain text. Save it as such.")
    return read_segments(source) if is_audacity(text) else text
