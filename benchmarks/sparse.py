"""Sparse transitions and the k best paths, beside the dense matrix of the same model and a plain loop.

    python benchmarks/sparse.py [--smoke] [--only TEXT] [--without PEER ...] [--out DIR]

A trigram model: states are pairs, arcs are irregular, some 20 into each state. Log-partition, expected counts and the
best path from potentials in float32, given; the dense matrix holds -inf where there is no arc. The loop gathers what
each arc brings and adds it up with `scatter_reduce`, which is how one writes it in PyTorch. Then the k best paths of a
dense HMM, beside torch-struct. References are the same recursions over dense matrices in float64.

A lexicon graph: words of 15 states in a row, each followed by 16 words. Its states share densities, of each of which
the emission holds a column; beside it, the same model with a column for each state. The two must agree.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from _case import Call, Case, Contestant, Floor, Results, fits
from _compare import main
from _trellis import best_scores, forward_backward, score_of, torch_struct_edges
from torch import Tensor

import semihmm

SIZES = [(400, 8_000, 200, 1), (400, 8_000, 200, 8), (2_000, 20_000, 200, 8), (400, 8_000, 200, 32)]  # S, arcs, T, B
LEXICON = (1_000, 126, 500)  # words, densities, T
BEST = (1, 2, 5, 20, 100)  # paths
BEST_SIZE = (20, 200, 8)


@dataclass
class Sparse:
    """One model with irregular arcs."""

    states: int
    count: int
    steps: int
    batch: int
    device: str

    def __post_init__(self) -> None:
        g = torch.Generator().manual_seed(self.states)
        pairs = torch.randperm(self.states**2, generator=g)[: self.count]
        self.arcs = ((pairs // self.states).to(self.device), (pairs % self.states).to(self.device))
        normal = (torch.randn(n, generator=g) for n in ((self.states,), (self.count,)))
        self.initial, self.transition = (x.to(self.device) for x in normal)
        self.emission = torch.randn(self.batch, self.steps, self.states, generator=g).to(self.device)

    @property
    def products(self) -> float:
        """Arcs of all trellises together."""
        return float(self.batch * self.steps * self.count)

    @cached_property
    def matrix(self) -> Tensor:
        """The dense transition."""
        dense = torch.full((self.states, self.states), -math.inf, device=self.device)
        dense[self.arcs] = self.transition
        return dense

    @cached_property
    def truth(self) -> dict[str, Tensor]:
        """In float64."""
        found = forward_backward(self.initial.double(), self.matrix.double(), self.emission.double())
        return {**found, "counts": found["counts"][self.arcs]}

    def hmm(self, dense: bool) -> semihmm.HMM:
        """As arcs, or as a matrix."""
        if dense:
            return semihmm.HMM(self.initial, self.matrix, self.emission)
        return semihmm.HMM(self.initial, self.transition, self.emission, arcs=self.arcs)


def loop_total(p: Sparse, transition: Tensor, emission: Tensor) -> Tensor:
    """Log-alphas over arcs: the peak into each state, then the sum."""
    source, target = (x.expand(p.batch, -1) for x in p.arcs)
    alpha = p.initial + emission[:, 0]
    for now in emission.unbind(1)[1:]:
        term = alpha.gather(1, source) + transition
        peak = torch.full_like(alpha, -math.inf).scatter_reduce(1, target, term.detach(), "amax")
        peak = torch.where(peak.isfinite(), peak, 0.0)
        mass = torch.zeros_like(alpha).scatter_add(1, target, (term - peak.gather(1, target)).exp())
        alpha = mass.log() + peak + now
    return alpha.logsumexp(-1)


def total(p: Sparse) -> Case:
    """The log-partition."""

    def ours(dense: bool) -> Call:
        hmm = p.hmm(dense)
        return lambda: {"log_likelihood": semihmm.log_partition(hmm).sum()}

    @torch.no_grad()
    def loop() -> Results:
        return {"log_likelihood": loop_total(p, p.transition, p.emission).sum()}

    return Case(
        work="Irregular arcs: log-partition",
        contestants={
            "semihmm": Contestant(lambda: ours(False), ours=True),
            "the dense matrix": Contestant(lambda: ours(True)),
            "torch loop": Contestant(lambda: loop),
        },
        tolerance={"log_likelihood": 1e-5},
        floor=Floor(flops=2 * p.products, bytes=4.0 * p.emission.numel(), what="2 flops an arc; log-likelihoods read"),
        reference=lambda: p.truth,
        **shape(p),
    )


def counts(p: Sparse) -> Case:
    """The log-partition and expected counts."""

    def ours(dense: bool) -> Call:
        hmm = p.hmm(dense)

        def call() -> Results:
            value, found = semihmm.expected_counts(hmm, ("transition", "emission"))
            transition = found["transition"][p.arcs] if dense else found["transition"]
            return {"log_likelihood": value.sum(), "counts": transition, "posterior": found["emission"]}

        return call

    def loop() -> Results:
        transition, emission = (x.clone().requires_grad_() for x in (p.transition, p.emission))
        value = loop_total(p, transition, emission).sum()
        a, b = torch.autograd.grad(value, (transition, emission))
        return {"log_likelihood": value.detach(), "counts": a, "posterior": b}

    return Case(
        work="Irregular arcs: log-partition and expected counts",
        contestants={
            "semihmm": Contestant(lambda: ours(False), ours=True),
            "the dense matrix": Contestant(lambda: ours(True)),
            "torch loop": Contestant(lambda: loop),
        },
        tolerance={"log_likelihood": 1e-5, "counts": 1e-3, "posterior": 1e-3},
        floor=Floor(
            flops=6 * p.products,
            bytes=8.0 * p.emission.numel(),
            what="6 flops an arc; log-likelihoods read, their gradient written",
        ),
        reference=lambda: p.truth,
        **shape(p),
    )


def viterbi(p: Sparse) -> Case:
    """The best path, compared by its score in float64."""
    potentials = [p.initial.double(), p.matrix.double(), p.emission.double()]

    def ours(dense: bool) -> Call:
        hmm = p.hmm(dense)
        return lambda: {"path": semihmm.viterbi(hmm).event}

    return Case(
        work="Irregular arcs: Viterbi with integer path",
        contestants={
            "semihmm": Contestant(lambda: ours(False), ours=True),
            "the dense matrix": Contestant(lambda: ours(True)),
        },
        tolerance={"score": 1e-5},
        floor=Floor(flops=2 * p.products, bytes=4.0 * p.emission.numel(), what="2 operations an arc"),
        reference=lambda: {"score": best_scores(*potentials)},
        view=lambda found: found if "score" in found else {"score": score_of(found["path"], *potentials)},
        **shape(p),
    )


def shape(p: Sparse) -> dict[str, Any]:
    """What is the same for all three."""
    sizes = {"S": p.states, "arcs": p.count, "T": p.steps, "B": p.batch}
    return {"sizes": sizes, "cost": p.products, "device": p.device}


def lexicon(words: int, densities: int, steps: int, device: str) -> Iterator[Case]:
    """States that share emission columns, beside the same columns written out for each state."""
    g = torch.Generator().manual_seed(words)
    length, follow = 15, min(16, words)
    state = torch.arange(words * length).reshape(words, length)
    following = torch.stack([state[torch.randperm(words, generator=g)[:follow], 0] for _ in range(words)])
    source = torch.cat([state.flatten(), state[:, :-1].flatten(), state[:, -1].repeat_interleave(follow)])
    target = torch.cat([state.flatten(), state[:, 1:].flatten(), following.flatten()])
    initial = torch.full((state.numel(),), -math.inf)
    initial[state[:, 0]] = -math.log(words)
    emission = torch.randn(steps, densities, generator=g)
    column = torch.randint(densities, (state.numel(),), generator=g).to(device)
    tied = semihmm.HMM(
        initial.to(device),
        torch.full((len(source),), math.log(0.5), device=device),
        emission.to(device),
        arcs=(source.to(device), target.to(device)),
        emission_index=column,
    )
    wide = tied.untied()

    def by_column(found: Results) -> Results:
        posterior = found.get("posterior")
        if posterior is None or posterior.shape == tied.emission.shape:
            return found
        return {**found, "posterior": torch.zeros_like(tied.emission).index_add(-1, column, posterior)}

    def case(what: str, ask: Callable[[semihmm.HMM], Results], tolerance: dict[str, float], flops: int) -> Case:
        return Case(
            work=f"Lexicon graph: {what}",
            sizes={"S": tied.states, "arcs": len(source), "densities": densities, "T": steps},
            contestants={
                "semihmm": Contestant(lambda: lambda: ask(tied), ours=True),
                "a column for each state": Contestant(lambda: lambda: ask(wide)),
            },
            tolerance=tolerance,
            floor=Floor(flops=float(flops * steps * len(source)), what=f"{flops} operations an arc"),
            view=by_column,
            cost=float(steps * len(source)),
            device=device,
        )

    def posteriors(hmm: semihmm.HMM) -> Results:
        value, found = semihmm.expected_counts(hmm, ("emission",))
        return {"log_likelihood": value, "posterior": found["emission"]}

    yield case("log-partition", lambda h: {"log_likelihood": semihmm.log_partition(h)}, {"log_likelihood": 1e-6}, 2)
    yield case("posteriors of densities", posteriors, {"log_likelihood": 1e-6, "posterior": 1e-4}, 4)
    yield case("Viterbi with integer path", lambda h: {"path": semihmm.viterbi(h).event}, {"path": 0.0}, 2)


def several(k: int, states: int, steps: int, batch: int, device: str) -> Case:
    """The k best paths' scores, of a dense HMM."""
    g = torch.Generator().manual_seed(states)
    given = [torch.randn(n, generator=g).to(device) for n in ((states,), (states, states), (batch, steps, states))]

    def ours(dtype: torch.dtype) -> Call:
        hmm = semihmm.HMM(*(x.to(dtype) for x in given))
        return lambda: {"score": semihmm.topk(hmm, k).score.reshape(k, batch)}

    def torch_struct() -> Call:
        fits(4.0 * k**2 * batch * steps * states**3)  # it multiplies matrices of k best scores each
        from torch_struct import LinearChainCRF

        warnings.filterwarnings("ignore", message=".*does not define `arg_constraints`")  # it is older than that check
        edges = torch_struct_edges(*given)

        def call() -> Results:
            with torch.enable_grad():
                paths = LinearChainCRF(edges).topk(k)
                return {"score": (paths * edges).flatten(2).sum(-1)}

        return call

    return Case(
        work=f"The {k} best paths" if k > 1 else "The best path, as the first of one",
        sizes={"S": states, "T": steps, "B": batch},
        contestants={
            "semihmm": Contestant(lambda: ours(torch.float32), ours=True),
            "semihmm float64": Contestant(lambda: ours(torch.float64), dtype="float64", ours=True),
            "torch-struct": Contestant(
                torch_struct, cost=float(k * batch * steps * states**3), tolerance={"score": 1e-4}
            ),
        },
        tolerance={"score": 1e-5},
        floor=Floor(
            flops=2.0 * k * batch * steps * states**2, what="an addition and a comparison for each arc and each of k"
        ),
        cost=float(k * batch * steps * states**2),
        device=device,
    )


def cases(smoke: bool, device: str) -> Iterator[Case]:
    """Each model in turn; then paths."""
    for size in [(6, 14, 7, 1), (9, 30, 12, 3)] if smoke else SIZES:
        p = Sparse(*size, device)
        yield total(p)
        yield counts(p)
        yield viterbi(p)
    yield from lexicon(*((3, 4, 9) if smoke else LEXICON), device)
    if device == "cpu":
        for k in (1, 3) if smoke else BEST:
            yield several(k, *((4, 9, 2) if smoke else BEST_SIZE), device)


if __name__ == "__main__":
    main(__doc__, "sparse", cases)
