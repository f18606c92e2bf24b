"""tests/engine/test_onward.py: a step of the max semiring with its pointers is both, to the bit."""

import pytest
import torch

from semihmm.engine import Chain, Dense, Diagonal, Sparse, tensors
from semihmm.engine.onward import best, enter, origins, proceed
from semihmm.semirings import Max

BATCH, STEPS, SLOTS = 3, 7, 5


def tied(g, *shape, dtype=torch.float64):
    """Few different numbers, some of which are none."""
    x = torch.randint(-3, 3, shape, generator=g).to(dtype)
    return x.masked_fill(torch.rand(shape, generator=g) < 0.2, -torch.inf)


def arcs(g, dtype):
    source = torch.randint(-1, SLOTS, (1, SLOTS, 3), generator=g).sort(-1).values
    return Sparse(tied(g, 1, SLOTS, 3, dtype=dtype).masked_fill(source < 0, -torch.inf), source)


MAPS = {
    "dense": lambda g, dtype: Dense(tied(g, 1, SLOTS, SLOTS, dtype=dtype)),
    "dense_each": lambda g, dtype: Dense(tied(g, BATCH, STEPS, SLOTS, SLOTS, dtype=dtype)),
    "dense_emission": lambda g, dtype: (
        Dense(tied(g, 1, SLOTS, SLOTS, dtype=dtype)) @ Diagonal(tied(g, BATCH, STEPS, SLOTS, dtype=dtype))
    ),
    "wide": lambda g, dtype: (
        Dense(torch.randn(1, SLOTS, 67, generator=g).to(dtype)) @ Dense(tied(g, 1, 67, SLOTS, dtype=dtype))
    ),
    "arcs": arcs,
    "arcs_emission": lambda g, dtype: arcs(g, dtype) @ Diagonal(tied(g, BATCH, STEPS, SLOTS, dtype=dtype)),
}


@pytest.mark.parametrize("taken", [None, [2, 0, 4]], ids=["all", "some"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("kind", MAPS)
@pytest.mark.parametrize("seed", range(5))
def test_a_step_with_its_pointers_is_both(kind, dtype, taken, seed):
    g = torch.Generator().manual_seed(seed)
    steps = MAPS[kind](g, dtype)
    taken = None if taken is None else torch.tensor(taken)
    front = enter(Max(), Chain((torch.randn(BATCH, SLOTS, generator=g).to(dtype),), steps, length=STEPS))
    last, trail, scale = proceed(Max(), steps, STEPS, taken, front, latest=4)
    pointers = origins(Max(), steps, STEPS, front, trail)
    found_last, found_trail, found_scale, found = best(steps, STEPS, taken, front, latest=4)
    for x, y in ((scale, found_scale), (trail, found_trail), (last.state, found_last.state)):
        torch.testing.assert_close(y, x, rtol=0, atol=0)
    torch.testing.assert_close(tuple(found_last.recent), tuple(last.recent), rtol=0, atol=0)
    inside = torch.arange(4) < (4 if taken is None else taken.unsqueeze(-1))
    living = (trail.vectors > -torch.inf).movedim(-1, 0) & inside
    for x, y in zip(pointers, found, strict=True):
        assert torch.equal(x[living], y[living])


@pytest.mark.skipif(tensors.MODULE is None, reason="the native backend is not loaded")
@pytest.mark.parametrize("slots", [1, 5, 63, 64, 65, 130])
def test_predecessors_are_the_lowest_of_the_best(slots):
    g = torch.Generator().manual_seed(0)
    for sets in (1, BATCH):
        x, weight = tied(g, BATCH, slots), tied(g, sets, 1, slots, slots)
        score = x.unsqueeze(-1) + weight[:, 0]
        value, offset, came = tensors.max_steps(x, torch.zeros(BATCH).double(), weight, None, None, None, 1)
        assert torch.equal(value[:, 0] + offset, score.amax(-2))
        assert torch.equal(came[:, 0], score.argmax(-2))


@pytest.mark.skipif(tensors.MODULE is None, reason="the native backend is not loaded")
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"start": torch.zeros(2, 4)}, ValueError),
        ({"start": torch.zeros(2, 3, dtype=torch.int64)}, TypeError),
        ({"offset": torch.zeros(2)}, TypeError),
        ({"weight": torch.zeros(5, 1, 3, 3)}, ValueError),
        ({"weight": torch.zeros(1, 2, 3, 3)}, ValueError),
        ({"weight": torch.zeros(1, 1, 3, 2)}, ValueError),
        ({"emission": torch.zeros(2, 2, 3)}, ValueError),
        ({"emission": torch.zeros(2, 4, 2)}, ValueError),
        ({"taken": torch.zeros(3, dtype=torch.int64)}, ValueError),
        ({"source": torch.tensor([[0, 1, 2]] * 2 + [[0, 1, 3]])}, ValueError),
        ({"source": torch.tensor([[0, 1, 2]] * 2 + [[0, 1, -2]])}, ValueError),
        ({"source": torch.zeros(2, 3, dtype=torch.int64)}, ValueError),
        ({"vectors": torch.zeros(2, 4, 2)}, ValueError),
        ({"offsets": torch.zeros(4, 2).double().T}, ValueError),
        ({"came": torch.zeros(2, 4, 3)}, TypeError),
        ({"threads": 0}, ValueError),
    ],
    ids=lambda x: "_".join(x) if isinstance(x, dict) else None,
)
def test_what_does_not_fit_is_refused(change, error):
    given = {"start": torch.zeros(2, 3), "offset": torch.zeros(2).double(), "weight": torch.zeros(1, 1, 3, 3)}
    given |= {"source": None, "emission": None, "taken": None, "vectors": torch.zeros(2, 4, 3)}
    given |= {"offsets": torch.zeros(2, 4).double(), "came": torch.zeros(2, 4, 3, dtype=torch.int64), "threads": 1}
    tensors.MODULE.max_steps(**given)
    with pytest.raises(error):
        tensors.MODULE.max_steps(**(given | change))
