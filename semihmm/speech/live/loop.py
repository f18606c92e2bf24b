"""The free phone loop while sound arrives: what is being said if nothing says what to expect."""

from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.free import free_loop

PENALTY = 2.0
"""Nats a frame by which free speech is worse than the loop.

More than an `Aligner` takes, whose free speech stands beside the transcript: here it stands for its words as well, when
others are read in their place. At 2.0, 29 of 29 wrong words of a script were found so, and 1.1 % of 456 right ones.
"""


@dataclass(frozen=True)
class Sounds:
    """One frame, as the free phone loop hears it.

    Args:
        ratio: ``(phones * states + states,)`` log-likelihoods of the model's states, and of free speech behind them,
            less the log-density of the frame given those before it; zeros where the frame was lost.
        phones: ``(phones,)`` probability of each phone, given the frames so far.
    """

    ratio: Tensor
    phones: Tensor


class FreeLoop:
    """What `semihmm.speech.alignment.free.hear_freely` makes of a recording, a frame at a time.

    Args:
        model: whose phones are free.
        penalty: nats a frame by which free speech is worse than the loop.

    Attributes:
        log_likelihood: of all frames so far.

    Example:
        >>> from semihmm.speech import load_acoustic_model
        >>> model = load_acoustic_model()
        >>> loop = FreeLoop(model)
        >>> sounds = loop.push(torch.zeros(len(model.phones) * model.states))
        >>> sounds.phones.shape, round(float(sounds.phones.sum()), 3)
        (torch.Size([42]), 1.0)
    """

    def __init__(self, model: AcousticModel, penalty: float = PENALTY) -> None:
        loop = free_loop(model, torch.zeros(1, len(model.phones) * model.states, dtype=torch.float64))
        self._expected, self._transition = loop.initial.exp(), loop.transition.exp()
        self._shape, self._penalty = (len(model.phones), model.states), penalty
        self.log_likelihood = 0.0

    def push(self, log_likelihood: Tensor) -> Sounds:
        """The next frame.

        Args:
            log_likelihood: ``(phones * states,)``; NaN for a frame that was lost.
        """
        lost = bool(log_likelihood[0].isnan())
        row = torch.zeros_like(log_likelihood) if lost else log_likelihood
        joint = self._expected.log() + row
        density = joint.logsumexp(0)
        posterior = (joint - density).exp()
        self._expected = posterior @ self._transition
        if not lost:
            self.log_likelihood += float(density)
        free = row.new_full((self._shape[1],), 0.0 if lost else -self._penalty)
        ratio = torch.cat([row if lost else (row - density).to(row), free])
        return Sounds(ratio, posterior.view(self._shape).sum(1).to(row))
