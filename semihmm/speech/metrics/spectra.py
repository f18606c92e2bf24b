"""How far two recordings of the same words are apart in their spectra.

References:
    Kubichek (1993), "Mel-cepstral distance measure for objective speech quality assessment", PacRim.
    Morise, Yokomori and Ozawa (2016), "WORLD: a vocoder-based high-quality speech synthesis system for real-time
    applications", IEICE Transactions on Information and Systems E99-D(7).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm._optional import require
from semihmm.audio import condition
from semihmm.errors import DataError, ShapeError
from semihmm.types import Hertz
from semihmm.warping import dtw

_DECIBELS = 10 * math.sqrt(2) / math.log(10)
_SILENCE = 40.0  # decibels below the loudest frame


@dataclass(frozen=True)
class MelCepstra:
    """What WORLD says of a recording, every 5 ms.

    Args:
        cepstra: ``(T, 1 + order)`` float64, c0 first.
        pitch: ``(T,)`` fundamental frequency in Hz, 0 where there is no voice.
        sounding: ``(T,)`` bool: which frames are louder than 40 dB below the loudest.
    """

    cepstra: Tensor
    pitch: Tensor
    sounding: Tensor


def mel_cepstra(wave: Tensor, sample_rate: Hertz, *, order: int = 24) -> MelCepstra:
    """The smooth spectrum of each 5 ms as mel-cepstra, and the pitch, as WORLD finds them (Harvest, CheapTrick).

    Args:
        wave: ``(N,)`` samples, full scale = 1.
        sample_rate: of ``wave``; also decides how the frequency axis is warped, as SPTK does.
        order: the highest coefficient.

    Raises:
        ShapeError, DataError: as of `semihmm.audio.condition`.
        DependencyError: ``pyworld`` or ``pysptk`` is not installed.

    Example:
        >>> import torch
        >>> found = mel_cepstra(torch.randn(8000) / 10, 16000)  # doctest: +SKIP
        >>> found.cepstra.shape  # doctest: +SKIP
        torch.Size([101, 25])
    """
    world = require("pyworld", extra="metrics", purpose="Analysing speech with WORLD")
    sptk = require("pysptk", extra="metrics", purpose="Computing mel-cepstra")
    samples = condition(wave).detach().double().cpu().numpy()
    rate = int(sample_rate)
    pitch, times = world.harvest(samples, rate)
    spectrum = world.cheaptrick(samples, pitch, times, rate)
    cepstra = torch.from_numpy(sptk.sp2mc(spectrum, order=order, alpha=sptk.util.mcepalpha(rate)))
    level = 10 * torch.from_numpy(spectrum).mean(-1).log10()
    return MelCepstra(cepstra, torch.from_numpy(pitch), level > level.max() - _SILENCE)


def mel_cepstral_distortion(reference: Tensor, other: Tensor, *, aligned: bool = False) -> float:
    r"""MCD, the mean distance of mel-cepstra in dB: :math:`\frac{10}{\ln 10} \sqrt{2 \sum_{d \ge 1} (c_d - c'_d)^2}`.

    c0, the loudness, is left out (Kubichek 1993, equation 2, in the form of the speech synthesis literature). The mean
    is over the pairs of the best warping path by `dtw` (``symmetric1``) under that very distance. Cut silence first:
    ``mel_cepstral_distortion(a.cepstra[a.sounding], b.cepstra[b.sounding])``.

    Args:
        reference: ``(T, 1 + order)``, c0 first.
        other: ``(U, 1 + order)``.
        aligned: frame t of one belongs to frame t of the other: nothing is warped.

    Raises:
        ShapeError: other shapes, or, if ``aligned``, T and U differ.
        DataError: a coefficient is NaN or infinite.

    Example:
        >>> a = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> round(mel_cepstral_distortion(a, a[[0, 0, 1]] + torch.tensor([5.0, 0.0, 0.0])), 6)
        0.0
        >>> round(mel_cepstral_distortion(a, a + torch.tensor([0.0, 1.0, 0.0]), aligned=True), 3)
        6.142
    """
    a, b = (torch.as_tensor(side, dtype=torch.float64) for side in (reference, other))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or a.shape[1] < 2 or not (len(a) and len(b)):
        raise ShapeError(
            f"mel_cepstral_distortion: cepstra must be (T, 1 + order) and (U, 1 + order), got {tuple(a.shape)} and "
            f"{tuple(b.shape)}."
        )
    if aligned and len(a) != len(b):
        raise ShapeError(f"mel_cepstral_distortion: aligned cepstra need as many frames, got {len(a)} and {len(b)}.")
    if not (bool(a.isfinite().all()) and bool(b.isfinite().all())):
        raise DataError("mel_cepstral_distortion: a coefficient is NaN or infinite. Is a frame digitally silent?")
    a, b = a[:, 1:], b[:, 1:]
    if not aligned:
        left, right = dtw(a, b, metric="euclidean").path.unbind(-1)
        a, b = a[left], b[right]
    return _DECIBELS * float((a - b).norm(dim=-1).mean())
