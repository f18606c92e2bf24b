"""tests/engine/test_compiled.py: the compiled backend gives what PyTorch gives, for every chain and every question."""

import itertools
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from functorch.compile import make_boxed_func
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.backends.common import aot_autograd
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

import semihmm
from semihmm import engine
from semihmm.engine import Arcs, Banded, Chain, Compose, Dense, Diagonal, Grid, Segmental, Sparse
from semihmm.engine.backends import backends, compiled, kernels, native
from semihmm.errors import SemihmmError
from semihmm.semirings import (
    Boolean,
    Count,
    Expectation,
    Log,
    Max,
    Min,
    Sample,
    SecondOrderExpectation,
    SmoothMax,
    TopK,
)
from semihmm.testing.examples import small

why = backends()["native"].split(".")[0]
needs_native = pytest.mark.skipif(native() is None, reason=f"the native backend is {why}")
pytestmark = needs_native

MOVES = ((1, 0), (0, 1), (1, 1), (2, 1))
SIMPLE = ("dense", "diagonal", "tied", "banded", "arcs", "arcs over time", "sparse with memory")
DELAYED = ("segmental", "segmental over time", "segmental with segments", "grid")
STRUCTURES = ("DTW", "DTW open", "RNNT", "EditDistance")
PRODUCTS = (
    "dense @ diagonal",
    "dense @ dense",
    "diagonal @ dense",
    "banded @ diagonal",
    "banded @ tied",
    "diagonal @ arcs",
    "tied @ dense",
    "dense @ dense @ diagonal",
    "diagonal @ banded @ dense",
)
KINDS = SIMPLE + DELAYED + STRUCTURES + PRODUCTS
# Slots do not say the whole path: there is one in the middle of a step, or arcs lie side by side.
HIDDEN = ("dense @ dense", "dense @ dense @ diagonal", "diagonal @ banded @ dense", "diagonal @ arcs", *SIMPLE[4:])
SEMIRINGS = (Log(), Max(), Min(), TopK(3), SmoothMax(0.5), Expectation(1))
SMOOTH = (Log(), SmoothMax(0.5), Expectation(1))
BEST = (Max(), Min(), TopK(3))
FEW = settings(max_examples=max(settings.default.max_examples // 5, 3))


class Draw:
    """Random log-weights: shared, of each sequence's own, or something between; lying in memory in several ways."""

    def __init__(self, case: "Case", forbidden: float):
        self.g = torch.Generator().manual_seed(case.seed)
        self.batch, self.dtype, self.forbidden = case.batch, case.dtype, forbidden

    def among(self, *options):
        return options[int(torch.randint(len(options), (), generator=self.g))]

    def normal(self, *shape):
        return torch.randn(shape, generator=self.g, dtype=torch.float64).to(self.dtype)

    def shared(self, rank):
        """Some of the batch axes, or none at all."""
        how = self.among("none", "ones", "own", "own", "some")
        if how == "some":
            return tuple(n if i % 2 else 1 for i, n in enumerate(self.batch))
        return {"none": (), "ones": (1,) * len(self.batch), "own": self.batch}[how]

    def laid(self, x):
        how = self.among("plain", "plain", "turned", "repeated")
        if how == "turned" and x.ndim > 1:
            return x.mT.contiguous().mT
        if how == "repeated" and x.ndim > 1 and x.shape[0] > 1:
            return x[:1].expand_as(x)
        return x

    def weights(self, *event, batch=None):
        x = self.normal(*(self.shared(len(event)) if batch is None else batch), *event)
        gone = torch.rand(x.shape, generator=self.g) < self.forbidden
        return self.laid(torch.where(gone, -torch.inf, x))


@dataclass(frozen=True)
class Case:
    """What a chain is to be like."""

    seed: int
    batch: tuple[int, ...] = (2,)
    steps: int = 5
    dtype: torch.dtype = torch.float64
    ragged: bool = False
    forbidden: float = 0.1
    blocks: int | None = None  # None: no checkpoints; 0: checkpoint=True

    @property
    def tolerance(self) -> dict[str, float]:
        return {"rtol": 1e-9, "atol": 1e-9} if self.dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-4}


def cases(dtypes=(torch.float32, torch.float64), steps=(0, 1, 2, 3, 5, 9, 33)):
    return st.builds(
        Case,
        seed=st.integers(0, 2**32),
        batch=st.sampled_from([(), (1,), (3,), (2, 3)]),
        steps=st.sampled_from(steps),
        dtype=st.sampled_from(dtypes),
        ragged=st.booleans(),
        forbidden=st.sampled_from([0.0, 0.0, 0.2, 0.5]),
        blocks=st.sampled_from([None, None, 0, 2, 3, 100]),
    )


def random_map(kind, draw, steps, states):
    """A map of one kind, from as many states to as many."""

    def time():
        return draw.among(1, steps, steps)

    def one(kind, states, then):
        if kind == "dense":
            return Dense(draw.weights(time(), states, then))
        if kind == "diagonal":
            return Diagonal(draw.weights(time(), then))
        if kind == "tied":
            columns = draw.among(1, 3, 20, 70, 150)  # one vector of them to more than are looked up in registers
            index = torch.randint(columns, (*draw.shared(1), 1, then), generator=draw.g)
            return Diagonal(draw.weights(time(), columns), index)
        if kind == "banded":
            return Banded(draw.among((0, 1, -2), (0, 1, 2), (-1, 16, 0)), draw.weights(time(), then, 3))
        if kind == "sparse with memory":
            source = torch.randint(-2, 3 * states, (1, states, 4), generator=draw.g).clamp(min=-1)
            weight = torch.where(source < 0, -torch.inf, draw.weights(time(), states, 4))
            return Sparse(weight, source, memory=3)
        source, target = torch.randint(0, states, (2, 2 * states), generator=draw.g)
        if kind == "arcs over time" and steps:
            there = torch.rand((steps, 1), generator=draw.g) + torch.rand(2 * states, generator=draw.g) < 1.4
            source, target = torch.where(there, source, -1), torch.where(there, target, -1)
            return Arcs(source, target, draw.weights(steps, 2 * states), then)
        return Arcs(source, target, draw.weights(time(), 2 * states), then)

    parts = kind.split(" @ ")
    sizes = [states] * (len(parts) + 1)
    if kind.startswith("dense @ dense"):
        sizes[1] = states + 2
    maps = [one(k, a, b) for k, a, b in zip(parts, sizes[:-1], sizes[1:], strict=True)]
    product = maps[0]
    for then in maps[1:]:
        product = Compose(product, then)
    return product


def random_chain(kind, case):
    """A chain with a map of one kind."""
    draw = Draw(case, case.forbidden)
    steps, batch = case.steps, case.batch
    if kind in STRUCTURES:
        given = {"ragged": case.ragged, "dtype": case.dtype, "forbidden": case.forbidden, "seed": case.seed}
        chain = small(kind, batch, min(max(steps, 1), 9), **given).chain()
        return chain.rebuild(x + draw.normal(*x.shape) if x.is_floating_point() else x for x in chain.leaves)
    states = draw.among(1, 2, 3, 3, 5, 17) if case.steps < 10 else draw.among(2, 3)
    whole = Draw(case, 0.0)
    if kind == "grid":
        weight = draw.weights(len(MOVES), states, max(steps - states + 2, 1))
        steps_map, slots = Grid.of(MOVES, weight, draw.among(1.0, 0.5)), states
        steps = steps_map.steps
    elif kind.startswith("segmental"):
        longest, moving = draw.among(1, 3, 7), kind == "segmental over time"
        transition = draw.weights(steps if moving else 1, states, states)
        duration = draw.weights(steps if moving else 1, longest, states)
        segment = draw.weights(steps, longest, states) if kind == "segmental with segments" else None
        steps_map, slots = Segmental.of(transition, duration, draw.weights(steps, states), segment), 2 * states
    else:
        steps_map, slots = random_map(kind, draw, steps, states), states
    start = (whole.weights(slots, batch=batch), *[draw.weights(slots)] * draw.among(0, 1))
    end = [draw.weights(slots) for _ in range(draw.among(0, 1, 2))]
    if kind.startswith("segmental"):  # at the start nothing has ended
        begun = torch.arange(slots) >= states
        start = tuple(torch.where(begun, x, -torch.inf) for x in start)
        end = [*end, torch.where(begun, -torch.inf, draw.weights(slots))]
    lengths = torch.randint(0, steps + 1, batch, generator=draw.g) if case.ragged else None
    if case.ragged and batch:
        lengths.view(-1)[0], lengths.view(-1)[-1] = draw.among(0, 1, steps), steps
        lengths = lengths.clamp(max=steps)
    return Chain(start, steps_map, tuple(end), lengths, steps)


def random_feature(chain, case):
    """A feature that is shared in other ways than the log-weights are."""
    draw = Draw(replace(case, seed=case.seed + 1), 0.0)
    ranks = (0,) * len(chain.start + chain.end) + chain.steps.ranks
    leaves = []
    for i, x in enumerate(chain.leaves):
        if x.is_floating_point():
            event = x.shape[x.ndim - 1 - ranks[i] :]
            leaves.append(draw.weights(*event, batch=None if i else case.batch))
        else:
            leaves.append(x)
    return chain.rebuild(leaves)


def wide(chain):
    """The same numbers in float64."""
    return chain.rebuild(x.double() if x.is_floating_point() else x for x in chain.leaves)


def run(chain, semiring, features=(), backend="native", blocks=None):
    """A total; ``blocks`` is as in `Case`."""
    return engine.total(planned(chain, semiring, backend, blocks), semiring, chain, features)


def planned(chain, semiring, backend="native", blocks=None):
    plan = engine.plan(chain, semiring, None, blocks == 0, backend)
    assert plan.backend == backend
    return replace(plan, blocks=min(blocks, chain.length)) if blocks and chain.length else plan


def freed(chain):
    """A chain of leaves to differentiate by, and these."""
    leaves = [x.detach().requires_grad_(x.is_floating_point()) for x in chain.leaves]
    return chain.rebuild(leaves), [x for x in leaves if x.requires_grad]


def features_of(semiring, chain, case):
    return [random_feature(chain, case)] if semiring.inputs == 2 else []


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases())
def test_totals_are_those_of_pytorch_in_float64(kind, case):
    chain = random_chain(kind, case)
    for semiring in SEMIRINGS:
        features = features_of(semiring, chain, case)
        found = run(chain, semiring, features, blocks=case.blocks)
        assert found.dtype == case.dtype
        expected = run(wide(chain), semiring, [wide(f) for f in features], "torch")
        assert_close(found.double(), expected, **case.tolerance)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases())
def test_state_vectors_are_those_of_pytorch_in_float64(kind, case):
    chain = random_chain(kind, case)
    found = engine.vectors(planned(chain, Log()), Log(), chain)
    assert found.dtype == torch.float64
    assert_close(found, engine.vectors(planned(wide(chain), Log(), "torch"), Log(), wide(chain)), **case.tolerance)


def test_a_filter_tells_states_apart_that_are_less_likely_than_a_float_holds():
    emission = torch.tensor([[0.0, -300.0], [0.0, 0.0], [0.0, -200.0]])
    never = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0]])
    found = semihmm.filtering(semihmm.HMM(torch.zeros(2), never, emission), backend="native")
    assert torch.equal(found, torch.tensor([[0.0, -300.0], [0.0, -300.0], [0.0, -500.0]]))


@pytest.mark.parametrize("kind", ["HMM", "HSMM", "CTC"])
def test_filters_have_derivatives(kind, spy):
    structure = small(kind, (2,), 4, ragged=True)
    name = structure.observed
    x = structure.potentials[name].clone().requires_grad_()

    def slope(**options):
        found = semihmm.filtering(structure.replace(**{name: x}), **options)
        return torch.autograd.grad(torch.where(found.isfinite(), found, 0.0).square().sum(), x)[0]

    assert_close(slope(), slope(backend="torch"))
    filtered = torch.func.vmap(lambda y: semihmm.filtering(structure.replace(**{name: y}), validate=False))
    assert_close(filtered(x.detach().unsqueeze(0))[0], semihmm.filtering(structure, backend="torch"))
    assert spy.calls == []


def gradients(chain, semiring, features, backend, blocks, seed):
    """The gradient of a total, and a derivative of that, by all log-weights and features."""
    given = [freed(c) for c in (chain, *features)]
    leaves = [x for _, xs in given for x in xs]
    value = run(given[0][0], semiring, [c for c, _ in given[1:]], backend, blocks)
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(value.shape, generator=g, dtype=torch.float64).to(value.dtype)
    first = torch.autograd.grad(value, leaves, weight, create_graph=True, materialize_grads=True)
    along = [torch.randn(x.shape, generator=g, dtype=torch.float64).to(x.dtype) for x in leaves]
    moved = sum((x * v).sum() for x, v in zip(first, along, strict=True))
    second = torch.autograd.grad(moved, leaves, materialize_grads=True, allow_unused=True)
    alone = torch.autograd.grad(
        run(given[0][0], semiring, [c for c, _ in given[1:]], backend, blocks), leaves, weight, materialize_grads=True
    )
    return [x.detach() for x in first], second, alone


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases(steps=(0, 1, 2, 3, 5, 9)))
def test_first_and_second_derivatives_are_those_of_pytorch_in_float64(kind, case):
    chain = random_chain(kind, case)
    for semiring in SMOOTH:
        features = features_of(semiring, chain, case)
        found = gradients(chain, semiring, features, "native", case.blocks, case.seed)
        expected = gradients(wide(chain), semiring, [wide(f) for f in features], "torch", None, case.seed)
        for ours, its, order in zip(found, expected, (1, 2, 1), strict=True):
            loose = 10 if order == 2 else 1
            for x, y in zip(ours, its, strict=True):
                assert x.isfinite().all()
                assert_close(x.double(), y, rtol=loose * case.tolerance["rtol"], atol=loose * case.tolerance["atol"])


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
        there = torch.eye(steps.slots, dtype=torch.bool)
        return torch.where(there, leaves[0].unsqueeze(-1), -torch.inf).unsqueeze(-3)
    if isinstance(steps, Sparse):
        weight, source = leaves
        n = steps.slots
        hit = source.unsqueeze(-1) == torch.arange(steps.memory * n)  # (..., T, to, arc, from)
        table = joined(torch.where(hit, weight.unsqueeze(-1), -torch.inf), -2)
        return table.unflatten(-1, (steps.memory, n)).movedim(-3, -1)
    transition, duration, frames, *segment = leaves
    n, longest = steps.states, steps.memory
    ages = [frames[..., longest - 1 - a : longest - 1 - a + length, :] for a in range(longest)]
    lasting = torch.stack(list(itertools.accumulate(ages)), -2) + duration + sum(segment)  # (..., T, D, S)
    begun = lasting.unsqueeze(-1) + transition.unsqueeze(-3)
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


def decoded(chain, semiring, backend, blocks=None, generator=None):
    return engine.decode(planned(chain, semiring, backend, blocks), semiring, chain, generator)


def same(found, expected, where=True):
    """Whether two paths are the same, where ``where``."""
    pairs = ((found.slots, expected.slots), (found.choices, expected.choices))
    return all(bool(((x == y).all(-1) | ~torch.as_tensor(where)).all()) for x, y in pairs)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases())
def test_paths_are_those_of_pytorch_and_have_their_score(kind, case):
    chain = random_chain(kind, case)
    four = run(wide(chain), TopK(4), (), "torch")
    apart = four.diff(dim=0).abs().nan_to_num(math.inf) > 1e-6
    for semiring in (Max(), Min(), TopK(3)):
        found, expected = (
            decoded(chain, semiring, "native", case.blocks),
            decoded(wide(chain), semiring, "torch"),
        )
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
    chain = random_chain(kind, case)
    chain = chain.rebuild(x.round() if x.is_floating_point() else x for x in chain.leaves)  # exact sums
    for semiring in (Max(), TopK(3)):
        assert same(decoded(chain, semiring, "native", case.blocks), decoded(chain, semiring, "torch"))


def rounded(chain, scale):
    """Log-weights of which sums are exact in float32; the coarser, the more paths tie."""
    return chain.rebuild((x * scale).round() / scale if x.is_floating_point() else x for x in chain.leaves)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases(), scale=st.sampled_from([1, 1024]))
def test_best_totals_have_the_derivatives_that_pytorch_gives_them(kind, case, scale):
    """First and second ones of their squares; of best paths that tie, by the same."""
    chain = rounded(random_chain(kind, case), scale)

    def derivatives(chain, semiring, backend, blocks=None):
        given, leaves = freed(chain)
        g = torch.Generator().manual_seed(case.seed)
        along = [torch.randn(x.shape, generator=g, dtype=torch.float64).to(x.dtype) for x in leaves]
        for again in (False, True):
            plan = replace(planned(given, semiring, backend, blocks), strategy="sequential")
            value = engine.total(plan, semiring, given)
            assert value.dtype == chain.start[0].dtype
            squares = torch.where(value.isfinite(), value, 0.0).square().sum()
            first = torch.autograd.grad(squares, leaves, create_graph=again, materialize_grads=True)
            yield from (x.detach() for x in first)
        moved = sum((x * v).sum() for x, v in zip(first, along, strict=True))
        yield from torch.autograd.grad(moved, leaves, materialize_grads=True, allow_unused=True)

    for semiring in BEST:
        found = derivatives(chain, semiring, "native", case.blocks)
        for ours, its in zip(found, derivatives(wide(chain), semiring, "torch"), strict=True):
            scale = max(float(its.abs().max()), 1.0) if its.numel() else 1.0
            assert_close(ours.double() / scale, its / scale, **case.tolerance)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases())
def test_the_best_scores_through_each_weight_are_those_of_pytorch_in_float64(kind, case):
    chain = random_chain(kind, case).unrolled()
    form, found = engine.best_through(planned(chain, Max(), blocks=case.blocks), chain)
    assert form is chain
    expected = engine.best_through(planned(wide(chain), Max(), "torch"), wide(chain))[1]
    for leaf, ours, its in zip([x for x in chain.leaves if x.is_floating_point()], found, expected, strict=True):
        assert ours.shape == leaf.shape and ours.dtype == case.dtype
        assert_close(ours.double(), its, **case.tolerance)


@pytest.mark.parametrize("kind", ["DTW", "DTW open", "RNNT", "EditDistance", "CTC", "HSMM"])
@pytest.mark.parametrize("checkpoint", [None, True])
def test_max_marginals_of_long_sequences_are_those_of_pytorch(kind, checkpoint, spy):
    structure = small(kind, (2, 2), 150, ragged=True, seed=2)
    found = semihmm.max_marginals(structure, checkpoint=checkpoint)
    assert spy.calls == ["gradient"]
    assert_close(found.potentials, semihmm.max_marginals(structure, backend="torch").potentials)


def test_the_best_scores_of_many_small_steps_are_not_rounded_off():
    scores = torch.full((2, 30_000, 2), -100.25)  # 3 million nats in all: floats there are 1/4 apart
    scores[:, :, 1] -= 0.25 * torch.arange(30_000) % 8
    hmm = semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), scores)
    found, score = semihmm.max_marginals(hmm).emission, semihmm.viterbi(hmm).score
    assert torch.equal(found[..., 0], score.unsqueeze(-1).expand(2, 30_000))
    assert torch.equal(found[..., 1], found[..., 0] + (scores[..., 1] - scores[..., 0]))


def test_the_gradient_of_a_best_total_is_that_of_its_own_paths_score():
    for kind in ("HMM", "HMM banded", "HMM arcs", "HSMM", "CTC", "DTW", "RNNT", "EditDistance"):
        structure = small(kind, (2,), 4, ragged=True, seed=2)
        structure = structure.replace(**{n: x.round() for n, x in structure.potentials.items()})  # ties
        free = structure.replace(**{n: x.clone().requires_grad_() for n, x in structure.potentials.items()})
        leaves = list(free.potentials.values())
        total, best = semihmm.total(free, Max(), backend="native"), semihmm.viterbi(structure, backend="native")
        there = best.valid.double()
        found, expected = (
            torch.autograd.grad(x.where(best.valid, 0.0), leaves, there, materialize_grads=True)
            for x in (total, free.score(best.event))
        )
        for ours, its in zip(found, expected, strict=True):
            assert torch.equal(ours, its)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases(steps=(0, 1, 3, 5, 9)))
def test_draws_are_paths(kind, case):
    chain = random_chain(kind, case)
    found = decoded(chain, Sample(7), "native", case.blocks, torch.Generator().manual_seed(1))
    again = decoded(chain, Sample(7), "native", None, torch.Generator().manual_seed(1))
    assert torch.equal(found.slots, again.slots)
    assert torch.equal(found.choices, again.choices)
    expected = run(wide(chain), Log(), (), "torch")
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
@pytest.mark.parametrize("kind", ["dense", *DELAYED[:3], "sparse with memory", "grid", *PRODUCTS])
def test_draws_come_as_often_as_their_probability_says(kind, blocks):
    """By Pearson's test, with a false alarm in 100,000 seeds for each sequence; the seed is fixed."""
    count, case = 20_000, Case(seed=5, batch=(3,), steps=3, ragged=False)
    chain = replace(random_chain(kind, replace(case, forbidden=0.0)), lengths=torch.tensor([3, 1, 2]))
    while chain.steps.slots > 6:
        case = replace(case, seed=case.seed + 1)
        chain = replace(random_chain(kind, replace(case, forbidden=0.0)), lengths=torch.tensor([3, 1, 2]))
    drawn = decoded(chain, Sample(count), "native", blocks, torch.Generator().manual_seed(0)).slots
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


@pytest.fixture
def restored():
    """PyTorch's number of threads, as it was."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("kind", ["dense @ diagonal", "banded @ tied", "sparse with memory", *DELAYED])
def test_the_number_of_threads_changes_no_bit(kind, monkeypatch):
    monkeypatch.setattr(kernels, "THREADS_FROM", 0)
    asked, head = set(), kernels._head
    monkeypatch.setattr(kernels, "_head", lambda *args: (found := head(*args), asked.add(found[-1]))[0])
    for seed, batch in ((0, (1,)), (1, (5, 8)), (2, (37,))):
        case = Case(seed=seed, batch=batch, steps=70, dtype=torch.float32, ragged=seed > 0, forbidden=0.0)
        chain = random_chain(kind, case)
        expected = None
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            asked.clear()
            found = list(everything(chain, case))
            assert asked == {threads}
            expected = expected or found
            assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))


def everything(chain, case):
    """All that is computed natively."""
    for semiring, blocks in itertools.product(SMOOTH, (None, 0)):
        features = features_of(semiring, chain, case)
        given = [freed(c) for c in (chain, *features)]
        value = run(given[0][0], semiring, [c for c, _ in given[1:]], blocks=blocks)
        yield value.detach()
        yield from torch.autograd.grad(value.sum(), [x for _, xs in given for x in xs])
    yield engine.vectors(planned(chain, Log()), Log(), chain)
    for semiring in BEST:
        given, leaves = freed(chain)
        value = run(given, semiring)
        yield value.detach()
        weight = torch.randn(value.shape, generator=torch.Generator().manual_seed(0))
        yield from torch.autograd.grad(value, leaves, weight)
    for semiring in (Max(), TopK(3), Sample(4)):
        path = decoded(chain, semiring, "native", generator=torch.Generator().manual_seed(0))
        yield from (path.slots, path.choices, path.value)


# ---- what underflows: HMMs in float32, against forward and backward sums in float64 and log space


@dataclass(frozen=True)
class Weights:
    """A chain of matrices and emissions in float32, all with batch and time axes (of size 1: shared)."""

    start: torch.Tensor  # (B, S)
    factors: tuple[torch.Tensor, ...]  # in each step: matrices (B or 1, T or 1, S, R), emissions (B or 1, T, S)
    end: torch.Tensor  # (B, S)
    lengths: torch.Tensor | None = None

    @property
    def chain(self):
        maps = [Dense(x) if x.ndim == 4 else Diagonal(x) for x in self.factors]
        product = maps[0]
        for then in maps[1:]:
            product = Compose(product, then)
        length = max(x.shape[1] for x in self.factors)
        return Chain((self.start,), product, (self.end,), self.lengths, length)


def forward_backward(given):
    """Log-partitions, the marginals of the start, the end and each factor, and `depth`, all in float64.

    The depth of a sequence is how far below the best state one that matters ever is, as seen from either end.
    """
    chain = wide(given.chain)
    count, length = len(given.start), chain.length
    factors = [x.double().expand(count, length, *x.shape[2:]) for x in given.factors]
    lengths = torch.full((count,), length) if given.lengths is None else given.lengths
    start, end = given.start.double(), given.end.double()
    forward, after = [], start
    for t in range(length):
        here = [after]
        for x in factors:
            here.append((here[-1].unsqueeze(-1) + x[:, t]).logsumexp(-2) if x.ndim == 4 else here[-1] + x[:, t])
        forward.append(here)
        after = torch.where((t < lengths).unsqueeze(-1), here[-1], after)
    total = (after + end).logsumexp(-1)
    shift = torch.where(total > -math.inf, total, 0.0).unsqueeze(-1)

    def below(vector, other):
        matters = (vector + other - shift).exp() > 1e-3
        return torch.where(matters, vector.amax(-1, keepdim=True) - vector, 0.0).amax(-1)

    shares = [torch.zeros_like(x) for x in factors]
    before = end
    depth = torch.maximum(below(after, end), below(end, after))
    for t in reversed(range(length)):
        here, taken = before, t < lengths
        for x, share, vector in reversed(list(zip(factors, shares, forward[t][:-1], strict=True))):
            if x.ndim == 4:
                there = x[:, t] + here.unsqueeze(-2)
                weight = (vector - shift).unsqueeze(-1) + there
                here = there.logsumexp(-1)
            else:
                here = x[:, t] + here
                weight = vector - shift + here
            share[taken, t] = weight.exp()[taken]
            depth = torch.where(taken, torch.maximum(depth, below(vector, here).maximum(below(here, vector))), depth)
        before = torch.where(taken.unsqueeze(-1), here, before)
    borders = [(start + before - shift).exp(), (after + end - shift).exp()]
    return total, [*borders, *(s.sum_to_size(x.shape) for s, x in zip(shares, given.factors, strict=True))], depth


def assert_survives(given, blocks=None):
    """Log-partitions to 1e-5 of themselves, marginals to 1e-4, expected counts to that much of themselves.

    That much float32 allows up to some 100 nats. A state vector in float32 holds log-weights less the best state's, so
    one d nats below it is known to d / 2^24 after each step; so is a log-weight of d nats less another one.
    """
    chain, leaves = freed(given.chain)
    value = run(chain, Log(), blocks=blocks)
    expected = forward_backward(given)
    assert_near(given, value, torch.autograd.grad(value, leaves, torch.ones_like(value)), *expected)
    assert_near(given, *in_one_go(given.chain, Log(), blocks=blocks), *expected)
    assert_moments_survive(given, blocks)


def in_one_go(chain, semiring, feature=None, weights=None, blocks=None, needed=None):
    """Totals and their gradient by (some of) the log-weights, of which nothing is kept in between."""
    call, tensors = compiled.call_for(semiring, chain), compiled.leaves(chain)
    asked = [x.is_floating_point() and (needed is None or needed[i]) for i, x in enumerate(tensors)]
    along = () if feature is None else compiled.leaves(feature)
    segment = planned(chain, semiring, blocks=blocks).segment(chain.length)
    value, found = compiled.posteriors(call, tensors, chain.lengths, segment, asked, (), along, weights)
    return value, [x for x in found if x is not None]


def assert_near(given, value, found, total, expected, depth):
    """As near as `assert_survives` says."""
    assert torch.equal(value > -math.inf, total > -math.inf)
    used = [x.double()[y > 1e-6] for x, y in zip((given.start, given.end, *given.factors), expected, strict=True)]
    weights = max((float(x.abs().max()) for x in used if len(x)), default=0.0)
    unknown = 2.0**-24 * ROUNDINGS * (weights + depth)
    possible = total > -math.inf
    assert ((value.double() - total).abs() <= 1e-5 * total.abs() + unknown)[possible].all()
    for x, y in zip(found, expected, strict=True):
        assert x.isfinite().all()
        each = unknown if len(y) == len(unknown) else unknown.max()
        scale = y.clamp(min=1).reshape(x.shape)
        allowed = scale * (1e-4 + each).view(-1, *(1,) * (x.ndim - 1))
        assert ((x.double() - y.reshape(x.shape)).abs() <= allowed).all()


def assert_moments_survive(given, blocks=None):
    """Log-masses and means of a feature, in float64: as PyTorch has them in log space.

    Weights spread 8 times as far as in float32, whose exponents have 3 bits less: the same sums underflow.
    """
    g = torch.Generator().manual_seed(len(given.start))
    plain = wide(given.chain)
    chain = plain.rebuild(8 * x if x.is_floating_point() else x for x in plain.leaves)
    held = [torch.randn(x.shape, generator=g, dtype=torch.float64) for x in chain.leaves]
    if len(given.start) % 2:  # arcs that hold nothing
        held = [torch.zeros_like(x) if x.ndim == 4 else x for x in held]
    feature = chain.rebuild(x if y.is_floating_point() else y for x, y in zip(held, chain.leaves, strict=True))
    assert_moments(chain, feature, blocks)


def assert_moments(chain, feature, blocks=None):
    """Log-masses and means, and the gradient of both by log-weights and features, are those of PyTorch in log space."""
    g, found = torch.Generator().manual_seed(0), []
    weight = torch.randn(2, *chain.batch, generator=g, dtype=torch.float64)
    for backend in ("native", "torch"):
        (mine, leaves), (its, more) = freed(chain), freed(feature)
        value = run(mine, Expectation(1), [its], backend, blocks if backend == "native" else None)
        found.append([value.detach(), *torch.autograd.grad(value, leaves + more, weight)])
    value, slopes = in_one_go(chain, Expectation(1), feature, tuple(weight), blocks)
    for mine in (found[0], [value, *slopes]):
        for x, y in zip(mine, found[1], strict=len(mine) == len(found[0])):
            assert x.isfinite().equal(y.isfinite())
            assert_close(x, y, rtol=MOMENTS, atol=MOMENTS * chain.length)


def stationary(batch, steps, states, spread, g, shared=True, emission=True, forbidden=0.0, form="random"):
    """An HMM whose log-weights spread so many nats."""

    def drawn(*shape):
        x = spread * torch.randn(shape, generator=g)
        return torch.where(torch.rand(shape, generator=g) < forbidden, -math.inf, x)

    transition = drawn(1 if shared else batch, 1, states, states)
    behind = torch.arange(states).unsqueeze(-1) - torch.arange(states)  # above 0: to the left
    if form == "left to right":
        transition = transition.masked_fill((behind > 0) | (behind < -1), -math.inf)
    if form == "almost left to right":
        transition = transition.masked_fill(behind > 0, -1e4)
    if form == "staggered":  # forward and backward disagree about where a path is
        transition = -spread * behind.abs().float().expand_as(transition)
    factors = (transition, drawn(batch, steps, states)) if emission else (transition,)
    end = drawn(batch, states) if form != "left to right" else drawn(batch, states).masked_fill(behind[0] > -1, 0.0)
    start = torch.where(torch.isinf(drawn(batch, states)), 0.0, spread * torch.randn(batch, states, generator=g))
    return Weights(start, factors, end, None)


ROUNDINGS = 8
MOMENTS = 1e-10
FORMS = ("random", "left to right", "almost left to right", "staggered")


@pytest.mark.parametrize("spread", [1.0, 10.0, 100.0, 1e3, 1e4])
@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=max(settings.default.max_examples // 6, 3))
@given(
    batch=st.sampled_from([1, 3, 8, 9, 33]),
    states=st.sampled_from([1, 2, 5, 16, 17]),
    steps=st.integers(1, 70),
    shared=st.booleans(),
    ragged=st.booleans(),
    blocks=st.sampled_from([None, None, 0, 3]),
    forbidden=st.sampled_from([0.0, 0.0, 0.1]),
    seed=st.integers(0, 2**32),
)
def test_a_wide_spread_loses_no_path(form, spread, batch, states, steps, shared, ragged, blocks, forbidden, seed):
    g = torch.Generator().manual_seed(seed)
    given = stationary(batch, steps, states, spread, g, shared, forbidden=forbidden, form=form)
    if ragged:
        given = replace(given, lengths=torch.randint(0, steps + 1, (batch,), generator=g))
    assert_survives(given, blocks)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("spread", [1.0, 30.0, 1e3])
@pytest.mark.parametrize("batch, states, steps", [(1, 64, 70), (9, 64, 33), (3, 5, 300), (33, 2, 300), (8, 17, 65)])
def test_long_and_large_ones_lose_no_path(batch, states, steps, spread, shared):
    g = torch.Generator().manual_seed(0)
    for form in ("random", "almost left to right"):
        assert_survives(stationary(batch, steps, states, spread, g, shared, form=form))


# One sequence is gone along from both ends at once: by one thread between so many states that it waits for the matrix;
# between fewer by two, if there are steps enough; and between as many as a vector has lanes, in registers.
LARGE, NEAR, NARROW = (100, 0), (60, 90), (16, 1200)  # states, and how many steps are enough
WAYS = [
    *((*LARGE, steps) for steps in (1, 2, 31, 32, 33, 63, 64, 65, 97, 130)),
    *((*NEAR, steps) for steps in (0, 1, 31, 33, 64, 65, 90)),
    *((*NARROW, steps) for steps in (65, 300)),
]


@pytest.mark.parametrize("spread", [1.0, 30.0, 1e3, 1e4])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("states, longest, steps", WAYS)
def test_the_ways_there_and_back_at_once_lose_no_path(states, longest, steps, form, spread):
    g = torch.Generator().manual_seed(steps)
    longest = max(longest, steps)
    for batch, forbidden in ((1, 0.0), (1, 0.1), (2, 0.5)):
        given = stationary(batch, longest, states, spread, g, forbidden=forbidden, form=form)
        lengths = torch.tensor([steps, int(torch.randint(0, steps + 1, (), generator=g))])
        given = replace(given, lengths=lengths[:batch] if batch == 2 or steps < longest else None)
        assert_survives(given)
    silent = replace(given, factors=(given.factors[0], torch.zeros(1, longest, states)))
    chain = Chain((given.start,), Dense(given.factors[0]), (given.end,), given.lengths, longest)
    total, (*borders, arcs, _), depth = forward_backward(silent)
    assert_near(replace(given, factors=given.factors[:1]), *in_one_go(chain, Log()), total, [*borders, arcs], depth)


@pytest.mark.parametrize("surprise", [90.0, 500.0])
@pytest.mark.parametrize("at", [0, 31, 32, 63, 64, 65, 95, 96, 149])
@pytest.mark.parametrize("states", [LARGE[0], NEAR[0]])
def test_one_surprising_step_in_a_long_sequence_between_many_states(states, at, surprise):
    g = torch.Generator().manual_seed(1)
    given = stationary(1, 150, states, 1.0, g)
    for side in (0, 1):  # as seen from the past, from the future
        leaving, seen = given.factors[0].clone(), given.factors[1].clone()
        (leaving if side else leaving.mT)[..., -1, :] = -surprise / 2
        seen[0, at, :-1] -= surprise
        assert_survives(replace(given, factors=(leaving, seen)))
        seen[0, at] = -math.inf
        assert_survives(replace(given, factors=(leaving, seen)))
    # Half of the states lead nowhere, and are all but the only ones that explain what is seen.
    dead, live = slice(states // 2), slice(states // 2, None)
    apart, seen, end = given.factors[0].clone(), given.factors[1].clone(), given.end.clone()
    apart[..., dead, live] = apart[..., live, dead] = end[:, dead] = -math.inf
    seen[0, at, live] -= surprise
    assert_survives(replace(given, factors=(apart, seen), end=end))


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("spread", [1.0, 1e3])
@pytest.mark.parametrize(
    "states, steps",
    [
        *((LARGE[0], steps) for steps in (1, 2, 32, 33, 100, 150)),
        *((NEAR[0], steps) for steps in (90, 97, 150)),
        NARROW,
    ],
)
def test_what_is_asked_and_the_number_of_threads_change_no_bit_of_the_ways_at_once(states, steps, spread):
    g = torch.Generator().manual_seed(steps)
    for batch in (1, 2):
        given = stationary(batch, steps, states, spread, g)
        given = replace(given, lengths=torch.tensor([steps, steps // 2])[:batch])
        feature = given.chain.rebuild(
            torch.randn(x.shape, generator=g) if x.is_floating_point() else x for x in given.chain.leaves
        )
        wide_weights = tuple(torch.randn(2, batch, generator=g, dtype=torch.float64))
        expected = None
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            value, found = in_one_go(given.chain, Log())
            moments, slopes = in_one_go(wide(given.chain), Expectation(1), wide(feature), wide_weights)
            bits = [value, *found, moments, *slopes]
            expected = expected or bits
            assert all(torch.equal(x, y) for x, y in zip(bits, expected, strict=True))
            for i in range(4):
                again, (alone,) = in_one_go(given.chain, Log(), needed=[i == j for j in range(4)])
                assert torch.equal(again, value) and torch.equal(alone, found[i])


def ragged_one(batch, steps, states, spread, seed, form="random"):
    """An HMM of sequences of all lengths, the last of which has no path."""
    g = torch.Generator().manual_seed(seed)
    given = stationary(batch, steps, states, spread, g, form=form)
    lengths = torch.randint(0, steps + 1, (batch,), generator=g)
    lengths[0] = lengths[-1] = steps
    transition, seen = given.factors[0], given.factors[1].clone()
    if batch > 1:
        seen[-1, steps // 2] = -math.inf
    return replace(given, factors=(transition, seen), lengths=lengths)


SIZES = (1, 2, 4, 7, 8, 9, 16, 17, 40)  # a vector has 2 to 16 lanes


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("states", SIZES)
def test_best_paths_of_long_sequences_have_their_score(states, form):
    for batch, spread, dtype in itertools.product((1, 10), (1.0, 100.0), (torch.float32, torch.float64)):
        chain = ragged_one(batch, 99, states, spread, states, form).chain
        chain = chain if dtype == torch.float32 else wide(chain)
        found, expected = decoded(chain, Max(), "native"), decoded(wide(chain), Max(), "torch")
        # Each of 99 steps rounds twice, a score that has grown for up to 8 steps: in all some 2^-24 * 200 * 8 spread.
        tolerance = {"rtol": 0.0, "atol": 1e-4 * spread} if dtype == torch.float32 else {}
        assert torch.equal(found.valid, expected.valid)
        assert_close(found.value.double(), expected.value, **tolerance)
        assert_close(scores(chain, found.slots), found.value.double(), **tolerance)
        assert torch.equal(found.choices, torch.where(found.slots[..., 1:] < 0, -1, found.slots[..., :-1]))


@pytest.mark.parametrize("spread", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("states", SIZES)
def test_a_sequence_has_the_same_bits_in_any_company(states, spread):
    given = ragged_one(33, 70, states, spread, states)
    value, slopes, path = _bits(given)
    for first, count in ((0, 1), (5, 1), (32, 1), (3, 2), (7, 9), (16, 17)):
        some = slice(first, first + count)
        few = Weights(
            given.start[some], (given.factors[0], given.factors[1][some]), given.end[some], given.lengths[some]
        )
        alone = _bits(few)
        assert torch.equal(alone[0], value[some])
        assert all(torch.equal(x, y[some]) for x, y in zip(alone[1], slopes, strict=True))
        assert torch.equal(alone[2].slots, path.slots[:, some])
        assert torch.equal(alone[2].value, path.value[:, some])


def _bits(given):
    """Log-partitions, their gradient by each sequence's own weights, and the best paths."""
    chain, leaves = freed(given.chain)
    value = run(chain, Log())
    own = [x for x in leaves if len(x) == len(given.start) and x.ndim < 4]
    return (
        value.detach(),
        torch.autograd.grad(value, own, torch.ones_like(value)),
        decoded(given.chain, Max(), "native"),
    )


@pytest.mark.parametrize("states", SIZES)
def test_in_float64_little_is_lost(states):
    for spread, form in itertools.product((1.0, 30.0, 1e3), FORMS):
        given = ragged_one(9, 99, states, spread, states, form)
        total, expected, _ = forward_backward(given)
        chain, leaves = freed(wide(given.chain))
        value = run(chain, Log())
        assert_close(value, total, rtol=1e-12, atol=1e-9)
        for x, y in zip(torch.autograd.grad(value, leaves, torch.ones_like(value)), expected, strict=True):
            assert_close(x, y.reshape(x.shape), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("batch", [1, 9])
@pytest.mark.parametrize("states", [2, 5, 17])
def test_products_of_two_matrices_lose_no_path(states, batch):
    g = torch.Generator().manual_seed(0)
    for spread in (1.0, 100.0, 1e4):
        given = stationary(batch, 35, states, spread, g)
        there = spread * torch.randn(1, 1, states, states + 2, generator=g)
        back = spread * torch.randn(batch, 1, states + 2, states, generator=g)
        assert_survives(replace(given, factors=(there, back, given.factors[1])))
        assert_survives(replace(given, factors=(there, back)), blocks=0)


@pytest.mark.parametrize("batch", [1, 3, 9])
def test_two_ends_that_disagree_meet_in_the_middle(batch):
    """[0, -200] x [-200, 0] is -199.31, not nothing."""
    near, far = torch.tensor([0.0, -200.0]), torch.tensor([-200.0, 0.0])
    stay = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0]])
    for steps in (1, 2, 31, 32, 33, 64, 65):
        for first, last, apart in ((near, far, stay), (near, far, 1e4 * stay.clamp(min=-1.0)), (0.1 * near, far, stay)):
            given = Weights(
                first.expand(batch, 2).clone(),
                (apart[None, None], torch.zeros(batch, steps, 2)),
                last.expand(batch, 2).clone(),
            )
            assert_survives(given)
            assert_survives(replace(given, factors=given.factors[:1] if steps == 1 else given.factors), 0)
    meet = Weights(near.repeat(batch, 1), (stay[None, None],), far.repeat(batch, 1))
    assert_close(run(meet.chain, Log()), torch.full((batch,), -200 + math.log(2)))


@pytest.mark.parametrize("surprise", [50.0, 90.0, 110.0, 500.0, 1e4])
@pytest.mark.parametrize("at", [0, 1, 31, 32, 100, 149])
def test_one_surprising_step_in_a_long_sequence(at, surprise):
    """A state that all but all mass has left is suddenly the only one that explains what is seen."""
    g = torch.Generator().manual_seed(1)
    for states, batch in ((2, 1), (5, 9), (17, 3)):
        given = stationary(batch, 150, states, 1.0, g)
        leaving = given.factors[0].clone()
        leaving[..., -1] = -surprise / 2  # hardly ever entered
        seen = given.factors[1].clone()
        seen[0, at, :-1] -= surprise
        assert_survives(replace(given, factors=(leaving, seen)))
        seen[0, at, -1] = -math.inf  # and now nothing at all is likely
        assert_survives(replace(given, factors=(leaving, seen)))


@pytest.mark.parametrize("blocks", [None, 3])
@pytest.mark.parametrize("features", ["one", "own", "repeated"])
@pytest.mark.parametrize("weights", ["one", "own", "repeated"])
def test_arcs_and_what_they_hold_are_shared_each_in_its_own_way(weights, features, blocks):
    g = torch.Generator().manual_seed(0)

    def drawn(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    for batch, steps, states, spread in ((1, 70, 3, 1.0), (5, 70, 9, 1.0), (17, 40, 2, 1e3)):

        def arcs(how):
            x = drawn(batch if how == "own" else 1, 1, states, states)  # noqa: B023
            return x.expand(batch, 1, states, states) if how == "repeated" else x  # noqa: B023

        lengths = torch.randint(0, steps + 1, (batch,), generator=g)
        start = (drawn(batch, states), drawn(1, states))
        seen = Diagonal(spread * drawn(batch, steps, states))
        chain = Chain(start, Compose(Dense(spread * arcs(weights)), seen), (drawn(1, states),), lengths)
        for times in (1, steps):
            along = Compose(Dense(arcs(features)), Diagonal(drawn(1 if times == 1 else batch, times, states)))
            feature = Chain((drawn(1, states), drawn(batch, states)), along, (drawn(batch, states),), lengths, steps)
            assert_moments(chain, feature, blocks)
            assert_moments(*(replace(c, steps=c.steps.first) for c in (chain, feature)), blocks)


@pytest.mark.parametrize("shared", [True, False])
def test_moments_over_several_blocks_have_the_derivatives_of_finite_differences(shared):
    g = torch.Generator().manual_seed(1)
    given = stationary(3, 35, 2, 1.0, g, shared, form="left to right")
    chain = wide(replace(given, lengths=torch.tensor([35, 0, 33])).chain)
    _, leaves = freed(chain)
    allowed = [x > -torch.inf for x in leaves]
    free = [x.detach()[ok].requires_grad_() for x, ok in zip(leaves, allowed, strict=True)]
    along = [torch.randn(x.shape, generator=g, dtype=torch.float64, requires_grad=True) for x in leaves]

    def filled(given):
        parts = (
            torch.full_like(x, -torch.inf).masked_scatter(ok, y)
            for x, ok, y in zip(leaves, allowed, given, strict=True)
        )
        return chain.rebuild((*parts, chain.lengths))

    def mass(*given):
        return run(filled(given), Log())

    def moments(*given):
        feature = chain.rebuild((*given[len(leaves) :], chain.lengths))
        return run(filled(given[: len(leaves)]), Expectation(1), [feature])

    assert torch.autograd.gradcheck(mass, free, fast_mode=True)
    assert torch.autograd.gradgradcheck(mass, free, fast_mode=True)
    assert torch.autograd.gradcheck(moments, free + along, fast_mode=True)


def test_where_there_is_no_path_there_is_no_gradient():
    g = torch.Generator().manual_seed(0)
    given = stationary(9, 40, 5, 1.0, g)
    seen = given.factors[1].clone()
    seen[4, 33] = -math.inf
    chain, leaves = freed(replace(given, factors=(given.factors[0], seen)).chain)
    value = run(chain, Log())
    assert (value == -math.inf).tolist() == [b == 4 for b in range(9)]
    found = torch.autograd.grad(value, leaves, torch.ones(9))
    assert not any(bool(x[4].any()) for x in found if len(x) == 9)
    assert_survives(replace(given, factors=(given.factors[0], seen)))


# ---- the operators, in the hands of PyTorch's tracers and transforms


def operands(kind, semiring, wanted, steps=5, batch=(2,), ragged=True):
    """What the operators are called with."""
    case = Case(seed=3, batch=batch, steps=steps, ragged=ragged)
    chain = random_chain(kind, case)
    chains = [chain, *features_of(semiring, chain, case)]
    call = compiled.call_for(semiring, chain)
    given = [[x.detach().requires_grad_(wanted and x.is_floating_point()) for x in compiled.leaves(c)] for c in chains]
    return call, (given[0], given[1] if len(given) > 1 else [], chain.lengths)


def check(operator, *args):
    assert set(torch.library.opcheck(operator.default, args).values()) == {"SUCCESS"}


@pytest.mark.parametrize(
    "kind, semiring, segment, ragged",
    [
        ("dense @ diagonal", Log(), 9, True),
        ("arcs", SmoothMax(0.5), 2, False),
        ("segmental", Expectation(1), 9, True),
        ("DTW", Log(), 2, True),
    ],
)
def test_the_operators_of_totals_and_gradients_pass_opcheck(kind, semiring, segment, ragged):
    call, (tensors, features, lengths) = operands(kind, semiring, True, ragged=ragged)
    check(torch.ops.semihmm.total, tensors, features, lengths, *call, segment)
    plain, along = ([x.detach() for x in xs] for xs in (tensors, features))
    if ragged:
        check(torch.ops.semihmm.total, plain, along, lengths, *call, 0)
    kept = compiled.total(call, plain, along, lengths, segment)[1:]
    needed = [x.is_floating_point() and x.ndim > 2 for xs in (tensors, features) for x in xs]
    weight = torch.randn(call.batch).double()
    if features:
        check(torch.ops.semihmm.gradient, plain, along, lengths, *call, segment, *kept, weight, weight, needed)
    else:
        weight.requires_grad_()
        check(torch.ops.semihmm.gradient, tensors, [], lengths, *call, segment, *kept, weight, None, needed)


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(case=cases(dtypes=(torch.float64,), steps=(0, 1, 2, 3, 5)))
def test_the_operators_have_second_derivatives(kind, case):
    chain = random_chain(kind, case)
    for semiring in (Log(), SmoothMax(0.5)):
        call = compiled.call_for(semiring, chain)

        def by_operators(chain, call=call):
            return torch.ops.semihmm.total(compiled.leaves(chain), [], chain.lengths, *call, 2)[0][0]

        def by_scans(chain, semiring=semiring):
            return run(chain, semiring, backend="torch")

        found, expected = (twice(value, chain, case.seed) for value in (by_operators, by_scans))
        for ours, its in zip(found, expected, strict=True):
            assert_close(ours, its, **case.tolerance)


def twice(value, chain, seed):
    """The second derivatives of a chain's weighted total, along one direction: by its log-weights and the weights."""
    chain, leaves = freed(chain)
    g = torch.Generator().manual_seed(seed)
    total = value(chain)
    weight = torch.randn(total.shape, generator=g, dtype=total.dtype).requires_grad_()
    slope = torch.autograd.grad(total, leaves, weight, create_graph=True)
    along = [torch.randn(x.shape, generator=g, dtype=x.dtype) for x in leaves]
    moved = sum((x * v).sum() for x, v in zip(slope, along, strict=True))
    return torch.autograd.grad(moved, [*leaves, weight], materialize_grads=True)


def test_the_operators_say_that_moments_have_no_second_derivatives():
    call, (tensors, features, lengths) = operands("dense @ diagonal", Expectation(1), True)
    moments = torch.ops.semihmm.total(tensors, features, lengths, *call, 9)[0]
    (slope,) = torch.autograd.grad(moments.sum(), tensors[0], create_graph=True)
    with pytest.raises(NotImplementedError, match=r"semihmm::gradient: .* backend='torch'"):
        torch.autograd.grad(slope.sum(), tensors[0])


@pytest.mark.parametrize(
    "kind, semiring, segment",
    [("dense @ diagonal", TopK(3), 9), ("segmental", Sample(2), 2), ("segmental", Max(), 9), ("DTW", Max(), 9)],
)
def test_the_operators_of_paths_and_their_gradient_pass_opcheck(kind, semiring, segment):
    drawn = isinstance(semiring, Sample)
    call, (tensors, _, lengths) = operands(kind, semiring, wanted=not drawn)
    draws = (semiring.rows, *call.batch, 2 * call.length + 2)
    uniforms = torch.rand(draws, dtype=torch.float64) if drawn else None
    check(torch.ops.semihmm.paths, tensors, lengths, *call, segment, semiring.rows, uniforms, not drawn)
    if drawn:
        return
    values, slots, _, marks = compiled.paths(call, tensors, lengths, segment, semiring.rows, marked=True)
    weight = torch.randn_like(values).requires_grad_()
    needed = [x.is_floating_point() and x.ndim > 2 for x in tensors]
    needed[len(needed) - kernels.GRID_TABLES * (kind == "DTW") :] = [False] * kernels.GRID_TABLES * (kind == "DTW")
    check(torch.ops.semihmm.gradient_of_paths, tensors, lengths, *call, slots, marks, weight, needed)


def test_the_operator_of_state_vectors_passes_opcheck():
    call, (tensors, _, lengths) = operands("segmental", Log(), wanted=True)
    check(torch.ops.semihmm.vectors, tensors, lengths, *call, tensors[0].shape[-1])


class Called(TorchDispatchMode):
    """Remembers which of our operators came by."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "semihmm":
            self.names.add(func._schema.name.split("::")[1])
        return func(*args, **(kwargs or {}))


def operators_in(graph):
    """Which of our operators a traced graph holds."""
    targets = [n.target for n in graph.nodes if n.op == "call_function"]
    return {t._schema.name.split("::")[1] for t in targets if getattr(t, "namespace", "") == "semihmm"}


TRACED = {
    "HMM": {"ragged": True},
    "HMM banded": {},
    "HSMM": {"ragged": True},
    "CTC": {"ragged": True},
    "DTW": {},
}


def observer(kind, **options):
    """A structure's potential that scores what was seen, and the log-partition as a function of that."""
    structure = small(kind, (3,), 4, seed=1, **options)
    if kind == "CTC":  # each has a path
        structure = replace(structure, input_lengths=torch.tensor([4, 3, 4]), target_lengths=torch.tensor([1, 0, 2]))

    def value(x):
        return semihmm.log_partition(structure.replace(**{structure.observed: x}))

    return structure.potentials[structure.observed].clone().requires_grad_(), value


@pytest.mark.parametrize("kind", TRACED)
def test_torch_compile_takes_the_operators_whole(kind):
    torch.compiler.reset()
    seen = []

    def remember(graph, inputs):
        seen.append(operators_in(graph.graph))
        return make_boxed_func(graph.forward)

    x, value = observer(kind, **TRACED[kind])
    traced = torch.compile(value, fullgraph=True, backend=aot_autograd(fw_compiler=remember, bw_compiler=remember))(x)
    expected = value(x)
    assert torch.equal(traced, expected)
    weight = torch.randn_like(expected)
    found = torch.autograd.grad(traced, x, weight)
    assert seen == [{"total"}, {"gradient"}]
    assert torch.equal(found[0], torch.autograd.grad(expected, x, weight)[0])
    aot = torch.compile(value, fullgraph=True, backend="aot_eager")(x)
    assert torch.equal(torch.autograd.grad(aot, x, weight)[0], found[0])


@pytest.mark.parametrize("kind", TRACED)
@pytest.mark.parametrize("semiring", BEST, ids=repr)
def test_torch_compile_takes_the_operators_of_best_totals_whole(kind, semiring):
    torch.compiler.reset()
    seen = []

    def remember(graph, inputs):
        seen.append(operators_in(graph.graph))
        return make_boxed_func(graph.forward)

    structure = small(kind, (3,), 4, seed=1)
    name = structure.observed
    x = structure.potentials[name].clone().requires_grad_()

    def value(x):
        return semihmm.total(structure.replace(**{name: x}), semiring)

    whole = aot_autograd(fw_compiler=remember, bw_compiler=remember)
    traced, expected = torch.compile(value, fullgraph=True, backend=whole)(x), value(x)
    assert torch.equal(traced, expected)
    weight = torch.where(expected.isfinite(), torch.randn_like(expected), 0.0).requires_grad_()
    assert torch.equal(*(torch.autograd.grad(y, x, weight.detach())[0] for y in (traced, expected)))
    assert seen == [{"paths"}, {"gradient_of_paths"}]
    along = torch.randn_like(x)
    by_weight = []
    for function in (torch.compile(value, fullgraph=True, backend="eager"), value):
        (slope,) = torch.autograd.grad(function(x), x, weight, create_graph=True)
        by_weight += torch.autograd.grad(slope, weight, along)
    assert_close(*by_weight)


def test_torch_compile_takes_the_operator_of_a_filter_whole():
    torch.compiler.reset()
    seen = []

    def remember(graph, inputs):
        seen.append(operators_in(graph.graph))
        return make_boxed_func(graph.forward)

    hmm = small("HMM", (3,), 4, seed=1, ragged=True)
    filtered = torch.compile(
        lambda x: semihmm.filtering(hmm.replace(emission=x)), backend=aot_autograd(fw_compiler=remember)
    )
    assert_close(filtered(hmm.emission), semihmm.filtering(hmm))
    assert seen == [{"vectors"}]


class LogPartition(torch.nn.Module):
    """A model whose emissions are given."""

    def __init__(self, structure):
        super().__init__()
        self.transition = torch.nn.Parameter(structure.transition)
        self.initial = torch.nn.Parameter(structure.initial)

    def forward(self, emission):
        return semihmm.log_partition(semihmm.HMM(self.initial, self.transition, emission))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torch_export_takes_the_operator_whole():
    structure = small("HMM", (3,), 4)
    module = LogPartition(structure)
    program = torch.export.export(module, (structure.emission,))
    assert operators_in(program.graph) == {"total"}
    emission = torch.randn(3, 4, 2, dtype=torch.float64)
    assert torch.equal(program.module()(emission), module(emission))


class Question(torch.nn.Module):
    """A question as a module, so that it can be exported."""

    def __init__(self, ask):
        super().__init__()
        self.ask = ask

    def forward(self, *given):
        return self.ask(*given)


TABLES = {
    name: torch.randn(4, n, generator=torch.Generator().manual_seed(n)) for name, n in (("arcs", 4), ("lasts", 5))
}
ASKED = {
    "HMM": lambda x, _: semihmm.log_partition(semihmm.HMM(x[0, 0], TABLES["arcs"], x)),
    "HMM of own lengths": lambda x, n: semihmm.log_partition(semihmm.HMM(x[0, 0], TABLES["arcs"], x, lengths=n)),
    "HSMM": lambda x, _: semihmm.log_partition(semihmm.HSMM(x[0, 0], TABLES["arcs"], TABLES["lasts"], x)),
    "CTC": lambda x, n: semihmm.log_partition(semihmm.CTC(x, n.clamp(max=3).unsqueeze(-1))),
    "DTW": lambda x, _: semihmm.log_partition(semihmm.DTW(x[..., :4, :])),
    "marginals": lambda x, _: semihmm.marginals(semihmm.HMM(x[0, 0], TABLES["arcs"], x)).emission,
    "best path": lambda x, _: semihmm.viterbi(semihmm.HMM(x[0, 0], TABLES["arcs"], x)).event,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("asked", ASKED)
def test_torch_export_takes_sizes_that_are_not_known(asked):
    question = Question(ASKED[asked])

    def given(batch, steps):
        return torch.randn(batch, steps, 4), torch.randint(1, steps + 1, (batch,))

    free = torch.export.Dim.DYNAMIC
    program = torch.export.export(question, given(3, 9), dynamic_shapes=(({0: free, 1: free}, {0: free}),))
    assert operators_in(program.graph) & {"total", "paths"}
    for batch, steps in ((3, 9), (5, 12), (2, 40)):
        x, lengths = given(batch, steps)
        assert torch.equal(program.module()(x, lengths), question(x, lengths))


def test_make_fx_takes_the_operators_whole():
    x, value = observer("HMM", ragged=True)
    slope = torch.func.grad(lambda y: value(y).sum())
    graph = make_fx(slope)(x.detach())
    assert operators_in(graph.graph) == {"total", "gradient"}
    other = torch.randn_like(x)
    assert torch.equal(graph(other), slope(other))


@pytest.mark.parametrize("kind", TRACED)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_tracers_take_a_product_with_the_hessian_whole(kind, batch):
    structure = small(kind, batch, 4, seed=1)
    name = structure.observed
    x, along, other = structure.potentials[name], *torch.randn((2, *structure.potentials[name].shape)).double()

    def value(x, **options):
        return semihmm.log_partition(structure.replace(**{name: x}), **options).sum()

    def product(value, x):
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(value(x), x, create_graph=True)
        return torch.autograd.grad(slope, x, along)[0]

    expected = product(partial(value, backend="torch"), other)
    graph = make_fx(partial(product, value))(x)
    assert operators_in(graph.graph) == {"total", "gradient"}
    assert_close(graph(other), expected)
    torch.compiler.reset()
    assert_close(product(torch.compile(value, fullgraph=True, backend="eager"), other), expected)


def slope_of(function, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x), x)[0]


@pytest.mark.parametrize("kind", TRACED)
def test_torch_func_goes_through_the_operators(kind):
    x, value = observer(kind)
    expected = value(x)
    (slope,) = torch.autograd.grad(expected.sum(), x)
    x = x.detach()
    one, alone = x[1], small(kind, (), 4, seed=1)

    def single(x):
        return semihmm.log_partition(alone.replace(**{alone.observed: x}), validate=False)

    values = torch.stack([single(y) for y in x])
    slopes = torch.stack([slope_of(single, y) for y in x])
    with Called() as called:
        assert_close(torch.func.grad(lambda y: value(y).sum())(x), slope)
    assert called.names == {"total", "gradient"}
    with Called() as called:
        assert_close(torch.func.vmap(single)(x), values)
    assert called.names == {"total"}
    with Called() as called:
        assert_close(torch.func.vmap(torch.func.grad(single))(x), slopes)
        assert_close(
            torch.func.vmap(torch.func.grad(single), in_dims=-1, out_dims=-1)(x.movedim(0, -1)), slopes.movedim(0, -1)
        )
        assert_close(torch.func.grad(lambda y: torch.func.vmap(single)(y).sum())(x), slopes)
    assert called.names == {"total", "gradient"}
    y = one.clone().requires_grad_()
    hessian = torch.autograd.functional.hessian(single, y)
    assert_close(torch.func.hessian(single)(one), hessian)
    assert_close(torch.func.jacrev(torch.func.jacrev(single))(one), hessian)


@pytest.mark.parametrize("semiring", SEMIRINGS, ids=repr)
def test_many_gradients_at_once_are_one_after_the_other(semiring):
    case = Case(seed=1)
    chain = random_chain("dense @ diagonal", case)
    given, leaves = freed(chain)
    value = run(given, semiring, features_of(semiring, chain, case))
    weights = torch.randn((5, *value.shape), generator=torch.Generator().manual_seed(0), dtype=value.dtype)
    found = torch.autograd.grad(value, leaves, weights, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(value, leaves, w, retain_graph=True) for w in weights]
    assert_close(found, tuple(torch.stack(xs) for xs in zip(*each, strict=True)))


@pytest.mark.parametrize("semiring", BEST, ids=repr)
def test_transforms_of_best_totals_have_the_same_derivatives(semiring):
    hmm, other = (small("HMM", (3,), 4, seed=seed) for seed in (1, 2))
    x = hmm.emission.clone().requires_grad_()

    def value(x, initial=hmm.initial):
        return semihmm.total(hmm.replace(emission=x, initial=initial), semiring)

    (slope,) = torch.autograd.grad(value(x).sum(), x)
    whole = torch.autograd.functional.jacobian(value, x)
    x = x.detach()
    assert_close(torch.func.grad(lambda y: value(y).sum())(x), slope)
    assert_close(torch.func.jacrev(value)(x), whole)
    assert_close(torch.func.jvp(value, (x,), (other.emission,))[1], (whole * other.emission).sum((-3, -2, -1)))
    assert_close(torch.func.vmap(value, -1, -1)(torch.stack([x, x + 1], -1)), torch.stack([value(x), value(x + 1)], -1))
    slopes = torch.func.vmap(torch.func.grad(lambda y: value(y).sum()))(torch.stack([x, other.emission]))
    assert_close(slopes, torch.stack([slope, torch.func.grad(lambda y: value(y).sum())(other.emission)]))
    torch.compiler.reset()
    y = x.clone().requires_grad_()
    assert_close(torch.autograd.grad(torch.compile(value, backend="aot_eager")(y).sum(), y)[0], slope)
    traced = make_fx(torch.func.grad(lambda y: value(y).sum()))(x)
    assert_close(traced(other.emission), slopes[1])


def test_vmap_over_shared_lengths_and_own_ones():
    chain = random_chain("dense @ diagonal", Case(seed=1, batch=(4, 3), steps=5, ragged=True, forbidden=0.0))
    leaves = [x.expand(4, *x.shape[1:]).clone() for x in chain.leaves]
    given, lengths = leaves[:-1], leaves[-1]

    def value(lengths, *leaves):
        return run(chain.rebuild((*leaves, lengths)), Log())

    wanted = [x.clone().requires_grad_() for x in given]
    expected = value(lengths, *wanted)
    for dims in (
        (0, *(0 for _ in given)),
        (None, *(0 for _ in given)),
        (0, *(None if i else 0 for i in range(len(given)))),
    ):
        args = [x if d == 0 else x[0] for x, d in zip((lengths, *given), dims, strict=True)]
        one_by_one = [value(*(x[i] if d == 0 else x for x, d in zip(args, dims, strict=True))) for i in range(4)]
        assert_close(torch.func.vmap(value, dims)(*args), torch.stack(one_by_one))
    assert_close(torch.func.vmap(value)(lengths, *given), expected)
    slopes = torch.func.vmap(
        torch.func.grad(lambda n, *xs: value(n, *xs).sum(), argnums=tuple(range(1, 1 + len(given))))
    )
    assert_close(slopes(lengths, *given), torch.autograd.grad(expected.sum(), wanted))


# ---- which code does the work


class Spy:
    """A compiled module that takes down which of its functions are called."""

    def __init__(self, module):
        self.module, self.calls = module, []

    def __getattr__(self, name):
        found = getattr(self.module, name)
        if name in ("total", "gradient", "paths", "gradient_of_paths", "vectors"):
            self.calls.append(name)
        return found


@pytest.fixture
def spy(monkeypatch):
    spy = Spy(kernels.MODULE)
    monkeypatch.setattr(kernels, "MODULE", spy)
    return spy


QUESTIONS = {
    "log_partition": (semihmm.log_partition, ["total"]),
    "marginals": (semihmm.marginals, ["gradient"]),
    "viterbi": (semihmm.viterbi, ["paths"]),
    "topk": (lambda hmm: semihmm.topk(hmm, 3), ["paths"]),
    "sample": (lambda hmm: semihmm.sample(hmm, (5,)), ["paths"]),
    "expectation": (lambda hmm: semihmm.expectation(hmm, hmm), ["total"]),
}


@pytest.mark.parametrize("kind", ["HMM", "HSMM", "CTC", "DTW"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_the_compiled_code_is_what_answers(question, kind, spy):
    ask, expected = QUESTIONS[question]
    structure = small(kind, (2,), 4)
    ask(structure)
    assert spy.calls == expected
    assert "backend native" in semihmm.explain(structure)


@pytest.mark.parametrize("kind", ["HMM", "HSMM", "CTC"])
def test_the_compiled_code_filters(kind, spy):
    semihmm.filtering(small(kind, (2,), 4))
    assert spy.calls == ["vectors"]


@pytest.mark.parametrize("kind", ["HMM", "HSMM", "CTC", "DTW"])
@pytest.mark.parametrize("semiring", BEST, ids=repr)
def test_the_compiled_code_differentiates_best_totals(semiring, kind, spy):
    structure = small(kind, (2,), 4)
    x = structure.potentials[structure.observed].clone().requires_grad_()
    value = semihmm.total(structure.replace(**{structure.observed: x}), semiring)
    torch.autograd.grad(value.where(value.isfinite(), 0.0).sum(), x)
    assert spy.calls == ["paths", "gradient_of_paths"]


def test_the_compiled_code_has_its_share_in_an_entropy(spy):
    semihmm.entropy(small("HMM", (2,), 4))
    assert "total" in spy.calls


def test_a_call_that_names_pytorch_gets_it(spy):
    hmm = small("HMM", (2,), 4)
    semihmm.marginals(hmm, backend="torch")
    semihmm.viterbi(hmm, backend="torch")
    semihmm.log_partition(hmm, strategy="associative")
    assert spy.calls == []
    assert "backend torch" in semihmm.explain(hmm, backend="torch")


@pytest.mark.parametrize("backend", ["native", "torch"])
def test_an_index_outside_the_columns_is_refused(backend):
    for index in (-1, 3):
        steps = Diagonal(torch.zeros(4, 3), torch.tensor([[0, index]]))
        with pytest.raises((IndexError, RuntimeError), match="index"):
            run(Chain((torch.zeros(2),), steps), Log(), backend=backend)


@pytest.mark.parametrize("offsets", [(0, 1, 2), (0, -1, -2), (0, 1, -1)])
def test_what_lies_beside_a_vector_gets_nowhere(offsets):
    slots, steps, g = 2 * kernels.LANES // 4, 8, torch.Generator().manual_seed(0)  # whole vectors, side by side
    emission = torch.randn(3, steps, slots, generator=g)
    lengths = torch.tensor([2, steps, 4])
    band = Banded(offsets, torch.randn(1, slots, 3, generator=g))
    chain, leaves = freed(Chain((torch.randn(3, slots, generator=g),), Compose(band, Diagonal(emission)), (), lengths))
    expected = run(chain, Log(), backend="torch")
    slopes = torch.autograd.grad(expected.sum(), leaves)
    for _ in range(20):
        poison = [torch.full((3, steps + 1, slots), torch.nan) for _ in range(4)]  # for who asks for memory next
        del poison
        value = run(chain, Log())
        for ours, its in zip((value, *torch.autograd.grad(value.sum(), leaves)), (expected, *slopes), strict=True):
            assert_close(ours, its, rtol=1e-4, atol=1e-4)


def test_what_has_no_kernel_is_refused_by_name():
    hmm = small("HMM", (2,), 4)

    def refused(message, structure=hmm, semiring=None, **options):
        with pytest.raises(SemihmmError, match=f"^backend='native' cannot do this: {message}. Pass backend=None for"):
            semihmm.total(structure, semiring or Log(), backend="native", **options)

    refused(r"no kernel for Count\(\)", semiring=Count())
    refused(r"no kernel for SecondOrderExpectation\(\)", semiring=SecondOrderExpectation(), features=[hmm, hmm])
    refused("no kernel for torch.bfloat16", hmm.to(torch.bfloat16))
    refused("no kernel for torch.float16", hmm.to(torch.float16))
    refused("no kernel for torch.float32, torch.float64", hmm.replace(emission=hmm.emission.float()))
    refused("strategy='associative' is the torch backend's", strategy="associative")
    with pytest.raises(SemihmmError, match=r"^backend must be one of torch, native"):
        semihmm.log_partition(hmm, backend="cuda")


def test_what_has_no_kernel_is_done_by_pytorch_unless_a_backend_is_named(spy):
    hmm = small("HMM", (2,), 4)
    assert semihmm.total(hmm, Boolean()).tolist() == [True, True]
    found = semihmm.log_partition(hmm.to(torch.bfloat16))
    assert found.dtype == torch.bfloat16
    assert_close(found.double(), semihmm.log_partition(hmm, backend="torch"), rtol=0.05, atol=0.05)
    assert spy.calls == []


def test_without_the_module_the_numbers_are_the_same():
    code = (
        "import torch, semihmm; from semihmm.testing.examples import small\n"
        "for kind in ('HMM', 'HSMM', 'CTC', 'DTW'):\n"
        "    s = small(kind, (2,), 4); print(semihmm.explain(s).count('backend torch'))\n"
        "    print(semihmm.log_partition(s).tolist(), semihmm.viterbi(s).event.tolist(), sep='\\n')"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"SEMIHMM_BACKEND": "torch"}, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    lines = iter(told.stdout.splitlines())
    for kind in ("HMM", "HSMM", "CTC", "DTW"):
        structure = small(kind, (2,), 4)
        assert next(lines) == "1"
        expected = torch.tensor(json.loads(next(lines).replace("-inf", "-Infinity")), dtype=torch.float64)
        assert_close(semihmm.log_partition(structure), expected)
        assert semihmm.viterbi(structure).event.tolist() == json.loads(next(lines))
