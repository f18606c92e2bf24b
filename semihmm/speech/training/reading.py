"""From the recordings of a corpus to what a model is trained on."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from semihmm.audio import condition, read_audio
from semihmm.errors import DataError, DependencyError, SemihmmError
from semihmm.speech.acoustics.loading import load_dictionary
from semihmm.speech.alignment.free import FREE
from semihmm.speech.alignment.pronunciation import Lexicon, Pronunciation
from semihmm.speech.corpora.corpus import Recording
from semihmm.speech.files.labels import LABEL_SUFFIXES, read_labels
from semihmm.speech.files.textfile import read_text
from semihmm.speech.intervals import Interval
from semihmm.speech.text.phones import is_silence
from semihmm.speech.text.transcript import is_filler, words_of
from semihmm.speech.training.utterance import Utterance

_WORDS = "|"
SILENCE = "SIL"


def read_utterances(
    recordings: Iterable[Recording],
    lexicon: Lexicon | None,
    failures: dict[str, str],
    *,
    labels: Path | None = None,
    speakers: Mapping[str, str] | None = None,
) -> Iterator[Utterance]:
    """The utterances of a corpus, in its order.

    Args:
        recordings: as `find_recordings` returns them.
        lexicon: pronounces the words of the transcripts. None where these are phones with blanks between them, and
            ``|`` between words.
        failures: what is wrong with those that are left out, by name, is added here.
        labels: a folder of label files, at the recordings' places: their phones, or words, are said when they say so.
        speakers: of recordings, by name, as `read_speakers` has them. Others' are those of their tiers, or folders.

    Raises:
        DependencyError: a package is missing.
    """
    for recording in recordings:
        try:
            yield from _utterances(recording, lexicon, labels, speakers or {})
        except DependencyError:
            raise
        except (SemihmmError, OSError) as error:
            failures[recording.name] = str(error)


def pronounced(text: str, lexicon: Lexicon | None) -> tuple[Pronunciation, ...]:
    """What is said in a transcript.

    Raises:
        DataError: nothing; a word that nobody can pronounce; speech that the transcript does not hold.

    Example:
        >>> [word.variants for word in pronounced("b a | x i l", None)]
        [(('b', 'a'),), (('x', 'i', 'l'),)]
    """
    if lexicon is None:
        words = [part.split() for part in text.split(_WORDS) if part.strip()]
        found = [Pronunciation(" ".join(phones), (tuple(phones),)) for phones in words]
    else:
        spoken = words_of(text, language=lexicon.language or "en")
        found = [_pronounced(word, lexicon) for word in spoken]
    phones = {phone for word in found for variant in word.variants for phone in variant}
    if all(map(is_silence, phones)):
        raise DataError(f"the transcript {text!r} says nothing.")
    if FREE in phones:
        raise DataError(f"the transcript holds {FREE!r}, which stands for any speech: nothing can be learnt from that.")
    return tuple(found)


def _pronounced(word: str, lexicon: Lexicon) -> Pronunciation:
    if is_filler(word) and word not in lexicon.entries:
        return Pronunciation(word, ((SILENCE,), ()))
    return lexicon.pronounce(word)


def _utterances(
    recording: Recording, lexicon: Lexicon | None, labels: Path | None, speakers: Mapping[str, str]
) -> Iterator[Utterance]:
    said = recording.utterances()
    words = [pronounced(item.label, lexicon) for item in said]
    wave, sample_rate = read_audio(recording.audio)
    wave = condition(wave, in_place=True)
    known = _labels(recording, labels)
    for number, (item, spoken) in enumerate(zip(said, words, strict=True), 1):
        end = min(item.end, len(wave) / sample_rate)
        name = recording.name if item.end == math.inf else f"{recording.name} ({number})"
        first, last = round(item.start * sample_rate), round(end * sample_rate)
        inside = tuple(
            Interval(max(label.start - item.start, 0.0), min(label.end, end) - item.start, label.label)
            for label in known
            if label.start < end and label.end > item.start
        )
        folder, _, stem = recording.name.rpartition("/")
        speaker = speakers.get(recording.name) or speakers.get(stem) or item.speaker or folder
        yield Utterance(name, wave[first:last], sample_rate, spoken, inside, speaker)


def _labels(recording: Recording, folder: Path | None) -> tuple[Interval, ...]:
    """The labels of a recording in a folder of such; none without."""
    if folder is None:
        return ()
    found = (folder / f"{recording.name}{suffix}" for suffix in LABEL_SUFFIXES)
    path = next((path for path in found if path.exists()), None)
    if path is None:
        return ()
    tiers = read_labels(path)
    return tiers.phones or tiers.words or ()


def read_speakers(path: Path) -> dict[str, str]:
    r"""Speakers by recording, from lines of a recording and its speaker: Kaldi's ``utt2spk``, or .csv, or .tsv.

    A recording is called by its file's name without the suffix, with its folders or without.

    Raises:
        DataError: the file cannot be read; a line has no two columns; a recording has two speakers.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "utt2spk"
        >>> _ = path.write_text("a0001 ann\nb0001 bob\n")
        >>> read_speakers(path)
        {'a0001': 'ann', 'b0001': 'bob'}
    """
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        columns = re.split(r"[,\t|]", line) if re.search(r"[,\t|]", line) else line.split(maxsplit=1)
        columns = [column.strip().strip('"') for column in columns]
        if not any(columns):
            continue
        if len(columns) != 2 or not all(columns):
            raise DataError(
                f"read_speakers: {path}, line {number}: {line!r} should be the name of a recording and its speaker, "
                f"with a blank, a comma or a tab between them."
            )
        if found.setdefault(columns[0], columns[1]) != columns[1]:
            raise DataError(f"read_speakers: {path}, line {number}: {columns[0]!r} has had another speaker before.")
    return found


def own_lexicon(dictionary: Path) -> Lexicon:
    """A dictionary's pronunciations and no others.

    Raises:
        DataError: it cannot be read.
    """

    def refuse(word: str) -> tuple[str, ...]:
        raise DataError(f"the word {word!r} is not in {dictionary}. Add it, or give --language for a guess.")

    return Lexicon(load_dictionary(dictionary), refuse)
