"""The free phone loop while sound arrives: what is being said if nothing says what to expect."""

from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.free import free_loop
from semihmm.streaming import Stream

PENALTY = 2.0
"""Nats a frame by which free speech is worse than the loop.

More than an `Aligner` takes, whose free speech stands beside the transcript: here it stands for its words as well, when
others are read in their place. At 2.0, 29 of 29 wrong words of a script were found so, and 1.1 % of 456 right ones.
"""

_MOST_WAITING = 200  # frames: phones that are not certain by then are taken to be the best so far


@dataclass(frozen=True)
class Sounds:
    """One frame, as the free phone loop hears it.

    Args:
        ratio: ``(phones * states + states,)`` log-likelihoods of the model's states, and of free speech behind them,
            less the log-density of the frame given those before it; zeros where the frame was lost.
        phones: ``(phones,)`` probability of each phone, given the frames so far.
        states: of the loop, that have become certain.
    """

    ratio: Tensor
    phones: Tensor
    states: Tensor


class FreeLoop:
    """`free_loop` as a `Stream`.

    Args:
        model: whose phones are free.
        penalty: nats a frame by which free speech is worse than the loop.

    Example:
        >>> from semihmm.speech import load_acoustic_model
        >>> model = load_acoustic_model()
        >>> loop = FreeLoop(model)
        >>> sounds = loop.push(torch.zeros(len(model.phones) * model.states))
        >>> sounds.phones.shape, round(float(sounds.phones.sum()), 3)
        (torch.Size([42]), 1.0)
    """

    def __init__(self, model: AcousticModel, penalty: float = PENALTY) -> None:
        self.shape, self.penalty = (len(model.phones), model.states), penalty
        self._stream = Stream(
            free_loop(model, torch.zeros(1, len(model.phones) * model.states)), max_delay=_MOST_WAITING
        )
        self._likelihood = 0.0

    def push(self, log_likelihood: Tensor) -> Sounds:
        """The next frame.

        Args:
            log_likelihood: ``(phones * states,)``; NaN for a frame that was lost.
        """
        lost = bool(log_likelihood[0].isnan())
        row = torch.zeros_like(log_likelihood) if lost else log_likelihood
        update = self._stream.push(row[None])
        assert update.filtered is not None and update.log_likelihood is not None
        so_far = float(update.log_likelihood[0])
        density, self._likelihood = so_far - self._likelihood, so_far
        free = row.new_full((self.shape[1],), 0.0 if lost else -self.penalty)
        ratio = torch.cat([row if lost else row - density, free])
        return Sounds(ratio, update.filtered[0].exp().view(self.shape).sum(1), update.committed.states)

    @property
    def log_likelihood(self) -> float:
        """Of all frames so far."""
        return self._likelihood

    def finish(self) -> Tensor:
        """The states of the frames that are left."""
        return self._stream.finish().committed.states
