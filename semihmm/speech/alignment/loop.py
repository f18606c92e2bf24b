"""The free phone loop of an acoustic model as a model by itself, to be exported."""

import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from semihmm import models
from semihmm.audio import read_audio, resample
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.acoustics.network import TimeDelayNetwork
from semihmm.speech.alignment.free import free_loop
from semihmm.structures import HMM


def phone_loop(model: AcousticModel) -> "models.HMM | NetworkLoop":
    """What hears the phones of an acoustic model, any of which may follow any, in what that model sees.

    Args:
        model: its phones without context.

    Returns:
        In float32, without gradient: an `HMM` of ``phones * states`` states. Of a model with a network, a module that
        makes a structure of ``(x, lengths)``, as `semihmm.export` takes. ``x (B, T, D)`` are frames as
        `AcousticModel.seen` gives them.
    """
    loop = free_loop(model, torch.zeros(1, len(model.plain), dtype=torch.float64))
    if model.network is not None:
        return NetworkLoop(model, deepcopy(model.network), loop).float().eval().requires_grad_(False)
    parts = [_of_states(stream, model.plain) for stream in model.streams]
    emission = parts[0] if len(parts) == 1 else models.Product(parts)
    start = (loop.initial > -math.inf).nonzero().flatten().tolist()
    found = models.HMM(len(model.plain), emission, allowed=loop.transition > -math.inf, start=start)
    with torch.no_grad():
        for law, log_prob in ((found.laws["initial"], loop.initial), (found.laws["transition"], loop.transition)):
            law.get_parameter("logits").copy_(log_prob.nan_to_num(neginf=0.0))
    return found.float().requires_grad_(False)


class NetworkLoop(nn.Module):
    """Phones in a loop, heard by a network, which sees frames together."""

    initial: Tensor
    transition: Tensor
    owner: Tensor

    def __init__(self, model: AcousticModel, network: TimeDelayNetwork, loop: HMM) -> None:
        super().__init__()
        self.network, self.in_context = network, network.states > loop.states
        self.register_buffer("initial", loop.initial)
        self.register_buffer("transition", loop.transition)
        self.register_buffer("owner", model.owner if self.in_context else model.plain)

    def forward(self, x: Tensor, lengths: Tensor) -> HMM:
        """The structure of frames ``(B, T, D)``."""
        if self.in_context:
            log_posterior = self.network.log_posterior(x, lengths)
            heard = self.network.scaled(log_posterior, self.owner)[..., : len(self.initial)]
        else:
            heard = self.network(x, lengths)
        return HMM(self.initial, self.transition, heard, lengths=lengths)


def features_of(model: AcousticModel) -> Callable[[Path], Tensor]:
    """What makes of a sound file what an acoustic model sees, ``(T, D)``."""

    def heard(path: Path) -> Tensor:
        wave, rate = read_audio(path)
        front_end = model.front_end
        return model.seen(front_end(resample(wave, source=rate, target=front_end.sample_rate))).float()

    return heard


def _of_states(stream: models.GaussianMixture, states: Tensor) -> models.GaussianMixture:
    """Some of the states of a stream."""
    books, codebook = stream.codebook[states].unique(return_inverse=True)
    _, components, features = stream.mean.shape
    found = models.GaussianMixture(len(states), features, components, codebook)
    with torch.no_grad():
        found.mean.copy_(stream.mean[books])
        found.log_variance.copy_(stream.log_variance[books])
        found.weights.logits.copy_(stream.weights.logits[states])
    return found
