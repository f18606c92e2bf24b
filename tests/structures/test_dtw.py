"""DTW: every way to warp one sequence onto another."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from dtaidistance import dtw as dtaidistance
from dtw import dtw as dtw_python
from dtw import rabinerJuangStepPattern
from dtw import stepPattern as patterns
from dtw.window import itakuraWindow
from torch import Tensor
from tslearn.metrics import dtw_subsequence_path, soft_dtw, soft_dtw_alignment

import semihmm
from semihmm import DTW, StepPattern
from semihmm.engine.backends import native
from semihmm.errors import ShapeError, StructureError
from semihmm.semirings import Count, SmoothMax
from semihmm.structures.dtw import PATTERNS
from semihmm.testing import check_structure, oracle
from semihmm.testing.paths import dtw_paths


def eighths(*shape: int) -> Tensor:
    return torch.randint(-16, 17, shape).double() / 8


def of(n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Two sequences and their distances."""
    x, y = torch.randn(n, dtype=torch.float64), torch.randn(m, dtype=torch.float64)
    return x, y, (x.unsqueeze(-1) - y).abs()


def ragged(n: list[int], m: list[int]) -> dict[str, Tensor]:
    return {"query_lengths": torch.tensor(n), "reference_lengths": torch.tensor(m)}


NO_MOVE_FROM_ABOVE = StepPattern((((1, 1, 1.0), (0, 1, 1.0)), ((1, 0, 2.0), (0, 1, 1.0))))


@pytest.mark.parametrize(
    ("shape", "given"),
    [
        ((1, 1), {}),
        ((3, 3, 4), {"step_pattern": "symmetric1", **ragged([3, 2, 1], [4, 2, 3])}),
        ((2, 3, 3), {"window": 1, "open_begin": True, "open_end": True, **ragged([3, 2], [3, 2])}),
        ((2, 3, 4), {"step_pattern": "symmetricP1", **ragged([3, 2], [4, 4])}),
        (
            (2, 3, 3),
            {"step_pattern": "asymmetric", "window": torch.arange(18).reshape(2, 3, 3) % 7 > 0, "open_end": True},
        ),
        ((4, 4), {"window": "itakura"}),
        ((3, 3), {"step_pattern": NO_MOVE_FROM_ABOVE}),
    ],
)
def test_every_answer_is_that_of_its_paths(shape: tuple[int, ...], given: dict[str, Any]) -> None:
    check_structure(DTW(eighths(*shape), **given), paths=dtw_paths, samples=300)


def test_a_cell_that_counts_0_times_may_still_be_forbidden() -> None:
    cost = eighths(2, 5, 5)
    cost[:, 2, 1] = math.inf
    dtw = DTW(cost, StepPattern.rabiner_juang(2, "a"))  # the second cell of its moves counts 0 times
    torch.testing.assert_close(semihmm.log_partition(dtw), oracle.log_partition(dtw, dtw_paths))
    torch.testing.assert_close(semihmm.log_count(dtw), oracle.log_count(dtw, dtw_paths))
    assert semihmm.marginals(dtw).cost.isfinite().all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (17, 17), (30, 22)])
def test_distance_and_path_are_those_of_dtaidistance(shape: tuple[int, int]) -> None:
    x, y, cost = of(*shape)
    best = semihmm.viterbi(DTW(cost.square(), "symmetric1"))  # dtaidistance takes the root of summed squares
    assert float(-best.score) ** 0.5 == pytest.approx(dtaidistance.distance(x.numpy(), y.numpy()))
    path = [tuple(pair) for pair in best.event.tolist() if pair[0] >= 0]
    assert path == dtaidistance.warping_path(x.numpy(), y.numpy())
    best = semihmm.viterbi(DTW(cost, "symmetric1"))
    inner = dtaidistance.distance(x.numpy(), y.numpy(), inner_dist="euclidean")
    assert float(-best.score) == pytest.approx(inner)


@pytest.mark.parametrize("name", sorted(PATTERNS))
@pytest.mark.parametrize("shape", [(11, 11), (12, 16), (15, 10), (9, 17)])
def test_step_patterns_are_those_of_dtw_python(name: str, shape: tuple[int, int]) -> None:
    assert_agree(of(*shape)[2], PATTERNS[name], getattr(patterns, name))


@pytest.mark.parametrize("kind", range(1, 8))
@pytest.mark.parametrize("weighting", "abcd")
@pytest.mark.parametrize("smoothed", [False, True])
def test_rabiner_and_juangs_patterns_are_those_of_dtw_python(kind: int, weighting: str, smoothed: bool) -> None:
    theirs = rabinerJuangStepPattern(kind, weighting, smoothed)
    assert_agree(of(11, 13)[2], StepPattern.rabiner_juang(kind, weighting, smoothed), theirs)


def assert_agree(cost: Tensor, ours: StepPattern, theirs: patterns.StepPattern) -> None:
    """Distances, and the pairs where moves arrive."""
    best = semihmm.viterbi(DTW(cost, ours))
    try:
        expected = dtw_python(cost.numpy(), step_pattern=theirs)
    except ValueError:  # no path has such slopes
        assert not best.valid
        return
    assert float(-best.score) == pytest.approx(expected.distance)
    pairs = list(zip(expected.index1s.tolist(), expected.index2s.tolist(), strict=True))
    found = torch.tensor(pairs + [(-1, -1)] * (best.event.shape[0] - len(pairs)))
    assert float(semihmm.score(DTW(cost, ours), found)) == pytest.approx(float(best.score))


@pytest.mark.parametrize("name", ["symmetric1", "symmetric2", "asymmetric"])
@pytest.mark.parametrize("shape", [(9, 9), (9, 14), (14, 9)])
def test_windows_are_those_of_dtw_python(name: str, shape: tuple[int, int]) -> None:
    cost, pattern = of(*shape)[2], getattr(patterns, name)
    for window in (3, 6):
        best = semihmm.viterbi(DTW(cost, name, window))
        try:
            given = {"window_type": "sakoechiba", "window_args": {"window_size": window}}
            expected = dtw_python(cost.numpy(), step_pattern=pattern, **given)
        except ValueError:
            assert not best.valid
        else:
            assert float(-best.score) == pytest.approx(expected.distance)


SIZES = [(1, 1), (1, 2), (2, 3), (9, 9), (9, 14), (14, 9), (10, 20), (20, 10), (5, 7), (4, 5), (17, 30)]


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_itakuras_window_is_what_dtw_python_allows_both_ways_round(n: int, m: int) -> None:
    """Of its two pairs of slopes, one lies an item further out: it allows more to a query than to a reference."""
    ours = DTW(torch.zeros(n, m), "symmetric1", "itakura")
    i, j = torch.arange(n).unsqueeze(-1), torch.arange(m)
    theirs = itakuraWindow(i, j, n, m) & itakuraWindow(j, i, m, n)
    swapped = DTW(torch.zeros(m, n), "symmetric1", "itakura")
    count, *others = (
        int(semihmm.total(dtw, Count())) for dtw in (ours, DTW(torch.zeros(n, m), "symmetric1", theirs), swapped)
    )
    assert others == [count, count]


@pytest.mark.parametrize("begin", [False, True])
@pytest.mark.parametrize("end", [False, True])
def test_open_ends_are_those_of_dtw_python(begin: bool, end: bool) -> None:
    cost = of(8, 14)[2]
    best = semihmm.viterbi(DTW(cost, "asymmetric", open_begin=begin, open_end=end))
    expected = dtw_python(cost.numpy(), step_pattern=patterns.asymmetric, open_begin=begin, open_end=end)
    assert float(-best.score) == pytest.approx(expected.distance)


def test_subsequence_dtw_is_that_of_tslearn() -> None:
    x, y, cost = of(6, 40)
    best = semihmm.viterbi(DTW(cost.square(), "symmetric1", open_begin=True, open_end=True))
    path, distance = dtw_subsequence_path(x.numpy(), y.numpy())
    assert float(-best.score) == pytest.approx(distance**2)
    assert [tuple(pair) for pair in best.event.tolist() if pair[0] >= 0] == path


@pytest.mark.parametrize("gamma", [0.1, 1.0, 5.0])
def test_soft_dtw_and_its_gradient_are_those_of_tslearn(gamma: float) -> None:
    x, y, cost = of(13, 18)
    cost = cost.square().requires_grad_()
    soft = -semihmm.total(DTW(cost, "symmetric1"), SmoothMax(gamma))
    assert float(soft.detach()) == pytest.approx(soft_dtw(x.numpy(), y.numpy(), gamma=gamma))
    (gradient,) = torch.autograd.grad(soft, cost)
    expected, _ = soft_dtw_alignment(x.numpy(), y.numpy(), gamma=gamma)
    torch.testing.assert_close(gradient, torch.from_numpy(np.array(expected)))


def test_ragged_items_are_as_they_are_alone() -> None:
    cost = torch.rand(4, 12, 9, dtype=torch.float64)
    n, m = torch.tensor([12, 5, 1, 9]), torch.tensor([9, 9, 4, 1])
    alone = [cost[k, :i, :j].clone() for k, (i, j) in enumerate(zip(n.tolist(), m.tolist(), strict=True))]
    for k, x in enumerate(cost):
        x[n[k] :], x[:, m[k] :] = math.nan, math.nan
    cost.requires_grad_()
    for kind in ({}, {"open_begin": True, "open_end": True}, {"window": 8}):
        dtw = DTW(cost, **kind, query_lengths=n, reference_lengths=m)
        total, best = semihmm.log_partition(dtw), semihmm.viterbi(dtw)
        for k, x in enumerate(alone):
            torch.testing.assert_close(total[k], semihmm.log_partition(DTW(x, **kind)))
            one = semihmm.viterbi(DTW(x, **kind))
            assert torch.equal(best.event[k, : len(one.event)], one.event)
            assert bool((best.event[k, len(one.event) :] == -1).all())
        assert torch.autograd.grad(total.sum(), cost)[0].isfinite().all()


def test_what_is_no_warping_path_has_no_score() -> None:
    dtw = DTW(torch.ones(2, 3), "symmetric2")
    events = [
        [[0, 0], [1, 1], [1, 2], [-1, -1]],
        [[0, 0], [0, 1], [0, 2], [1, 2]],
        [[0, 0], [1, 2], [-1, -1], [-1, -1]],  # too far
        [[0, 1], [1, 2], [-1, -1], [-1, -1]],  # begins late
        [[0, 0], [1, 1], [-1, -1], [-1, -1]],  # ends early
        [[0, 0], [-1, -1], [1, 1], [1, 2]],  # a gap
        [[0, 0], [0, 0], [1, 1], [1, 2]],  # stands still
    ]
    assert dtw.score(torch.tensor(events)).tolist() == [-4.0, -4.0] + [-math.inf] * 5
    anywhere = DTW(torch.ones(2, 3), "symmetric2", open_begin=True, open_end=True)
    assert anywhere.score(torch.tensor(events)).tolist() == [-4.0, -4.0, -math.inf, -3.0, -3.0] + [-math.inf] * 2


def test_an_unreachable_corner_is_impossible() -> None:
    cost = torch.rand(5, 2, requires_grad=True)
    dtw = DTW(cost, "symmetric1", 1)
    total = semihmm.log_partition(dtw)
    assert total == -math.inf and not semihmm.viterbi(dtw).valid
    assert not torch.autograd.grad(total, cost)[0].any()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"cost": torch.zeros(3)}, ShapeError, "cost must be"),
        ({"cost": torch.zeros(3, 0)}, ShapeError, "at least one item"),
        ({"step_pattern": "symmetric3"}, StructureError, "one of symmetric1, symmetric2"),
        ({"window": "sakoe"}, StructureError, "window must be"),
        ({"window": -1}, StructureError, "window must be"),
        ({"window": torch.ones(3, 4)}, ShapeError, "window must be bool"),
        ({"window": torch.ones(3, 3).bool()}, ShapeError, "so window must be .3, 4.; got .3, 3."),
        ({"query_lengths": torch.tensor(4)}, ShapeError, "query_lengths must lie between 1 and 3"),
        ({"reference_lengths": torch.tensor(0)}, ShapeError, "reference_lengths must lie between 1 and 4"),
    ],
)
def test_an_error_says_what_is_wrong(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DTW(**{"cost": torch.zeros(3, 4), **given})


def test_a_step_pattern_must_move() -> None:
    for moves in ((), (((0, 0, 1.0),),), (((1, -1, 1.0),),), (((1, 1, 1.0),), ((1, 0, 1.0), (0, 1, 1.0)))):
        with pytest.raises(StructureError, match="no two moves may go equally far"):
            StepPattern(moves)
    with pytest.raises(StructureError, match="kind must be 1 to 7"):
        StepPattern.rabiner_juang(8)


@pytest.mark.parametrize("backend", ["native", "torch"])
@pytest.mark.parametrize("pattern", ["asymmetricP0", "symmetric2", "asymmetric"])
def test_no_path_goes_through_a_cell_that_none_weighs(pattern, backend):
    """Moves to the right cost nothing in ``asymmetricP0``: of a row, only the cell where a path comes in counts."""
    if backend == "native" and native() is None:
        pytest.skip("the native backend is not loaded")
    for n, m in ((1, 1), (1, 3), (2, 3), (3, 2)):
        for opened in (False, True):
            structure = DTW(eighths(2, n, m), pattern, open_begin=opened, open_end=opened)
            found = semihmm.max_marginals(structure, backend=backend).cost
            assert torch.equal(found, oracle.max_marginals(structure)["cost"])
    only = DTW(torch.tensor([[1.0, 2.0]]), "asymmetricP0")
    assert semihmm.max_marginals(only, backend=backend).cost.tolist() == [[-1.0, -math.inf]]
