"""A network in place of Gaussians: what a frame and its neighbours say of the states of phones."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class TimeDelayNetwork(nn.Module):
    """Convolutions over time, further and further apart, from features to scaled log-likelihoods of states.

    What it returns is log-posterior less log-prior, which is log-likelihood but for a constant of each frame that no
    path feels (Bourlard & Morgan 1994).

    Args:
        features: F.
        states: S, of all phones together.
        width: units in each hidden layer.
        dilations: how many frames apart each layer's three inputs lie; with the default, an output sees 17 frames.
        dropout: share of units left out in training.

    Buffers that training sets: ``mean (F,)`` and ``scale (F,)``, by which features are made standard, and
    ``log_prior (S,)``.

    Example:
        >>> network = TimeDelayNetwork(39, 126)
        >>> network(torch.zeros(50, 39)).shape
        torch.Size([50, 126])

    References:
        Waibel, Hanazawa, Hinton, Shikano and Lang (1989), "Phoneme recognition using time-delay neural networks".
    """

    mean: Tensor
    scale: Tensor
    log_prior: Tensor

    def __init__(
        self,
        features: int,
        states: int,
        width: int = 128,
        dilations: Sequence[int] = (1, 2, 2, 3),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.config = {"features": features, "states": states, "width": width, "dilations": list(dilations)}
        sizes = [features, *[width] * len(dilations)]
        self.layers = nn.ModuleList(
            nn.Conv1d(size, width, 3, dilation=apart, padding=apart, padding_mode="replicate")
            for size, apart in zip(sizes, dilations, strict=False)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in dilations)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(width, states)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("log_prior", torch.full((states,), 1 / states).log())

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Scaled log-likelihoods ``(..., T, S)`` of frames ``(..., T, F)``, of which ``lengths (...)`` count."""
        return self.log_posterior(features, lengths) - self.log_prior

    @property
    def states(self) -> int:
        """How many states there are, S."""
        return len(self.log_prior)

    def scaled(self, log_posterior: Tensor, owner: Tensor) -> Tensor:
        """Scaled log-likelihoods ``(T, S)``, of states of which some are kinds of others, as `together` has them."""
        return together(log_posterior, owner) - together(self.log_prior, owner)

    def log_posterior(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Log-probability ``(..., T, S)`` of each state."""
        x = (features.to(self.mean) - self.mean) / self.scale
        for layer, norm in zip(self.layers, self.norms, strict=True):
            if lengths is not None:  # behind its end a sequence is padded as it would be alone
                at = torch.minimum(torch.arange(x.shape[-2], device=x.device), lengths.unsqueeze(-1) - 1)
                x = x.gather(-2, at.unsqueeze(-1).expand(x.shape))
            hidden = self.dropout(norm(layer(x.mT).mT.relu()))
            x = x + hidden if x.shape == hidden.shape else hidden
        found: Tensor = self.output(x).log_softmax(-1)
        return found


def together(log_prob: Tensor, owner: Tensor) -> Tensor:
    """Log-probabilities ``(..., S)``, in which the first states, without context, have what their kinds have in all.

    Args:
        log_prob: ``(..., S)`` of states that exclude each other.
        owner: ``(S,)`` the state that each is a kind of: those without context, which are the first, of themselves.

    Example:
        >>> together(torch.tensor([0.25, 0.25, 0.5]).log(), torch.tensor([0, 1, 1])).exp().tolist()
        [0.25, 0.75, 0.5]
    """
    plain = int(owner.max()) + 1
    index = owner.expand_as(log_prob)
    empty = log_prob.new_full((*log_prob.shape[:-1], plain), -torch.inf)
    peak = empty.scatter_reduce(-1, index, log_prob.detach(), "amax")
    mass = torch.zeros_like(peak).scatter_add(-1, index, (log_prob - peak.gather(-1, index)).exp())
    return torch.cat([mass.log() + peak, log_prob[..., plain:]], -1)
