"""tests/engine/test_planner.py: what a call will do, and what it refuses."""

import pytest
import torch

from semihmm import engine
from semihmm.engine import Chain, Dense, Diagonal, Grid, Segmental, Sparse
from semihmm.engine.maps import Arcs, Banded
from semihmm.errors import SemihmmError, SemiringError, ShapeError
from semihmm.semirings import Log, SparseMax


def chain(steps=100, states=3):
    return Chain((torch.zeros(states),), Dense(torch.zeros(steps, states, states)))


def test_the_planner_goes_by_how_much_a_step_costs_and_how_many_there_are():
    assert engine.plan(chain(20, 2), Log()).strategy == "sequential"
    assert engine.plan(chain(100, 3), Log()).strategy == "associative"
    assert engine.plan(chain(100, 10), Log()).strategy == "chunked"
    assert engine.plan(chain(100, 30), Log()).strategy == "sequential"
    named = engine.plan(chain(100, 30), Log(), "associative")
    assert (named.strategy, named.reason) == ("associative", "named by the caller")


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(SemihmmError, match=r"sequential, associative, chunked.*got 'fast'"):
        engine.plan(chain(), Log(), "fast")
    with pytest.raises(SemihmmError, match="backend must be one of torch, got 'cuda'"):
        engine.plan(chain(), Log(), backend="cuda")


def test_a_sum_that_depends_on_its_order_is_never_regrouped():
    assert engine.plan(chain(), SparseMax()).strategy == "sequential"
    assert engine.plan(chain(), SparseMax(), "sequential").strategy == "sequential"
    for strategy in ("associative", "chunked"):
        with pytest.raises(SemiringError, match="associative is False"):
            engine.plan(chain(), SparseMax(), strategy)


def test_checkpoints_take_the_square_root_of_the_steps_or_a_byte_budget():
    assert engine.plan(chain(), Log()).blocks == 1
    assert engine.plan(chain(), Log(), checkpoint=False).blocks == 1
    assert engine.plan(chain(100), Log(), checkpoint=True).blocks == 10
    assert engine.plan(chain(100), Log(), checkpoint=10**6).blocks == 1
    vector = 3 * 4
    budget = (20 + 5) * vector
    plan = engine.plan(chain(100), Log(), checkpoint=budget)
    longest = max(stop - start for start, stop in plan.bounds(100))
    assert (plan.blocks + longest) * vector <= budget
    with pytest.raises(SemihmmError, match=r"a budget of 10 bytes cannot hold.*the least is 240 bytes"):
        engine.plan(chain(100), Log(), checkpoint=10)


def test_blocks_cover_all_steps_once():
    for length in range(12):
        for blocks in range(1, 8):
            plan = engine.Plan("sequential", blocks, "torch", "")
            covered = [t for start, stop in plan.bounds(length) for t in range(start, stop)]
            assert covered == list(range(length))


def test_backends_say_why_they_are_loaded():
    assert "loaded" in engine.backends()["torch"]


def test_maps_refuse_tables_that_do_not_fit():
    with pytest.raises(ShapeError, match="2 offsets need weights"):
        Banded((0, 1), torch.zeros(5, 3, 3))
    with pytest.raises(ShapeError, match="source and target must be"):
        Arcs(torch.tensor([0]), torch.tensor([0, 1]), torch.zeros(5, 2), 2)
    with pytest.raises(ShapeError, match="states must be below slots = 2, got 5"):
        Arcs(torch.tensor([0, 5]), torch.tensor([0, 1]), torch.zeros(5, 2), 2)
    with pytest.raises(ShapeError, match="moves must go down or right"):
        Grid.of(((0, 0),), torch.zeros(1, 3, 3))
    with pytest.raises(ShapeError, match="start and end must be"):
        Chain((torch.zeros(3),), Dense(torch.zeros(5, 2, 2)))
    with pytest.raises(ShapeError, match="agree on the number of time steps"):
        Chain((torch.zeros(3),), Dense(torch.zeros(5, 3, 3)) @ Diagonal(torch.zeros(4, 3)))


def test_maps_that_look_further_back_do_not_compose():
    segments = Segmental.of(torch.zeros(1, 2, 2), torch.zeros(1, 3, 2), torch.zeros(5, 2))
    with pytest.raises(ShapeError, match="look one step back, got memories 3 and 1"):
        segments @ Diagonal(torch.zeros(5, 4))


def test_a_reversed_reverse_is_the_map_itself():
    weight = torch.randn(4, 3, 2)
    there_and_back = Banded((0, 1), weight).transpose().transpose()
    carry = torch.randn(4, 1, 3)
    tables = Banded((0, 1), weight)
    assert isinstance(there_and_back, Sparse)
    torch.testing.assert_close(
        there_and_back.step(Log(), carry, there_and_back.tables()), tables.step(Log(), carry, tables.tables())
    )
