"""Free speech: what a recording sounds like to the model when no transcript says what to expect.

A *free phone loop* is an `HMM` of all phones of an acoustic model, any of which may follow any, each as likely as the
others. Its log-partition, frame by frame, is what a transcript has to beat, and stands in the graph for whatever else
may have been said: a phone `FREE` of its own, which a frame costs as much as the loop and `PENALTY` nats more.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.inference import filtering
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.text.phones import is_silence
from semihmm.structures import HMM

FREE = "*"
"""The phone that stands for any speech, and the word of a transcript that does."""

PENALTY = 1.25
"""Nats a frame by which free speech is worse than the free phone loop, which may choose its phones as it likes."""

_BLOCK = 2_000  # frames that the loop hears at a time, so that memory does not grow with the recording
_STAY, _LAST_STAY = 0.5, 0.9  # in the states of free speech: with three, 14 frames on average


@dataclass(frozen=True)
class Unscripted:
    """A recording as the free phone loop hears it.

    Args:
        log_likelihood: ``(T,)`` log-density of each frame given those before it, in nats; they add up to the loop's
            log-partition.
        speech: ``(T,)`` probability, given the frames so far, that a frame is speech: no silence, no noise.
    """

    log_likelihood: Tensor
    speech: Tensor

    @property
    def free(self) -> Tensor:
        """What free speech costs, ``(T, 1)``: the log-likelihood of each state of `FREE`."""
        return (self.log_likelihood - PENALTY)[:, None]


def free_loop(model: AcousticModel, log_likelihood: Tensor) -> HMM:
    """The free phone loop on one recording.

    Args:
        model: whose P phones are free to follow one another, each with probability 1/P.
        log_likelihood: ``(T, phones * states)``, as `AcousticModel.log_likelihood` gives it.
    """
    phones, states = len(model.phones), model.states
    entry = torch.full((phones, states), -math.inf, dtype=torch.float64)
    entry[:, 0] = -math.log(phones)
    inside = torch.block_diag(*model.transitions[:, :, :states].double().exp()).log()
    leave = model.transitions[:, :, states].double().flatten()
    transition = torch.logaddexp(inside, leave[:, None] + entry.flatten())
    return HMM(entry.flatten().to(log_likelihood), transition.to(log_likelihood), log_likelihood)


def hear_freely(model: AcousticModel, log_likelihood: Tensor) -> Unscripted:
    """What the free phone loop makes of one recording.

    With ``f[t-1]`` the loop's posterior of the states at frame t-1 given the frames so far (`filtering`),
    ``p(x[t] | x[:t]) = sum_s (f[t-1] A)[s] p(x[t] | s)``. O(T S²) for the S states of all phones.

    Args:
        model: the acoustic model.
        log_likelihood: ``(T, phones * states)``.
    """
    spoken = torch.tensor([not is_silence(phone) for phone in model.phones]).repeat_interleave(model.states)
    loop = free_loop(model, log_likelihood)
    transition, initial = loop.transition.exp(), loop.initial.exp()
    density, speech = log_likelihood.new_empty(
        2, len(log_likelihood)
    )  # one block's, left among the next's, would waste
    blocks = zip(*(x.split(_BLOCK) for x in (log_likelihood, density, speech)), strict=True)
    for block, of_density, of_speech in blocks:
        posterior = filtering(HMM(initial.log(), loop.transition, block)).exp()
        expected = torch.cat([initial[None], posterior[:-1] @ transition])
        of_density[:] = (expected.log() + block).logsumexp(1)
        of_speech[:] = posterior[:, spoken].sum(1)
        initial = posterior[-1] @ transition
    return Unscripted(density, speech)


def free_transitions(states: int) -> Tensor:
    """Log-probabilities inside `FREE`, ``(1, states, states + 1)``, as an `AcousticModel` has those of its phones."""
    free = torch.full((1, states, states + 1), -math.inf)
    for state in range(states):
        stay = _STAY if state < states - 1 else _LAST_STAY
        free[0, state, state], free[0, state, state + 1] = math.log(stay), math.log1p(-stay)
    return free


def with_free_speech(model: AcousticModel, log_likelihood: Tensor, heard: Unscripted) -> Tensor:
    """Log-likelihoods with the columns of `FREE` behind those of the model's phones: ``(T, (phones + 1) * states)``."""
    return torch.cat([log_likelihood, heard.free.expand(-1, model.states)], 1)
