"""Bidirectional scans of one sequence, or of two: against forward-backward in float64.

Between many states, where reading the matrix takes most of the time, one thread makes both scans. Between fewer two
threads do, if there are enough steps; between as many states as a vector has lanes, in registers, where one thread
takes the steps of both in turn.
"""

import math
from dataclasses import replace

import pytest
import torch

from semihmm.engine import Chain, Dense
from semihmm.semirings import Expectation, Log
from semihmm.testing import forward_backward, in_float64, stationary
from semihmm.testing.matrices import FORMS

pytestmark = pytest.mark.usefixtures("needs_native")
MANY, FEWER, IN_REGISTERS = (100, 0), (60, 90), (16, 1200)  # states, and from how many steps on
SIZES = [
    *((*MANY, steps) for steps in (1, 2, 31, 32, 33, 63, 64, 65, 97, 130)),
    *((*FEWER, steps) for steps in (0, 1, 31, 33, 64, 65, 90)),
    *((*IN_REGISTERS, steps) for steps in (65, 300)),
    *((7, 0, steps) for steps in (1, 2, 31, 32, 33, 64, 65, 130)),
]
SPREADS = (1.0, 30.0, 1e3, 1e4)
# Each two of a size, a form and a spread meet once: all three of them would be four times as many cases.
CASES = [(*size, form, SPREADS[(i + j) % 4]) for i, size in enumerate(SIZES) for j, form in enumerate(FORMS)]


@pytest.mark.parametrize("states, longest, steps, form, spread", CASES)
def test_bidirectional_scans_lose_no_path(
    states, longest, steps, form, spread, posteriors, assert_survives, assert_near
):
    g = torch.Generator().manual_seed(steps)
    longest = max(longest, steps)
    for batch, forbidden in ((1, 0.0), (1, 0.1), (2, 0.5)):
        hmm = stationary(batch, longest, states, spread, g, forbidden=forbidden, form=form)
        lengths = torch.tensor([steps, int(torch.randint(0, steps + 1, (), generator=g))])
        hmm = replace(hmm, lengths=lengths[:batch] if batch == 2 or steps < longest else None)
        assert_survives(hmm)
    silent = replace(hmm, factors=(hmm.factors[0], torch.zeros(1, longest, states)))
    chain = Chain((hmm.start,), Dense(hmm.factors[0]), (hmm.end,), hmm.lengths, longest)
    total, (*borders, arcs, _), depth = forward_backward(silent)
    assert_near(replace(hmm, factors=hmm.factors[:1]), *posteriors(chain, Log()), total, [*borders, arcs], depth)


@pytest.mark.parametrize("surprise", [90.0, 500.0])
@pytest.mark.parametrize("at", [0, 31, 32, 63, 64, 65, 95, 96, 149])
@pytest.mark.parametrize("states", [MANY[0], FEWER[0]])
def test_one_surprising_step_in_a_long_sequence_between_many_states(states, at, surprise, assert_survives):
    g = torch.Generator().manual_seed(1)
    hmm = stationary(1, 150, states, 1.0, g)
    for side in (0, 1):  # as seen from the past, from the future
        leaving, emission = hmm.factors[0].clone(), hmm.factors[1].clone()
        (leaving if side else leaving.mT)[..., -1, :] = -surprise / 2
        emission[0, at, :-1] -= surprise
        assert_survives(replace(hmm, factors=(leaving, emission)))
        emission[0, at] = -math.inf
        assert_survives(replace(hmm, factors=(leaving, emission)))
    # Half of the states lead nowhere, and are all but the only ones that explain what is seen.
    dead, live = slice(states // 2), slice(states // 2, None)
    apart, emission, end = hmm.factors[0].clone(), hmm.factors[1].clone(), hmm.end.clone()
    apart[..., dead, live] = apart[..., live, dead] = end[:, dead] = -math.inf
    emission[0, at, live] -= surprise
    assert_survives(replace(hmm, factors=(apart, emission), end=end))


@pytest.mark.usefixtures("restored_threads")
@pytest.mark.parametrize("spread", [1.0, 1e3])
@pytest.mark.parametrize(
    "states, steps",
    [
        *((MANY[0], steps) for steps in (1, 2, 32, 33, 100, 150)),
        *((FEWER[0], steps) for steps in (90, 97, 150)),
        IN_REGISTERS,
    ],
)
def test_what_is_requested_and_the_number_of_threads_change_no_bit(states, steps, spread, posteriors):
    g = torch.Generator().manual_seed(steps)
    for batch in (1, 2):
        hmm = stationary(batch, steps, states, spread, g)
        hmm = replace(hmm, lengths=torch.tensor([steps, steps // 2])[:batch])
        feature = hmm.chain.rebuild(
            torch.randn(x.shape, generator=g) if x.is_floating_point() else x for x in hmm.chain.leaves
        )
        weights = tuple(torch.randn(2, batch, generator=g, dtype=torch.float64))
        expected = None
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            value, found = posteriors(hmm.chain, Log())
            moments, slopes = posteriors(in_float64(hmm.chain), Expectation(1), in_float64(feature), weights)
            bits = [value, *found, moments, *slopes]
            expected = expected or bits
            assert all(torch.equal(x, y) for x, y in zip(bits, expected, strict=True))
            for i in range(4):
                again, (alone,) = posteriors(hmm.chain, Log(), requested=[i == j for j in range(4)])
                assert torch.equal(again, value) and torch.equal(alone, found[i])
