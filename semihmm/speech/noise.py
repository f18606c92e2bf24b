"""Removing stationary noise from mel energies, as the Sphinx models' training data had it removed.

References:
    Doblinger (1995), "Computationally efficient speech enhancement by spectral minima tracking", Eurospeech.
    Kim and Stern (2010), "Feature extraction for robust speech recognition based on maximizing the sharpness of
    the power distribution and on power flooring", ICASSP (the temporal masking).
"""

import torch
from torch import Tensor

_POWER_MEMORY = 0.7  # of the smoothed power
_RISE_MEMORY, _FALL_MEMORY = 0.995, 0.5  # a minimum is left slowly and found quickly
_PEAK_MEMORY, _MASKED_LEVEL = 0.85, 0.2  # a sound is masked after a louder one, down to this share of it
_MOST_GAIN = 20.0
_NEIGHBOURS = 4  # filters on either side over which the gain is smoothed


def remove_noise(energies: Tensor) -> Tensor:
    """Scale mel energies down where they do not rise above the running minimum of their band.

    Args:
        energies: ``(T, filters)``, non-negative, on the scale of 16-bit samples (the floor of 1 below is absolute).

    Returns:
        ``(T, filters)``: each frame times a gain between 1/20 and 20 that is smoothed over neighbouring filters.
        Causal: frame t depends on frames up to t. O(T) steps.
    """
    gains = []
    power = energies[0]
    noise = floor = energies[0] / _MOST_GAIN
    peak = torch.zeros_like(power)
    for energy in energies.unbind():
        power = torch.lerp(energy, power, _POWER_MEMORY)
        noise = _track_minimum(noise, power)
        signal = (power - noise).clamp(min=1.0)
        floor = _track_minimum(floor, signal)
        decayed = _PEAK_MEMORY * peak
        masked = signal < _PEAK_MEMORY * decayed
        peak = torch.maximum(signal, decayed)
        signal = torch.where(masked, _MASKED_LEVEL * decayed, signal)
        # A silent band is 0 / 0 here; it has no noise to remove, and any gain leaves it at 0.
        ratio = torch.maximum(signal, floor) / power.clamp(min=torch.finfo(power.dtype).tiny)
        gains.append(ratio.clamp(1 / _MOST_GAIN, _MOST_GAIN))
    return energies * (torch.stack(gains) @ _neighbourhood(energies))


def _track_minimum(level: Tensor, value: Tensor) -> Tensor:
    # Two lerps rather than one with a chosen weight: a chosen Python number would become a float32.
    return torch.where(value >= level, torch.lerp(value, level, _RISE_MEMORY), torch.lerp(value, level, _FALL_MEMORY))


def _neighbourhood(energies: Tensor) -> Tensor:
    """``(filters, filters)``: column i averages over the filters near i."""
    index = torch.arange(energies.shape[1], device=energies.device)
    near = ((index[:, None] - index).abs() <= _NEIGHBOURS).to(energies)
    return near / near.sum(0)
