"""Recordings taken apart and put together again by WORLD, at their own tempo or another."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from semihmm._optional import require
from semihmm.audio import condition
from semihmm.errors import ShapeError
from semihmm.speech.intervals import Interval
from semihmm.speech.metrics.pitch import PitchErrors, pitch_errors
from semihmm.speech.metrics.spectra import mel_cepstra, mel_cepstral_distortion
from semihmm.types import Hertz, Seconds

_FRAME = 0.005  # seconds between WORLD's frames


def vocode(wave: Tensor, sample_rate: Hertz, *, frames: Tensor | None = None, order: int = 24) -> Tensor:
    """What WORLD makes of a recording from its own pitch, aperiodicity and mel-cepstra: no synthesis is nearer.

    Args:
        wave: ``(N,)`` samples, full scale = 1.
        sample_rate: of ``wave``.
        frames: ``(T,)`` which of the recording's frames of 5 ms is said when; other tempi repeat frames or leave them
            out. Default: each once.
        order: of the mel-cepstra.

    Returns:
        ``(M,)`` samples at the same rate, 5 ms for each frame.

    Raises:
        ShapeError, DataError: as of `semihmm.audio.condition`.
        DependencyError: ``pyworld`` or ``pysptk`` is not installed.

    Example:
        >>> import torch
        >>> vocode(torch.randn(8000) / 10, 16000).shape  # doctest: +SKIP
        torch.Size([8080])
    """
    world = require("pyworld", extra="metrics", purpose="Synthesising speech with WORLD")
    sptk = require("pysptk", extra="metrics", purpose="Computing mel-cepstra")
    samples, rate = condition(wave).detach().double().cpu().numpy(), int(sample_rate)
    pitch, times = world.harvest(samples, rate)
    spectrum = world.cheaptrick(samples, pitch, times, rate)
    aperiodicity = world.d4c(samples, pitch, times, rate)
    alpha, size = sptk.util.mcepalpha(rate), 2 * (spectrum.shape[1] - 1)
    smooth = sptk.mc2sp(sptk.sp2mc(spectrum, order=order, alpha=alpha), alpha=alpha, fftlen=size)
    said = slice(None) if frames is None else frames.numpy()
    return torch.from_numpy(world.synthesize(pitch[said], smooth[said], aperiodicity[said], rate))


def resynthesis_errors(wave: Tensor, sample_rate: Hertz, *, frames: Tensor | None = None) -> tuple[float, PitchErrors]:
    """How far what `vocode` makes of a recording is from it: MCD in dB, and errors of pitch.

    Both are analysed anew and compared frame by frame, each frame with the one that it was made from, silence left out
    of the MCD. So nothing is warped, and the tempo itself is not judged.

    Args:
        wave: ``(N,)`` samples, full scale = 1.
        sample_rate: of ``wave``.
        frames: as of `vocode`.

    Raises:
        DependencyError: ``pyworld`` or ``pysptk`` is not installed.

    Example:
        >>> import torch
        >>> distortion, pitch = resynthesis_errors(torch.randn(8000) / 10, 16000)  # doctest: +SKIP
    """
    natural = mel_cepstra(wave, sample_rate)
    made = mel_cepstra(vocode(wave, sample_rate, frames=frames), sample_rate)
    source = torch.arange(len(natural.pitch)) if frames is None else frames
    size = min(len(source), len(made.pitch))
    source, sounding = source[:size], natural.sounding[source[:size]]
    distortion = mel_cepstral_distortion(natural.cepstra[source][sounding], made.cepstra[:size][sounding], aligned=True)
    return distortion, pitch_errors(natural.pitch[source], made.pitch[:size])


def at_durations(phones: Sequence[Interval], durations: Sequence[Seconds], total: Seconds) -> Tensor:
    """Which of a recording's frames of 5 ms are said when, for its phones to last so long: pauses stay as they are.

    Args:
        phones: of the recording.
        durations: of each of them, as they are to be.
        total: how long the recording is.

    Returns:
        ``(T,)``, for `vocode`.

    Raises:
        ShapeError: not as many durations as phones.

    Example:
        >>> at_durations([Interval(0.01, 0.02, "AA")], [0.02], 0.03).tolist()
        [0, 1, 2, 2, 3, 3, 4, 5, 6]
    """
    if len(durations) != len(phones):
        raise ShapeError(f"at_durations: there are {len(phones)} phones, and {len(durations)} durations.")
    old, new = [0.0], [0.0]
    for phone, seconds in zip(phones, durations, strict=True):
        new += [new[-1] + max(phone.start - old[-1], 0.0)]
        new += [new[-1] + seconds]
        old += [max(phone.start, old[-1]), phone.end]
    old, new = [*old, total], [*new, new[-1] + max(total - old[-1], 0.0)]
    times = _FRAME * torch.arange(math.floor(new[-1] / _FRAME + 1e-6) + 1, dtype=torch.float64)
    begins, sources = torch.tensor(new, dtype=torch.float64), torch.tensor(old, dtype=torch.float64)
    part = torch.searchsorted(begins, times, right=True).sub(1).clamp(0, len(old) - 2)
    share = (times - begins[part]) / (begins[part + 1] - begins[part]).clamp(min=1e-9)
    at = sources[part] + share.clamp(max=1) * (sources[part + 1] - sources[part])
    return (at / _FRAME + 1e-6).floor().long().clamp(max=math.floor(total / _FRAME + 1e-6))
