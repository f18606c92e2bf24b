"""Questions that few libraries answer: the k best paths, posterior samples, the entropy; beside torch-struct.

    python benchmarks/questions.py [--smoke] [--only TEXT] [--without PEER ...] [--out DIR]

A linear chain of S 16, T 256, B 8 with dense transitions, float32, potentials given. torch-struct gets them as its own
B x T x S x S tensor, made before the clock starts, and answers with indicators of arcs as large. Draws differ, so
samples are compared by how often they visit each state: the largest difference from the posterior must be one that 100
exact draws show less than once in a million runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from _case import Call, Case, Contestant, Floor, Results
from _compare import main
from _trellis import Problem, best_scores, forward_backward, score_of, torch_struct_edges
from torch import Tensor

import semihmm

K, DRAWS = 5, 100


def chain(p: Problem) -> semihmm.HMM:
    """The structure, potentials in float32."""
    return semihmm.HMM(p.log_initial, p.log_transition, p.emission)


def torch_struct_of(p: Problem) -> Callable[[], Any]:
    """Makes torch-struct's distribution over the same paths: a new one each time, since it keeps its answers."""
    import warnings

    from torch_struct import LinearChainCRF

    warnings.filterwarnings("ignore", message=".*does not define `arg_constraints`")  # it is older than that check
    edges = torch_struct_edges(p.log_initial, p.log_transition, p.emission)
    return lambda: LinearChainCRF(edges)


def paths_of(results: Results) -> Tensor:
    """States ``(..., T)``, also from torch-struct's indicators of arcs ``(..., T - 1, to, from)``."""
    if "paths" in results:
        return results["paths"]
    arcs = results["arcs"]
    first = arcs[..., :1, :, :].sum(-2).argmax(-1)
    return torch.cat([first, arcs.sum(-1).argmax(-1)], -1)


def best(p: Problem, k: int) -> Case:
    """The paths and their scores; compared by the scores, in float64, of the paths."""
    potentials = [x.double() for x in (p.log_initial, p.log_transition, p.emission)]

    def ours() -> Call:
        hmm = chain(p)
        return lambda: {"paths": semihmm.topk(hmm, k).event}

    def torch_struct() -> Call:
        distribution = torch_struct_of(p)
        return lambda: {"arcs": distribution().topk(k)}

    def scored(results: Results) -> Results:
        if "scores" in results:
            return results
        return {"scores": torch.stack([score_of(path, *potentials) for path in paths_of(results)])}

    return Case(
        work=f"{k} best paths",
        tolerance={"scores": 1e-5},
        reference=lambda: {"scores": best_of_all(*potentials, k)},
        view=scored,
        floor=Floor(flops=4.0 * k * p.arcs, what="an addition and a maximum for each arc and rank"),
        **common(p, ours, torch_struct),
    )


def best_of_all(log_initial: Tensor, log_transition: Tensor, emission: Tensor, k: int) -> Tensor:
    """The k best scores ``(k, B)``, all k S^2 candidates of each step sorted."""
    scores = (log_initial + emission[:, 0]).unsqueeze(-1)  # (B, S, ranks)
    for now in emission[:, 1:].unbind(1):
        candidates = (scores.unsqueeze(-2) + log_transition[..., None]).transpose(-2, -3).flatten(-2)
        scores = candidates.sort(-1, descending=True).values[..., :k] + now.unsqueeze(-1)
    found = scores.flatten(1).sort(-1, descending=True).values[:, :k].T
    torch.testing.assert_close(found[0], best_scores(log_initial, log_transition, emission))
    return found


def draws(p: Problem, count: int) -> Case:
    """Exact samples from the posterior over paths."""
    visits = p.truth["posterior"]
    # Hoeffding and a union bound over all (sequence, step, state).
    limit = math.sqrt(math.log(2 * visits.numel() / 1e-6) / (2 * count))

    def ours() -> Call:
        hmm = chain(p)
        return lambda: {"paths": semihmm.sample(hmm, (count,)).event}

    def torch_struct() -> Call:
        distribution = torch_struct_of(p)
        return lambda: {"arcs": distribution().sample((count,))}

    def frequencies(results: Results) -> Results:
        if "visits" in results:
            return results
        return {"visits": torch.nn.functional.one_hot(paths_of(results), p.states).double().mean(0)}

    return Case(
        work=f"{count} posterior samples",
        tolerance={"visits": limit / float(visits.max())},
        reference=lambda: {"visits": visits},
        view=frequencies,
        floor=Floor(
            flops=2.0 * p.arcs + 2.0 * count * p.batch * p.steps * p.states,
            bytes=8.0 * count * p.batch * p.steps,
            what="2 S² flops a step and 2 S for each draw's step; draws written",
        ),
        **common(p, ours, torch_struct),
    )


def entropy(p: Problem) -> Case:
    """Of the posterior over paths, in nats."""
    potentials = [x.double() for x in (p.log_initial, p.log_transition, p.emission)]

    def ours() -> Call:
        hmm = chain(p)
        return torch.no_grad()(lambda: {"entropy": semihmm.entropy(hmm)})

    def torch_struct() -> Call:
        distribution = torch_struct_of(p)
        return torch.no_grad()(lambda: {"entropy": distribution().entropy.squeeze(0)})

    def truth() -> Results:
        """Log-partition less the mean score: the sum of each potential times how often it is used."""
        alone = [forward_backward(*potentials[:2], one[None]) for one in potentials[2]]
        mean = [
            (each["posterior"][0, 0] * potentials[0]).sum()
            + (each["counts"] * potentials[1]).sum()
            + (each["posterior"][0] * one).sum()
            for each, one in zip(alone, potentials[2], strict=True)
        ]
        return {"entropy": torch.stack([each["log_likelihood"] for each in alone]) - torch.stack(mean)}

    return Case(
        work="entropy",
        tolerance={"entropy": 1e-4},
        reference=truth,
        floor=Floor(flops=4.0 * p.arcs, bytes=4.0 * p.batch * p.steps * p.states, what="4 S² flops a step"),
        **common(p, ours, torch_struct),
    )


def common(p: Problem, ours: Callable[[], Call], torch_struct: Callable[[], Call]) -> dict[str, Any]:
    """What all cases have."""
    loose = {"tolerance": {"entropy": 1e-3}, "note": "its entropy may be off by a thousandth in float32"}
    contestants = {"semihmm": Contestant(ours, ours=True), "torch-struct": Contestant(torch_struct, **loose)}
    sizes = {"S": p.states, "T": p.steps, "B": p.batch}
    return {"contestants": contestants, "sizes": sizes, "target": 100, "device": p.device}


def cases(smoke: bool, device: str) -> Iterator[Case]:
    """One size."""
    problem = Problem(states=3, steps=6, batch=2, device=device) if smoke else Problem(16, 256, 8, device)
    yield best(problem, 3 if smoke else K)
    yield draws(problem, DRAWS)
    yield entropy(problem)


if __name__ == "__main__":
    main(__doc__, "questions", cases)
