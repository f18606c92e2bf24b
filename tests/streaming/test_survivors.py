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
    nodes, kept = tree.keep_only(alone, np.array([12 * 4 + 2]), path[:1] // 4)
    node = int(path[0])
    assert nodes.tolist() == [node]
    for slot in range(4):
        assert bool(kept[0, 0, slot]) == (node in tree.path(0, 12 * 4 + slot).tolist())
    tree.settle(alone)
    assert int(tree.root[0]) >= node


@compiled
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    memory=st.integers(1, 4),
    capacity=st.sampled_from([2, 64]),
    cuts=st.lists(st.integers(0, 7), min_size=1, max_size=8),
)
def test_the_compiled_tree_is_the_other_one(seed, memory, capacity, cuts):
    """With dead slots, ends, and arcs that last: every table is the same after each chunk, and when most must die."""
    random = np.random.default_rng(seed)
    onward, streams = np.array([True, memory == 1, True]), np.array([2, 0])
    trees = [Survivors(3, memory, onward, capacity) for _ in range(2)]
    lives = np.ones((2, 1, 3), bool)  # at time 0
    for count in cuts:
        shape = (2, count, 3)
        source, delay = random.choice(np.flatnonzero(onward), shape), random.integers(1, memory + 1, shape)
        alive = random.random(shape) < 0.8
        for now in range(count):  # who lives comes from who lived; nothing but time 1 comes from time 0
            delay[:, now] = np.minimum(delay[:, now], max(lives.shape[1] - 1, 1))
            came = lives.shape[1] - delay[:, now]
            alive[:, now] &= lives[np.arange(2)[:, None], came, source[:, now]]
            lives = np.concatenate([lives, alive[:, now, None]], 1)
        steps = np.full(2, count)
        found = []
        for tree, module in zip(trees, (tensors.MODULE, None), strict=True):
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(tensors, "MODULE", module)
                tree.grow(streams, steps, np.where(alive, (delay - 1) * 3 + source, -1).astype(np.int32))
                which, passed = tree.settle(streams)
                found.append(
                    {**tree.tables(), "which": which, "passed": passed, "first": tree.first_children(np.arange(3))}
                )
        same(*found)
    living = np.flatnonzero(lives[1, -1])
    if lives.shape[1] > 1 and len(living):
        end = trees[0].time[[0]] * 3 + random.choice(living)
        since = random.integers(trees[0].root_time[[0]], end // 3, endpoint=True)
        found = []
        for tree, module in zip(trees, (tensors.MODULE, None), strict=True):
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(tensors, "MODULE", module)
                nodes, kept = tree.keep_only(streams[1:], end, since)
                found.append({**tree.tables(), "all come from": nodes, "kept": kept})
        same(*found)


def same(fast, other):
    for name, table in fast.items():
        np.testing.assert_array_equal(table, other[name], err_msg=name)


def node(**fields):
    """Nodes of one stream, four times and two slots; the root at time 1 has these fields."""
    nodes = np.tile(np.array([0, 1, 0], np.int32), (1, 4, 2, 1))
    for name, number in fields.items():
        nodes[0, 1, :, ["pending", "parent", "sum"].index(name)] = number
    return nodes


@compiled
@pytest.mark.parametrize(
    ("change", "call"),
    [
        ({"nodes": node(parent=99), "ends": np.array([3])}, "keep"),
        ({"nodes": node(parent=7), "ends": np.array([3])}, "keep"),
        ({"ends": np.array([8])}, "keep"),
        ({"ends": np.array([-1])}, "keep"),
        ({"ends": np.array([1])}, "keep"),
        ({"streams": np.array([1])}, "keep"),
        ({"streams": np.array([-1])}, "keep"),
        ({"since": np.array([2, 2])}, "keep"),
        ({"kept": np.zeros((1, 2, 3), bool)}, "keep"),
        ({"streams": np.array([1])}, "grow"),
        ({"streams": np.array([0, 0]), "steps": np.ones(2, np.int64), "came": np.zeros((2, 1, 2), np.int32)}, "grow"),
        ({"steps": np.array([2])}, "grow"),
        ({"steps": np.array([1, 1])}, "grow"),
        ({"came": np.full((1, 1, 2), 8, np.int32)}, "grow"),
        ({"came": np.zeros((1, 1, 3), np.int32)}, "grow"),
        ({"threads": 0}, "grow"),
        ({"root": np.array([99])}, "grow"),
        ({"root": np.array([-1])}, "first"),
        ({"memory": 0}, "first"),
        ({"onward": np.ones(3, bool)}, "first"),
        ({"time": np.zeros(2, np.int64)}, "first"),
        ({"nodes": np.zeros((1, 4, 2, 4), np.int32)}, "first"),
        ({"out": np.zeros(2, np.int64)}, "first"),
        ({"nodes": node(pending=1, sum=8)}, "settle"),
        ({"nodes": node(pending=1, sum=-1)}, "settle"),
        ({"nodes": node(pending=1, sum=2)}, "settle"),
        ({"streams": np.array([1])}, "settle"),
    ],
    ids=lambda x: "_".join(x) if isinstance(x, dict) else x,
)
def test_tables_that_do_not_fit_are_refused(change, call):
    """As a file may hold them."""
    given = {"nodes": node(), "time": np.array([3]), "root": np.array([2]), "onward": np.ones(2, bool), "memory": 2}
    streams, steps = np.array([0]), np.array([1])
    more = {
        "keep": {
            "streams": streams,
            "ends": np.array([6]),
            "since": np.array([2]),
            "out": np.zeros(1, np.int64),
            "kept": np.zeros((1, 2, 2), bool),
        },
        "grow": {"streams": streams, "steps": steps, "came": np.zeros((1, 1, 2), np.int32), "threads": 1},
        "settle": {"streams": streams},
        "first": {"streams": streams, "out": np.zeros(1, np.int64)},
    }[call]
    name = "first_children" if call == "first" else f"{call}_survivors"
    getattr(tensors.MODULE, name)(
        **{n: x.copy() if isinstance(x, np.ndarray) else x for n, x in (given | more).items()}
    )
    with pytest.raises(ValueError, match=r"Survivors|threads"):
        getattr(tensors.MODULE, name)(**(given | more | change))
