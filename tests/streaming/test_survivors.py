"""The tree of paths: what it calls certain is what all paths have in common."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semihmm.engine import tensors
from semihmm.streaming.survivors import Survivors

compiled = pytest.mark.skipif(tensors.MODULE is None, reason="the native backend is not loaded")


def common(parents, steps, width):
    """How many times from the start on all paths to the latest slots agree."""
    paths = []
    for slot in range(width):
        path = [slot]
        for t in reversed(range(1, steps)):
            path.append(int(parents[t, path[-1]]))
        paths.append(path[::-1])
    agreed = 0
    while agreed < steps - 1 and len({path[agreed] for path in paths}) == 1:
        agreed += 1
    return [t * width + paths[0][t - 1] for t in range(1, agreed + 1)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999),
    width=st.integers(1, 5),
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    capacity=st.sampled_from([2, 64]),
)
def test_certain_is_what_all_paths_share(seed, width, cuts, capacity):
    """Whatever the chunks are, and however often the ring has to grow."""
    random, steps = np.random.default_rng(seed), sum(cuts)
    parents = random.integers(0, width, (steps, width))
    tree = Survivors(1, 1, np.ones(width, bool), capacity=capacity)
    found, at, alone = [], 0, np.array([0])
    for count in cuts:
        source = parents[None, at : at + count]
        tree.grow(alone, np.array([count]), source.astype(np.int32))
        at += count
        found += tree.settle(alone)[1].tolist()
        if width > 1:
            assert found == common(parents, at, width)
    slot = int(random.integers(width))
    path = [steps * width + slot]
    for t in reversed(range(1, steps)):
        path.append(t * width + int(parents[t, path[-1] % width]))
    assert found + tree.path(0, steps * width + slot).tolist() == (path[::-1] if width > 1 else found)


@pytest.mark.parametrize("seed", range(20))
def test_who_does_not_come_from_a_node_is_out(seed):
    random = np.random.default_rng(seed)
    parents = random.integers(0, 4, (12, 4))
    tree, alone = Survivors(1, 1, np.ones(4, bool)), np.array([0])
    tree.grow(alone, np.array([12]), parents[None].astype(np.int32))
    path = tree.path(0, 12 * 4 + 2)
    nodes, node = tree.keep_only(alone, np.array([12 * 4 + 2]), path[:1] // 4), int(path[0])
    assert nodes.tolist() == [node]
    for slot in range(4):
        assert bool(tree.open[0, 0, slot]) == (node in tree.path(0, 12 * 4 + slot).tolist())
    tree.settle(alone)
    assert int(tree.root[0]) >= node


@compiled
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 999),
    memory=st.integers(1, 4),
    capacity=st.sampled_from([2, 64]),
    cuts=st.lists(st.integers(0, 7), min_size=1, max_size=8),
    forced=st.booleans(),
)
def test_the_compiled_tree_is_the_other_one(seed, memory, capacity, cuts, forced):
    """With dead slots, ends, and arcs that last: every table is the same after each chunk, and when most must die."""
    random, which = np.random.default_rng(seed), np.array([2, 0])
    onward = np.array([True, memory == 1, True, True])
    width = len(onward)
    trees = [Survivors(3, memory, onward, capacity) for _ in range(2)]
    trees[1]._trees = None
    for count in cuts:
        came = np.full((2, count, width), -1, np.int32)
        for i, stream in enumerate(which):
            alive = trees[0].open[stream].copy()  # the latest time first
            for now in range(count):
                begins = trees[0].time[stream] + now == 0
                for slot in range(width):
                    above = np.flatnonzero(alive & (onward | begins)) if not begins else np.array([0])
                    if len(above) and random.random() < 0.8:
                        came[i, now, slot] = random.choice(above)
                alive = np.concatenate([came[i, now][None] >= 0, alive[:-1] & onward])
        found = [after(tree, lambda tree: tree.grow(which, np.full(2, count), came)) for tree in trees]  # noqa: B023
        same(*found)
        for stream in which[: int(forced)]:
            age, slot = np.nonzero(trees[0].open[stream])
            if not len(age):
                continue
            end = random.choice((trees[0].time[stream] - age) * width + slot)
            since = random.integers(trees[0].root_time[stream], end // width, endpoint=True)
            call = lambda tree: tree.keep_only(np.array([stream]), np.array([end]), np.array([since]))  # noqa: B023, E731
            same(*(after(tree, call) for tree in trees))
    again = Survivors(3, memory, onward, capacity)
    again.restore(trees[1].tables(), trees[1].open)
    assert all(again.leads_up(stream) for stream in range(3))
    same(after(again, lambda _: None), after(trees[1], lambda _: None))


def after(tree, call):
    """All that can be known of a tree behind a call."""
    answer, (which, passed) = call(tree), tree.settle(np.arange(3))
    first, open_nodes = tree.first_children(np.arange(3)), tree.open.copy()
    tables = {name: x.copy() for name, x in tree.tables().items()}
    return tables | {"answer": answer, "which": which, "passed": passed, "first": first, "open": open_nodes}


def same(fast, other):
    for name, table in fast.items():
        np.testing.assert_array_equal(table, other[name], err_msg=name)


@compiled
@pytest.mark.parametrize(
    ("change", "call"),
    [
        ({"codes": np.full((1, 4, 2), -1, np.int32)}, "keep"),
        ({"codes": np.full((1, 4, 2), 5, np.int32)}, "path"),
        ({"ends": np.array([8])}, "keep"),
        ({"ends": np.array([-1])}, "keep"),
        ({"ends": np.array([2])}, "keep"),
        ({"streams": np.array([1])}, "keep"),
        ({"streams": np.array([-1])}, "keep"),
        ({"since": np.array([2, 2])}, "keep"),
        ({"out": np.zeros(2, np.int64)}, "keep"),
        ({"node": 8}, "path"),
        ({"node": -1}, "path"),
        ({"stream": 1}, "path"),
        ({"stream": -1}, "path"),
        ({"streams": np.array([1])}, "grow"),
        ({"streams": np.array([0, 0]), "steps": np.ones(2, np.int64), "came": np.zeros((2, 1, 2), np.int32)}, "grow"),
        ({"steps": np.array([2])}, "grow"),
        ({"steps": np.array([1, 1])}, "grow"),
        ({"came": np.full((1, 1, 2), 8, np.int32)}, "grow"),
        ({"came": np.zeros((1, 1, 3), np.int32)}, "grow"),
        ({"steps": np.array([2]), "came": np.zeros((1, 2, 2), np.int32)}, "grow"),
        ({"threads": 0}, "grow"),
        ({"root": np.array([99])}, "grow"),
        ({"root": np.array([-1])}, "first_children"),
        ({"open": np.ones((1, 0, 2), bool)}, "first_children"),
        ({"open": np.ones((1, 2, 3), bool)}, "first_children"),
        ({"onward": np.ones(3, bool)}, "first_children"),
        ({"time": np.zeros(2, np.int64)}, "first_children"),
        ({"time": np.array([5])}, "first_children"),
        ({"codes": np.zeros((2, 4, 2), np.int32)}, "first_children"),
        ({"codes": np.zeros((1, 0, 2), np.int32)}, "first_children"),
        ({"codes": np.full((1, 4, 2), 6, np.int32)}, "first_children"),
        ({"out": np.zeros(2, np.int64)}, "first_children"),
        ({"streams": np.array([1])}, "settle"),
    ],
    ids=lambda x: "_".join(x) if isinstance(x, dict) else x,
)
def test_tables_that_do_not_fit_are_refused(change, call):
    """As a file may hold them."""
    given = {"codes": np.zeros((1, 4, 2), np.int32), "time": np.array([3]), "root": np.array([2])}
    given |= {"onward": np.ones(2, bool), "open": np.ones((1, 2, 2), bool)}
    streams, one = np.array([0]), np.array([1])
    more = {
        "keep": {"streams": streams, "ends": np.array([6]), "since": np.array([2]), "out": np.zeros(1, np.int64)},
        "path": {"stream": 0, "node": 6},
        "grow": {"streams": streams, "steps": one, "came": np.zeros((1, 1, 2), np.int32), "threads": 1},
        "settle": {"streams": streams},
        "first_children": {"streams": streams, "out": np.zeros(1, np.int64)},
    }[call]
    getattr(tensors.MODULE.SurvivorTrees(1), call)(
        **{n: x.copy() if isinstance(x, np.ndarray) else x for n, x in (given | more).items()}
    )
    with pytest.raises(ValueError, match=r"Survivors|threads"):
        getattr(tensors.MODULE.SurvivorTrees(1), call)(**(given | more | change))


@compiled
@pytest.mark.parametrize("streams", [-1, 1 << 50])
def test_a_number_of_streams_that_cannot_be_is_refused(streams):
    with pytest.raises(ValueError, match="streams"):
        tensors.MODULE.SurvivorTrees(streams)
