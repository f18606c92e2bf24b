"""The tree of paths: what it calls certain is what all paths have in common."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semihmm.streaming.survivors import Survivors


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
        tree.grow(alone, np.array([count]), source, np.ones_like(source), np.ones(source.shape, bool))
        at += count
        found += tree.settle(alone)[0].tolist()
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
    tree.grow(alone, np.array([12]), parents[None], np.ones((1, 12, 4), int), np.ones((1, 12, 4), bool))
    path = tree.path(0, 12 * 4 + 2)
    node = int(path[0])
    kept = tree.keep_only(0, node)
    for slot in range(4):
        assert bool(kept[0, slot]) == (node in tree.path(0, 12 * 4 + slot).tolist())
    tree.settle(alone)
    assert int(tree.root[0]) >= node
