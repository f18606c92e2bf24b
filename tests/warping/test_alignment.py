"""`semihmm.warping.dtw`: what other packages find, whatever form the series come in."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from dtaidistance import dtw as dtaidistance
from dtw import dtw as dtw_python
from dtw import stepPattern as patterns
from scipy.spatial.distance import cdist as scipy_cdist
from torch import Tensor
from torch.testing import assert_close
from tslearn.metrics import dtw as tslearn_dtw

import semihmm
from semihmm import DTW, StepPattern
from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.structures.dtw import PATTERNS
from semihmm.warping import dtw
from semihmm.warping.alignment import ends

NORMALIZED = [name for name in sorted(PATTERNS) if PATTERNS[name].normalization]


def series(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize(("n", "m", "features"), [(1, 1, 1), (1, 5, 2), (12, 9, 1), (9, 20, 3)])
def test_the_distance_is_that_of_dtaidistance_and_tslearn(n: int, m: int, features: int) -> None:
    x, y = series(n, features), series(m, features)
    found = dtw(x, y)
    assert float(found.distance) == pytest.approx(tslearn_dtw(x.numpy(), y.numpy()))
    assert float(found.cost) == pytest.approx(float(found.distance) ** 2)
    if features == 1:
        assert float(dtw(x[:, 0], y[:, 0]).distance) == pytest.approx(dtaidistance.distance(*x.T.numpy(), *y.T.numpy()))


@pytest.mark.parametrize(
    ("metric", "theirs"),
    [("squared", "sqeuclidean"), ("euclidean", "euclidean"), ("manhattan", "cityblock"), ("cosine", "cosine")],
)
def test_a_metric_is_scipys(metric: str, theirs: Any) -> None:
    x, y = series(6, 3), series(8, 3)
    expected = torch.from_numpy(scipy_cdist(x.numpy(), y.numpy(), theirs))
    assert_close(dtw(x, y, metric=metric).structure.cost, expected)
    assert_close(dtw(x, y, metric=metric).cost, dtw(expected).distance)


def test_a_metric_may_be_any_function_of_items() -> None:
    x, y = series(2, 5, 3), series(2, 4, 3)
    found = dtw(x, y, metric=lambda a, b: (a - b).abs().amax(-1))
    expected = [torch.from_numpy(scipy_cdist(a.numpy(), b.numpy(), "chebyshev")) for a, b in zip(x, y, strict=True)]
    assert_close(found.distance, dtw(torch.stack(expected)).distance)


@pytest.mark.parametrize("name", NORMALIZED)
@pytest.mark.parametrize("seed", range(7))
@pytest.mark.parametrize("opened", [False, True])
def test_open_ends_and_normalised_distances_are_those_of_dtw_python(name: str, seed: int, opened: bool) -> None:
    cost = torch.rand(9, 9 if name == "rigid" else 12, generator=torch.Generator().manual_seed(seed)).double()
    expected = dtw_python(cost.numpy(), step_pattern=getattr(patterns, name), open_end=opened)
    found = dtw(cost, step_pattern=name, open_end=opened)
    assert float(found.distance) == pytest.approx(expected.distance)
    assert float(found.normalized_distance) == pytest.approx(expected.normalizedDistance)


@pytest.mark.parametrize("name", ["asymmetric", "asymmetricP0", "symmetric1", "symmetric2"])
def test_both_ends_open_is_where_the_cost_is_least(name: str) -> None:
    cost = torch.rand(7, 15, dtype=torch.float64)
    found = dtw(cost, step_pattern=name, open_begin=True, open_end=True)
    assert_close(found.cost, -semihmm.viterbi(DTW(cost, name, None, True, True)).score)


def test_what_a_step_pattern_counts() -> None:
    for name in ("symmetric2", "symmetricP05", "asymmetric", "asymmetricP05", "mori2006", "rigid", "symmetric1"):
        hint = getattr(patterns, name).hint
        assert PATTERNS[name].normalization == (None if hint == "NA" else hint)
    for weighting, counted in {"a": None, "c": "N", "d": "N+M"}.items():
        assert {StepPattern.rabiner_juang(k, weighting).normalization for k in range(1, 8)} == {counted}


@pytest.mark.parametrize("options", [{}, {"window": "itakura"}, {"window": 6}, {"open_end": True}])
@pytest.mark.parametrize("pattern", ["symmetric1", "symmetric2"])
def test_a_ragged_batch_is_its_pairs_side_by_side(options: dict[str, Any], pattern: str) -> None:
    sizes = [(9, 9), (5, 7), (1, 1), (8, 5)]
    x, y = [series(n, 2) for n, _ in sizes], [series(m, 2) for _, m in sizes]
    together = dtw(x, y, step_pattern=pattern, **options)
    for k, pair in enumerate(zip(x, y, strict=True)):
        alone = dtw(*pair, step_pattern=pattern, **options)
        assert_close(together.distance[k], alone.distance)
        assert_close(together.normalized_distance[k], alone.normalized_distance)
        assert torch.equal(together.path[k, : len(alone.path)], alone.path)
        for name in ("to_reference", "to_query"):
            own = getattr(alone, name)
            assert_close(getattr(together, name)[k, : len(own)], own, equal_nan=True)


def test_a_warping_function_goes_through_the_pairs() -> None:
    found = dtw([0.0, 2.0, 2.0], [0.0, 0.1, 2.0])
    assert found.path[:4].tolist() == [[0, 0], [0, 1], [1, 2], [2, 2]]
    assert found.to_reference.tolist() == [0.5, 2.0, 2.0]
    assert found.to_query.tolist() == [0.0, 0.0, 1.5]


def test_between_pairs_a_warping_function_is_a_line() -> None:
    found = dtw(torch.zeros(5, 9), step_pattern="asymmetric")  # two reference items a step: every other one is skipped
    assert found.to_reference.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert found.to_query.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]


def test_an_open_end_leaves_items_without_a_partner() -> None:
    found = dtw([5.0, 6.0], [0.0, 5.0, 6.0, 0.0], open_begin=True, open_end=True)
    assert_close(found.to_query, torch.tensor([math.nan, 0.0, 1.0, math.nan]).double(), equal_nan=True)


@pytest.mark.parametrize("metric", ["squared", "euclidean", "manhattan", "cosine"])
def test_distances_have_gradients_also_where_items_are_equal(metric: str) -> None:
    x = series(5, 2).requires_grad_()
    y = torch.cat([x.detach()[:3], series(3, 2)])
    dtw(x, y, metric=metric).distance.backward()
    assert bool(x.grad.isfinite().all()) and bool(x.grad.any())
    same = x.detach().clone().requires_grad_()
    dtw(same, x.detach()).distance.backward()
    assert not bool(same.grad.any())
    x, y = series(5, 2).requires_grad_(), series(6, 2)
    torch.autograd.gradcheck(lambda x: dtw(x, y, metric=metric).distance, x)


@pytest.mark.parametrize("pattern", [*sorted(set(PATTERNS) - {"rigid"}), StepPattern.rabiner_juang(4, "b")])
def test_the_cost_of_every_end_is_that_of_its_paths(pattern: Any) -> None:
    cost = torch.rand(2, 6, 8, dtype=torch.float64)
    found = ends(DTW(cost, pattern))
    for j in range(8):
        own = semihmm.viterbi(DTW(cost[..., : j + 1], pattern))
        assert_close(found[:, j], -own.score)


def test_numbers_arrays_and_integers_will_do() -> None:
    expected = dtw(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 3.0])).distance.double()
    for x, y in (([0.0, 3.0], [1.0, 3.0]), (np.array([0, 3]), np.array([[1], [3]])), ([[0], [3]], [1, 3])):
        assert_close(dtw(x, y).distance.double(), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_warped_in_single_precision(dtype: torch.dtype) -> None:
    x, y = ((300 * series(n, 2)).to(dtype) for n in (9, 12))
    found, expected = dtw(x, y), dtw(x.float(), y.float())
    assert_close(found.cost, expected.cost)
    assert torch.equal(found.path, expected.path)
    with pytest.raises(DataError, match=r"must be finite, got -?inf at"):
        dtw(x, y / 0)


def test_series_of_a_list_have_the_widest_of_their_dtypes() -> None:
    single, double = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 1e-12], dtype=torch.float64)
    for x in ([single, double], [single.long(), double], [double, single]):
        assert dtw(x, [double, double]).cost.dtype == torch.float64
        assert bool((dtw(x, x[::-1]).cost > 0).all())


def test_the_path_of_one_pair_ends_where_it_does() -> None:
    x, y = series(7), series(9)
    alone, batched = dtw(x, y), dtw(x[None, :, None], y[None, :, None])
    assert bool((alone.path >= 0).all())
    assert torch.equal(batched.path[0, : len(alone.path)], alone.path)
    assert bool((batched.path[0, len(alone.path) :] == -1).all())
    assert_close(semihmm.score(alone.structure, alone.path), -alone.cost)


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        ([1.0], [], {}, ShapeError, "at least one item"),
        ([torch.ones(2), torch.ones(0)], [torch.ones(2)] * 2, {}, ShapeError, r"got none in x\[1\]. Leave it out"),
        ([torch.ones(2), torch.ones(2, 3)], [torch.ones(2)] * 2, {}, ShapeError, "all of as many features"),
        (torch.ones(2, 3), torch.ones(2, 4), {}, ShapeError, "as many features, got 3 and 4. A series is"),
        (torch.ones(2, 3, 1), torch.ones(3, 3, 1), {}, ShapeError, "one series each or as many"),
        ([1.0, math.nan], [1.0], {}, DataError, r"x must be finite, got nan at \(1, 0\)"),
        ([1.0], [math.inf], {}, DataError, "y must be finite"),
        ([1.0, 2.0], [1.0], {"metric": "l3"}, StructureError, "metric must be one of squared, "),
        ([1.0, 2.0], [1.0], {"metric": lambda a, b: a - b}, ShapeError, "must return a tensor .2, 1."),
        ([1.0, 0.0], [1.0], {"metric": "cosine"}, DataError, r"has no direction, .* in x at \(1,\)"),
        ([1.0], [1.0], {"window": True}, StructureError, "window must be an int of at least 0, .* got True"),
        ([1.0], [1.0], {"window": 1.5}, StructureError, "window must be an int of at least 0, .* got 1.5"),
        (torch.ones(2).to_sparse(), [1.0], {}, DataError, r"x must be dense, .*sparse_coo. Pass x.to_dense\(\)"),
        ([1.0], torch.ones(2, device="meta"), {}, DataError, "y must hold numbers, got a tensor on the meta device"),
        (torch.ones(2, 2).to_sparse(), None, {}, DataError, "x must be dense"),
        ([1.0] * 9, [1.0] * 4, {"window": 3}, StructureError, "9 and 4 long; a window of 3 .*: make it at least 5"),
        ([1.0] * 9, [1.0] * 4, {"window": "itakura"}, StructureError, "make the window wider"),
        ([1.0] * 9, [1.0] * 4, {"step_pattern": "rigid"}, StructureError, "'rigid' do not allow it"),
        ([torch.ones(2)] * 2, [torch.ones(2), torch.ones(9)], {"window": 0}, StructureError, "of pair 1, 2 and 9 long"),
    ],
)
def test_an_error_says_what_to_do(x: Any, y: Any, options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        dtw(x, y, **options)
