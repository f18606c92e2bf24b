"""A grid reads its weights where they lie: against its definition, one arc at a time."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import semihmm
from semihmm import DTW, engine
from semihmm.engine import Chain, Compose, Diagonal, Grid, Sparse
from semihmm.engine.maps.form import remembered
from semihmm.semirings import Log, Max
from semihmm.testing.examples import small

HEIGHT, WIDTH, N, K, MEMORY = 3, 4, 7, 3, 3


def odd_grid(seed: int) -> Grid:
    """Rows in any order and twice, two planes, costs, arcs that count 0 times, free ones, none, and limits."""
    g = torch.Generator().manual_seed(seed)

    def integers(low, high):
        return torch.randint(low, high, (N, K), generator=g)

    row = torch.tensor([2, 0, 1, 0, 1, 2, 0])
    plane, low = integers(-1, 2), integers(0, 3)
    return Grid(
        weight=torch.randn(2, 2, HEIGHT, WIDTH, generator=g, dtype=torch.float64),
        row=row,
        source=integers(-4, N * MEMORY).clamp(min=-1),
        plane=plane,
        factor=torch.tensor([-1.0, 1.0, 0.0, 2.0, 0.5]).double()[integers(0, 5)],
        low=torch.where(plane < 0, low - HEIGHT, low),
        high=torch.where(plane < 0, integers(2, 2 * WIDTH), integers(2, WIDTH + 1)),
        memory=MEMORY,
        first=seed % 3,
    )


def arcs(grid, b, t):
    """``(delay, from, to, log-weight)`` of each arc that there is at a step."""
    for n, k in itertools.product(range(N), range(K)):
        column, code, plane = t + grid.first - int(grid.row[n]), int(grid.source[n, k]), int(grid.plane[n, k])
        if code >= 0 and grid.low[n, k] <= column < grid.high[n, k]:
            value = float(grid.weight.detach()[b, plane, grid.row[n], column]) if plane >= 0 else 0.0
            weight = float(grid.factor[n, k]) * value if math.isfinite(value) else -math.inf
            yield code // N + 1, code % N, n, weight if plane >= 0 else 0.0


def definition(grid, start, b):
    """Log-partition and best score, in Python floats."""
    table = [[(float(x), float(x)) for x in start]]
    for t in range(HEIGHT + WIDTH - 1 - grid.first):
        into = [[] for _ in range(N)]
        for delay, source, slot, weight in arcs(grid, b, t):
            if delay <= t + 1:
                into[slot].append([x + weight for x in table[t + 1 - delay][source]])
        table.append([(log_sum([x for x, _ in xs]), max((y for _, y in xs), default=-math.inf)) for xs in into])
    return log_sum([x for x, _ in table[-1]]), max(y for _, y in table[-1])


def log_sum(xs):
    peak = max(xs, default=-math.inf)
    return peak if peak == -math.inf else peak + math.log(math.fsum(math.exp(x - peak) for x in xs))


def total(chain, semiring, **options):
    return engine.total(engine.plan(chain, semiring, **options), semiring, chain)


@pytest.mark.parametrize("seed", range(6))
def test_a_grid_is_its_arcs(seed):
    grid, start = odd_grid(seed), torch.randn(N).double()
    if seed > 2:
        grid = replace(grid, factor=grid.factor.abs())  # -inf is forbidden however often it counts, 0 times included
        grid.weight[0, :, 0, 1] = -math.inf
    chain = Chain((start,), grid)
    assert chain.length == HEIGHT + WIDTH - 1 - seed % 3
    expected = torch.tensor([definition(grid, start, b) for b in range(2)]).double()
    for strategy in engine.planner.STRATEGIES:
        found = [total(chain, semiring, strategy=strategy) for semiring in (Log(), Max())]
        assert_close(torch.stack(found, -1), expected)


def test_a_cost_of_inf_is_forbidden_and_has_no_gradient():
    grid, start = odd_grid(1), torch.zeros(N).double()
    grid = replace(grid, factor=-grid.factor.abs())
    weight = grid.weight.index_fill(-1, torch.tensor(1), math.inf).requires_grad_()
    forbidden = replace(grid, weight=weight)
    found = total(Chain((start,), forbidden), Log())
    assert_close(found, torch.tensor([definition(forbidden, start, b)[0] for b in range(2)]).double())
    (gradient,) = torch.autograd.grad(found.sum(), weight)
    assert gradient.isfinite().all() and gradient.any() and not gradient[..., 1].any()


def test_its_gradient_is_that_of_finite_differences():
    grid = odd_grid(2)

    def value(weight, start):
        return total(Chain((start,), replace(grid, weight=weight)), Log())

    given = (grid.weight.requires_grad_(), torch.randn(N).double().requires_grad_())
    torch.autograd.gradcheck(value, given)
    torch.autograd.gradgradcheck(value, given, fast_mode=True)


@pytest.mark.parametrize("pattern", ["symmetric2", "symmetricP1", "asymmetric"])
def test_a_block_of_steps_may_begin_anywhere(pattern):
    cost = torch.rand(2, 80, 70).double().requires_grad_()
    expected = semihmm.total(DTW(cost, pattern), Log())
    (whole,) = torch.autograd.grad(expected.sum(), cost)
    for checkpoint in (True, 300_000, 500_000):
        found = semihmm.total(DTW(cost, pattern), Log(), checkpoint=checkpoint)
        assert_close(found, expected)
        assert_close(torch.autograd.grad(found.sum(), cost)[0], whole)
        assert torch.equal(
            semihmm.viterbi(DTW(cost, pattern), checkpoint=checkpoint).event, semihmm.argmax(DTW(cost, pattern))
        )


def test_a_cost_matrix_is_not_copied():
    cost = torch.rand(2, 5, 6)
    for given in ({}, {"step_pattern": "symmetricP2", "open_begin": True, "open_end": True}):
        (planes,) = DTW(cost, **given).chain().steps.leaves
        assert planes.data_ptr() == cost.data_ptr() and planes.shape == (2, 1, 5, 6)
    (planes,) = DTW(cost, window=2).chain().steps.leaves
    assert planes.data_ptr() != cost.data_ptr() and planes.isinf().any()


@pytest.mark.parametrize("kind", ["DTW", "RNNT", "EditDistance"])
@pytest.mark.parametrize("ragged", [False, True])
def test_a_plan_does_not_depend_on_whether_a_grid_is_unrolled(kind, ragged):
    for steps in (2, 40):
        chain = small(kind, (2,), steps, ragged=ragged).chain()
        flat = chain.unrolled()
        assert isinstance(chain.steps, Grid) and isinstance(flat.steps, Sparse) and flat.unrolled() is flat
        assert (chain.length, chain.batch) == (flat.length, flat.batch)
        for checkpoint in (None, True, 10**6):
            plans = [engine.plan(c, Log(), checkpoint=checkpoint, backend="torch") for c in (chain, flat)]
            assert plans[0] == plans[1]


def test_a_grid_in_a_product_is_unrolled():
    weight, then = torch.randn(2, 3, 4).double(), torch.randn(5, 3).double()
    steps = Compose(Grid.of(((1, 0), (0, 1)), weight), Diagonal(then))
    assert isinstance(steps.first, Sparse)
    grid = replace(Grid.of(((1, 0), (0, 1)), weight), weight=weight.clone())
    for i, j in itertools.product(range(3), range(4)):
        grid.weight[:, i, j] += then[i + j - 1, i] if i + j else 0.0
    start = torch.zeros(3).double()
    assert_close(total(Chain((start,), steps), Log()), total(Chain((start,), grid), Log()))


def test_what_is_remembered_was_worked_out_once():
    calls = []

    @remembered
    def doubled(x: int) -> int:
        calls.append(x)
        return 2 * x

    assert [doubled(2), doubled(2), doubled(3)] == [4, 4, 6]
    assert calls == [2, 3]


def test_tables_made_inside_a_transform_serve_outside_it():
    shape = iter(range(11, 99))  # each time one that was never seen

    def value(x):
        return semihmm.log_partition(DTW(x))

    def later(x):
        y = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(value(y).sum(), y)
        return gradient

    x = torch.rand(2, next(shape), 3)
    with torch.inference_mode():
        value(x)
    expected = later(x)
    assert expected.isfinite().all()
    x = torch.rand(2, next(shape), 3)
    assert_close(torch.func.vmap(torch.func.grad(value))(x), later(x))
    assert_close(torch.func.grad(lambda x: value(x).sum())(x), later(x))


@pytest.mark.parametrize("kind", ["DTW", "CTC"])
def test_tables_are_traced_where_they_cannot_be_remembered(kind):
    torch.compiler.reset()
    structure = small(kind, (2,), 2)

    def value(x):
        return semihmm.log_partition(structure.replace(**{structure.observed: x}), strategy="sequential")

    x = structure.potentials[structure.observed].clone().requires_grad_()
    compiled = torch.compile(value, fullgraph=True, backend="aot_eager")(x)
    assert_close(compiled, value(x))
    assert_close(torch.autograd.grad(compiled.sum(), x), torch.autograd.grad(value(x).sum(), x))
