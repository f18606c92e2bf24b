"""Few states: state vectors of one to four registers, and of one state more, are the reference's."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm.semirings import Log, Max
from semihmm.testing import differentiable, forward_backward, in_float64, paths_of, ragged_stationary, total_of

pytestmark = pytest.mark.usefixtures("needs_native")
REGISTERS = (1, 2, 3, 4)
BESIDE = (-1, 0, 1)  # states fewer or more than the lanes of so many registers


def states_in(registers: int, beside: int, dtype: torch.dtype, vector_bytes: int) -> int:
    return registers * vector_bytes // dtype.itemsize + beside


def chain_of(states: int, dtype: torch.dtype, spread: float):
    hmm = ragged_stationary(5, 70, states, spread, states)
    return hmm, (hmm.chain if dtype == torch.float32 else in_float64(hmm.chain))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("registers", REGISTERS)
def test_totals_and_gradients_are_those_of_forward_backward(registers, beside, dtype, vector_bytes, posteriors):
    states = states_in(registers, beside, dtype, vector_bytes)
    for spread in (1.0, 30.0):
        hmm, chain = chain_of(states, dtype, spread)
        total, expected, _ = forward_backward(hmm)
        chain, leaves = differentiable(chain)
        value = total_of(chain, Log(), backend="native")
        loose = {"rtol": 1e-5, "atol": 1e-4 * spread} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-9}
        kept = value, torch.autograd.grad(value, leaves, torch.ones_like(value))
        for found, gradient in (kept, posteriors(chain, Log())):
            assert_close(found.double(), total, **loose)
            for x, y in zip(gradient, expected, strict=True):
                assert_close(
                    x.double(), y.reshape(x.shape), rtol=1e-3 if dtype == torch.float32 else 1e-8, atol=loose["atol"]
                )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("registers", REGISTERS)
def test_best_paths_have_the_best_score(registers, beside, dtype, vector_bytes):
    states = states_in(registers, beside, dtype, vector_bytes)
    _, chain = chain_of(states, dtype, 1.0)
    found = paths_of(chain, Max(), backend="native")
    expected = paths_of(in_float64(chain), Max(), backend="torch")
    assert torch.equal(found.valid, expected.valid)
    assert_close(found.value.double(), expected.value, rtol=0.0, atol=1e-4)
    if dtype == torch.float64:
        assert torch.equal(found.slots, expected.slots)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("states", range(1, 41))
def test_of_equal_predecessors_the_lowest_is_taken(states, dtype):
    rng = np.random.default_rng(states)
    initial, transition, emission = (rng.integers(0, 3, n) * 1.0 for n in (states, (states, states), (30, states)))
    transition[rng.random(transition.shape) < 0.2] = -np.inf  # sums of a few integers are exact, and often equal
    score, backpointers = initial + emission[0], []
    for now in emission[1:]:
        candidates = score[:, None] + transition
        backpointers.append(candidates.argmax(0))
        score = candidates.max(0) + now
    path = [int(score.argmax())]
    for before in reversed(backpointers):
        path.append(int(before[path[-1]]))
    hmm = semihmm.HMM(*(torch.tensor(x, dtype=dtype) for x in (initial, transition, emission)))
    best = semihmm.viterbi(hmm, backend="native")
    assert bool(best.valid) == bool(np.isfinite(score.max()))
    if best.valid:
        assert best.event.tolist() == path[::-1]
        assert float(best.score) == score.max()
