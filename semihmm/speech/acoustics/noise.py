"""Removing stationary noise from mel energies, as the Sphinx models' training data had it removed.

References:
    Doblinger (1995), "Computationally efficient speech enhancement by spectral minima tracking", Eurospeech.
    Kim and Stern (2010), "Feature extraction for robust speech recognition based on maximizing the sharpness of
    the power distribution and on power flooring", ICASSP (the temporal masking).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_POWER_MEMORY = 0.7  # of the smoothed power
_RISE_MEMORY, _FALL_MEMORY = 0.995, 0.5  # a minimum is left slowly and found quickly
_PEAK_MEMORY, _MASKED_LEVEL = 0.85, 0.2  # a sound is masked after a louder one, down to this share of it
_MOST_GAIN = 20.0
_FRAMES = 4000  # taken at a time: only the result is as long as the recording
_NEIGHBOURS = 4  # filters on either side over which the gain is smoothed


def remove_noise(energies: Tensor) -> Tensor:
    """Scale mel energies down where they do not rise above the running minimum of their band.

    Args:
        energies: ``(T, filters)``, non-negative, on the scale of 16-bit samples (the floor of 1 below is absolute).

    Returns:
        ``(T, filters)``: each frame times a gain between 1/20 and 20 that is smoothed over neighbouring filters.
        Causal: frame t depends on frames up to t. O(T) steps, four NumPy calls each; the rest is whole arrays.
    """
    remover = NoiseRemover.at(energies[0])
    cleaned = torch.empty_like(energies)
    for block, out in zip(energies.split(_FRAMES), cleaned.split(_FRAMES), strict=True):
        out[:] = remover(block)
    return cleaned


@dataclass
class NoiseRemover:
    """What one block of frames leaves to the next: smoothed power, both minima, and the peak, each ``(filters,)``."""

    power: NDArray[np.float64]
    noise: NDArray[np.float64]
    floor: NDArray[np.float64]
    peak: NDArray[np.float64]
    near: Tensor  # (filters, filters)

    @classmethod
    def at(cls, first: Tensor) -> "NoiseRemover":
        power = first.detach().cpu().double().numpy()
        return cls(power, power / _MOST_GAIN, power / _MOST_GAIN, np.zeros_like(power), _neighbourhood(first))

    def __call__(self, energies: Tensor) -> Tensor:
        """The next frames ``(T, filters)``, without their noise."""
        cleaned: Tensor = energies * (self._gains(energies) @ self.near)
        return cleaned

    def _gains(self, energies: Tensor) -> Tensor:
        """Of the next frames ``(T, filters)``, before smoothing over filters."""
        energy = energies.detach().cpu().double().numpy()
        power = _smoothed(energy, self.power)
        noise = _minima(power, self.noise)
        signal = np.maximum(power - noise, 1.0)
        floor = _minima(signal, self.floor)
        peak = _decaying_peaks(signal, self.peak)
        decayed = _PEAK_MEMORY * np.concatenate([self.peak[None], peak[:-1]])
        self.power, self.noise, self.floor, self.peak = power[-1], noise[-1], floor[-1], peak[-1]
        signal = np.where(signal < _PEAK_MEMORY * decayed, _MASKED_LEVEL * decayed, signal)
        # A silent band is 0 / 0 here; it has no noise to remove, and any gain leaves it at 0.
        ratio = np.maximum(signal, floor) / np.maximum(power, torch.finfo(energies.dtype).tiny)
        return torch.from_numpy(ratio.clip(1 / _MOST_GAIN, _MOST_GAIN)).to(energies)


def _smoothed(energy: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """``p[t] = memory p[t - 1] + (1 - memory) e[t]``."""
    found = (1 - _POWER_MEMORY) * energy
    for now in found:
        now += _POWER_MEMORY * before
        before = now
    return found


def _minima(value: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """``m[t] = r m[t - 1] + (1 - r) v[t]``, r large where the value rises above the minimum, and small where it falls.

    Both are convex combinations, and of two the one with more of the lower is the lower: so it is their minimum.
    """
    memory = np.array([[_RISE_MEMORY], [_FALL_MEMORY]])
    both = (1 - memory) * value[:, None]
    found = np.empty_like(value)
    for pair, now in zip(both, found, strict=True):
        pair += memory * before
        before = np.minimum(pair[0], pair[1], out=now)
    return found


def _decaying_peaks(signal: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    """``k[t] = max(s[t], memory k[t - 1])``."""
    found = signal.copy()
    for now in found:
        np.maximum(now, _PEAK_MEMORY * before, out=now)
        before = now
    return found


def _neighbourhood(energies: Tensor) -> Tensor:
    """``(filters, filters)``: column i averages over the filters near i."""
    index = torch.arange(energies.shape[-1], device=energies.device)
    near = ((index[:, None] - index).abs() <= _NEIGHBOURS).to(energies)
    return near / near.sum(0)
