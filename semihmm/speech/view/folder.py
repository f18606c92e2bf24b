"""Results of `semihmm align` as pages: one for a recording, or an overview and one for each."""

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from torch import Tensor

from semihmm.audio import condition, read_audio
from semihmm.errors import DataError, DependencyError, SemihmmError
from semihmm.speech.alignment.align import Aligner, Evidence
from semihmm.speech.corpora.corpus import Recording, find_recordings
from semihmm.speech.files.results import Alignment, Alternative
from semihmm.speech.files.textgrid import read_tiers
from semihmm.speech.intervals import Interval
from semihmm.speech.view.page import write_page
from semihmm.speech.view.posteriorgram import Posteriorgram, posteriorgram
from semihmm.speech.view.sheet import Sheet
from semihmm.speech.view.sound import beside, inside
from semihmm.types import Hertz, Seconds

_SAME: Seconds = 0.05  # by which a sound and its alignment may differ in length


@dataclass(frozen=True)
class Viewed:
    """What became of one result.

    Args:
        name: of the recording.
        page: the file that it is in; None if the result cannot be read.
        notes: what the page lacks, or why there is none.
    """

    name: str
    page: Path | None
    notes: tuple[str, ...] = ()


def view_results(
    results: Path,
    out: Path,
    *,
    audio: Path | None = None,
    aligner: Aligner | None = None,
    nbest: int = 0,
    link_audio: bool = False,
) -> Iterator[Viewed]:
    """Write HTML pages to look at alignments, to listen to them and to correct them, without a network.

    Args:
        results: a JSON file of `semihmm align`, or a folder of them.
        out: a page ``*.html`` for all of them; or a folder, which gets ``index.html``, the overview, and a page for
            each recording below ``recordings``.
        audio: the recordings: a sound file, or their folder. Default: beside the results.
        aligner: aligns once more, for the posteriors of the phones, and for alternatives. Default: what the JSON has.
        nbest: how many alternatives the aligner is to find.
        link_audio: leave the sound where it is, and refer to it: the page is small, and has no spectrogram.

    Yields:
        Each recording once it is read; the overview, or the page for all, is written after the last.

    Raises:
        DataError: there are no results, or the only one cannot be read.
        DependencyError: a package that reads or writes sound is not installed.

    Example:
        >>> import tempfile
        >>> from semihmm.speech import Alignment, Interval, view_results
        >>> he = (Interval(0.25, 0.5, "he", 0.9),)
        >>> folder = Path(tempfile.mkdtemp())
        >>> Alignment("He.", 1.0, he, (), 100, -5000.0).save(folder / "a.TextGrid", folder / "a.json")
        >>> [viewed.name for viewed in view_results(folder / "a.json", folder / "a.html")]
        ['a']
        >>> "<!doctype html>" in (folder / "a.html").read_text()
        True
    """
    found = _results(results)
    reader = _Reader(_Sounds(audio or (results if results.is_dir() else results.parent)), aligner, nbest, link_audio)
    single = out.suffix.lower() in (".html", ".htm")
    overview = out if single else out / "index.html"
    sheets, rows = [], []
    for name, record in found:
        page = out if single else out / "recordings" / f"{name}.html"
        try:
            sheet = reader(name, record, page)
        except DataError as error:
            if len(found) == 1:
                raise
            yield Viewed(name, None, (str(error),))
            continue
        if single:
            sheets.append(sheet)
        else:
            write_page(page, [sheet], title=name, overview=_address(overview, page))
            rows.append(sheet.row(_address(page, overview)))
        yield Viewed(name, page, sheet.notes)
    write_page(overview, sheets, rows=rows, title=results.stem if results.is_file() else results.resolve().name)


def _results(results: Path) -> list[tuple[str, Path]]:
    """Names and JSON files, sorted; JSON files of other programs are left out."""
    if results.is_file():
        return [(results.stem, results)]
    if not results.is_dir():
        raise DataError(f"view_results: there is no file and no folder {results}.")
    found = sorted(path for path in results.rglob("*.json") if path.is_file() and _is_result(path))
    if not found:
        raise DataError(
            f"view_results: {results} holds no results of 'semihmm align', which are JSON files. Align the corpus "
            f"first, and name the folder of its results here."
        )
    return [(path.relative_to(results).with_suffix("").as_posix(), path) for path in found]


def _is_result(path: Path) -> bool:
    with path.open("rb") as file:
        return b'"semihmm-alignment-' in file.read(100)


def _address(target: Path, page: Path) -> str:
    """Of a file, as a link from a page."""
    return quote(os.fsencode(Path(os.path.relpath(target, page.parent)).as_posix()))


class _Sounds:
    """The recordings of a folder, by name."""

    def __init__(self, audio: Path) -> None:
        self.audio = audio
        try:
            self._recordings = {recording.name: recording for recording in find_recordings(audio)}
        except DataError:
            self._recordings = {}

    def __call__(self, name: str) -> Recording:
        """The recording of this name; one that lies elsewhere in the folder, or another, if it is the only one."""
        if name in self._recordings:
            return self._recordings[name]
        alike = [found for known, found in self._recordings.items() if known.rpartition("/")[2] == name]
        if self.audio.is_file():
            alike = list(self._recordings.values())
        if len(alike) != 1:
            raise DataError(f"no sound: {'no' if not alike else 'more than one'} recording {name} in {self.audio}.")
        return alike[0]


@dataclass(frozen=True)
class _Reader:
    """Puts together what a page shows of a recording."""

    sounds: _Sounds
    aligner: Aligner | None
    nbest: int
    link_audio: bool

    def __call__(self, name: str, record: Path, page: Path) -> Sheet:
        alignment, textgrid = Alignment.load(record), record.with_suffix(".TextGrid")
        try:
            tiers, notes = read_tiers(textgrid), []
        except DataError as error:
            tiers, notes = None, [f"The tiers are those of the JSON file: {error}"]
        try:
            recording = self.sounds(name)
            wave, rate = read_audio(recording.audio)
        except DependencyError:
            raise
        except DataError as error:
            return Sheet(name, alignment, tiers, notes=(*notes, str(error)))
        duration = len(wave) / rate
        if abs(duration - alignment.duration) > _SAME:
            notes.append(
                f"The sound is {duration:.2f} s long, and what was aligned {alignment.duration:.2f} s: is it another?"
            )
        sound: dict[str, Any]
        sound = beside(wave, rate, _address(recording.audio, page)) if self.link_audio else inside(wave, rate)
        posteriors = None
        if self.aligner is not None:
            try:
                said = [Interval(0.0, math.inf, alignment.text)]
                if recording.source not in (None, textgrid):  # a result beside its recording is no transcript
                    said = recording.utterances()
                posteriors, alternatives = _explain(self.aligner, wave, rate, said, self.nbest)
                if alternatives:
                    alignment = replace(alignment, alternatives=alternatives)
            except DependencyError:
                raise
            except SemihmmError as error:
                notes.append(f"No posteriors: {error}")
        return Sheet(name, alignment, tiers, sound, posteriors, tuple(notes))


def _explain(
    aligner: Aligner, wave: Tensor, rate: Hertz, utterances: Iterable[Interval], nbest: int
) -> tuple[Posteriorgram, tuple[Alternative, ...]]:
    """The posteriors of all utterances that can be aligned; and the alternatives, where there is one."""
    wave = condition(wave)
    parts: list[tuple[Seconds, Evidence]] = []
    refusals: list[SemihmmError] = []
    for said in utterances:
        first, last = (round(min(time, len(wave) / rate) * rate) for time in (said.start, said.end))
        try:
            parts.append((first / rate, aligner.explain(wave[first:last], rate, said.label, nbest=nbest)))
        except DependencyError:
            raise
        except SemihmmError as error:
            refusals.append(error)
    if not parts:
        raise refusals[0]
    shift = 1 / aligner.model.front_end.frame_rate
    return posteriorgram(parts, shift), parts[0][1].alignment.alternatives if len(parts) == 1 else ()
