"""One HMM at every size, what is known about it, and what several benchmarks do with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
from _case import Case
from torch import Tensor

FEATURES = 8
STATES, STEPS, BATCHES = (8, 64, 256), (200, 2000, 20_000), (1, 32)
ON_GPU = ("pomegranate", "torch-struct", "torch loop", "pytorch-crf")


def sizes(smoke: bool) -> list[tuple[int, int, int]]:
    """S, T, B; the least arithmetic first."""
    if smoke:
        return [(3, 7, 1), (5, 12, 2)]
    return sorted(product(STATES, STEPS, BATCHES), key=lambda size: size[0] ** 2 * size[1] * size[2])


@dataclass
class Problem:
    """One size: a model, its observations, and what is known about them in float64."""

    states: int
    steps: int
    batch: int
    device: str

    def __post_init__(self) -> None:
        g = torch.Generator().manual_seed(self.states * self.steps + self.batch)
        s, f = self.states, FEATURES
        self.mean, self.variance = torch.randn(s, f, generator=g), (0.3 * torch.randn(s, f, generator=g)).exp()
        self.log_initial = torch.randn(s, generator=g).log_softmax(-1)
        self.log_transition = torch.randn(s, s, generator=g).log_softmax(-1)
        drawn = torch.randint(s, (self.batch, self.steps), generator=g)
        noise = torch.randn(self.batch, self.steps, f, generator=g)
        self.x = self.mean[drawn] + noise * self.variance[drawn].sqrt()
        self.direction = [torch.randn(s, s, generator=g), torch.randn(self.batch, self.steps, s, generator=g)]
        for name in ("mean", "variance", "log_initial", "log_transition", "x"):
            setattr(self, name, getattr(self, name).to(self.device))
        self.direction = [x.to(self.device) for x in self.direction]

    @property
    def arcs(self) -> int:
        """Arcs of all trellises together."""
        return self.batch * self.steps * self.states**2

    @property
    def loop_cost(self) -> float:
        """The same for a loop over steps in Python: each step costs as much as some 30,000 arcs, besides its own."""
        return float(self.arcs + 30_000 * self.steps)

    @cached_property
    def emission(self) -> Tensor:
        """Log-likelihoods ``(B, T, S)``, float32: what those get that start from them."""
        return log_density(self.x.double(), self.mean.double(), self.variance.double()).float()

    @cached_property
    def truth(self) -> dict[str, Tensor]:
        """Log-likelihood, posteriors and expected transition counts."""
        return forward_backward(self.log_initial.double(), self.log_transition.double(), self.emission.double())

    @cached_property
    def curvature(self) -> dict[str, Tensor]:
        """The Hessian times the direction: central differences of the gradient."""
        step, sides = 1e-4, []
        for sign in (1, -1):
            moved = [
                given.double() + sign * step * along.double()
                for given, along in zip((self.log_transition, self.emission), self.direction, strict=True)
            ]
            sides.append(forward_backward(self.log_initial.double(), *moved))
        return {
            "transition": (sides[0]["counts"] - sides[1]["counts"]) / (2 * step),
            "emission": (sides[0]["posterior"] - sides[1]["posterior"]) / (2 * step),
        }


def log_density(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Diagonal Gaussians, the square multiplied out: two matrix products."""
    constant = (mean.square() / variance + variance.log()).sum(-1) + mean.shape[-1] * math.log(2 * math.pi)
    return x @ (mean / variance).T - (x.square() @ (1 / variance).T + constant) / 2


def forward_backward(log_initial: Tensor, log_transition: Tensor, emission: Tensor) -> dict[str, Tensor]:
    """The scaled recursions (Rabiner 1989), in the dtype given; weights need not be normalised."""
    steps = emission.shape[1]
    peak = emission.amax(-1, keepdim=True)
    likely = (emission - peak).exp().transpose(0, 1).contiguous()
    transition = log_transition.exp()
    forward, backward = torch.empty_like(likely), torch.ones_like(likely)
    scale = torch.empty_like(likely[..., :1])
    one = log_initial.exp() * likely[0]
    for t in range(steps):
        if t:
            one = torch.mm(forward[t - 1], transition, out=forward[t]).mul_(likely[t])
        torch.sum(one, -1, keepdim=True, out=scale[t])
        forward[t] = one / scale[t]
    back = transition.T.contiguous()
    for t in range(steps - 1, 0, -1):
        torch.mm(likely[t] * backward[t] / scale[t], back, out=backward[t - 1])
    arrive = (likely[1:] * backward[1:] / scale[1:]).flatten(0, 1)
    counts = forward[:-1].flatten(0, 1).T @ arrive * transition
    total = scale.log().sum(0).squeeze(-1) + peak.sum(1).squeeze(-1)
    return {"log_likelihood": total.sum(), "posterior": (forward * backward).transpose(0, 1), "counts": counts}


def torch_struct_edges(log_initial: Tensor, log_transition: Tensor, emission: Tensor) -> Tensor:
    """Its potentials ``(B, T - 1, to, from)``."""
    edges = log_transition.T + emission[:, 1:, :, None]
    first = (log_initial + emission[:, 0])[:, None, None, :]
    return torch.cat([edges[:, :1] + first, edges[:, 1:]], 1)


def best_scores(log_initial: Tensor, log_transition: Tensor, emission: Tensor) -> Tensor:
    """The score of the best path of each sequence, without the path."""
    score = log_initial + emission[:, 0]
    for t in range(1, emission.shape[1]):
        score = (score.unsqueeze(-1) + log_transition).amax(-2) + emission[:, t]
    return score.amax(-1)


def score_of(path: Tensor, log_initial: Tensor, log_transition: Tensor, emission: Tensor) -> Tensor:
    """The score of one path of each sequence."""
    along = emission.gather(-1, path.unsqueeze(-1)).squeeze(-1).sum(-1)
    return log_initial[path[:, 0]] + log_transition[path[:, :-1], path[:, 1:]].sum(-1) + along


def at_all_sizes(*works: Callable[[Problem], Case]) -> Callable[[bool, str], Iterator[Case]]:
    """The cases of a script: every work at one size, then at the next, as they share data and references."""

    def cases(smoke: bool, device: str) -> Iterator[Case]:
        for size in sizes(smoke):
            problem = Problem(*size, device)
            for work in works:
                yield work(problem)

    return cases
