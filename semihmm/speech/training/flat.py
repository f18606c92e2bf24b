"""A flat start: where phones might be when nothing is known but their order."""

from collections.abc import Sequence

import torch
from torch import Tensor

from semihmm.speech.alignment.pronunciation import Pronunciation

_SMOOTHED = 0.05  # seconds over which loudness is averaged
_QUIETEST, _LOUDEST, _LEVEL = 0.05, 0.95, 0.35  # quantiles of loudness, and how far between them speech begins


def flat_path(
    loudness: Tensor,
    frame_rate: float,
    words: Sequence[Pronunciation],
    phones: Sequence[str],
    silence: str,
    states: int,
) -> Tensor:
    """Silence up to the first loud frame and after the last, and between them every phone as long as any other.

    Args:
        loudness: ``(T,)`` of each frame, on any scale that is roughly logarithmic.
        frame_rate: frames per second.
        words: with their pronunciations, of which the first is taken.
        phones: of the model.
        silence: the one that stands for it.
        states: of each phone; they share its frames.

    Returns:
        ``(T,)`` states; s of phone p is ``p * states + s``.
    """
    said = [phones.index(phone) for word in words for phone in word.variants[0]]
    begin, end = _speech(loudness, frame_rate, len(said) * states)
    pause = [phones.index(silence)]
    parts = ((begin, pause), (end - begin, said), (len(loudness) - end, pause))
    return torch.cat([_spread(frames, items, states) for frames, items in parts])


def _speech(loudness: Tensor, frame_rate: float, shortest: int) -> tuple[int, int]:
    """The first loud frame and the frame after the last, at least ``shortest`` apart if there are as many."""
    frames, width = len(loudness), max(round(_SMOOTHED * frame_rate), 1)
    padded = torch.cat([loudness[:1].expand(width // 2), loudness, loudness[-1:].expand(width - 1 - width // 2)])
    smooth = padded.unfold(0, width, 1).mean(1)
    low, high = smooth.quantile(torch.tensor([_QUIETEST, _LOUDEST]).to(smooth)).unbind()
    loud = (smooth >= low + _LEVEL * (high - low)).nonzero()[:, 0]
    begin, end = int(loud[0]), int(loud[-1]) + 1
    more = max(shortest - (end - begin), 0)
    return max(begin - (more + 1) // 2, 0), min(end + (more + 1) // 2, frames)


def _spread(frames: int, phones: Sequence[int], states: int) -> Tensor:
    """The states of these phones in order, each for as many of so many frames as any other."""
    order = torch.tensor([phone * states + state for phone in phones for state in range(states)])
    return order[(2 * torch.arange(frames) + 1) * len(order) // max(2 * frames, 1)]
