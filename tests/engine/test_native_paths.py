"""Paths of the compiled backend: the best ones are those of PyTorch, drawn ones come as often as they should."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close

from semihmm.engine import Axes, Compose, Dense, Diagonal, Sparse
from semihmm.semirings import Log, Max, Min, Sample, TopK
from semihmm.testing import ChainCase, in_float64, paths_of, ragged_stationary, random_chain, rounded, total_of
from semihmm.testing.chains import KINDS, PRODUCTS, SEVERAL_STEPS
from semihmm.testing.matrices import FORMS
from semihmm.testing.strategies_chains import cases

pytestmark = pytest.mark.usefixtures("needs_native")
# Slots do not say the whole path: there is one in the middle of a step, or arcs lie side by side.
SIDE_BY_SIDE = tuple(k for k in KINDS if "arcs" in k)
HIDDEN = ("dense @ dense", "dense @ dense @ diagonal", "diagonal @ banded @ dense", "sparse with memory", *SIDE_BY_SIDE)
SIZES = (1, 2, 4, 7, 8, 9, 16, 17, 40)  # a vector has 2 to 16 lanes
FEW = settings(max_examples=max(settings.default.max_examples // 5, 3))


def arcs_of(steps, length, best=True):
    """All arcs of a map in float64, ``(..., T, delay, from, to)``: the best or the sum of those between two slots."""

    def joined(x, dim):
        return x.amax(dim) if best else x.logsumexp(dim)

    if isinstance(steps, Compose):
        first, then = arcs_of(steps.first, length, best), arcs_of(steps.then, length, best)
        return joined(first.unsqueeze(-1) + then.unsqueeze(-3), -2)
    steps = steps.unrolled()
    leaves = [x.double() if x.is_floating_point() else x for x in steps.leaves]
    leaves = [
        x.expand(*x.shape[: -1 - r], length + e, *x.shape[x.ndim - r :])
        for x, r, e in zip(leaves, steps.ranks, steps.reaches, strict=True)
    ]
    if isinstance(steps, Dense):
        return leaves[0].unsqueeze(-3)
    if isinstance(steps, Diagonal):
        diagonal = torch.eye(steps.slots, dtype=torch.bool)
        return torch.where(diagonal, leaves[0].unsqueeze(-1), -torch.inf).unsqueeze(-3)
    if isinstance(steps, Sparse):
        weight, source = leaves
        n = steps.slots
        hit = source.unsqueeze(-1) == torch.arange(steps.memory * n)  # (..., T, to, arc, from)
        table = joined(torch.where(hit, weight.unsqueeze(-1), -torch.inf), -2)
        return table.unflatten(-1, (steps.memory, n)).movedim(-3, -1)
    if isinstance(steps, Axes):
        joint = torch.cartesian_prod(*map(torch.arange, steps.sizes)).reshape(-1, len(leaves))  # slot: its states
        before, after = joint.unsqueeze(1).expand(-1, len(joint), -1), joint.expand(len(joint), -1, -1)
        total = 0.0
        for k in steps.order:
            row = before[..., k]
            if steps.coupled[k]:
                row = sum(before[..., i] * n for i, n in enumerate(steps.inner))
            total = total + leaves[k][..., row, after[..., k]]
            before = torch.where(torch.arange(len(leaves)) == k, after, before)
        return total.unsqueeze(-3)
    duration, frames, *segment = leaves[len(steps.transition.leaves) :]
    n, longest = steps.states, steps.memory
    ages = [frames[..., longest - 1 - a : longest - 1 - a + length, :] for a in range(longest)]
    lasting = torch.stack(list(itertools.accumulate(ages)), -2) + duration + sum(segment)  # (..., T, D, S)
    begun = lasting.unsqueeze(-1) + arcs_of(steps.transition, length, best)
    ended = torch.where(torch.eye(n, dtype=torch.bool), lasting.unsqueeze(-1), -torch.inf).expand(begun.shape)
    from_begun = torch.cat([ended, begun], -1)
    return torch.cat([torch.full_like(from_begun, -torch.inf), from_begun], -2)


def borders(chain):
    """The start and end vectors of all sequences, side by side."""
    zero = torch.zeros(*chain.batch, chain.steps.slots, dtype=torch.float64)
    return [flat(zero + sum(x.double() for x in xs), chain, 1) for xs in (chain.start, chain.end)]


def flat(x, chain, axes):
    """One batch axis."""
    x = x.expand(*chain.batch, *x.shape[x.ndim - axes :])
    return x.flatten(0, len(chain.batch) - 1) if chain.batch else x.unsqueeze(0)


def scores(chain, slots):
    """The best log-weight of a path through these slots, ``(rows, sequences)``; paths that are not there: -inf."""
    arcs = flat(arcs_of(chain.steps, chain.length), chain, 4)
    start, end = borders(chain)
    slots = slots.reshape(slots.shape[0], -1, chain.length + 1)
    lengths = [chain.length] * slots.shape[1] if chain.lengths is None else chain.lengths.flatten().tolist()
    found = torch.full(slots.shape[:2], -math.inf, dtype=torch.float64)
    for row, b in itertools.product(range(slots.shape[0]), range(slots.shape[1])):
        visited = [(t, s) for t, s in enumerate(slots[row, b].tolist()) if s >= 0]
        if visited:
            assert (visited[0][0], visited[-1][0]) == (0, lengths[b])
            found[row, b] = start[b, visited[0][1]] + end[b, visited[-1][1]]
        for (t, s), (u, v) in itertools.pairwise(visited):
            found[row, b] += arcs[b, u - 1, u - t - 1, s, v]
    return found


def same(found, expected, where=True):
    """Whether two paths are the same, where ``where``."""
    pairs = ((found.slots, expected.slots), (found.choices, expected.choices))
    return all(bool(((x == y).all(-1) | ~torch.as_tensor(where)).all()) for x, y in pairs)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases())
def test_paths_are_those_of_pytorch_and_have_their_score(kind, case):
    chain = random_chain(kind, case)
    four = total_of(in_float64(chain), TopK(4), backend="torch")
    apart = four.diff(dim=0).abs().nan_to_num(math.inf) > 1e-6
    for semiring in (Max(), Min(), TopK(3)):
        found = paths_of(chain, semiring, backend="native", blocks=case.blocks)
        expected = paths_of(in_float64(chain), semiring, backend="torch")
        assert (found.slots.dtype, found.choices.dtype, found.value.dtype) == (torch.int64, torch.int64, case.dtype)
        assert torch.equal(found.valid, expected.valid)
        assert_close(found.value.double(), expected.value, **case.tolerance)
        value = found.value.double() * (-1 if isinstance(semiring, Min) else 1)
        own, value = scores(chain, found.slots), value.reshape(semiring.rows, -1)
        if kind in HIDDEN and semiring.rows > 1:
            assert (own >= value - 1e-3).all()
        else:
            assert_close(own, value, **case.tolerance)
        alone = apart[:1] if semiring.rows == 1 else apart & torch.cat([apart.new_ones(apart[:1].shape), apart[:-1]])
        if case.dtype == torch.float64:
            assert same(found, expected, alone | ~found.valid)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases(dtypes=(torch.float64,), steps=(1, 3, 5, 9)))
def test_of_paths_that_tie_pytorch_chooses_the_same(kind, case):
    chain = rounded(random_chain(kind, case), 1)
    for semiring in (Max(), TopK(3)):
        found = paths_of(chain, semiring, backend="native", blocks=case.blocks)
        assert same(found, paths_of(chain, semiring, backend="torch"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("states", SIZES)
def test_best_paths_of_long_sequences_have_their_score(states, form):
    for batch, spread, dtype in itertools.product((1, 10), (1.0, 100.0), (torch.float32, torch.float64)):
        chain = ragged_stationary(batch, 99, states, spread, states, form).chain
        chain = chain if dtype == torch.float32 else in_float64(chain)
        found = paths_of(chain, Max(), backend="native")
        expected = paths_of(in_float64(chain), Max(), backend="torch")
        # Each of 99 steps rounds twice, a score that has grown for up to 8 steps: in all some 2^-24 * 200 * 8 spread.
        tolerance = {"rtol": 0.0, "atol": 1e-4 * spread} if dtype == torch.float32 else {}
        assert torch.equal(found.valid, expected.valid)
        assert_close(found.value.double(), expected.value, **tolerance)
        assert_close(scores(chain, found.slots), found.value.double(), **tolerance)
        assert torch.equal(found.choices, torch.where(found.slots[..., 1:] < 0, -1, found.slots[..., :-1]))


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases(steps=(0, 1, 3, 5, 9)))
def test_draws_are_paths(kind, case):
    chain = random_chain(kind, case)
    found = paths_of(chain, Sample(7), torch.Generator().manual_seed(1), backend="native", blocks=case.blocks)
    again = paths_of(chain, Sample(7), torch.Generator().manual_seed(1), backend="native")  # without checkpoints
    assert torch.equal(found.slots, again.slots)
    assert torch.equal(found.choices, again.choices)
    expected = total_of(in_float64(chain), Log(), backend="torch")
    assert_close(found.value[0].double(), expected, **case.tolerance)
    assert torch.equal(found.valid, (expected > -math.inf).expand(7, *chain.batch))
    assert torch.equal(scores(chain, found.slots).isfinite(), found.valid.reshape(7, -1))


def frequencies(chain):
    """The probability of each sequence's paths, told apart by their slots: ``[{slots: probability}]``."""
    arcs = flat(arcs_of(chain.steps, chain.length, best=False), chain, 4)
    start, end = borders(chain)
    for b, steps in enumerate(chain.lengths.tolist()):
        reach = [{(s,) + (-1,) * chain.length: float(x) for s, x in enumerate(start[b])}]
        for t in range(steps):
            reach.append({})
            for delay, (before, after) in itertools.product(
                range(arcs.shape[-3]), itertools.product(range(arcs.shape[-1]), repeat=2)
            ):
                weight = float(arcs[b, t, delay, before, after])
                for path, x in reach[t - delay].items() if delay <= t and weight > -math.inf else ():
                    if path[t - delay] == before:
                        longer = (*path[: t + 1], after, *path[t + 2 :])
                        reach[-1][longer] = x + weight
        ended = {path: x + float(end[b, path[steps]]) for path, x in reach[-1].items()}
        total = torch.tensor(list(ended.values()), dtype=torch.float64).logsumexp(0)
        yield {path: math.exp(x - total) for path, x in ended.items() if x > -math.inf}


@pytest.mark.parametrize("blocks", [None, 2])
@pytest.mark.parametrize("kind", ["dense", *SEVERAL_STEPS, "sparse with memory", *PRODUCTS])
def test_draws_come_as_often_as_their_probability_says(kind, blocks):
    """By Pearson's test, with a false alarm in 100,000 seeds for each sequence; the seed is fixed."""
    count, case = 20_000, ChainCase(seed=5, batch=(3,), steps=3, ragged=False)
    chain = replace(random_chain(kind, replace(case, forbidden=0.0)), lengths=torch.tensor([3, 1, 2]))
    while chain.steps.slots > 6:
        case = replace(case, seed=case.seed + 1)
        chain = replace(random_chain(kind, replace(case, forbidden=0.0)), lengths=torch.tensor([3, 1, 2]))
    g = torch.Generator().manual_seed(0)
    drawn = paths_of(chain, Sample(count), g, backend="native", blocks=blocks).slots
    for b, probability in enumerate(frequencies(chain)):
        paths, counts = drawn[:, b].unique(dim=0, return_counts=True)
        seen = {tuple(p): n for p, n in zip(paths.tolist(), counts.tolist(), strict=True)}
        assert seen.keys() <= probability.keys()
        common = {p: x * count for p, x in probability.items() if x * count >= 5}
        rest = count - sum(common.values())
        terms = [(seen.get(p, 0) - x) ** 2 / x for p, x in common.items()]
        if rest >= 5:
            terms.append((count - sum(seen.get(p, 0) for p in common) - rest) ** 2 / rest)
        freedom = torch.tensor(max(len(terms) - 1, 1) / 2, dtype=torch.float64)
        assert torch.special.gammaincc(freedom, torch.tensor(sum(terms) / 2, dtype=torch.float64)) > 1e-5
