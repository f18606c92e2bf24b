"""Random small structures, hard on arithmetic, asked everything, against the enumeration of their paths.

    python tests/inference/fuzz_answers.py [--count N] [--seed S]

Log-weights lie close together or up to 10,000 nats apart, many are -inf, in float32 and float64, on every backend.
Derivatives, first and second, are compared with the reference's in float64. Prints each answer that is off, and how
many were asked.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator

import torch
from torch import Tensor

import semihmm
from semihmm.engine.backends import native
from semihmm.structures import Structure
from semihmm.testing import oracle
from semihmm.testing.examples import KINDS, small

SCALES = (0.0, 1.0, 1.0, 30.0, 88.0, 700.0, 1e4)
BACKENDS = ("torch",) if native() is None else ("native", "torch")
Answer = tuple[str, Tensor, Tensor, float]  # what was asked; expected, got; how far off it may be


def scaled(kind: str, rng: random.Random) -> Structure:
    """A structure of a kind; some HSMMs are censored, some DTWs have another step pattern."""
    batch, steps = rng.choice(((), (2,))), rng.randint(1, 4)
    given = small(
        kind, batch, steps, ragged=rng.random() < 0.5, forbidden=rng.choice((0.0, 0.1, 0.4)), seed=rng.randrange(2**31)
    )
    scale = rng.choice(SCALES)
    changes = {n: torch.where(x.isinf(), x, scale * x) for n, x in given.potentials.items()}
    if kind == "HSMM" and rng.random() < 0.5:
        changes["censored"] = rng.choice(("left", "right", "both"))  # type: ignore[assignment]
    if kind == "DTW":
        changes["step_pattern"] = rng.choice(sorted(semihmm.structures.dtw.PATTERNS))  # type: ignore[assignment]
    return given.replace(**changes)


def answers(structure: Structure, backend: str, rng: random.Random) -> Iterator[Answer]:
    """What is asked of a structure, one after the other."""
    wide = structure.to(torch.float64)
    dtype = structure.potentials[structure.observed].dtype
    size = max([1.0, *(float(x[x.isfinite()].abs().amax()) for x in wide.potentials.values() if x.isfinite().any())])
    eps = torch.finfo(dtype).eps
    nats = 64 * eps * size + 64 * eps  # what a score of a handful of weights may be off, and so a log of a share
    share = min(32 * nats, 0.5) + 64 * eps
    option = {"backend": backend}
    total = oracle.log_partition(wide)
    yield "log_partition", total, semihmm.log_partition(structure, **option), nats
    yield "viterbi", oracle.viterbi(wide), semihmm.viterbi(structure, **option).score, nats
    if structure.linear:
        counts, best = oracle.marginals(wide), oracle.max_marginals(wide)
        found, most = semihmm.marginals(structure, **option), semihmm.max_marginals(structure, **option)
        for name, x in counts.items():
            yield f"marginals.{name}", x, found.potentials[name], share * _most(x)
            yield f"max_marginals.{name}", best[name], most.potentials[name], nats
    yield "entropy", oracle.entropy(wide), semihmm.entropy(structure, **option), 8 * share
    if not structure.linear:
        yield from _derivatives(structure, backend, share)
        return
    feature = structure.replace(
        **{
            n: torch.randint(-8, 9, x.shape, generator=torch.Generator().manual_seed(rng.randrange(2**31))).to(x.dtype)
            / 8
            for n, x in structure.potentials.items()
        }
    )
    mean = oracle.expectation(wide, feature.to(torch.float64))
    yield "expectation", mean, semihmm.expectation(structure, feature, **option), 8 * share
    yield (
        "variance",
        oracle.variance(wide, feature.to(torch.float64)),
        semihmm.variance(structure, feature, backend=None if backend == "native" else backend),
        64 * share,
    )
    yield from _derivatives(structure, backend, share)


def _derivatives(structure: Structure, backend: str, share: float) -> Iterator[Answer]:
    """First and second derivatives are finite, and those of the reference in float64."""

    def found(of: Structure, by: str) -> tuple[list[Tensor], list[Tensor]]:
        given = {n: x.detach().clone().requires_grad_() for n, x in of.potentials.items()}
        value = semihmm.log_partition(of.replace(**given), backend=by)
        value = torch.where(value.isfinite(), value, 0.0).sum()
        first = torch.autograd.grad(value, list(given.values()), create_graph=True, materialize_grads=True)
        moved = sum((g * torch.linspace(-1, 1, g.numel(), dtype=g.dtype).reshape(g.shape)).sum() for g in first)
        second = torch.autograd.grad(moved, list(given.values()), materialize_grads=True, allow_unused=True)
        return [g.detach() for g in first], [g.detach() for g in second]

    ours, its = found(structure, backend), found(structure.to(torch.float64), "torch")
    for order, (mine, theirs) in enumerate(zip(ours, its, strict=True), 1):
        for name, x, y in zip(structure.potentials, mine, theirs, strict=True):
            yield (
                f"derivative {order} by {name}",
                y,
                x,
                16 * share * _most(y),
            )


def _most(x: Tensor) -> float:
    return max(1.0, float(x.abs().amax())) if x.numel() else 1.0


def off(expected: Tensor, got: Tensor, allowed: float) -> bool:
    """Whether an answer is another one: not finite where it should be, or further away than rounding."""
    expected, got = expected.double(), got.detach().double()
    if expected.shape != got.shape:
        return True
    same = torch.where(expected.isfinite() & got.isfinite(), (expected - got).abs() <= allowed, expected == got)
    return not bool((same | (expected.isnan() & got.isnan())).all())


def main(arguments: list[str] | None = None) -> int:
    """Ask, and say what is off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    asked = wrong = 0
    for i in range(given.count):
        rng = random.Random(f"{given.seed} {i}")
        kind, dtype = rng.choice(sorted(KINDS)), rng.choice((torch.float32, torch.float64))
        structure = scaled(kind, rng).to(dtype)
        for backend in BACKENDS:
            for what, expected, got, allowed in answers(structure, backend, rng):
                asked += 1
                if off(expected, got, allowed):
                    wrong += 1
                    print(
                        f"{i} {kind} {dtype} {backend} {what}: expected {expected.tolist()}, got {got.tolist()}, "
                        f"+- {allowed:.2g}"
                    )
    print(f"{given.count} structures, {asked} answers, {wrong} off")
    return wrong


if __name__ == "__main__":
    sys.exit(min(main(), 1))
