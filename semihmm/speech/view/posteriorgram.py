"""When each phone was probably said: one row per phone, one column per frame, as a small picture."""

import struct
import zlib
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semihmm.speech.alignment.align import Evidence
from semihmm.speech.alignment.free import FREE
from semihmm.speech.alignment.graph import PAUSE
from semihmm.types import Seconds


@dataclass(frozen=True)
class Posteriorgram:
    """The posterior probability of each phone of a transcript in each frame, whichever word it is in.

    Args:
        phones: names of the rows, in the order in which the transcript has them.
        values: ``(rows, T)`` from 0 to 255.
        start: where the first frame begins.
        shift: from one frame to the next.
    """

    phones: tuple[str, ...]
    values: Tensor
    start: Seconds
    shift: Seconds

    def content(self) -> dict[str, Any]:
        """As a page has it: a picture whose opacity is the probability, so that the page chooses the colour."""
        return {
            "phones": list(self.phones),
            "start": self.start,
            "end": self.start + self.values.shape[1] * self.shift,
            "png": b64encode(_png(self.values)).decode("ascii"),
        }


def posteriorgram(parts: Iterable[tuple[Seconds, Evidence]], shift: Seconds) -> Posteriorgram:
    """What `Aligner.explain` found out about the stretches of a recording.

    Args:
        parts: where each stretch begins, and what is known of it; at least one.
        shift: from one frame to the next.

    Frames are ``shift`` apart all along; those of each stretch are moved to the nearest, by half of it at most.
    """
    parts = list(parts)
    names = [[_name(node.word, node.phone) for node in evidence.graph.nodes] for _, evidence in parts]
    rows = {name: row for row, name in enumerate(dict.fromkeys(name for some in names for name in some))}
    # A stretch's first frame is longer than the others, since it begins with the sound: count from the second.
    begins = [start + float(evidence.boundaries[1]) - shift for start, evidence in parts]
    columns = [round((begin - begins[0]) / shift) for begin in begins]
    first = min(columns)
    length = max(column + len(evidence.posterior) for column, (_, evidence) in zip(columns, parts, strict=True)) - first
    values = torch.zeros(len(rows), length)
    for column, some, (_, evidence) in zip(columns, names, parts, strict=True):
        row = torch.tensor([rows[name] for name in some])
        stretch = values[:, column - first : column - first + len(evidence.posterior)]
        stretch.index_add_(0, row, evidence.posterior.T.to(values))
    shades = (255 * values.clamp(0, 1)).round().to(torch.uint8)
    kept = shades.amax(1) > 12  # a phone that no frame is likely to be, as of other pronunciations, needs no row
    named = tuple(name for name, is_kept in zip(rows, kept.tolist(), strict=True) if is_kept)
    return Posteriorgram(named, shades[kept], begins[0] + first * shift, shift)


def _name(word: int, phone: str) -> str:
    if word != PAUSE:
        return phone
    return "other" if phone == FREE else "pause"


def _png(values: Tensor) -> bytes:
    """A picture in black whose opacity is ``values (H, W)``: PNG's grey with alpha, eight bits each."""
    height, width = values.shape
    pixels = torch.zeros(height, 1 + 2 * width, dtype=torch.uint8)  # a row begins with its filter, 0
    pixels[:, 2::2] = values
    header = struct.pack(">2I5B", width, height, 8, 4, 0, 0, 0)
    chunks: Sequence[tuple[bytes, bytes]] = (
        (b"IHDR", header),
        (b"IDAT", zlib.compress(pixels.numpy().tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
