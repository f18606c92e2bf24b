"""A recording as a page has it: the samples themselves, or their outline and where the file is."""

import io
from base64 import b64encode
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semihmm._optional import require
from semihmm.types import Hertz

_BLOCKS = 200  # of the outline, a second: finer than a screen shows of what is too long for a page


def inside(wave: Tensor, sample_rate: Hertz) -> dict[str, Any]:
    """The samples that were aligned, in 16 bits, as FLAC, which browsers play and which is half as long as WAV.

    Args:
        wave: ``(N,)`` samples; what is louder than full scale is made softer as a whole.
        sample_rate: of ``wave``.
    """
    soundfile = require("soundfile", extra="speech", purpose="Writing sound into a page")
    loudest = max(float(wave.abs().max()), 1.0)
    file = io.BytesIO()
    soundfile.write(file, (wave / loudest).numpy(), int(sample_rate), format="FLAC", subtype="PCM_16")
    return {"flac": b64encode(file.getvalue()).decode("ascii"), "rate": int(sample_rate)}


def beside(wave: Tensor, sample_rate: Hertz, address: str) -> dict[str, Any]:
    """The outline of the waveform, and where the sound is: a page that was opened from disk may play it, not read it.

    Args:
        wave: ``(N,)`` samples.
        sample_rate: of ``wave``.
        address: of the sound file, relative to the page.
    """
    step = max(1, int(sample_rate) // _BLOCKS)
    blocks = torch.nn.functional.pad(wave, (0, -len(wave) % step)).reshape(-1, step)
    extremes = torch.where(blocks.amax(1) >= -blocks.amin(1), blocks.amax(1), blocks.amin(1))
    outline = (127 * extremes / extremes.abs().max().clamp(min=1e-6)).round().to(torch.int8)
    return {"address": address, "outline": b64encode(outline.numpy().tobytes()).decode("ascii")}


def size(path: Path) -> str:
    """The size of a file, in the unit that suits it.

    Example:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile() as file:
        ...     _ = file.write(bytes(1500)), file.flush()
        ...     print(size(Path(file.name)))
        1.5 kB
    """
    count = path.stat().st_size
    for unit, ones in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= ones:
            return f"{count / ones:.1f} {unit}"
    return f"{count} bytes"
