"""What semihmm costs before any arithmetic: its import, and a call on a tiny chain.

    python benchmarks/overhead.py [--smoke] [--only TEXT] [--without PEER ...] [--out DIR]

The import is timed in processes of its own, after that of torch, which everybody here needs first. The chain has 10
steps and 3 states, float32, no batch: what teaching and decisions step by step call thousands of times. The unit is
one `torch.logsumexp` of 10 x 4 numbers in the same run: a total and a best path are to take at most 3 of those,
marginals 5, and the posteriors of a model of 8 states, 200 steps, 8 and what its kernels take (`expected_counts`
alone, most of it kernel at that size, gives an idea).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import torch
from _case import Call, Case, Contestant, Results
from _compare import main

import semihmm
import semihmm.models

STEPS, STATES = 10, 3
UNIT = "one torch.logsumexp"
# What is installed has its bytecode; where Python is told to write none, each process would compile our sources anew.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Import:
    """How long a module takes to import in a process that has torch already; it measures itself."""

    def __init__(self, module: str) -> None:
        self.code = f"import time, torch; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
        once = [sys.executable, "-c", f"import {module}"]
        subprocess.run(once, check=True, capture_output=True, env=ENVIRONMENT)  # from here on there is bytecode
        self.seconds = 0.0

    def __call__(self) -> Results:
        self.seconds = self.time(1)
        return {}

    def time(self, number: int) -> float:
        """Seconds, the mean of so many processes."""
        command = [sys.executable, "-c", self.code]
        said = [
            subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT).stdout
            for _ in range(number)
        ]
        return sum(map(float, said)) / number


def imported(module: str) -> Callable[[], Call]:
    """A contestant that is imported; `ModuleNotFoundError` where it is not installed."""

    def prepare() -> Call:
        __import__(module)
        return Import(module)

    return prepare


def cases(smoke: bool, device: str) -> Iterator[Case]:
    """The import, then three questions."""
    if device == "cpu":
        others = () if smoke else ("torch_struct", "pomegranate.hmm", "hmmlearn.hmm")
        peers = {name: Contestant(imported(name)) for name in others}
        yield Case(
            work="import, beyond that of torch",
            sizes={},
            contestants={"semihmm": Contestant(imported("semihmm"), ours=True), **peers},
            tolerance={},
            limit=200,
        )
    g = torch.Generator().manual_seed(0)
    initial, transition = torch.randn(STATES, generator=g), torch.randn(STATES, STATES, generator=g)
    emission = torch.randn(STEPS, STATES, generator=g)
    given = [x.to(device) for x in (initial.log_softmax(-1), transition.log_softmax(-1), emission)]
    hmm = semihmm.HMM(*given)
    questions: dict[str, tuple[Callable[..., Results], Callable[[list[torch.Tensor]], Results], float | None, int]] = {
        "log_partition": (log_partition, loop_log_partition, 0.06, 3),
        "viterbi": (viterbi, loop_viterbi, None, 3),
        "marginals": (marginals, loop_marginals, None, 5),
    }
    for name, (ask, loop, limit, most) in questions.items():
        yield Case(
            work=f"per-call overhead: {name}",
            sizes={"S": STATES, "T": STEPS},
            contestants={
                "semihmm": Contestant(lambda ask=ask: lambda: ask(hmm), ours=True),
                "semihmm, validate=False": Contestant(lambda ask=ask: lambda: ask(hmm, validate=False), ours=True),
                "semihmm, with its structure": Contestant(lambda ask=ask: lambda: ask(semihmm.HMM(*given)), ours=True),
                "torch loop": Contestant(lambda loop=loop: lambda: loop(given)),
                UNIT: unit(lambda loop=loop: loop(given), device),
            },
            tolerance={"value": 1e-5},
            targets={UNIT: 1 / most},
            limit=limit,
            device=device,
        )
    if device == "cpu":
        model = semihmm.models.HMM(8, semihmm.models.Gaussian(8, features=4))
        x = torch.randn(200, 4, generator=g)
        with torch.no_grad():
            structure = model(x)
        yield Case(
            work="per-call overhead: predict_proba of a model",
            sizes={"S": 8, "T": 200},
            contestants={
                "semihmm": Contestant(lambda: lambda: {"value": model.predict_proba(x)}, ours=True),
                "semihmm, expected_counts of its structure alone": Contestant(
                    lambda: lambda: {"value": semihmm.expected_counts(structure, ("emission",))[1]["emission"]},
                    ours=True,
                ),
                UNIT: unit(lambda: {"value": model.predict_proba(x)}, device),
            },
            tolerance={"value": 1e-5},
            device=device,
        )


def counts(structure: semihmm.HMM) -> Results:
    """Posteriors of the states alone."""
    return {"value": semihmm.expected_counts(structure, ("emission",))[1]["emission"]}


def unit(answer: Callable[[], Results], device: str) -> Contestant:
    """One operation of PyTorch's, beside the answer that others must give."""

    def prepare() -> Call:
        expected, x = answer(), torch.randn(10, 4, device=device)

        def call() -> Results:
            torch.logsumexp(x, -1)
            return expected

        return call

    return Contestant(prepare, note="no peer but the unit: one operation of PyTorch's on 40 numbers")


def log_partition(hmm: semihmm.HMM, **options: bool) -> Results:
    """One number."""
    return {"value": semihmm.log_partition(hmm, **options)}


def viterbi(hmm: semihmm.HMM, **options: bool) -> Results:
    """Integers."""
    return {"value": semihmm.viterbi(hmm, **options).event}


def marginals(hmm: semihmm.HMM, **options: bool) -> Results:
    """Posteriors of the states, and the other potentials' with them."""
    return {"value": semihmm.marginals(hmm, **options).emission}


@torch.no_grad()
def loop_log_partition(given: list[torch.Tensor]) -> Results:
    """What one writes by hand."""
    initial, transition, emission = given
    alpha = initial + emission[0]
    for now in emission[1:]:
        alpha = torch.logsumexp(alpha.unsqueeze(-1) + transition, -2) + now
    return {"value": alpha.logsumexp(-1)}


@torch.no_grad()
def loop_viterbi(given: list[torch.Tensor]) -> Results:
    """The same with maxima, and back along the pointers."""
    initial, transition, emission = given
    score, pointers = initial + emission[0], []
    for now in emission[1:]:
        score, pointer = (score.unsqueeze(-1) + transition).max(-2)
        score = score + now
        pointers.append(pointer)
    path = [score.argmax()]
    for pointer in reversed(pointers):
        path.append(pointer[path[-1]])
    return {"value": torch.stack(path[::-1])}


def loop_marginals(given: list[torch.Tensor]) -> Results:
    """The gradient of the loop."""
    initial, transition, emission = (x.detach().requires_grad_() for x in given)
    alpha = initial + emission[0]
    for now in emission[1:]:
        alpha = torch.logsumexp(alpha.unsqueeze(-1) + transition, -2) + now
    slopes = torch.autograd.grad(alpha.logsumexp(-1), [initial, transition, emission])
    return {"value": slopes[2]}


if __name__ == "__main__":
    main(__doc__, "overhead", cases)
