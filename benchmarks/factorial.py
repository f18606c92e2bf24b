"""Factorial chains beside the dense joint HMM of the same model and a plain loop.

    python benchmarks/factorial.py [--smoke] [--only TEXT] [--without PEER ...] [--out DIR]

d chains of S states, whose joint states are seen; from potentials in float32, given. The joint HMM has a matrix of all
S^d joint states. The loop multiplies log-alphas along one axis after the other in PyTorch, which is how one writes it.
References are the joint HMM's recursions in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from _case import Call, Case, Contestant, Floor, Results
from _compare import main
from _trellis import best_scores, forward_backward, score_of
from torch import Tensor

import semihmm

SIZES = [(2, 12, 500, 1), (2, 12, 5_000, 1), (2, 12, 500, 8), (4, 6, 200, 1)]  # d, S, T, B
TARGETS = {2: 3.0, 4: 20.0}  # times the joint HMM


@dataclass
class Chains:
    """One model."""

    chains: int
    states: int
    steps: int
    batch: int
    device: str

    def __post_init__(self) -> None:
        g = torch.Generator().manual_seed(self.states)
        d, s = self.chains, self.states
        shapes = (d, s), (d, s, s), (self.batch, self.steps, *(s,) * d)
        self.initial, self.transition, self.emission = (torch.randn(x, generator=g).to(self.device) for x in shapes)

    @property
    def products(self) -> float:
        """Along all axes, at all steps."""
        return float(self.batch * self.steps * self.chains * self.states ** (self.chains + 1))

    @property
    def factorial(self) -> semihmm.FactorialHMM:
        """One axis at a time."""
        return semihmm.FactorialHMM(self.initial, self.transition, self.emission)

    @cached_property
    def joint(self) -> semihmm.HMM:
        """All joint states."""
        number = torch.arange(self.states**self.chains, device=self.device)
        digits = [number // self.states ** (self.chains - 1 - k) % self.states for k in range(self.chains)]
        initial = sum(self.initial[k, at] for k, at in enumerate(digits))
        matrix = sum(self.transition[k][at][:, at] for k, at in enumerate(digits))
        return semihmm.HMM(initial, matrix, self.emission.flatten(2))

    @property
    def potentials(self) -> list[Tensor]:
        """Of the joint HMM, in float64."""
        return [x.double() for x in self.joint.potentials.values()]

    @cached_property
    def truth(self) -> dict[str, Tensor]:
        """In float64."""
        found = forward_backward(*self.potentials)
        return {"log_likelihood": found["log_likelihood"], "posterior": found["posterior"]}

    @property
    def common(self) -> dict[str, Any]:
        """What is the same for all cases."""
        sizes = {"d": self.chains, "S": self.states, "T": self.steps, "B": self.batch}
        return {"sizes": sizes, "cost": self.products, "device": self.device, "target": TARGETS.get(self.chains, 1.0)}


def loop_total(p: Chains, emission: Tensor) -> Tensor:
    """Log-alphas, one axis after the other."""
    alpha = emission[:, 0]
    for k in range(p.chains):
        alpha = alpha + p.initial[k].reshape(-1, *(1,) * (p.chains - 1 - k))
    for now in emission.unbind(1)[1:]:
        for k in range(p.chains):
            moved = alpha.movedim(1 + k, -1)
            alpha = (moved.unsqueeze(-1) + p.transition[k]).logsumexp(-2).movedim(-1, 1 + k)
        alpha = alpha + now
    return alpha.flatten(1).logsumexp(-1)


JOINT = "the joint HMM"


def total(p: Chains) -> Case:
    """The log-partition."""

    def ours(model: semihmm.Structure) -> Call:
        return lambda: {"log_likelihood": semihmm.log_partition(model).sum()}

    @torch.no_grad()
    def loop() -> Results:
        return {"log_likelihood": loop_total(p, p.emission).sum()}

    return Case(
        work="Factorial chains: log-partition",
        contestants={
            "semihmm": Contestant(lambda: ours(p.factorial), ours=True),
            JOINT: Contestant(lambda: ours(p.joint)),
            "torch loop": Contestant(lambda: loop),
        },
        tolerance={"log_likelihood": 1e-5},
        floor=Floor(flops=2 * p.products, bytes=4.0 * p.emission.numel(), what="2 flops a product"),
        reference=lambda: p.truth,
        **p.common,
    )


def posteriors(p: Chains) -> Case:
    """The log-partition and its gradient."""

    def ours(model: semihmm.Structure) -> Call:
        def call() -> Results:
            value, found = semihmm.expected_counts(model, ("transition", "emission"))
            return {"log_likelihood": value.sum(), "posterior": found["emission"].reshape(p.batch, p.steps, -1)}

        return call

    def loop() -> Results:
        x = p.emission.clone().requires_grad_()
        value = loop_total(p, x).sum()
        (found,) = torch.autograd.grad(value, x)
        return {"log_likelihood": value.detach(), "posterior": found.flatten(2)}

    return Case(
        work="Factorial chains: log-partition and expected counts",
        contestants={
            "semihmm": Contestant(lambda: ours(p.factorial), ours=True),
            JOINT: Contestant(lambda: ours(p.joint)),
            "torch loop": Contestant(lambda: loop),
        },
        tolerance={"log_likelihood": 1e-5, "posterior": 1e-3},
        floor=Floor(flops=8 * p.products, bytes=8.0 * p.emission.numel(), what="8 flops a product"),
        reference=lambda: p.truth,
        **p.common,
    )


def viterbi(p: Chains) -> Case:
    """The best path, compared by its score in float64."""

    def ours(model: semihmm.Structure) -> Call:
        def call() -> Results:
            event = semihmm.viterbi(model).event
            return {"path": event if model is p.joint else model.state_sequence(event)}

        return call

    return Case(
        work="Factorial chains: Viterbi with integer path",
        contestants={
            "semihmm": Contestant(lambda: ours(p.factorial), ours=True),
            JOINT: Contestant(lambda: ours(p.joint)),
        },
        tolerance={"score": 1e-5},
        floor=Floor(flops=2 * p.products, bytes=4.0 * p.emission.numel(), what="2 operations a product"),
        reference=lambda: {"score": best_scores(*p.potentials)},
        view=lambda found: found if "score" in found else {"score": score_of(found["path"], *p.potentials)},
        **p.common,
    )


def cases(smoke: bool, device: str) -> Iterator[Case]:
    """Each question of each model."""
    for size in [(2, 3, 7, 1), (3, 2, 5, 3)] if smoke else SIZES:
        p = Chains(*size, device)
        yield total(p)
        yield posteriors(p)
        yield viterbi(p)


if __name__ == "__main__":
    main(__doc__, "factorial", cases)
