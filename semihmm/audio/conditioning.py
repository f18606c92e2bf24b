"""What recordings bring along that is no sound."""

import torch
from torch import Tensor

from semihmm.errors import DataError, ShapeError

_LAST_BIT = 1 / 32768  # of a 16-bit sample
_LOUDEST = 1e6  # a float file may hold integers up to 2^16; beyond, powers of it leave float32


def condition(wave: Tensor, *, in_place: bool = False) -> Tensor:
    """A recording without its constant offset, where there is anything to hear.

    Args:
        wave: ``(N,)`` samples, full scale = 1.
        in_place: whether ``wave`` itself may be changed: a long one need not be there twice.

    Returns:
        ``(N,)``: ``wave`` less its mean, in the same dtype; ``wave`` itself where the mean is less than the last bit.

    Raises:
        ShapeError: ``wave`` is not one-dimensional, or empty.
        DataError: samples are NaN, infinite or larger than any recording's; or all lie within one step of 16 bits of
            each other: digital silence.

    Example:
        >>> import torch
        >>> condition(torch.tensor([0.5, 1.0, 0.0]))
        tensor([ 0.0000,  0.5000, -0.5000])
    """
    if wave.ndim != 1 or not len(wave):
        raise ShapeError(f"condition: wave must be (N,), one channel of samples, got {tuple(wave.shape)}.")
    low, high = (float(edge) for edge in torch.aminmax(wave.detach()))
    if not max(-low, high) <= _LOUDEST:  # NaN is not either
        raise DataError(
            f"condition: samples from {low:g} to {high:g}, where full scale is 1: this is no recording, or one "
            f"that was damaged. Make the file again, or divide by its full scale."
        )
    if high - low <= _LAST_BIT:
        raise DataError(
            f"condition: the recording is digitally silent: all of its samples lie between {low:g} and {high:g}. "
            f"Was the microphone muted, or the wrong channel taken?"
        )
    offset = float(wave.detach().mean())
    if abs(offset) < _LAST_BIT:
        return wave
    return wave.sub_(offset) if in_place else wave - offset
