"""Where a phone begins, finer than the frames say: a correction learnt from speech whose times are known.

An HMM of 10 ms frames, each of which sees 26 ms and, through its differences, 90 ms, puts some kinds of edges early and
others late, and all of them on a grid. The correction looks at short spectra every 5 ms around an edge, with what kinds
of phones meet there, and says how far the edge is from where it should be. ``benchmarks/learn_edges.py`` learnt it on
sentences spoken by three synthetic voices, each voice's constant difference taken off first: where in the course of a
sound it *begins* is a convention of labels, not a property of edges, and none is learnt.

References:
    Stolcke, Ryant, Mitra, Yuan, Wang and Liberman (2014), "Highly accurate phonetic segmentation using boundary
    correction models and system fusion", ICASSP.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semihmm.speech.acoustics.mfcc import FrontEnd

STEP, REACH = 0.005, 8  # seconds between spectra; how many there are before and after the edge
SCALE = 10.0  # cepstra are divided by it
UNIT = 0.010  # seconds that an output of 1 stands for

KINDS = {"SIL": 0}
for _kind, _phones in enumerate(
    (
        "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW",
        "P T K B D G CH JH",
        "F TH S SH HH V DH Z ZH",
        "M N NG",
        "L R W Y",
    ),
    start=1,
):
    KINDS |= dict.fromkeys(_phones.split(), _kind)
_OTHER = KINDS["L"]


@dataclass(frozen=True)
class EdgeCorrection:
    """K networks with one hidden layer of H units, and their mean.

    Args:
        hidden: ``(K, H, D)``.
        hidden_bias: ``(K, H)``.
        output: ``(K, H)``.
        output_bias: ``(K,)``.

    Example:
        >>> edges = EdgeCorrection.load()
        >>> wave = torch.randn(16000, generator=torch.Generator().manual_seed(0)) / 30
        >>> edges(FrontEnd(), wave, torch.tensor([0.3, 0.5]), ["SIL", "AA"], ["AA", "S"]).shape
        torch.Size([2])
    """

    hidden: Tensor
    hidden_bias: Tensor
    output: Tensor
    output_bias: Tensor

    @classmethod
    @cache
    def load(cls) -> "EdgeCorrection":
        """The one that comes with the package, for the English phones of Sphinx's model."""
        with np.load(Path(__file__).with_name("edges.npz")) as file:
            return cls(*(torch.from_numpy(file[name]).float() for name in cls.__dataclass_fields__))

    def __call__(
        self, front_end: FrontEnd, wave: Tensor, times: Tensor, before: Sequence[str], after: Sequence[str]
    ) -> Tensor:
        """How many seconds too late edges are, ``(E,)``.

        Args:
            front_end: of the model.
            wave: ``(N,)`` samples at its rate.
            times: ``(E,)`` where the edges are, in seconds.
            before: names of the E phones that end there; the silence's for a pause.
            after: of those that begin there.
        """
        if not len(times):
            return times
        late = torch.empty(len(times), dtype=torch.float64)
        blocks = zip(*(x.split(200) for x in (late, times, _kinds(before), _kinds(after))), strict=True)
        for of_block, part, *kinds in blocks:
            of_block[:] = self.of(around_edges(front_end, wave, part, *kinds))
        return late

    def of(self, x: Tensor) -> Tensor:
        """The same, of what `around_edges` returns."""
        units = torch.einsum("ed,khd->keh", x, self.hidden) + self.hidden_bias[:, None]
        each = torch.einsum("keh,kh->ke", units.tanh(), self.output) + self.output_bias[:, None]
        return UNIT * each.mean(0).double()


def around_edges(front_end: FrontEnd, wave: Tensor, times: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """What the networks see of edges, ``(E, D)``: cepstra about their mean, and the kinds of phones on both sides."""
    offsets = STEP * torch.arange(-REACH, REACH + 1, dtype=torch.float64)
    cepstra = front_end.short_cepstra(wave, times[:, None] + offsets).float()
    centred = (cepstra - cepstra.mean(1, keepdim=True)) / SCALE
    kinds = [torch.nn.functional.one_hot(kind, _OTHER + 1).float() for kind in (before, after)]
    return torch.cat([centred.flatten(1), *kinds], 1)


def _kinds(phones: Sequence[str]) -> Tensor:
    return torch.tensor([KINDS.get(phone, _OTHER) for phone in phones], dtype=torch.long)
