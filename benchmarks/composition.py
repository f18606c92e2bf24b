"""Structures made of another one, beside the same thing made by hand.

    python benchmarks/composition.py [--smoke] [--only TEXT] [--without PEER ...] [--out DIR]

An HMM with exactly k steps in one of its states, ``constrain(hmm, exactly(k, 0))``, beside a dense HMM over all pairs
of a state and a count, in which -inf forbids what does not count right, and an HMM of the arcs that are left in that:
log-partition, expected counts and best path, from potentials in float32, given. References are the same recursions
over the dense matrix in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from _case import Call, Case, Contestant, Floor, Results, fits
from _compare import main
from _trellis import best_scores, forward_backward, score_of
from torch import Tensor

import semihmm

SIZES = [(50, k, 500, 1) for k in (2, 5, 10, 20)] + [(50, 5, 500, 8), (50, 10, 500, 8)]  # S, k, T, B


@dataclass
class Counted:
    """An HMM, and how often its state 0 comes."""

    states: int
    count: int
    steps: int
    batch: int
    device: str

    def __post_init__(self) -> None:
        g = torch.Generator().manual_seed(self.states + self.count)
        shapes = (self.states,), (self.states, self.states), (self.batch, self.steps, self.states)
        self.given = [torch.randn(s, generator=g).to(self.device) for s in shapes]

    @property
    def pairs(self) -> int:
        """How many pairs of a state and a count there are."""
        return self.states * (self.count + 1)

    @property
    def products(self) -> float:
        """Arcs between pairs: each state and count has one to each state."""
        return float(self.batch * self.steps * self.pairs * self.states)

    @cached_property
    def constrained(self) -> semihmm.Structure:
        """As the library makes it."""
        return semihmm.constrain(semihmm.HMM(*self.given), semihmm.automata.exactly(self.count, 0))

    @cached_property
    def by_hand(self) -> list[Tensor]:
        """Initial, transition, emission and final of pairs, the count first."""
        initial, transition, emission = self.given
        counts, states = self.count + 1, self.states
        fits(4.0 * self.pairs**2)
        start = torch.full((counts, states), -math.inf, device=self.device)
        matrix = torch.full((counts, states, counts, states), -math.inf, device=self.device)
        end = torch.full((counts, states), -math.inf, device=self.device)
        start[0, 1:], start[1, 0], end[-1] = initial[1:], initial[0], 0.0
        for n in range(counts):
            matrix[n, :, n, 1:] = transition[:, 1:]
            if n + 1 < counts:
                matrix[n, :, n + 1, 0] = transition[:, 0]
        matrix = matrix.reshape(self.pairs, self.pairs)
        return [start.flatten(), matrix, emission.repeat(1, 1, counts), end.flatten()]

    @cached_property
    def of_arcs(self) -> semihmm.HMM:
        """The same, along the arcs that are not forbidden."""
        initial, matrix, emission, final = self.by_hand
        arcs = (matrix > -math.inf).nonzero(as_tuple=True)
        return semihmm.HMM(initial, matrix[arcs], emission, final, arcs=arcs)

    @cached_property
    def wide(self) -> list[Tensor]:
        """What references take, in float64: what ends are worth is part of the last emission."""
        initial, transition, emission, final = (x.double() for x in self.by_hand)
        emission[:, -1] += final
        return [initial, transition, emission]

    @cached_property
    def truth(self) -> dict[str, Tensor]:
        """Of states, whatever the count."""
        found = forward_backward(*self.wide)
        return {**found, **{n: self.of_states(found[n]) for n in ("counts", "posterior")}}

    def of_states(self, x: Tensor) -> Tensor:
        """Posteriors of pairs ``(B, T, pairs)``, or of pairs of pairs, summed over counts."""
        counts = self.count + 1
        if x.shape[-2] != self.pairs:
            return x.unflatten(-1, (counts, -1)).sum(-2)
        return x.unflatten(-1, (counts, -1)).unflatten(-3, (counts, -1)).sum((-2, -4))


def contestants(p: Counted, ours: Callable[[semihmm.Structure], Call]) -> dict[str, Contestant]:
    """The library's product, the dense one, and that of arcs."""
    return {
        "semihmm": Contestant(lambda: ours(p.constrained), ours=True),
        "arcs, by hand": Contestant(lambda: ours(p.of_arcs)),
        "dense, by hand": Contestant(lambda: ours(semihmm.HMM(*p.by_hand)), cost=float(p.batch * p.steps * p.pairs**2)),
    }


def total(p: Counted) -> Case:
    """The log-partition."""
    return Case(
        work="Exactly k steps in a state: log-partition",
        contestants=contestants(p, lambda s: lambda: {"log_likelihood": semihmm.log_partition(s).sum()}),
        tolerance={"log_likelihood": 1e-5},
        floor=floor(p, 2, "2 flops an arc"),
        reference=lambda: p.truth,
        **shape(p),
    )


def marginals(p: Counted) -> Case:
    """The log-partition and expected counts, in the potentials' shapes."""

    def ours(s: semihmm.Structure) -> Call:
        def call() -> Results:
            value, found = semihmm.expected_counts(s, ("transition", "emission"))
            return {"log_likelihood": value.sum(), "counts": found["transition"], "posterior": found["emission"]}

        return call

    def of_states(found: Results) -> Results:
        if found["counts"].ndim == 1:
            matrix = torch.zeros(p.pairs, p.pairs, dtype=found["counts"].dtype, device=p.device)
            found = {**found, "counts": matrix.index_put(p.of_arcs.arcs, found["counts"])}
        at_hand = found["counts"].shape[-1] == p.pairs
        return {n: p.of_states(x) if at_hand and n != "log_likelihood" else x for n, x in found.items()}

    return Case(
        work="Exactly k steps in a state: log-partition and expected counts",
        contestants=contestants(p, ours),
        tolerance={"log_likelihood": 1e-5, "counts": 1e-3, "posterior": 1e-3},
        floor=floor(p, 6, "6 flops an arc"),
        reference=lambda: p.truth,
        view=of_states,
        **shape(p),
    )


def viterbi(p: Counted) -> Case:
    """The best path, compared by its score in float64."""

    def score(found: Results) -> Results:
        if "score" in found:
            return found
        state = found["path"] % p.states
        count = (state == 0).long().cumsum(-1)
        fine = bool((count[..., -1] == p.count).all())
        pairs = count.clamp(max=p.count) * p.states + state
        return {"score": score_of(pairs, *p.wide) if fine else torch.full((p.batch,), -math.inf)}

    return Case(
        work="Exactly k steps in a state: Viterbi with integer path",
        contestants=contestants(p, lambda s: lambda: {"path": semihmm.viterbi(s).event}),
        tolerance={"score": 1e-5},
        floor=floor(p, 2, "2 operations an arc"),
        reference=lambda: {"score": best_scores(*p.wide)},
        view=score,
        **shape(p),
    )


def floor(p: Counted, flops: int, what: str) -> Floor:
    """The arcs between pairs, and the emissions."""
    read = 4.0 * p.given[-1].numel()
    return Floor(flops=flops * p.products, bytes=read, what=f"{what} between pairs; log-likelihoods read")


def shape(p: Counted) -> dict[str, Any]:
    """What is the same for all three."""
    sizes = {"S": p.states, "k": p.count, "T": p.steps, "B": p.batch}
    return {"sizes": sizes, "cost": p.products, "device": p.device}


def cases(smoke: bool, device: str) -> Iterator[Case]:
    """Each size in turn."""
    for size in [(4, 2, 7, 1), (5, 7, 12, 3)] if smoke else SIZES:
        p = Counted(*size, device)
        yield total(p)
        yield marginals(p)
        yield viterbi(p)


if __name__ == "__main__":
    main(__doc__, "composition", cases)
