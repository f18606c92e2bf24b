"""Changing the sample rate of sound that comes in blocks, with a delay of a millisecond.

``soxr.ResampleStream`` is better in every other respect, but hands out its samples some 37 ms late (measured from 48 to
16 kHz, quality HQ; 76 ms at VHQ), which is most of what an answer in time may take. The acoustic models hear nothing
above 6.9 kHz, so a short filter does: a windowed sinc whose transition ends where its aliases begin to be heard.
"""

import math

import torch
from torch import Tensor

from semihmm.errors import DataError

_TRANSITION = 0.30  # of the lower Nyquist frequency: the filter's slope, half of it on either side
_BETA = 7.86  # of the Kaiser window: what should not pass is 80 dB down
_WIDTH = 80.0 - 7.95  # what Kaiser's formula makes of that


class Resampler:
    """Blocks at one sample rate in, blocks at another out; a NaN makes NaNs of what is near it.

    Args:
        source: the rate that comes, in Hz, whole.
        target: the rate that goes.

    Sample n of the output is the sound at ``n / target`` seconds, as long as the rest of the filter has come:
    `delay` later. O(taps) per sample.

    Example:
        >>> resampler = Resampler(48000, 16000)
        >>> [len(resampler(torch.zeros(480))) for _ in range(3)], round(1000 * resampler.delay, 1)
        ([143, 160, 160], 1.1)
    """

    def __init__(self, source: int, target: int) -> None:
        if source < 1 or target < 1:
            raise DataError(f"Resampler: both sample rates must be positive, got source={source}, target={target}.")
        common = math.gcd(source, target)
        self.up, self.down, self.same = target // common, source // common, source == target
        nyquist = min(source, target) / 2
        taps = _WIDTH / (2.285 * 2 * math.pi * _TRANSITION * nyquist / source)
        self.half = 0 if self.same else math.ceil(taps / 2)
        self.delay = self.half / source
        phase = torch.arange(self.up, dtype=torch.float64)[:, None] / self.up
        distance = torch.arange(1 - self.half, self.half + 1) - phase  # of the taps from the sample to make
        cutoff = 2 * nyquist / source
        window = torch.i0(_BETA * (1 - (distance / max(self.half, 1)).square()).clamp(min=0).sqrt())
        table = torch.sinc(cutoff * distance) * window
        self.table = (table / table.sum(1, keepdim=True)).float()
        self.kept = torch.zeros(max(self.half - 1, 0))  # from `first` on; silence before the beginning
        self.first, self.made = 1 - self.half, 0

    def __call__(self, block: Tensor) -> Tensor:
        """The next block ``(N,)``, and all that can be made of it."""
        if self.same:
            return block
        self.kept = torch.cat([self.kept, block.float()])
        # The last sample that has come is first + len - 1; a sample at x needs those up to floor(x) + half.
        reach = self.first + len(self.kept) - self.half
        count = max(-(-reach * self.up // self.down) - self.made, 0)
        if not count:
            return self.kept[:0]
        place = torch.arange(self.made, self.made + count) * self.down
        whole, phase = place // self.up, place % self.up
        windows = self.kept.unfold(0, 2 * self.half, 1)[whole + 1 - self.half - self.first]
        self.made += count
        needed = self.made * self.down // self.up + 1 - self.half
        self.kept, self.first = self.kept[needed - self.first :].clone(), needed
        return (windows * self.table[phase]).sum(1)

    def finish(self) -> Tensor:
        """What is left, as if silence followed."""
        return self.kept[:0] if self.same else self(torch.zeros(self.half))
