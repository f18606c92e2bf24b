"""Where phones meet: an `HSMM` of the phones that an alignment found, each with an explicit law of its duration.

An HMM's phone lasts as if by chance: its states leave with the same probability after any time. Here the phone n of the
path, which begins at frame b and lasts d frames, weighs

    log p(x[b:b+d] | n, d) + log p(d | n),

the first from all ways through its three states in d frames, divided by the probability that the HMM gives to d itself,
the second by the law; a phone without a law keeps the HMM's. Log-likelihoods are scaled first, as for the deviations of
edges, for frames are not independent: as if `_SHARPNESS` of those in a second were. The edge between two phones is then
the *mean* of its posterior (`expected_counts` of segments), which lies between frames, and has the least squared error
where the model is right. `_SHARPNESS` and `_REACH` were chosen on synthetic speech that no benchmark scores.

An edge may be up to `_REACH` seconds from where the HMM's best path has it. So a phone's ways are summed for that many
beginnings and ends, of all phones at once; the chain has one state for each phone, and is taken a few phones at a time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.inference import expected_counts
from semihmm.models.durations import Gamma
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.structures import HSMM
from semihmm.types import Seconds

_SHARPNESS = 10.0  # frames in a second that count as independent
_REACH: Seconds = 0.08
_LONG: Seconds = 0.4  # of a phone that are looked at: of a longer one, the middle is left out
_PIECE, _CONTEXT = 16, 6  # phones of one `HSMM`, and how many more on either side
_BLOCK = 256  # phones whose ways are summed at a time


@dataclass(frozen=True)
class Durations:
    """Gamma laws of how long phones last.

    Args:
        laws: mean and standard deviation by phone. They are in use for models that have all of these phones; phones
            without a law last as the HMM has it.

    Example:
        >>> Durations({"AA": (0.12, 0.05)}).laws["AA"]
        (0.12, 0.05)
    """

    laws: Mapping[str, tuple[Seconds, Seconds]]

    def __post_init__(self) -> None:
        for phone, (mean, deviation) in self.laws.items():
            if not (0 < mean < math.inf and 0 < deviation < math.inf):
                raise DataError(
                    f"Durations: {phone!r} should have a mean and a standard deviation above 0, in seconds, got {mean} "
                    f"and {deviation}."
                )

    def log_prob(self, phones: Sequence[str], model: AcousticModel, longest: int) -> tuple[Tensor, Tensor]:
        """Of 1 to ``longest`` frames, ``(phones, longest)``; and which of the phones have a law, ``(phones,)``."""
        mine = self.laws if self.laws.keys() <= set(model.phones) else {}
        known = torch.tensor([phone in mine for phone in phones])
        rate = model.front_end.frame_rate
        mean, deviation = torch.tensor([mine.get(phone, (1.0, 1.0)) for phone in phones]).mul(rate).double().unbind(1)
        law = Gamma(len(phones), longest).double().requires_grad_(False)
        law.log_concentration[:], law.log_rate[:] = law.matching(mean, deviation.square())
        return law(), known


@dataclass(frozen=True)
class Run:
    """Phones one after the other, as an HMM's best path has them.

    Args:
        phones: their N names.
        columns: ``(N, states)`` of the log-likelihoods that their states take.
        transitions: ``(N, states, states + 1)`` log-probabilities; the last column leaves the phone.
        begins: ``(N + 1,)`` the frames at which they begin, and at which the last one ends.
    """

    phones: Sequence[str]
    columns: Tensor
    transitions: Tensor
    begins: Tensor

    def part(self, low: int, high: int) -> "Run":
        """The phones ``[low, high)``."""
        own = slice(low, high)
        return Run(self.phones[own], self.columns[own], self.transitions[own], self.begins[low : high + 1])

    def shortened(self, longest: int) -> tuple["Run", Tensor]:
        """Without the middles of long phones; and which frames are left."""
        lengths = self.begins.diff()
        place = torch.arange(int(lengths.sum())) - (self.begins[:-1] - self.begins[0]).repeat_interleave(lengths)
        length = lengths.repeat_interleave(lengths)
        kept = (place < longest // 2) | (place >= length - longest // 2) | (length <= longest)
        begins = torch.cat([lengths.new_zeros(1), lengths.clamp(max=longest).cumsum(0)])
        return Run(self.phones, self.columns, self.transitions, begins), self.begins[0] + kept.nonzero()[:, 0]


def mean_edges(run: Run, log_likelihood: Tensor, model: AcousticModel, durations: Durations) -> Tensor:
    """Where the phones begin, and the last one ends, in frames, not whole ones: ``(N + 1,)``. The ends stay.

    Args:
        run: the phones.
        log_likelihood: ``(T, columns)`` of the recording.
        model: whose phones they are.
        durations: how long they last.
    """
    count, moved = len(run.phones), torch.zeros(len(run.phones) + 1, dtype=torch.float64)
    for first in range(1, count, _BLOCK):
        last = min(first + _BLOCK, count)
        low, high = max(first - 1 - _CONTEXT, 0), min(last + _CONTEXT, count)
        moved[first:last] = _moves(run.part(low, high), log_likelihood, model, durations)[first - low : last - low]
    return run.begins + moved


def _moves(run: Run, log_likelihood: Tensor, model: AcousticModel, durations: Durations) -> Tensor:
    """How far the edges are from where the HMM has them, ``(N + 1,)``."""
    rate = model.front_end.frame_rate
    short, frames = run.shortened(round(_LONG * rate))
    ways = Ways.of(short, _SHARPNESS / rate * log_likelihood[frames].double(), round(_REACH * rate))
    laws, known = durations.log_prob(run.phones, model, ways.longest)
    duration = torch.where(known[:, None], laws, ways.duration)
    count, moved = len(run.phones), torch.zeros(len(run.phones) + 1, dtype=torch.float64)
    for first in range(1, count, _PIECE):
        last = min(first + _PIECE, count)
        low, high = max(first - 1 - _CONTEXT, 0), min(last + _CONTEXT, count)
        evidence, counts = expected_counts(ways.hsmm(low, high, duration), ["segment"])
        if not bool(evidence.isfinite()):
            continue  # frames that no phone explains say nothing of edges
        ends = counts["segment"].sum(1).double()  # (T, N): the probability that phone n ends with frame t
        due = short.begins[low + 1 : high + 1] - short.begins[low]
        distance = torch.arange(1, len(ends) + 1)[:, None] - due
        moved[first:last] = (ends * distance).sum(0)[first - 1 - low : last - 1 - low]
    return moved


@dataclass(frozen=True)
class Ways:
    """What each phone of a run weighs, by its first frame and its number of frames.

    Args:
        weight: ``(N, W, D)`` log-density of its frames, given that it has so many; W beginnings, the HMM's in their
            middle.
        duration: ``(N, D)`` log-probability that the HMM gives to so many frames.
        begins: of the run.
    """

    weight: Tensor
    duration: Tensor
    begins: Tensor

    @property
    def longest(self) -> int:
        """The most frames, D."""
        return self.weight.shape[-1]

    @classmethod
    def of(cls, run: Run, log_likelihood: Tensor, reach: int) -> "Ways":
        """The forward pass through the states of all phones from all beginnings, rescaled at each frame."""
        lengths = run.begins.diff()
        longest = int(lengths.max()) + 2 * reach
        starts = run.begins[:-1, None] - reach + torch.arange(longest + 2 * reach)
        frames = starts.clamp(0, len(log_likelihood) - 1)
        heard = log_likelihood[frames[..., None], run.columns[:, None]]
        peak = heard.amax(-1, keepdim=True).clamp(min=torch.finfo(heard.dtype).min)  # of what is impossible, too
        heard = (heard - peak).exp()
        inside, leave = run.transitions[..., :-1].exp(), run.transitions[..., -1:].exp()
        width = 2 * reach + 1
        forward = heard.new_zeros(len(lengths), width, run.columns.shape[1])
        forward[..., 0] = 1.0
        blind = forward[:, :1]
        scale, weights, durations = torch.zeros_like(forward[..., :1]), [], []
        for length in range(longest):
            now = slice(length, length + width)
            forward = (forward @ inside if length else forward) * heard[:, now]
            size = forward.amax(-1, keepdim=True)
            forward = forward / torch.where(size > 0, size, 1.0)
            scale = scale + size.log() + peak[:, now]
            weights.append((forward @ leave).log() + scale)
            blind = blind @ inside if length else blind
            durations.append(blind @ leave)
        duration = torch.cat(durations, -1)[:, 0].log()
        weight = torch.cat(weights, -1) - torch.where(duration.isfinite(), duration, 0.0)[:, None]
        return cls(weight, duration, run.begins)

    def hsmm(self, low: int, high: int, duration: Tensor) -> HSMM:
        """The structure of the phones ``[low, high)`` in their frames, whose ends stay.

        Args:
            low: the first phone.
            high: the one after the last.
            duration: ``(N, D)`` log-weights of their durations.
        """
        begins = self.begins[low : high + 1] - self.begins[low]
        count, frames = high - low, int(begins[-1])
        reach = self.weight.shape[1] // 2
        start = (begins[:-1, None] + torch.arange(-reach, reach + 1))[..., None]  # (N, W, 1)
        longest = int(begins.diff().max()) + 2 * reach
        end = start + torch.arange(1, longest + 1)  # (N, W, D)
        due = begins[1:, None, None]
        allowed = (start >= 0) & (end <= frames) & ((end - due).abs() <= reach)
        allowed[0] &= start[0] == 0
        allowed[-1] &= end[-1] == frames
        phone, beginning, length = allowed.nonzero().unbind(1)
        segment = torch.full((frames, longest, count), -math.inf)
        last = end[phone, beginning, length] - 1
        segment[last, length, phone] = self.weight[low:high][phone, beginning, length].float()
        first = torch.full((count,), -math.inf)
        final = first.clone()
        first[0] = final[-1] = 0.0
        onward, duration = torch.zeros(count, 1), duration[low:high, :longest].float()
        return HSMM(first, onward, duration, segment=segment, final=final, offsets=(1,))


_ENGLISH = """
    AA 129 42, AE 107 50, AH 49 21, AO 121 54, AW 159 79, AY 156 63, B 67 23, CH 113 35,
    D 57 26, DH 40 19, EH 86 32, ER 126 61, EY 134 54, F 113 38, G 94 33, HH 65 31,
    IH 60 25, IY 115 51, JH 105 36, K 102 34, L 90 47, M 70 27, N 55 30, NG 122 61,
    OW 141 58, P 96 33, R 53 32, S 128 47, SH 119 42, T 78 33, TH 87 32, UH 86 49,
    UW 89 44, V 62 26, W 69 40, Y 98 57, Z 122 55, ZH 91 39
"""
DURATIONS = Durations(
    {
        phone: (float(mean) / 1000, float(deviation) / 1000)
        for phone, mean, deviation in (item.split() for item in _ENGLISH.split(","))
    }
)
"""Of English phones (ARPAbet), as ``benchmarks/learn_durations.py`` found them: above in ms."""
