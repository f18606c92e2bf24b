"""Reading recordings, and refusing those that cannot be used, by name and reason."""

import io
import math
import os
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from semihmm._optional import require
from semihmm.errors import DataError, ShapeError
from semihmm.types import Hertz, Seconds

_NOTICED: Seconds = 0.01  # what may be missing at the end: less than any frame of features sees
_UNKNOWN = 0x7FFFFF00  # sizes from here on are written by programs that did not know yet

# What libsndfile's log says of sizes that do not fit the file: WAV, AIFF, AU; W64 of the whole file; RF64.
_SIZE = re.compile(r"^ *(?:data|SSND|Data Size|riff) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_FRAMES = re.compile(r"does not match value from 'ds64' chunk of (\d+)")


def read_audio(path: Path | str, *, channel: int | None = None, partial: bool = False) -> tuple[Tensor, int]:
    """Read a sound file as one channel.

    Args:
        path: any format that libsndfile reads: WAV, FLAC, Ogg, Opus, MP3, AIFF, NIST, ...; any sample rate.
        channel: which channel to take, from 0. Default: the mean of them all; where they cancel each other, as those
            of a stereo file with one polarity reversed, the loudest.
        partial: take what there is of a file that was cut short.

    Returns:
        ``(N,)`` float32 samples, full scale = 1; and the sample rate in Hz. A WAV header that does not say how much
        follows (0 or FFFFFFFF bytes, as programs write that did not know yet) is followed by all that there is.

    Raises:
        DataError: the file is missing, empty, unreadable, holds no samples, holds NaN or infinite samples, lacks 10 ms
            or more of what its header promises, or has no such channel.
        DependencyError: ``soundfile`` is not installed.

    Example:
        >>> import tempfile, soundfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     soundfile.write(f"{folder}/a.wav", [0.0, 0.5, -0.5], 8000)
        ...     wave, sample_rate = read_audio(f"{folder}/a.wav")
        >>> wave.tolist(), sample_rate
        ([0.0, 0.5, -0.5], 8000)
    """
    soundfile = require("soundfile", extra="speech", purpose="Reading audio files")
    path = Path(path)
    if not path.is_file():
        raise DataError(f"read_audio: there is no file {path}.", see="reading-audio")
    if path.stat().st_size == 0:
        raise DataError(f"read_audio: {path} is an empty file (0 bytes).", see="reading-audio")
    try:
        # As bytes: a name need not be UTF-8.
        with soundfile.SoundFile(_with_its_size(path) or os.fsencode(path)) as sound:
            samples = sound.read(dtype="float32", always_2d=True)
            promised, rate = _promised(sound, path), int(sound.samplerate)
    except (soundfile.LibsndfileError, OSError, MemoryError) as error:
        raise DataError(
            f"read_audio: {path} cannot be read as audio ({error}). Convert it to WAV or FLAC.", see="reading-audio"
        ) from error
    if not partial and promised - len(samples) >= rate * _NOTICED:
        raise DataError(
            f"read_audio: {path} was cut short: its header promises {_length(promised, rate)} and it holds "
            f"{len(samples) / rate:.3f} s. Fetch it again, or take what there is: read_audio(..., partial=True).",
            see="reading-audio",
        )
    if len(samples) == 0:
        raise DataError(f"read_audio: {path} holds zero samples: a header with no sound after it.", see="reading-audio")
    wave = _one_channel(samples, channel, path)
    finite = np.isfinite(wave)  # PyTorch's takes the memory of another recording
    if not finite.all():
        first = int(finite.argmin())
        raise DataError(
            f"read_audio: {path} holds {int((~finite).sum())} samples that are NaN or infinite, the first at sample "
            f"{first} ({first / rate:.3f} s). Whatever wrote the file failed there; make it again.",
            see="reading-audio",
        )
    return torch.from_numpy(wave), rate


def resample(wave: Tensor, *, source: Hertz, target: Hertz) -> Tensor:
    """Change the sample rate, band-limited, without moving the sound in time.

    Args:
        wave: ``(N,)`` samples at ``source`` Hz.
        source: the sample rate of ``wave``.
        target: the sample rate to give.

    Returns:
        ``(about N * target / source,)`` samples, dtype of ``wave``; ``wave`` itself where the rates are equal.

    Raises:
        ShapeError: ``wave`` is not one-dimensional.
        DataError: a rate is not positive.
        DependencyError: ``soxr`` is not installed.

    Example:
        >>> import torch
        >>> len(resample(torch.zeros(20000), source=20000, target=16000))
        16000
    """
    if wave.ndim != 1:
        raise ShapeError(f"resample: wave must be (N,), one channel, got {tuple(wave.shape)}. Resample each channel.")
    if not (source > 0 and target > 0):
        raise DataError(f"resample: both sample rates must be positive, got source={source}, target={target}.")
    if source == target:
        return wave
    soxr = require("soxr", extra="speech", purpose="Resampling audio")
    changed = soxr.resample(wave.detach().cpu().numpy(), source, target, quality="VHQ")
    return torch.from_numpy(changed).to(wave)


def _one_channel(samples: np.ndarray, channel: int | None, path: Path) -> np.ndarray:
    """``samples (N, C)`` as ``(N,)``."""
    channels = samples.shape[1]
    if channel is not None and not 0 <= channel < channels:
        raise DataError(
            f"read_audio: {path} has channels 0 to {channels - 1}, and channel={channel} is none.", see="reading-audio"
        )
    if channel is None and channels > 1:
        products = np.einsum("nc,nd->cd", samples, samples)
        powers = np.diag(products)
        if not products.sum() < powers.sum() / 2:  # channels that have nothing to do with each other add their powers
            return np.asarray(samples.mean(1))
        channel = int(powers.argmax())
    return np.ascontiguousarray(samples[:, channel or 0])


def _with_its_size(path: Path) -> io.BytesIO | None:
    """A WAV file that says 0 bytes of sound and has some, as a file that says how many; None for all others."""
    with path.open("rb") as file:
        if file.read(4) != b"RIFF" or file.read(8)[4:] != b"WAVE":
            return None
        while len(head := file.read(8)) == 8:
            size = int.from_bytes(head[4:], "little")
            if head[:4] == b"data":
                break
            file.seek(size + size % 2, os.SEEK_CUR)
        else:
            return None
        begin = file.tell()
        if size or _chunks_follow(file, path.stat().st_size):
            return None
    content = bytearray(path.read_bytes())
    content[begin - 4 : begin] = min(len(content) - begin, 2**32 - 1).to_bytes(4, "little")
    return io.BytesIO(content)


def _chunks_follow(file: BinaryIO, length: int) -> bool:
    """Whether the rest of a WAV file is chunks that say how long they are, down to its last byte, rather than sound."""
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[4:], "little")
        file.seek(size + size % 2, os.SEEK_CUR)
        if file.tell() > length + 1:
            return False
    return not head


def _promised(sound: Any, path: Path) -> float:
    """How many samples per channel a file says that it holds; what it holds where it does not say."""
    frames, log = float(sound.frames), sound.extra_info
    if "Last page lacks an end-of-stream bit" in log:
        return math.inf
    if bytes_said := _SIZE.search(log):
        said, held = int(bytes_said[1]), int(bytes_said[2])
        return frames if said >= _UNKNOWN or not held else frames * said / held
    if frames_said := _FRAMES.search(log):
        return int(frames_said[1])
    if sound.format == "NIST":
        with path.open("rb") as file:
            count = re.search(rb"^sample_count -i (\d+)", file.read(1024), re.MULTILINE)
        return int(count[1]) if count else frames
    return frames


def _length(samples: float, rate: int) -> str:
    return f"{samples / rate:.3f} s" if math.isfinite(samples) else "an end"
