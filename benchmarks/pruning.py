"""Few states of many at each step: a pruned HMM beside the whole one that is conditioned on the same states.

    python benchmarks/pruning.py [--smoke] [--only TEXT] [--without PEER ...] [--out DIR]

A dense HMM of S states of which n are kept at each step, other ones in each sequence: those that fit best what was
seen. What is timed is a question of what is left, from the potentials of all states; the choice is made before. All
states and a mask give the same numbers. So does a loop over steps in PyTorch that gathers what is kept of the
transition matrix, which is how one writes a beam.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from _case import Call, Case, Contestant, Floor, Results
from _compare import main
from _trellis import score_of
from torch import Tensor

import semihmm

SIZES = [(2_000, 50, 200, 1), (2_000, 50, 1_000, 1), (2_000, 50, 200, 8)]  # S, n, T, B


@dataclass
class Beam:
    """A model, and which of its states are kept."""

    states: int
    kept: int
    steps: int
    batch: int
    device: str

    def __post_init__(self) -> None:
        g = torch.Generator().manual_seed(self.states)
        shapes = (self.states,), (self.states, self.states), (self.batch, self.steps, self.states)
        self.initial, self.transition, emission = (torch.randn(s, generator=g).to(self.device) for s in shapes)
        self.emission = 3 * emission
        self.active = self.emission.topk(self.kept, -1).indices.sort(-1).values

    @cached_property
    def whole(self) -> semihmm.HMM:
        """All states, the others forbidden."""
        mask = torch.zeros_like(self.emission, dtype=torch.bool).scatter(-1, self.active, True)
        return semihmm.condition(semihmm.HMM(self.initial, self.transition, self.emission), mask)

    @cached_property
    def left(self) -> semihmm.structures.Pruned:
        """Those that are kept."""
        whole = semihmm.HMM(self.initial, self.transition, self.emission)
        return semihmm.prune(whole, top=self.kept, by=self.emission)

    @property
    def products(self) -> float:
        """Arcs between what is kept."""
        return float(self.batch * self.steps * self.kept**2)

    @property
    def common(self) -> dict[str, Any]:
        """What is the same for all cases."""
        sizes = {"S": self.states, "n": self.kept, "T": self.steps, "B": self.batch}
        return {"sizes": sizes, "cost": self.products, "device": self.device, "targets": {ALL: 10.0}}

    def beam(self, transition: Tensor, emission: Tensor, best: bool) -> Tensor:
        """Scores by step, in PyTorch: the best ones or their log-sum."""
        seen = emission.gather(-1, self.active)
        alpha = self.initial[self.active[:, 0]] + seen[:, 0]
        for t in range(1, self.steps):
            arcs = transition[self.active[:, t - 1].unsqueeze(-1), self.active[:, t].unsqueeze(-2)]
            term = alpha.unsqueeze(-1) + arcs
            alpha = (term.amax(-2) if best else term.logsumexp(-2)) + seen[:, t]
        return alpha.amax(-1) if best else alpha.logsumexp(-1)


ALL = "all states, conditioned"


def total(p: Beam) -> Case:
    """The log-partition."""

    def of(hmm: semihmm.Structure) -> Call:
        return lambda: {"log_likelihood": semihmm.log_partition(hmm)}

    return Case(
        work="Few states of many: log-partition",
        contestants={
            "semihmm": Contestant(lambda: of(p.left), ours=True),
            ALL: Contestant(lambda: of(p.whole)),
            "torch loop": Contestant(lambda: lambda: {"log_likelihood": p.beam(p.transition, p.emission, best=False)}),
        },
        tolerance={"log_likelihood": 1e-5},
        floor=Floor(flops=2 * p.products, bytes=4 * p.products, what="2 flops an arc, whose log-weight is read"),
        **p.common,
    )


def viterbi(p: Beam) -> Case:
    """The best path, compared by its score in float64; the loop has but the score."""
    potentials = [x.double() for x in (p.initial, p.transition, p.emission)]

    def of(hmm: semihmm.Structure) -> Call:
        return lambda: {"path": semihmm.viterbi(hmm).event}

    def view(found: Results) -> Results:
        return found if "score" in found else {"score": score_of(found["path"], *potentials)}

    return Case(
        work="Few states of many: Viterbi with integer path",
        contestants={
            "semihmm": Contestant(lambda: of(p.left), ours=True),
            ALL: Contestant(lambda: of(p.whole)),
            "torch loop": Contestant(
                lambda: lambda: {"score": p.beam(p.transition, p.emission, best=True)}, note="the score alone, no path"
            ),
        },
        tolerance={"score": 1e-5},
        view=view,
        floor=Floor(flops=2 * p.products, bytes=4 * p.products, what="2 operations an arc, whose log-weight is read"),
        **p.common,
    )


def posteriors(p: Beam) -> Case:
    """Posteriors of states, and expected counts of transitions for each sequence: `marginals`."""

    def of(hmm: semihmm.Structure) -> Call:
        def call() -> Results:
            found = semihmm.marginals(hmm).potentials
            return {"posterior": found["emission"], "counts": found["transition"]}

        return call

    def loop() -> Results:
        transition = p.transition.expand(p.batch, -1, -1).clone().requires_grad_()
        emission = p.emission.clone().requires_grad_()
        seen = emission.gather(-1, p.active)
        alpha = p.initial[p.active[:, 0]] + seen[:, 0]
        row = torch.arange(p.batch, device=seen.device).reshape(-1, 1, 1)
        for t in range(1, p.steps):
            arcs = transition[row, p.active[:, t - 1].unsqueeze(-1), p.active[:, t].unsqueeze(-2)]
            alpha = (alpha.unsqueeze(-1) + arcs).logsumexp(-2) + seen[:, t]
        counts, posterior = torch.autograd.grad(alpha.logsumexp(-1).sum(), (transition, emission))
        return {"posterior": posterior, "counts": counts}

    return Case(
        work="Few states of many: posteriors of states and transitions",
        contestants={
            "semihmm": Contestant(lambda: of(p.left), ours=True),
            ALL: Contestant(lambda: of(p.whole)),
            "torch loop": Contestant(lambda: loop, cost=p.products + float(p.steps * p.batch * p.states**2)),
        },
        tolerance={"posterior": 1e-3, "counts": 1e-3},
        floor=Floor(
            flops=6 * p.products,
            bytes=4.0 * (p.products + p.batch * (p.steps * p.states + p.states**2)),
            what="6 flops an arc, whose log-weight is read; posteriors of all states and pairs written",
        ),
        **p.common,
    )


def cases(smoke: bool, device: str) -> Iterator[Case]:
    """Each model in turn."""
    for size in [(9, 3, 7, 1), (12, 4, 9, 3)] if smoke else SIZES:
        p = Beam(*size, device)
        yield total(p)
        yield viterbi(p)
        yield posteriors(p)


if __name__ == "__main__":
    main(__doc__, "pruning", cases)
