"""tests/engine/test_onward.py: compiled steps are those of the torch backend, what is best to the bit."""

import pytest
import torch

from semihmm.engine import Chain, Dense, Diagonal, Segmental, Sparse, tensors
from semihmm.engine.onward import best, enter, proceed
from semihmm.semirings import Log, Max

BATCH, STEPS, SLOTS, LONGEST = 3, 7, 5, 4

compiled = pytest.mark.skipif(tensors.MODULE is None, reason="the native backend is not loaded")


def tied(g, *shape, dtype=torch.float64):
    """Few different numbers, some of which are none."""
    x = torch.randint(-3, 3, shape, generator=g).to(dtype)
    return x.masked_fill(torch.rand(shape, generator=g) < 0.2, -torch.inf)


def drawn(g, *shape, dtype=torch.float64):
    return torch.randn(shape, generator=g).to(dtype) * 3


def arcs(g, of, dtype, each=()):
    source = torch.randint(-1, SLOTS, (1, SLOTS, 3), generator=g).sort(-1).values
    return Sparse(of(g, *(each or (1,)), SLOTS, 3, dtype=dtype).masked_fill(source < 0, -torch.inf), source)


def segments(g, of, dtype, moves=None, each=1, segment=False):
    moves = Dense(of(g, 1, SLOTS, SLOTS, dtype=dtype)) if moves is None else moves
    lasting = of(g, *(() if each == 1 else (BATCH,)), each, LONGEST, SLOTS, dtype=dtype)
    more = of(g, BATCH, STEPS, LONGEST, SLOTS, dtype=dtype) if segment else None
    return Segmental.of(moves, lasting, drawn(g, BATCH, STEPS, SLOTS, dtype=dtype), more)


MAPS = {
    "dense": lambda g, of, dtype: Dense(of(g, 1, SLOTS, SLOTS, dtype=dtype)),
    "dense_each": lambda g, of, dtype: Dense(of(g, BATCH, STEPS, SLOTS, SLOTS, dtype=dtype)),
    "dense_emission": lambda g, of, dtype: (
        Dense(of(g, 1, SLOTS, SLOTS, dtype=dtype)) @ Diagonal(of(g, BATCH, STEPS, SLOTS, dtype=dtype))
    ),
    "dense_steady": lambda g, of, dtype: (
        Dense(of(g, 1, 1, SLOTS, SLOTS, dtype=dtype)) @ Diagonal(of(g, BATCH, 1, SLOTS, dtype=dtype))
    ),
    "wide": lambda g, of, dtype: Dense(of(g, 1, SLOTS, 67, dtype=dtype)) @ Dense(of(g, 1, 67, SLOTS, dtype=dtype)),
    "arcs": arcs,
    "arcs_emission": lambda g, of, dtype: arcs(g, of, dtype) @ Diagonal(of(g, BATCH, STEPS, SLOTS, dtype=dtype)),
    "arcs_each": lambda g, of, dtype: arcs(g, of, dtype, (BATCH, STEPS)),
    "segments": segments,
    "segments_arcs": lambda g, of, dtype: segments(g, of, dtype, arcs(g, of, dtype)),
    "segments_each": lambda g, of, dtype: segments(
        g, of, dtype, Dense(of(g, BATCH, STEPS, SLOTS, SLOTS, dtype=dtype)), STEPS, segment=True
    ),
}


def started(steps, semiring, g, dtype):
    """What there is in front of the last four steps, by the torch backend."""
    front = enter(semiring, Chain((drawn(g, BATCH, steps.slots, dtype=dtype),), steps, length=STEPS))
    if steps.memory == 1:
        return front
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tensors, "MODULE", None)
        return proceed(semiring, steps.window(0, 3), 3, None, front, latest=3).last


def both(call):
    """What it returns, and what it does without the compiled module."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tensors, "MODULE", None)
        expected = call()
    return call(), expected


@compiled
@pytest.mark.parametrize("taken", [None, [2, 0, 4]], ids=["all", "some"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("of", [tied, drawn], ids=["tied", "drawn"])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_best_is_so_to_the_bit(kind, dtype, taken, of, seed):
    g = torch.Generator().manual_seed(seed)
    steps = MAPS[kind](g, of, dtype)
    taken = None if taken is None else torch.tensor(taken)
    front = started(steps, Max(), g, dtype)
    found, expected = both(lambda: best(steps, STEPS, taken, front, latest=4))
    for x, y in ((expected.scale, found.scale), (expected.trail, found.trail), (expected.last, found.last)):
        torch.testing.assert_close(y, x, rtol=0, atol=0)
    inside = torch.arange(4) < (4 if taken is None else taken.unsqueeze(-1))
    assert torch.equal(expected.came[inside.expand(BATCH, 4)], found.came[inside.expand(BATCH, 4)])


@compiled
@pytest.mark.parametrize("taken", [None, [2, 0, 4]], ids=["all", "some"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("scale", [1.0, 60.0], ids=["near", "far"])
@pytest.mark.parametrize("of", [tied, drawn], ids=["tied", "drawn"])
def test_sums_are_those_of_the_torch_backend(kind, dtype, taken, of, scale):
    """Also where numbers would be flushed to zero."""
    g = torch.Generator().manual_seed(7)
    steps = MAPS[kind](g, lambda *a, **k: of(*a, **k) * scale, dtype)
    taken = None if taken is None else torch.tensor(taken)
    front = started(steps, Log(), g, dtype)
    segmental = isinstance(steps, Segmental)
    times = STEPS if kind == "segments_each" else 1
    going = of(g, times, LONGEST, SLOTS, dtype=dtype) if segmental else None
    found, expected = both(lambda: proceed(Log(), steps, STEPS, taken, front, latest=4, going=going))
    near = {"rtol": 2e-5, "atol": 2e-4} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-11}
    torch.testing.assert_close(found.trail.vectors, expected.trail.vectors, **near)
    torch.testing.assert_close(found.offsets, expected.offsets, **near)
    torch.testing.assert_close(found.last.state.carry, expected.last.state.carry, **near)
    torch.testing.assert_close(found.last.offset, expected.last.offset, **near)
    assert (found.going is None) == (not segmental)
    if segmental:
        inside = torch.arange(4) < (torch.tensor(4) if taken is None else taken.unsqueeze(-1))
        inside = inside.expand(BATCH, 4)
        torch.testing.assert_close(found.going[inside], expected.going[inside], **near)


@compiled
@pytest.mark.parametrize("states", [1, 15, 16, 63, 64, 65, 130])
def test_every_number_of_states_is_summed_and_traced(states):
    g = torch.Generator().manual_seed(states)
    steps = Dense(drawn(g, 1, states, states)) @ Diagonal(drawn(g, BATCH, 2, states))
    start = Chain((drawn(g, BATCH, states),), steps, length=2)
    found, expected = both(lambda: best(steps, 2, None, enter(Max(), start), latest=2))
    assert torch.equal(found.came, expected.came)
    found, expected = both(lambda: proceed(Log(), steps, 2, None, enter(Log(), start), latest=2))
    torch.testing.assert_close(found.trail.vectors, expected.trail.vectors)


@compiled
def test_moves_that_are_changed_are_arranged_anew():
    steps, start = Dense(torch.zeros(1, 2, 2)), torch.zeros(1, 2)

    def came():
        return best(steps, 1, None, enter(Max(), Chain((start,), steps, length=1)), latest=1).came.tolist()

    assert came() == [[[0, 0]]]
    steps.weight[0, 1, 0] = 1.0
    assert came() == [[[1, 0]]]


ZEROS = torch.zeros


def request():
    """Segments of 3 states and up to 2 steps."""
    given = {
        "weight": ZEROS(1, 1, 3, 3),
        "begin": None,
        "row": None,
        "source": None,
        "peak": None,
        "emission": ZEROS(2, 5, 3),
    }
    given |= {"duration": ZEROS(1, 1, 2, 3), "segment": ZEROS(2, 4, 2, 3), "going": None, "taken": None, "told": None}
    given |= {"carry": ZEROS(2, 2, 6), "offset": ZEROS(2).double(), "vectors": ZEROS(2, 6, 6)}
    given |= {"offsets": ZEROS(2, 6).double(), "scales": ZEROS(2, 4).double()}
    return given | {"came": ZEROS(2, 4, 6, dtype=torch.int32), "threads": 1}


def ints(*values):
    return torch.tensor(values, dtype=torch.int32)


def arcs_of(**change):
    """From states 0 and 1 into 2 and 1."""
    weight = torch.full((1, 1, 16), -torch.inf)
    weight[..., :2] = 0.0
    return {"begin": ints(0, 16), "row": ints(2, 1, 0), "source": ints(0, 1, *[0] * 14), "weight": weight} | change


@compiled
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"carry": ZEROS(2, 2, 5)}, ValueError),
        ({"carry": ZEROS(2, 2, 6, dtype=torch.int64)}, TypeError),
        ({"carry": ZEROS(12)}, ValueError),
        ({"offset": ZEROS(2)}, TypeError),
        ({"offset": None}, TypeError),
        ({"weight": None}, TypeError),
        ({"weight": ZEROS(5, 1, 3, 3)}, ValueError),
        ({"weight": ZEROS(1, 2, 3, 3)}, ValueError),
        ({"weight": ZEROS(1, 1, 3, 2)}, ValueError),
        ({"weight": ZEROS(1, 1, 3, 3).mT}, ValueError),
        ({"weight": ZEROS(1, 1, 3, 3).double()}, TypeError),
        ({"emission": ZEROS(2, 1, 3)}, ValueError),
        ({"emission": ZEROS(2, 4, 3)}, ValueError),
        ({"emission": ZEROS(2, 5, 2)}, ValueError),
        ({"duration": None}, ValueError),
        ({"duration": ZEROS(1, 1, 3, 3)}, ValueError),
        ({"segment": ZEROS(2, 3, 2, 3)}, ValueError),
        ({"going": ZEROS(1, 1, 2, 3)}, ValueError),
        ({"told": ZEROS(2, 4, 3)}, ValueError),
        ({"peak": ZEROS(1, 1)}, TypeError),
        ({"taken": ZEROS(3, dtype=torch.int64)}, ValueError),
        ({"vectors": ZEROS(2, 4, 6), "offsets": ZEROS(2, 4).double()}, ValueError),
        ({"vectors": ZEROS(2, 3, 6)}, ValueError),
        ({"vectors": ZEROS(2, 6, 5)}, ValueError),
        ({"offsets": ZEROS(6, 2).double().T}, ValueError),
        ({"scales": ZEROS(2, 4)}, TypeError),
        ({"came": ZEROS(2, 4, 6, dtype=torch.int64)}, TypeError),
        ({"came": ZEROS(2, 4, 3, dtype=torch.int32)}, ValueError),
        (arcs_of(begin=ints(0)), ValueError),
        (arcs_of(begin=ints(0, 0)), ValueError),
        (arcs_of(begin=ints(16, 16)), ValueError),
        (arcs_of(begin=ints(0, 32)), ValueError),
        (arcs_of(begin=ints(0, 16, 16)), ValueError),
        (arcs_of(begin=None), ValueError),
        (arcs_of(row=ints(2, 1)), ValueError),
        (arcs_of(row=ints(2, 1, 3)), ValueError),
        (arcs_of(row=ints(2, 1, -1)), ValueError),
        (arcs_of(row=None), ValueError),
        (arcs_of(source=ints(*range(4), *[0] * 12)), ValueError),
        (arcs_of(source=ints(-1, *[0] * 15)), ValueError),
        (arcs_of(source=torch.zeros(16, dtype=torch.int64)), TypeError),
        (arcs_of(source=ints(*[0] * 17), begin=ints(0, 17), weight=ZEROS(1, 1, 17)), ValueError),
        (arcs_of(weight=ZEROS(1, 1, 2)), ValueError),
        ({"threads": 0}, ValueError),
    ],
    ids=lambda x: "_".join(x) if isinstance(x, dict) else None,
)
def test_what_does_not_fit_is_refused(change, error):
    tensors.MODULE.onward(**request())
    with pytest.raises(error):
        tensors.MODULE.onward(**(request() | change))


@compiled
def test_arcs_are_taken_where_they_lie():
    given = request() | arcs_of()
    tensors.MODULE.onward(**given)
    assert given["came"][0, 0].tolist() == [3, 4, 5, -1, 4, 3]
