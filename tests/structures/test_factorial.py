"""FactorialHMM: it is the joint HMM of its chains, in less work, and mistakes are named."""

import math

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm import HMM, FactorialHMM
from semihmm.errors import ShapeError
from semihmm.testing import check_structure
from semihmm.testing.examples import small

KINDS = ["FactorialHMM", "FactorialHMM coupled"]
SHAPES = [(2, 3), (3, 2), (1, 4), (2, 12), (2, 17), (4, 3), (3, 1)]  # chains and states


def drawn(
    chains, states, steps, batch=(), *, coupled=False, spread=1.0, forbidden=0.0, dtype=torch.float64, lengths=None
):
    g = torch.Generator().manual_seed(chains + states + steps)

    def weights(*shape):
        x = spread * torch.randn(shape, generator=g, dtype=torch.float64)
        return torch.where(torch.rand(shape, generator=g) < forbidden, -math.inf, x).to(dtype)

    rows = states**chains if coupled else states
    transition, emission = weights(chains, rows, states), weights(*batch, steps, *(states,) * chains)
    return FactorialHMM(weights(chains, states), transition, emission, weights(chains, states), lengths)


def joint(f):
    """The HMM over joint states, written down from the definition."""
    number, size = torch.arange(f.states**f.chains), f.states**f.chains
    digit = [number // f.states ** (f.chains - 1 - k) % f.states for k in range(f.chains)]
    before, after = number.unsqueeze(-1).expand(size, size), number.expand(size, size)
    initial = sum(f.initial[..., k, digit[k]] for k in range(f.chains))
    final = sum(f.final[..., k, digit[k]] for k in range(f.chains))
    transition = 0.0
    for k in range(f.chains):
        moved = f.states ** (f.chains - k)  # joint states that differ in chain k and those behind
        row = after // moved * moved + before % moved if f.transition.shape[-2] == size else digit[k][before]
        transition = transition + f.transition[..., k, row, digit[k][after]]
    return HMM(initial, transition, f.emission.flatten(-f.chains), final, f.lengths)


def assert_same(f, **tolerance):
    h = joint(f)
    assert_close(semihmm.log_partition(f), semihmm.log_partition(h), **tolerance)
    assert_close(semihmm.viterbi(f).score, semihmm.viterbi(h).score, **tolerance)
    assert_close(semihmm.marginals(f).emission.flatten(-f.chains), semihmm.marginals(h).emission, **tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_is_that_of_its_paths(kind):
    check_structure(small(kind, (2,), 3, ragged=True, forbidden=0.15, seed=1))


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize(("chains", "states"), SHAPES)
def test_it_is_the_joint_hmm(chains, states, coupled):
    for steps, forbidden in ((1, 0.0), (2, 0.3), (70, 0.0)):
        f = drawn(chains, states, steps, (3,), coupled=coupled, forbidden=forbidden, lengths=[steps, 1, -(-steps // 2)])
        h = joint(f)
        assert_same(f)
        assert_close(semihmm.topk(f, 3).score, semihmm.topk(h, 3).score)
        assert_close(semihmm.filtering(f).flatten(-chains), semihmm.filtering(h))
        assert_close(semihmm.entropy(f), semihmm.entropy(h), equal_nan=True)  # of no path it is NaN
        assert_close(semihmm.log_count(f), semihmm.log_count(h))
        assert_close(semihmm.max_marginals(f).emission.flatten(-chains), semihmm.max_marginals(h).emission)
        best = semihmm.viterbi(f)
        assert_close(semihmm.score(f, best.event)[best.valid], best.score[best.valid])


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize(("chains", "states"), SHAPES)
def test_gradients_have_the_shape_of_each_factor_and_are_those_of_the_joint_hmm(chains, states, coupled):
    f = drawn(chains, states, 70, (2,), coupled=coupled)
    leaves = {n: x.requires_grad_() for n, x in f.potentials.items()}
    for ask in (semihmm.log_partition, lambda x: semihmm.viterbi(x).score, semihmm.entropy):
        found = torch.autograd.grad(ask(f).sum(), list(leaves.values()))
        expected = torch.autograd.grad(ask(joint(f)).sum(), list(leaves.values()))
        for x, y, leaf in zip(found, expected, leaves.values(), strict=True):
            assert x.shape == leaf.shape
            assert_close(x, y)


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize(("chains", "states"), [(2, 3), (2, 12), (4, 3)])
@pytest.mark.parametrize("spread", [1.0, 30.0, 1000.0])
def test_float32_agrees_with_float64_where_numbers_underflow(chains, states, coupled, spread):
    for forbidden in (0.0, 0.5):
        f = drawn(chains, states, 100, coupled=coupled, spread=spread, forbidden=forbidden, dtype=torch.float32)
        wide = f.to(torch.float64)
        assert_close(semihmm.log_partition(f).double(), semihmm.log_partition(wide), rtol=1e-5, atol=1e-4)
        found, expected = semihmm.marginals(f), semihmm.marginals(wide)
        for name, x in found.potentials.items():
            assert_close(x.double(), expected.potentials[name], rtol=1e-3, atol=2e-4 * max(1.0, spread / 30))
        assert_same(wide, rtol=1e-9, atol=1e-8)


def test_chains_that_differ_from_sequence_to_sequence_or_step_to_step():
    f = drawn(2, 3, 6, (4,))
    moves = torch.randn(4, 2, 3, 3, dtype=torch.float64)
    each = f.replace(transition=moves)
    alone = [semihmm.log_partition(f[i].replace(transition=moves[i])) for i in range(4)]
    assert_close(semihmm.log_partition(each), torch.stack(alone))
    assert_close(semihmm.marginals(each).transition, torch.stack([semihmm.marginals(x).transition for x in each]))
    steps = f.over_time("transition")
    assert_close(semihmm.log_partition(steps), semihmm.log_partition(f))
    assert_close(semihmm.marginals(steps).transition.sum(1), semihmm.marginals(f).transition)


def test_states_that_a_smaller_chain_does_not_have_change_nothing():
    small_chain, large = torch.randn(2, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    initial = torch.stack([torch.cat([small_chain, torch.tensor([-torch.inf])]), large])
    moves = torch.randn(2, 3, 3, dtype=torch.float64)
    moves[0, :, 2] = -torch.inf
    emission = torch.randn(5, 3, 3, dtype=torch.float64)
    f = FactorialHMM(initial, moves, emission)
    transition = (moves[0, :2, None, :2, None] + moves[1, None, :, None, :]).reshape(6, 6)
    h = HMM((small_chain[:, None] + large).flatten(), transition, emission[:, :2].flatten(-2))
    assert_close(semihmm.log_partition(f), semihmm.log_partition(h))
    assert not semihmm.marginals(f).emission[:, 2].any()


def test_wrong_shapes_are_named():
    good = {"initial": torch.zeros(2, 3), "transition": torch.zeros(2, 3, 3), "emission": torch.zeros(4, 3, 3)}
    FactorialHMM(**good)
    for name, shape, said in (
        ("initial", (3,), r"initial must be \(..., d, S\)"),
        ("emission", (4, 9), r"emission must be \(..., T, 3, 3\)"),
        ("emission", (0, 3, 3), "at least one step"),
        ("transition", (3, 3), "transition must be"),
        ("transition", (2, 5, 3), "transition must be"),
    ):
        with pytest.raises(ShapeError, match=said):
            FactorialHMM(**{**good, name: torch.zeros(shape)})
    with pytest.raises(ShapeError, match="lengths must lie between 1 and 4"):
        FactorialHMM(**good, lengths=torch.tensor(5))
