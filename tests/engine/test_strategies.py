"""Every map, by every strategy, against its definition worked out one number at a time."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from semihmm import engine
from semihmm.engine import Arcs, Banded, Chain, Compose, Dense, Diagonal, Grid, Segmental
from semihmm.engine.strategies import STRATEGIES
from semihmm.errors import ShapeError
from semihmm.semirings import Expectation, Log, Max, TopK

LENGTHS = (0, 1, 2, 3, 5, 7, 8, 9, 16, 17)
SEGMENTAL = ("segmental", "segmental banded", "segmental arcs", "segmental arcs over time")
MAPS = ("dense", "stationary", "diagonal", "banded", "arcs", "arcs over time", "compose", *SEGMENTAL, "grid")
WAYS = [(s, c) for s in STRATEGIES for c in (None, True)]
SOURCE, TARGET = torch.tensor([0, 1, 1, 2, 2]), torch.tensor([0, 0, 2, 1, 2])
MOVES = ((1, 0), (0, 1), (1, 1), (2, 1))


def draw(*shape, forbid=0.2):
    """Log-weights, some of them forbidden."""
    return torch.where(torch.rand(shape) < forbid, -torch.inf, torch.randn(shape, dtype=torch.float64))


def chain_of(kind, steps, batch=2, lengths=None):
    """A chain with a map of one kind, and the arcs of each step: ``(b, t) -> [(delay, from, to, log-weight)]``."""
    time = max(steps, 0)
    if kind == "grid":  # its time is the anti-diagonal: a grid of 3 rows
        if steps < 2:
            kind = "dense"
        else:
            weight = draw(batch, 4, 3, steps - 1)

            def arcs(b, t):
                for i, (k, (down, right)) in itertools.product(range(3), enumerate(MOVES)):
                    j = t + 1 - i
                    if 0 <= j < steps - 1 and i >= down and j >= right:
                        yield down + right, i - down, i, weight[b, k, i, j]

            corner = torch.tensor([0.0, -torch.inf, -torch.inf]).double()
            return Chain((corner,), Grid.of(MOVES, weight), lengths=lengths), arcs
    if kind in SEGMENTAL:
        duration, frames = draw(batch, 1, 3, 2, forbid=0.1), draw(batch, time, 2)
        segment, band, listed = draw(batch, time, 3, 2, forbid=0.1), draw(1, 2, 2), draw(batch, time, 3)
        dense, there = draw(1, 2, 2), torch.arange(time).unsqueeze(-1) % 2 == torch.tensor([0, 0, 1])
        source, target = torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1])
        transition, moves = {
            "segmental": (dense, lambda b, t: [(i, j, dense[0, i, j]) for i in range(2) for j in range(2)]),
            "segmental banded": (
                Banded((0, 1), band),
                lambda b, t: [(j - k, j, band[0, j, k]) for j in range(2) for k in range(j + 1)],
            ),
            "segmental arcs": (
                Arcs(source, target, listed, 2),
                lambda b, t: [(0, 1, listed[b, t, 0]), (1, 0, listed[b, t, 1]), (1, 1, listed[b, t, 2])],
            ),
            "segmental arcs over time": (
                Arcs(torch.where(there, source, -1), torch.where(there, target, -1), listed, 2) if time else dense,
                lambda b, t: [(1, 1, listed[b, t, 2])] if t % 2 else [(0, 1, listed[b, t, 0]), (1, 0, listed[b, t, 1])],
            ),
        }[kind]

        def arcs(b, t):
            for state, d in itertools.product(range(2), range(min(3, t + 1))):
                seen = frames[b, t - d : t + 1, state].sum()
                weight = duration[b, 0, d, state] + seen + segment[b, t, d, state]
                yield d + 1, 2 + state, state, weight
                for before, other, moved in moves(b, t):
                    if before == state:
                        yield d + 1, 2 + state, 2 + other, weight + moved

        steps_map = Segmental.of(transition, duration, frames, segment)
        start = torch.cat([torch.full((2,), -torch.inf).double(), draw(2, forbid=0)])
        return Chain((start,), steps_map, (torch.tensor([0.5, 0, -torch.inf, -0.7]).double(),), lengths, steps), arcs
    dense = draw(batch, 1 if kind == "stationary" else time, 3, 3)
    diagonal, band, sparse = draw(batch, time, 3), draw(batch, time, 3, 2), draw(batch, time, 5)
    start, end = (draw(batch, 3, forbid=0),), (draw(3, forbid=0), draw(batch, 3, forbid=0))

    def arcs(b, t):
        for i, j in itertools.product(range(3), range(3)):
            if kind in ("dense", "grid", "stationary", "compose"):
                over = dense[b, 0 if kind == "stationary" else t, i, j]
                yield 1, i, j, over + diagonal[b, t, j] if kind == "compose" else over
            if kind == "diagonal" and i == j:
                yield 1, i, j, diagonal[b, t, j]
            if kind == "banded" and j - i in (0, 2):
                yield 1, i, j, band[b, t, j, (j - i) // 2]
        if kind.startswith("arcs"):
            for a, (i, j) in enumerate(zip(SOURCE.tolist(), TARGET.tolist(), strict=True)):
                if kind == "arcs" or (a + t) % 3:  # over time: each arc is missing in every third step
                    yield 1, i, j, sparse[b, t, a]

    there = (torch.arange(5) + torch.arange(time).unsqueeze(-1)) % 3 != 0
    maps = {
        "diagonal": lambda: Diagonal(diagonal),
        "banded": lambda: Banded((0, 2), band),
        "arcs": lambda: Arcs(SOURCE, TARGET, sparse, 3),
        "arcs over time": lambda: Arcs(torch.where(there, SOURCE, -1), torch.where(there, TARGET, -1), sparse, 3),
        "compose": lambda: Dense(dense) @ Diagonal(diagonal),
    }
    return Chain(start, maps.get(kind, lambda: Dense(dense))(), end, lengths, steps), arcs


def paths(chain, arcs, b):
    """The score of each path of one sequence, by going along every arc from the end."""
    end = sum((x.expand(*chain.batch, -1)[b] for x in chain.end), torch.zeros(chain.steps.slots))
    start = sum(x.expand(*chain.batch, -1)[b] for x in chain.start)
    steps = chain.length if chain.lengths is None else int(chain.lengths[b])
    reach = [[[] for _ in end] for _ in range(steps + 1)]
    reach[0] = [[float(x)] for x in start]
    for t in range(steps):
        for delay, source, target, weight in arcs(b, t):
            if t + 1 - delay >= 0:
                reach[t + 1][target] += [x + float(weight) for x in reach[t + 1 - delay][source]]
    return [x + float(y) for scores, y in zip(reach[steps], end, strict=True) for x in scores]


def definition(chain, arcs, b):
    """Log-partition and best score of one sequence: the sum over arcs, step by step, in Python floats."""
    end = sum((x.expand(*chain.batch, -1)[b] for x in chain.end), torch.zeros(chain.steps.slots))
    start = sum(x.expand(*chain.batch, -1)[b] for x in chain.start)
    steps = chain.length if chain.lengths is None else int(chain.lengths[b])
    table = [[(float(x), float(x)) for x in start]]
    for t in range(steps):
        incoming = [[] for _ in end]
        for delay, source, target, weight in arcs(b, t):
            if t + 1 - delay >= 0:
                incoming[target].append(tuple(x + float(weight) for x in table[t + 1 - delay][source]))
        table.append([(log_sum([x for x, _ in xs]), max([y for _, y in xs], default=-math.inf)) for xs in incoming])
    last = [(x + float(e), y + float(e)) for (x, y), e in zip(table[-1], end, strict=True)]
    return log_sum([x for x, _ in last]), max(y for _, y in last)


def log_sum(xs):
    """The log of the sum of exponentials."""
    peak = max(xs, default=-math.inf)
    return peak if peak == -math.inf else peak + math.log(math.fsum(math.exp(x - peak) for x in xs))


def run(chain, semiring, strategy, checkpoint, features=()):
    """A total by a named strategy."""
    return engine.total(engine.plan(chain, semiring, strategy, checkpoint), semiring, chain, features)


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("kind", MAPS)
def test_every_strategy_is_the_definition(kind, steps):
    lengths = torch.tensor([steps, max(steps - 2, 0)]) if kind != "grid" else None
    chain, arcs = chain_of(kind, steps, lengths=lengths)
    log, best = torch.tensor([definition(chain, arcs, b) for b in range(2)], dtype=torch.float64).unbind(-1)
    for strategy, checkpoint in WAYS:
        assert_close(run(chain, Log(), strategy, checkpoint), log)
        assert_close(run(chain, Max(), strategy, checkpoint), best)


@pytest.mark.parametrize("kind", MAPS)
def test_the_k_best_are_the_best_of_all_paths(kind):
    chain, arcs = chain_of(kind, 4)
    for b in range(2):
        scores = sorted((x for x in paths(chain, arcs, b) if x > -math.inf), reverse=True)[:6]
        expected = torch.tensor(scores + [-math.inf] * (6 - len(scores)), dtype=torch.float64)
        for strategy, checkpoint in WAYS:
            assert_close(run(chain, TopK(6), strategy, checkpoint)[:, b], expected)


@pytest.mark.parametrize(("strategy", "checkpoint"), WAYS)
@pytest.mark.parametrize("kind", MAPS)
def test_first_and_second_derivatives_are_those_of_finite_differences(kind, strategy, checkpoint):
    chain, _ = chain_of(kind, 4, lengths=None if kind == "grid" else torch.tensor([4, 2]))
    fixed = [not x.is_floating_point() for x in chain.leaves]
    free = [torch.where(x.isinf(), 0.3, x).requires_grad_() for x in chain.leaves if x.is_floating_point()]

    def value(*given):
        rest = iter(given)
        leaves = [
            x if fix else torch.where(x.isinf(), x, next(rest)) for x, fix in zip(chain.leaves, fixed, strict=True)
        ]
        total = run(chain.rebuild(leaves), Log(), strategy, checkpoint)
        return total.where(total > -torch.inf, 0.0)  # no path stays no path: the difference of -inf is no slope

    torch.autograd.gradcheck(value, free, fast_mode=True)
    torch.autograd.gradgradcheck(value, free, fast_mode=True)


@pytest.mark.parametrize("kind", MAPS)
def test_the_gradient_does_not_depend_on_the_strategy_and_is_0_where_forbidden(kind):
    chain, _ = chain_of(kind, 9, lengths=None if kind == "grid" else torch.tensor([9, 6]))
    given = [x.clone().requires_grad_(x.is_floating_point()) for x in chain.leaves]
    free = [x for x in given if x.requires_grad]
    expected = None
    for strategy, checkpoint in WAYS:
        value = run(chain.rebuild(given), Log(), strategy, checkpoint)
        found = torch.autograd.grad(value.sum(), free)
        for x, g in zip(free, found, strict=True):
            assert not g[x == -torch.inf].any()
            assert g.isfinite().all()
        expected = expected or found
        assert_close(found, expected)


@pytest.mark.parametrize("kind", MAPS)
def test_a_traced_path_has_the_score_of_the_total(kind):
    chain, arcs = chain_of(kind, 6, lengths=None if kind == "grid" else torch.tensor([6, 4]))
    for strategy, checkpoint in WAYS:
        semiring = TopK(3)
        path = engine.decode(engine.plan(chain, semiring, strategy, checkpoint), semiring, chain)
        for row, b in itertools.product(range(3), range(2)):
            visited = [(t, s) for t, s in enumerate(path.slots[row, b].tolist()) if s >= 0]
            if not path.valid[row, b]:
                assert not visited
                continue
            score = sum(float(x.expand(*chain.batch, -1)[b, visited[0][1]]) for x in chain.start)
            score += sum(float(x.expand(*chain.batch, -1)[b, visited[-1][1]]) for x in chain.end)
            for (t, s), (u, v) in itertools.pairwise(visited):
                between = [float(w) for d, i, j, w in arcs(b, u - 1) if (d, i, j) == (u - t, s, v)]
                assert len(between) == 1
                score += between[0]
            assert score == pytest.approx(float(path.value[row, b]))


@pytest.mark.parametrize("kind", MAPS)
def test_an_expectation_is_the_derivative_along_its_feature(kind):
    chain, _ = chain_of(kind, 5)
    feature = chain.rebuild([torch.randn_like(x) if x.is_floating_point() else x for x in chain.leaves])
    given = [x.clone().requires_grad_(x.is_floating_point()) for x in chain.leaves]
    value = run(chain.rebuild(given), Log(), "sequential", None)
    free = [x for x in given if x.requires_grad]
    slopes = iter(torch.autograd.grad(value.sum(), free))
    expected = sum((next(slopes) * f).sum() for f in feature.leaves if f.is_floating_point())
    for strategy, checkpoint in WAYS:
        assert_close(run(chain, Expectation(1), strategy, checkpoint, [feature])[1].sum(), expected)


def test_batch_axes_may_be_any_number_and_shared():
    chain, _ = chain_of("compose", 5)
    whole = replace(chain, start=tuple(x.expand(4, 2, 3) for x in chain.start))
    assert_close(run(whole, Log(), None, None), run(chain, Log(), None, None).expand(4, 2))


class Largest(TorchDispatchMode):
    """Remembers how many entries the largest tensor had."""

    def __init__(self):
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else [out]:
            if isinstance(x, torch.Tensor) and not x._is_view():
                self.entries = max(self.entries, x.numel())
        return out


def test_a_stationary_model_never_holds_every_arc_of_every_step(monkeypatch):
    monkeypatch.setattr("semihmm.engine.strategies.base.BLOCK", 1 << 10)
    steps, states = 200, 16  # whole vectors: the compiled backend pads them
    leaves = [torch.randn(s, requires_grad=True) for s in ((states,), (1, states, states), (steps, states))]
    with Largest() as largest:
        chain = Chain((leaves[0],), Compose(Dense(leaves[1]), Diagonal(leaves[2])), length=steps)
        value = run(chain, Log(), "sequential", None)
        slopes = torch.autograd.grad(value, leaves, create_graph=True)
    assert steps * states <= largest.entries < steps * states * states / 4
    assert_close(slopes[1].sum(), torch.tensor(float(steps)), rtol=1e-4, atol=0)


def test_what_a_gradient_keeps_of_segments_does_not_grow_with_duration_times_length():
    def kept(steps, longest):
        frames, duration = torch.randn(steps, 2, requires_grad=True), torch.zeros(1, longest, 2, requires_grad=True)
        start = torch.tensor([-torch.inf, -torch.inf, 0.0, 0.0])
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            run(Chain((start,), Segmental.of(torch.zeros(1, 2, 2), duration, frames)), Log(), "sequential", None)
        return sum(sizes)

    ring_buffers = kept(100, 40) - kept(100, 10)
    assert ring_buffers == kept(200, 40) - kept(200, 10) > 0


def test_segments_never_hold_every_duration_of_every_step(monkeypatch):
    monkeypatch.setattr("semihmm.engine.strategies.base.BLOCK", 1 << 10)
    steps, longest, states = 300, 30, 16
    frames = torch.randn(steps, states, requires_grad=True)
    duration = torch.zeros(1, longest, states, requires_grad=True)
    start = torch.cat([torch.full((states,), -torch.inf), torch.zeros(states)])
    chain = Chain((start,), Segmental.of(torch.zeros(1, states, states), duration, frames))
    with Largest() as largest:
        torch.autograd.grad(run(chain, Log(), "sequential", None), [frames, duration])
        engine.decode(engine.plan(chain, Max(), "sequential"), Max(), chain)
    assert steps * 2 * states <= largest.entries < steps * longest * states / 4


def test_two_matrices_in_one_step_are_their_product():
    first, then, start = draw(2, 7, 3, 4), draw(2, 7, 4, 3), draw(2, 3, forbid=0)
    scores = first.unsqueeze(-1) + then.unsqueeze(-3)  # (2, 7, from, between, to)
    for semiring, product in ((Log(), scores.logsumexp(-2)), (Max(), scores.amax(-2))):
        one, two = (x.clone().requires_grad_() for x in (first, then))
        value = run(Chain((start,), Dense(one) @ Dense(two)), semiring, "sequential", None)
        assert_close(value, run(Chain((start,), Dense(product)), semiring, "sequential", None))
        found = torch.autograd.grad(value.sum(), [one, two])
        assert_close([g.sum((-1, -2)) for g in found], [torch.ones(2, 7).double()] * 2)  # one arc of each at each step
    chain, whole = Chain((start,), Dense(first) @ Dense(then)), Chain((start,), Dense(scores.amax(-2)))
    for semiring in (Max(), TopK(4)):
        path = engine.decode(engine.plan(chain, semiring), semiring, chain)
        assert_close(path.value, run(chain, semiring, None, None).reshape(path.value.shape))
    best = engine.decode(engine.plan(chain, Max()), Max(), chain)
    assert torch.equal(best.slots, engine.decode(engine.plan(whole, Max()), Max(), whole).slots)


@pytest.mark.parametrize(
    "first",
    [Dense(draw(1, 3, 3)), Banded((0, 1), draw(1, 3, 2)), Diagonal(draw(1, 3))],
    ids=("dense", "banded", "diagonal"),
)
def test_each_factor_of_a_step_has_its_own_gradient_however_they_are_grouped(first):
    seen, more = draw(2, 6, 3).requires_grad_(), draw(1, 3, forbid=0).requires_grad_()
    one = first @ Diagonal(seen + more)
    groups = (first @ Diagonal(seen)) @ Diagonal(more), first @ (Diagonal(seen) @ Diagonal(more))

    def gradients(steps, *way):
        chain = Chain((torch.zeros(3).double(),), steps)
        return torch.autograd.grad(engine.total(engine.plan(chain, Log(), *way), Log(), chain).sum(), (seen, more))

    for steps, way in itertools.product(groups, (*WAYS, ("sequential", None, "torch"))):
        assert_close(gradients(steps, *way), gradients(one, *way))


def test_the_tensors_of_a_chain_must_agree_on_the_batch():
    with pytest.raises(ShapeError, match=r"agree on the batch axes \(1: shared by all\), got \[\(2,\), \(3,\)\]"):
        Chain((torch.zeros(2, 4),), Dense(torch.zeros(3, 1, 4, 4)), length=5)
    assert Chain((torch.zeros(1, 4),), Dense(torch.zeros(0, 1, 4, 4)), length=5).batch == (0,)
