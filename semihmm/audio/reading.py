"""Reading recordings, and refusing those that cannot be used, by name and reason."""

import os
from pathlib import Path

import torch
from torch import Tensor

from semihmm._optional import require
from semihmm.errors import DataError, ShapeError
from semihmm.types import Hertz

# What files of sound are called, and what libsndfile calls the format: it may be built without some.
_FORMATS = {
    **dict.fromkeys((".wav", ".wave"), "WAV"),
    **dict.fromkeys((".sph", ".nist"), "NIST"),
    ".flac": "FLAC",
    **dict.fromkeys((".ogg", ".oga", ".opus"), "OGG"),
    **dict.fromkeys((".aiff", ".aif", ".aifc"), "AIFF"),
    ".mp3": "MP3",
    **dict.fromkeys((".au", ".snd"), "AU"),
    **{f".{name}": name.upper() for name in ("caf", "rf64", "voc", "w64")},
    **dict.fromkeys(
        (".m4a", ".m4b", ".aac", ".mp4", ".wma", ".amr", ".3gp", ".webm", ".mka", ".ape", ".dss", ".ra", ".shn", ".wv"),
        "",
    ),
}


def audio_suffixes() -> dict[str, bool]:
    """The endings of sound files, in lower case, and whether `read_audio` reads them here.

    Raises:
        DependencyError: ``soundfile`` is not installed.

    Example:
        >>> suffixes = audio_suffixes()
        >>> suffixes[".flac"], suffixes[".m4a"], ".txt" in suffixes
        (True, False, False)
    """
    known = require("soundfile", extra="speech", purpose="Reading audio files").available_formats()
    return {suffix: name in known for suffix, name in _FORMATS.items()}


def read_audio(path: Path | str) -> tuple[Tensor, int]:
    """Read a sound file as one channel.

    Args:
        path: any format that libsndfile reads: WAV, FLAC, Ogg, AIFF, ...; any sample rate.

    Returns:
        ``(N,)`` float32 samples, full scale = 1, the mean of the channels; and the sample rate in Hz.

    Raises:
        DataError: the file is missing, empty, unreadable, holds no samples, or holds NaN or infinite samples.
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
        raise DataError(f"read_audio: there is no file {path}.")
    if path.stat().st_size == 0:
        raise DataError(f"read_audio: {path} is an empty file (0 bytes).")
    try:
        file = os.fsencode(path) if os.name == "posix" else path  # a name need not be UTF-8
        samples, sample_rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise DataError(f"read_audio: {path} cannot be read as audio ({error}). Convert it to WAV or FLAC.") from error
    if len(samples) == 0:
        raise DataError(f"read_audio: {path} holds zero samples: a header with no sound after it.")
    wave = torch.from_numpy(samples).mean(1)
    bad = (~wave.isfinite()).nonzero()
    if len(bad):
        raise DataError(
            f"read_audio: {path} holds {len(bad)} samples that are NaN or infinite, the first at sample {int(bad[0])} "
            f"({int(bad[0]) / sample_rate:.3f} s). Whatever wrote the file failed there; make it again."
        )
    return wave, int(sample_rate)


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
