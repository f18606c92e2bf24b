"""A front end for sound that comes in blocks: the features of `FrontEnd`, each as soon as it can be known.

Frame t is a window, and its differences look frames ahead, Sphinx's three: at 100 frames a second it is known 30 ms
after its last sample. Noise removal looks back alone, and is the same. Two things cannot be: `FrontEnd` takes the
recording's mean from the cepstra, and `condition` that of its samples; the whole recording is not there yet. In their
places are running means. That of the cepstra counts frames within half a second of one that is louder than it: who says
nothing for a minute is heard as before.
"""

import torch
from torch import Tensor

from semihmm.speech.acoustics.mfcc import FrontEnd
from semihmm.speech.acoustics.noise import NoiseRemover

_EN_US = FrontEnd(lower_edge=130, upper_edge=6800, filters=25, transform="dct", lifter=22, noise_removal=True)
_TYPICAL = (52.7, 4.5, 0.9, 10.4, -9.4, 0.0, -8.2, -1.0, 1.7, 0.7, 1.2, 0.1, 4.0)

_MEMORY = 1500  # frames over which the mean of cepstra is taken: 15 s
_PRIOR = 100  # frames that the mean to begin with counts for
_NEAR = 50  # frames that count after a loud one
_LEAK = 0.005  # of c0 a frame, by which "loud" falls while there is nothing loud: microphones differ
_OFFSET_MEMORY = 300  # frames over which the mean of samples is taken


class LiveFrontEnd:
    """Blocks of samples in, features out.

    Args:
        front_end: what is to be computed.
        mean: ``(cepstra,)`` to subtract, the recording's, if it is known; None for a running mean.
        offset: of the samples, likewise.
        prior: ``(cepstra,)`` what the running mean begins with, such as that of an earlier session. Default: what is
            usual for Sphinx's US English, and the first frame for other front ends.

    Samples that are NaN were lost. Every frame that depends on one is NaN, and no other.

    Example:
        >>> wave = torch.randn(16000, generator=torch.Generator().manual_seed(0)) / 30
        >>> whole = FrontEnd(mean_normalisation=False)
        >>> live = LiveFrontEnd(whole, offset=0.0)
        >>> blocks = [live.push(block) for block in wave.split(160)]
        >>> [len(block) for block in blocks[:8]]
        [0, 0, 0, 0, 0, 1, 1, 1]
        >>> torch.testing.assert_close(torch.cat([*blocks, live.finish()]), whole(wave))
    """

    def __init__(
        self,
        front_end: FrontEnd,
        *,
        mean: Tensor | None = None,
        offset: float | None = None,
        prior: Tensor | None = None,
    ) -> None:
        self.front_end = front_end
        if not front_end.mean_normalisation:
            mean = torch.zeros(front_end.cepstra)
        if prior is None and front_end == _EN_US:
            prior = torch.tensor(_TYPICAL)
        self.mean, self.offset = prior if mean is None else mean, offset or 0.0
        self._running, self._running_offset = mean is None, offset is None
        self._told = 0 if prior is None else _PRIOR  # frames that the mean counts for
        self._quiet = _NEAR  # frames since a loud one
        self._size = round(front_end.window * front_end.sample_rate)
        self._shift = round(front_end.sample_rate / front_end.frame_rate)
        self._frames = 0
        self._wave = torch.zeros(0)  # from one shift before the next window on: the first sample has one before it
        self._remover: NoiseRemover | None = None
        self._cepstra = torch.zeros(0, front_end.cepstra)

    @torch.no_grad()
    def push(self, samples: Tensor) -> Tensor:
        """The features ``(n, F)`` of frames that are known with these samples ``(N,)``."""
        self._wave = torch.cat([self._wave.to(samples), samples])
        found = []
        while len(self._wave) >= (used := self._size + self._shift * bool(self._frames)):
            found += self._take(self._window(self._wave[:used])[:1])
            self._wave = self._wave[self._shift if self._frames > 1 else 0 :]
        self._wave = self._wave.clone()  # not a view of all that there was
        return self._joined(found)

    @torch.no_grad()
    def finish(self) -> Tensor:
        """The features of the last frames, as `FrontEnd` makes them where a recording ends."""
        if not self._frames:
            return self._joined([])
        found = self._take(self._window(self._wave)) if self.front_end.padded else []
        for _ in range(self.front_end.reach):
            found += self._known(self._cepstra[-1:])
        return self._joined(found)

    def _window(self, wave: Tensor) -> Tensor:
        """What the mel filters let through of the next frame."""
        if self._running_offset:
            level = float((wave[-self._shift :] if self._frames else wave).mean())
            if level == level:  # not of lost samples
                self.offset += (level - self.offset) / min(self._frames + 1, _OFFSET_MEMORY)
        first = min(self._frames, 1)
        self._frames += 1
        return self.front_end.energies(wave - self.offset, first)

    def _take(self, energies: Tensor) -> list[Tensor]:
        """The next frame ``(1, filters)``, as the mel filters let it through; the features of those now known."""
        lost = bool(energies[0, 0].isnan())
        if self.front_end.noise_removal and not lost:
            self._remover = self._remover or NoiseRemover.at(energies[0])
            energies = self._remover(energies)
        cepstra = self.front_end.transformed(energies)
        if self._running and not lost and cepstra[0, 0] >= 0:
            self._count(cepstra[0])
        if not len(self._cepstra):
            self._cepstra = cepstra.expand(self.front_end.reach, -1)
        return self._known(cepstra)

    def _count(self, row: Tensor) -> None:
        """Let a frame count for the mean, if it is loud or near one that is."""
        mean = row if self.mean is None else self.mean
        self._quiet = 0 if row[0] >= mean[0] - _LEAK * self._quiet else self._quiet + 1
        if self._quiet < _NEAR:
            self._told += 1
            self.mean = mean + (row - mean) / min(self._told, _MEMORY)

    def _known(self, cepstra: Tensor) -> list[Tensor]:
        """With one frame more, the features of the one that now has all of its neighbours, if there is one."""
        self._cepstra = torch.cat([self._cepstra.to(cepstra), cepstra])
        reach = self.front_end.reach
        if len(self._cepstra) <= 2 * reach:
            return []
        around, self._cepstra = self._cepstra, self._cepstra[1:]
        return [self.front_end.with_differences(around if self.mean is None else around - self.mean)[reach]]

    def _joined(self, found: list[Tensor]) -> Tensor:
        nothing = self.front_end.with_differences(torch.zeros(1, self.front_end.cepstra))[:0]
        return torch.stack(found) if found else nothing
