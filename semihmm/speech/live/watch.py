"""What is wrong with sound that arrives: said once when it begins."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from semihmm.speech.live.sources import Block
from semihmm.types import Seconds

_LOUDEST, _FULL, _LAST_BIT = 1e6, 0.999, 1 / 32768
_CLIPPED = 3  # samples at full scale, in a block, that are no accident
_SILENT: Seconds = 2.0  # of digital silence, before it is said
_AGAIN: Seconds = 10.0  # until the same is said again


class Watch:
    """Looks at blocks, says what is wrong with them, and gives their samples, NaN for those that are of no use.

    Args:
        say: is told, in a sentence.

    Attributes:
        overruns: how many times samples were lost because nobody took them in time.
        lost: seconds of sound that were lost, for any reason.

    Example:
        >>> watch = Watch(print)
        >>> watch(Block(torch.tensor([0.1, float("nan")]), 16000, delivered=0.0))
        0.0 s: 1 samples are no numbers, or none of sound: they count as lost.
        tensor([0.1000,    nan])
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._said = say, dict[str, Seconds]()
        self._time = self._silent = self.lost = 0.0
        self.overruns = 0

    def __call__(self, block: Block) -> Tensor:
        samples = block.samples
        if block.lost:
            self.overruns += block.lost == "overrun"
            self.lost += block.duration
            if block.lost == "overrun":
                self._once("overrun", f"overrun: {1000 * block.duration:.0f} ms of sound were lost; times stay right.")
        elif len(samples):
            samples = self._usable(samples, block.sample_rate)
        self._time += block.duration
        return samples

    def _usable(self, samples: Tensor, rate: int) -> Tensor:
        low, high = (float(edge) for edge in torch.aminmax(samples))
        if not max(-low, high) <= _LOUDEST:  # NaN is not either
            useless = ~(samples.abs() <= _LOUDEST)
            count = int(useless.sum())
            self._once("numbers", f"{count} samples are no numbers, or none of sound: they count as lost.")
            self.lost += count / rate
            return torch.where(useless, math.nan, samples)
        if max(-low, high) >= _FULL and int((samples.abs() >= _FULL).sum()) >= _CLIPPED:
            self._once("clipped", "the sound is clipped: turn the microphone down.")
        if high - low > _LAST_BIT:
            self._silent = 0.0
        elif self._silent < _SILENT <= self._silent + len(samples) / rate:
            self._once("silent", f"digital silence for {_SILENT:g} s: is the microphone muted?")
        if high - low <= _LAST_BIT:
            self._silent += len(samples) / rate
        return samples

    def _once(self, kind: str, text: str) -> None:
        if self._time - self._said.get(kind, -math.inf) >= _AGAIN:
            self._say(f"{self._time:.1f} s: {text}")
            self._said[kind] = self._time
