"""How well a fundamental frequency contour follows another.

References:
    Rabiner, Cheng, Rosenberg and McGonegal (1976), "A comparative performance study of several pitch detection
    algorithms", IEEE TASSP 24(5): gross and fine errors.
    Chu and Alwan (2009), "Reducing F0 frame error of F0 tracking algorithms under noisy conditions with an
    unvoiced/voiced classification frontend", ICASSP: gross pitch, voicing decision and F0 frame errors.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semihmm.errors import DataError, ShapeError

_GROSS = 0.2  # of the reference: more is no deviation but another pitch


@dataclass(frozen=True)
class PitchErrors:
    """One contour against another, frame by frame.

    Args:
        frames: how many were compared.
        voiced: how many of them are voiced in both.
        gross: share of the frames voiced in both where the other is off by more than 20 % of the reference (GPE).
        rmse: in Hz, over the frames voiced in both without a gross error: the fine error.
        rmse_cents: the same in cents, 1,200 to the octave.
        voicing: share of all frames where one is voiced and the other is not (VDE).
        frame: share of all frames with either error (FFE).
    """

    frames: int
    voiced: int
    gross: float
    rmse: float
    rmse_cents: float
    voicing: float
    frame: float


def pitch_errors(reference: Any, other: Any) -> PitchErrors:
    """Compare two fundamental frequency contours of the same frames.

    Args:
        reference: ``(T,)`` in Hz, 0 or NaN where there is no voice.
        other: ``(T,)``, the same.

    Returns:
        The errors; NaN where no frame is voiced in both.

    Raises:
        ShapeError: not ``(T,)`` both, with as many frames; or none.
        DataError: a frequency is negative or infinite.

    Example:
        >>> errors = pitch_errors([100.0, 100.0, 100.0, 0.0], [101.0, 150.0, 0.0, 0.0])
        >>> errors.gross, errors.voicing, errors.frame, errors.rmse
        (0.5, 0.25, 0.5, 1.0)
    """
    a, b = (
        torch.as_tensor(side, dtype=torch.float64).nan_to_num(nan=0.0, posinf=torch.inf) for side in (reference, other)
    )
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise ShapeError(
            f"pitch_errors: both contours must be (T,) of the same frames, got {tuple(a.shape)} and {tuple(b.shape)}. "
            f"Warp one onto the other first where they differ in time."
        )
    for name, side in (("reference", a), ("other", b)):
        if not bool(((side >= 0) & side.isfinite()).all()):
            raise DataError(f"pitch_errors: frequencies must be in Hz, 0 for no voice; {name} has {_odd(side):g}.")
    both = (a > 0) & (b > 0)
    off = both & ((b - a).abs() > _GROSS * a)
    fine = both & ~off
    unlike = (a > 0) != (b > 0)
    cents = 1200 * (b[fine] / a[fine]).log2()
    return PitchErrors(
        frames=len(a),
        voiced=int(both.sum()),
        gross=_mean(off[both]),
        rmse=_mean((b - a)[fine] ** 2) ** 0.5,
        rmse_cents=_mean(cents**2) ** 0.5,
        voicing=_mean(unlike),
        frame=_mean(unlike | off),
    )


def _odd(side: Tensor) -> float:
    return float(side[~((side >= 0) & side.isfinite())][0])


def _mean(values: Tensor) -> float:
    return float(values.double().mean())
