"""An alignment in the formats of other tools.

CTM (NIST's and Kaldi's), subtitles (SubRip, WebVTT, and Advanced SubStation Alpha with the words in karaoke time), a
table (CSV), HTS labels and ELAN, beside the TextGrid and JSON of `Alignment.save`.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from semihmm._files import atomically
from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.speech.files.labels import HTS_UNIT
from semihmm.speech.files.results import Alignment
from semihmm.speech.files.textgrid import save_textgrid
from semihmm.speech.intervals import Interval
from semihmm.types import Seconds

_LINE = 42  # characters that a line of a subtitle holds
_BREATH: Seconds = 0.6  # a longer pause ends a subtitle


def write_labels(alignment: Alignment, path: Path) -> None:
    """Write an alignment, whole or not at all, in the format that the path's ending names.

    ==========  =====================================================================================================
    ending      what is written
    ==========  =====================================================================================================
    TextGrid    the tiers of `Alignment.tiers`, long text form
    ctm         a line for each word: recording, speaker or 1, start, duration, word, confidence
    srt, vtt    subtitles: the text as it was written, broken at pauses
    ass         the same, with the time of each word as karaoke
    csv         a line for each word and phone: Begin, End, Label, Type, Speaker, Confidence, as MFA has the first five
    lab         the phones and the pauses between them in units of 100 ns, as HTS has them
    eaf         the tiers for ELAN, in milliseconds
    ==========  =====================================================================================================

    Args:
        alignment: what to write.
        path: where; its stem is what a CTM calls the recording.

    Raises:
        DataError: the ending is none of these.
        DependencyError: the package that writes subtitles is not installed.

    Example:
        >>> import tempfile
        >>> from semihmm.speech import Alignment, Interval
        >>> words, phones = (Interval(0.25, 0.5, "he", 0.9),), (Interval(0.25, 0.4, "HH"), Interval(0.4, 0.5, "IY"))
        >>> alignment = Alignment("He.", 1.0, words, phones, frames=100, log_likelihood=0.0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_labels(alignment, Path(folder, "a.ctm"))
        ...     print(Path(folder, "a.ctm").read_text())
        a 1 0.250 0.250 he 0.900
        <BLANKLINE>
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise DataError(f"write_labels: {path} should end in one of {', '.join(WRITERS)} for its format to be known.")
    with atomically(path) as temporary:
        writer(alignment, temporary, path.stem)


def _textgrid(alignment: Alignment, path: Path, name: str) -> None:
    save_textgrid(path, alignment.tiers(), duration=alignment.duration)


def _ctm(alignment: Alignment, path: Path, name: str) -> None:
    lines = (
        f"{_unbroken(name)} {_unbroken(word.speaker or '1')} {word.start:.3f} {word.end - word.start:.3f} "
        f"{_unbroken(word.label)}" + ("" if word.confidence is None else f" {word.confidence:.3f}")
        for word in alignment.words
    )
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _unbroken(text: str) -> str:
    return "_".join(text.split())


def _subtitles(form: str) -> Callable[[Alignment, Path, str], None]:
    def write(alignment: Alignment, path: Path, name: str) -> None:
        pysubs2 = require("pysubs2", extra="speech", purpose="Writing subtitles")
        file = pysubs2.SSAFile()
        for said in _cues(_written(alignment)):
            text = _karaoke(said) if form == "ass" else " ".join(item.label for item in said)
            start, end = (round(1000 * time) for time in (said[0].start, max(item.end for item in said)))
            file.append(pysubs2.SSAEvent(start, end, text, name=said[0].speaker or ""))
        path.write_text(file.to_string(form), encoding="utf-8")

    return write


def _written(alignment: Alignment) -> list[Interval]:
    """What was written, where it was said; what was not said belongs to what stands before it."""
    found: list[Interval] = []
    for token in alignment.tokens:
        if token.start is not None and token.end is not None:
            found.append(Interval(token.start, token.end, token.written, speaker=token.speaker))
        elif found:
            found[-1] = Interval(
                found[-1].start, found[-1].end, f"{found[-1].label} {token.written}", speaker=found[-1].speaker
            )
    return found or list(alignment.words)


def _cues(items: Sequence[Interval]) -> Iterator[list[Interval]]:
    """Runs of one speaker's words that fit into two lines and hold no pause."""
    cue: list[Interval] = []
    for item in sorted(items, key=lambda item: (item.speaker or "", item.start)):
        if cue and (
            item.speaker != cue[-1].speaker
            or item.start - cue[-1].end > _BREATH
            or sum(len(word.label) + 1 for word in [*cue, item]) > 2 * _LINE
            or cue[-1].label.endswith((".", "!", "?", "…"))
        ):
            yield cue
            cue = []
        cue.append(item)
    if cue:
        yield cue


def _karaoke(said: Sequence[Interval]) -> str:
    ends = [*(item.start for item in said[1:]), said[-1].end]
    return " ".join(
        f"{{\\k{round(100 * (end - item.start))}}}{item.label}" for item, end in zip(said, ends, strict=True)
    )


def _csv(alignment: Alignment, path: Path, name: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Begin", "End", "Label", "Type", "Speaker", "Confidence"])
        for kind, items in (("words", alignment.words), ("phones", alignment.phones)):
            for item in items:
                sure = "" if item.confidence is None else f"{item.confidence:.4f}"
                table.writerow([f"{item.start:.4f}", f"{item.end:.4f}", item.label, kind, item.speaker or "", sure])


def _lab(alignment: Alignment, path: Path, name: str) -> None:
    lines = (
        f"{round(item.start / HTS_UNIT)} {round(item.end / HTS_UNIT)} {item.label}\n"
        for item in _with_pauses(alignment.phones, alignment.duration)
    )
    path.write_text("".join(lines), encoding="utf-8")


def _with_pauses(phones: Iterable[Interval], duration: Seconds) -> Iterator[Interval]:
    edges = [Interval(0.0, 0.0, ""), *phones, Interval(duration, duration, "")]
    for before, item in pairwise(edges):
        if round((item.start - before.end) / HTS_UNIT) > 0:
            yield Interval(before.end, item.start, "pau")
        if item.label:
            yield item


def _eaf(alignment: Alignment, path: Path, name: str) -> None:
    """The ELAN Annotation Format 3.0: every annotation has time slots of its own."""
    document = ElementTree.Element(
        "ANNOTATION_DOCUMENT", AUTHOR="semihmm", DATE="2000-01-01T00:00:00+00:00", FORMAT="3.0", VERSION="3.0"
    )
    ElementTree.SubElement(document, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    order = ElementTree.SubElement(document, "TIME_ORDER")
    slots = annotations = 0
    for title, items in alignment.tiers().items():
        tier = ElementTree.SubElement(document, "TIER", TIER_ID=title, LINGUISTIC_TYPE_REF="default-lt")
        if items and items[0].speaker:
            tier.set("PARTICIPANT", items[0].speaker)
        for item in items:
            references = {}
            for number, time in ((1, item.start), (2, item.end)):
                slots += 1
                slot = f"ts{slots}"
                ElementTree.SubElement(order, "TIME_SLOT", TIME_SLOT_ID=slot, TIME_VALUE=str(round(1000 * time)))
                references[f"TIME_SLOT_REF{number}"] = slot
            annotations += 1
            place = ElementTree.SubElement(ElementTree.SubElement(tier, "ANNOTATION"), "ALIGNABLE_ANNOTATION")
            place.attrib = {"ANNOTATION_ID": f"a{annotations}", **references}
            ElementTree.SubElement(place, "ANNOTATION_VALUE").text = "".join(filter(str.isprintable, item.label))
    ElementTree.SubElement(
        document, "LINGUISTIC_TYPE", LINGUISTIC_TYPE_ID="default-lt", TIME_ALIGNABLE="true", GRAPHIC_REFERENCES="false"
    )
    ElementTree.indent(document)
    ElementTree.ElementTree(document).write(path, encoding="utf-8", xml_declaration=True)


WRITERS: dict[str, Callable[[Alignment, Path, str], None]] = {
    ".textgrid": _textgrid,
    ".ctm": _ctm,
    ".srt": _subtitles("srt"),
    ".vtt": _subtitles("vtt"),
    ".ass": _subtitles("ass"),
    ".csv": _csv,
    ".lab": _lab,
    ".eaf": _eaf,
}
"""What `write_labels` writes, by the ending."""
