"""What lies in a corpus's folder: sounds, texts, lists, and what looks like sound but is none."""

import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from semihmm.audio import audio_suffixes
from semihmm.errors import DataError
from semihmm.speech.segments import SEGMENT_SUFFIXES

TEXT_SUFFIXES = (".txt", ".lab", *SEGMENT_SUFFIXES)
"""Of the files with one recording's transcript, in order of preference."""

LIST_NAMES = (".trans.txt", ".stm", ".ctm", "metadata.csv", "metadata.tsv")
"""How the names of files with many recordings' transcripts end."""

_TEXT_FOLDERS = ("txt", "text", "transcripts", "lab", "labels", "TextGrid", "TextGrids")
_AUDIO_FOLDERS = ("", "wavs", "wav", "audio", "clips")  # where a list's recordings lie, relative to it


@dataclass
class Files:
    """The files of a corpus. Paths are inside it, with slashes; names are paths without their ending.

    Args:
        corpus: the folder.
        sounds: that can be read, sorted.
        lists: of transcripts, sorted.
        texts: transcripts by name, and then by ending in lower case.
        passed_over: reasons by path.
    """

    corpus: Path
    sounds: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._suffixes = audio_suffixes()
        for path in sorted(self._walk()):
            stem, suffix = posixpath.splitext(path)
            suffix = suffix.lower()
            if suffix in self._suffixes:
                reason = _unusable(self.corpus / path)
                if not reason and not self._suffixes[suffix]:
                    reason = f"{suffix} files cannot be read here; convert it to .wav or .flac"
                if reason:
                    self.passed_over[path] = reason
                else:
                    self.sounds.append(path)
            elif os.path.isfile(self.corpus / path):
                if path.lower().endswith(LIST_NAMES):
                    self.lists.append(path)
                elif suffix in TEXT_SUFFIXES:
                    self.texts.setdefault(stem, {}).setdefault(suffix, path)
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
        beside = next((self.texts[name] for name in names if name in self.texts), {})
        return next((beside[suffix] for suffix in TEXT_SUFFIXES if suffix in beside), None)

    def known(self, name: str) -> str | None:
        """The sound of a path, with or without its ending."""
        stem, suffix = posixpath.splitext(name)
        return self._known.get(_composed(name)) or (
            self._known.get(_composed(stem)) if suffix.lower() in self._suffixes else None
        )

    def sound(self, name: str, folder: str) -> str:
        """The sound that a list in ``folder`` means: in one of the usual folders, or anywhere below if there is one.

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
        places = [place for place in places if place != ".." and not place.startswith(("../", "/"))]
        if not places:
            raise DataError(f"it names {name!r}, which lies outside the corpus")
        there = next(filter(None, map(self.known, places)), None)
        if there:
            return there
        stem, suffix = posixpath.splitext(places[0])
        stem = stem if suffix.lower() in self._suffixes else places[0]
        tail = _composed(posixpath.relpath(stem, folder or "."))
        below = [
            path
            for path in self._by_last_part.get(posixpath.basename(tail), [])
            if path.startswith(f"{folder}/" if folder else "")
            and f"/{_composed(posixpath.splitext(path)[0])}".endswith(f"/{tail}")
        ]
        if len(below) > 1:
            raise DataError(f"it names {name!r}, and there are {below[0]} and {below[1]}")
        return below[0] if below else f"{stem}{suffix if stem != places[0] else '.wav'}"


def _unusable(sound: Path) -> str:
    """Why a file of sound is none; nothing if it is."""
    if os.path.isfile(sound):
        return ""
    if os.path.isdir(sound):
        return "it is a folder"
    return "it is a link to nothing" if os.path.islink(sound) else "it is no regular file"


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
