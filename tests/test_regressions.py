"""How fast it is beside something else in the same run: a tenfold loss is noticed, a busy machine is not.

Times are CPU time, the least of several turns; bounds are a few times what was measured. What a call may cost exactly
is for `make bench` to say.
"""

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import torch

import semihmm
from semihmm.engine.backends import backend_for

NATIVE = backend_for(torch.device("cpu"), None) == "native"
needs_native = pytest.mark.skipif(not NATIVE, reason="the native backend is not the one in use")

Call = Callable[[], object]


def least_times(*calls: Call, turns: int = 7, number: int = 1) -> list[float]:
    """Seconds of CPU, of all threads, for each call; taken in turns after one to warm up."""
    least = [float("inf")] * len(calls)
    for turn in range(turns + 1):
        for i, call in enumerate(calls):
            start = time.process_time()
            for _ in range(number):
                call()
            if turn:
                least[i] = min(least[i], (time.process_time() - start) / number)
    return least


def chain(states: int, steps: int, batch: int = 1) -> semihmm.HMM:
    emission = torch.randn(batch, steps, states)
    return semihmm.HMM(torch.randn(states), torch.randn(states, states), emission)


def with_gradient(hmm: semihmm.HMM, backend: str | None = None) -> torch.Tensor:
    emission = hmm.emission.detach().requires_grad_()
    total = semihmm.log_partition(hmm.replace(emission=emission), backend=backend)
    return torch.autograd.grad(total.sum(), emission)[0]


def test_a_call_on_a_tiny_chain_costs_little_more_than_a_loop_in_torch() -> None:
    hmm = semihmm.HMM(torch.randn(3), torch.randn(3, 3), torch.randn(10, 3))

    @torch.no_grad()
    def loop() -> torch.Tensor:
        alpha = hmm.initial + hmm.emission[0]
        for now in hmm.emission[1:]:
            alpha = torch.logsumexp(alpha.unsqueeze(-1) + hmm.transition, -2) + now
        return alpha.logsumexp(-1)

    @torch.no_grad()
    def ours() -> torch.Tensor:
        return semihmm.log_partition(hmm)

    torch.testing.assert_close(ours(), loop())
    mine, its = least_times(ours, loop, number=20)
    assert mine < (4 if NATIVE else 16) * its


@needs_native
@pytest.mark.parametrize("batch", [1, 8])
def test_native_is_several_times_faster_than_torch(batch: int) -> None:
    hmm = chain(states=32, steps=200, batch=batch)
    torch.testing.assert_close(with_gradient(hmm, "native"), with_gradient(hmm, "torch"), rtol=1e-3, atol=1e-4)
    native, reference = least_times(lambda: with_gradient(hmm, "native"), lambda: with_gradient(hmm, "torch"), turns=4)
    assert native < reference / 3
    native, reference = least_times(
        lambda: semihmm.viterbi(hmm, backend="native"), lambda: semihmm.viterbi(hmm, backend="torch"), turns=4
    )
    assert native < reference / 3


@needs_native
def test_time_is_linear_in_the_number_of_steps() -> None:
    short, long = chain(16, steps=2_000), chain(16, steps=16_000)
    for ask in (with_gradient, semihmm.viterbi, semihmm.log_partition):
        once, eight_times = least_times(lambda ask=ask: ask(short), lambda ask=ask: ask(long))
        assert eight_times < 20 * once, ask.__name__  # quadratic time would be 64 times


def test_the_import_is_cheap_beside_that_of_torch() -> None:
    code = (
        "import time; a = time.process_time(); import torch; b = time.process_time(); import semihmm; "
        "print((time.process_time() - b) / (b - a))"
    )
    ratios = [
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
        for _ in range(3)
    ]
    assert min(ratios) < 0.5
