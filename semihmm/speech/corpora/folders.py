"""What lies in a corpus's folder: sounds, texts, lists, and what looks like sound but is none."""

import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from semihmm.audio import audio_suffixes
from semihmm.errors import DataError
from semihmm.speech.corpora.segments import SEGMENT_SUFFIXES

TEXT_SUFFIXES = (".txt", ".lab", *SEGMENT_SUFFIXES)
"""Of the files with one recording's transcript, in order of preference."""

KSS_NAMES = ("transcript.v.1.3.txt", "transcript.v.1.4.txt")
"""The list of the Korean Single Speaker dataset."""

LIST_NAMES = (".trans.txt", ".stm", ".ctm", "metadata.csv", "metadata.tsv", ".jsonl", "manifest.json", *KSS_NAMES)
"""How the names of files with many recordings' transcripts end."""

_TEXT_FOLDERS = ("txt", "text", "transcripts", "lab", "labels", "TextGrid", "TextGrids")
_AUDIO_FOLDERS = ("", "wavs", "wav", "audio", "clips", "kss")  # where a list's recordings lie, relative to it


class Files:
    """The files of a corpus. Paths are inside it, with slashes; names are paths without their ending.

    Args:
        corpus: the folder.

    Attributes:
        sounds: those that can be read, sorted.
        lists: of transcripts, in the order of `LIST_NAMES`.
        passed_over: reasons by path.
    """

    def __init__(self, corpus: Path) -> None:
        self.corpus = corpus
        self.sounds: list[str] = []
        self.lists: list[str] = []
        self.passed_over: dict[str, str] = {}
        self._suffixes = audio_suffixes()
        self._texts: dict[str, dict[str, str]] = defaultdict(dict)  # by name, and then by ending
        for path in sorted(self._walk()):
            stem, suffix = posixpath.splitext(path)
            suffix = suffix.lower()
            if suffix in self._suffixes:
                reason = _unusable(corpus / path)
                if not reason and not self._suffixes[suffix]:
                    reason = f"{suffix} files cannot be read here; convert it to .wav or .flac"
                if reason:
                    self.passed_over[path] = reason
                else:
                    self.sounds.append(path)
            elif os.path.isfile(corpus / path):
                if path.lower().endswith(LIST_NAMES):
                    self.lists.append(path)
                elif suffix in TEXT_SUFFIXES:
                    self._texts[stem].setdefault(suffix, path)
        self.lists.sort(key=lambda path: [path.lower().endswith(name) for name in LIST_NAMES], reverse=True)
        # Composed and decomposed letters are the same name: file systems differ in which they keep.
        self._known: dict[str, str] = {}
        self._by_last_part: dict[str, list[str]] = defaultdict(list)
        for path in self.sounds:
            stem = posixpath.splitext(path)[0]
            self._known[_composed(path)] = path
            self._known.setdefault(_composed(stem), path)
            self._by_last_part[_composed(posixpath.basename(stem))].append(path)

    def _walk(self) -> Iterator[str]:
        """Everything in the corpus but what macOS leaves beside files, through links to folders, but not in circles."""

        def inside(path: str) -> str:
            return os.path.relpath(path, self.corpus).replace(os.sep, "/")

        def note(error: OSError) -> None:
            self.passed_over[inside(error.filename)] = f"the folder cannot be read ({error.strerror})"

        for folder, folders, names in os.walk(self.corpus, followlinks=True, onerror=note):
            here = inside(folder)
            here = "" if here == "." else f"{here}/"
            for name in [*folders]:
                path = os.path.join(folder, name)
                if os.path.splitext(name)[1].lower() in self._suffixes:
                    yield f"{here}{name}"
                if os.path.islink(path) and f"{os.path.realpath(folder)}/".startswith(f"{os.path.realpath(path)}/"):
                    self.passed_over[f"{here}{name}"] = "it is a link to a folder that it lies in"
                    folders.remove(name)
            yield from (f"{here}{name}" for name in names if not name.startswith("._"))

    def text(self, name: str) -> str | None:
        """The transcript beside a sound, or in a folder for texts that lies as the sound's does."""
        parts = name.split("/")
        names = [name]
        for place in range(len(parts) - 1):
            names += ["/".join((*parts[:place], folder, *parts[place + 1 :])) for folder in _TEXT_FOLDERS]
        beside = next((self._texts[name] for name in names if name in self._texts), {})
        return next((beside[suffix] for suffix in TEXT_SUFFIXES if suffix in beside), None)

    def known(self, name: str) -> str | None:
        """The sound of a path, with or without its ending."""
        stem, suffix = posixpath.splitext(name)
        return self._known.get(_composed(name)) or (
            self._known.get(_composed(stem)) if suffix.lower() in self._suffixes else None
        )

    def sound(self, name: str, folder: str) -> str:
        """The sound that a list in ``folder`` means: in the usual places, or anywhere below if there is only one.

        Returns:
            Its path; of a sound that is not there, a path where it could be.

        Raises:
            DataError: the name is empty, or of something outside the corpus, or of several sounds.
        """
        if not name:
            raise DataError("it names no recording")
        name = name.replace("\\", "/")
        if name.startswith("/") or re.match("[A-Za-z]:/", name):
            places = [os.path.relpath(name, os.path.abspath(self.corpus)).replace(os.sep, "/")]
        else:
            places = [posixpath.normpath(posixpath.join(folder, audio, name)) for audio in _AUDIO_FOLDERS]
            if "/" in name:  # may begin at a folder above the list's
                above = Path(folder).parents
                places += [posixpath.normpath(posixpath.join(parent.as_posix(), name)) for parent in above]
        places = [place for place in places if not f"{place}/".startswith(("../", "/"))]
        if not places:
            raise DataError(f"it names {name!r}, which lies outside the corpus")
        there = next(filter(None, map(self.known, places)), None)
        if there:
            return there
        stem, suffix = posixpath.splitext(places[0])
        if suffix.lower() not in self._suffixes:
            stem, suffix = places[0], ".wav"
        tail = _composed(posixpath.relpath(stem, folder or "."))
        below = [
            path
            for path in self._by_last_part.get(posixpath.basename(tail), [])
            if f"/{_composed(posixpath.splitext(path)[0])}".endswith(f"/{tail}")
            and path.startswith(f"{folder}/" if folder else "")
        ]
        if len(below) > 1:
            raise DataError(f"it names {name!r}, and there are {below[0]} and {below[1]}")
        return below[0] if below else f"{stem}{suffix}"


def _unusable(sound: Path) -> str:
    """Why a file of sound is none; nothing if it is."""
    if os.path.isfile(sound):
        return ""
    if os.path.isdir(sound):
        return "it is a folder"
    return "it is a link to nothing" if os.path.islink(sound) else "it is no regular file"


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
