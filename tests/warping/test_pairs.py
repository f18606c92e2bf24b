"""All pairs of series: one after the other, by other packages, and by bounds that leave most of them out."""

from typing import Any

import pytest
import torch
from dtaidistance import dtw as dtaidistance
from dtaidistance.dtw import lb_keogh as their_lb_keogh
from torch import Tensor
from torch.testing import assert_close
from tslearn.metrics import cdist_dtw

import semihmm
from semihmm import StepPattern
from semihmm.engine import pairs as compiled
from semihmm.engine.backends import native
from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.warping import cdist, dtw, lb_keogh, lb_kim, nearest
from semihmm.warping.series import METRICS

# A tile is 8 to 64 rows: series of part of a tile and of several, and such as are shorter than a tile is high.
SIZES = [1, 2, 15, 17, 33, 64, 65, 66, 130, 150]
UNEVEN = StepPattern((((1, 0, 0.5),), ((0, 1, 3.0),), ((1, 1, 1.25),)))


def series(*sizes: int, features: int = 1, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.randn(n, features, dtype=dtype) for n in sizes]


def one_by_one(x: list[Tensor], y: list[Tensor], **options: Any) -> Tensor:
    def distance(a: Tensor, b: Tensor) -> Tensor:
        try:
            return dtw(a, b, **options).distance
        except StructureError:  # no path stays in the window
            return a.new_tensor(torch.inf)

    return torch.stack([torch.stack([distance(a, b) for b in y]) for a in x])


@pytest.fixture(params=["native", "torch"])
def worker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who computes pairs: compiled code, or totals of structures."""
    if request.param == "torch":
        monkeypatch.setattr(compiled, "MODULE", None)
    elif native() is None:
        pytest.skip("the native backend is not loaded")
    return request.param


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("features", [1, 3])
def test_all_pairs_are_the_pairs_one_by_one(metric: str, features: int) -> None:
    x, y = series(1, 40, 66, features=features), series(*SIZES, features=features)
    assert_close(cdist(x, y, metric=metric), one_by_one(x, y, metric=metric))


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("pattern", ["symmetric1", "symmetric2", "asymmetric", "symmetricP1", UNEVEN])
@pytest.mark.parametrize("window", [None, 0, 3, 40, "itakura"])
def test_windows_and_step_patterns_of_pairs(pattern: Any, window: Any) -> None:
    sizes = (1, 30, 64, 70)
    x = series(*sizes)
    expected = one_by_one(x, x, step_pattern=pattern, window=window)
    assert_close(cdist(x, x, step_pattern=pattern, window=window), expected)
    assert_close(cdist(x, step_pattern=pattern, window=window), expected)


@pytest.mark.usefixtures("worker")
def test_a_window_may_be_any_mask() -> None:
    x, y = series(70, 70), series(40, 40, 40)
    i, j = torch.arange(70).unsqueeze(-1), torch.arange(40)
    band = (4 * i <= 7 * j + 50) & (7 * j <= 4 * i + 30)
    for mask in (band, band & ((i + j) % 9 > 0), band & (i != 20)):  # whole rows, rows with gaps, an empty row
        assert_close(cdist(x, y, window=mask), one_by_one(x, y, window=mask))


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("metric", METRICS)
def test_single_precision_is_as_good_as_it_can_be(metric: str) -> None:
    x, y = series(60, 100, features=2), series(80, 5, features=2)
    found = cdist([a.float() for a in x], [b.float() for b in y], metric=metric)
    assert found.dtype == torch.float32
    assert_close(found.double(), cdist(x, y, metric=metric), rtol=1e-5, atol=1e-6)


def test_long_series_of_single_precision_keep_their_digits() -> None:
    x, y = series(2000, 2000, dtype=torch.float32)
    found = cdist(x[None], y[None])
    assert_close(found.double(), cdist(x[None].double(), y[None].double()), rtol=1e-6, atol=0.0)


def test_pairs_are_those_of_tslearn_and_dtaidistance() -> None:
    x, y = torch.randn(4, 20, dtype=torch.float64), torch.randn(3, 25, dtype=torch.float64)
    assert_close(cdist(x, y), torch.from_numpy(cdist_dtw(x.numpy(), y.numpy())))
    theirs = torch.from_numpy(dtaidistance.distance_matrix_fast(x.numpy(), window=4, parallel=False))
    assert_close(cdist(x, window=3), theirs)  # which counts the cell itself


@pytest.mark.parametrize("metric", ["squared", "euclidean", "manhattan"])
@pytest.mark.parametrize("window", [None, 0, 3, 20])
@pytest.mark.parametrize("pattern", ["symmetric1", "symmetric2"])
def test_a_lower_bound_is_never_above_the_cost(metric: Any, window: int | None, pattern: str) -> None:
    x, y = series(1, 2, 20, 17, features=2), series(1, 3, 20, 25, 16, features=2)
    distance = cdist(x, y, metric=metric, window=window, step_pattern=pattern)
    for bound in (lb_kim(x, y, metric=metric), lb_keogh(x, y, metric=metric, window=window)):
        assert bound.shape == distance.shape
        assert bool((bound <= distance * (1 + 1e-12)).all())
        assert bool((bound > 0.2 * distance.clamp(max=10.0)).any())


def test_lb_keogh_is_that_of_dtaidistance() -> None:
    x, y = series(30, 30)
    expected = their_lb_keogh(x[:, 0].numpy(), y[:, 0].numpy(), window=5)
    assert float(lb_keogh(x[None], y[None], window=4)) == pytest.approx(expected)
    same = lb_keogh(x[None], x[None], window=0)
    assert_close(same, torch.zeros_like(same))
    apart = lb_keogh(x[None], y[None], window=0)
    assert_close(apart, (x - y).square().sum().sqrt().reshape(1, 1))


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("window", [None, 4, "itakura"])
@pytest.mark.parametrize("pattern", ["symmetric1", "asymmetric", UNEVEN])
@pytest.mark.parametrize("metric", ["squared", "cosine"])
def test_the_nearest_are_the_first_of_all_sorted(window: Any, pattern: Any, metric: str) -> None:
    x, y = series(30, 25, 9, features=2), series(*[20, 30, 28] * 5, 1, features=2)
    every = cdist(x, y, window=window, step_pattern=pattern, metric=metric).sort(dim=-1, stable=True)
    for k in (1, 3, 16):
        found = nearest(x, y, k, window=window, step_pattern=pattern, metric=metric)
        assert_close(found.distance, every.values[:, :k])
        index = torch.where(every.values.isinf(), -1, every.indices)
        assert torch.equal(found.indices, index[:, :k])


@pytest.mark.usefixtures("worker")
def test_of_equally_near_ones_the_first_comes_first() -> None:
    y = torch.tensor([[9.0, 9.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert nearest([[0.0, 0.0]], y, 4).indices.tolist() == [[2, 4, 1, 3]]


@pytest.mark.skipif(native() is None, reason="the native backend is not loaded")
def test_a_pair_that_costs_more_is_given_up() -> None:
    x = torch.randn(2, 150, 1, dtype=torch.float64)
    sizes = torch.full((2,), 150)
    warper = compiled.Warper.made(x, sizes, x, sizes, "squared", ((1.0, 1), (1.0, 2), (1.0, 0)))
    pair = torch.tensor([[0, 1]] * 3)
    cost = warper.costs(pair)[0][0]
    found, _ = warper.costs(pair, most=torch.stack([cost, cost * 0.999, cost / 10]))
    assert found.tolist() == [float(cost), torch.inf, torch.inf]


@pytest.mark.skipif(native() is None, reason="the native backend is not loaded")
@pytest.mark.parametrize("window", [None, 40, "itakura"])
@pytest.mark.parametrize("pattern", ["symmetric1", UNEVEN])
def test_named_windows_of_single_steps_are_compiled(pattern: Any, window: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semihmm.warping.pairs, "total", lambda *_: pytest.fail("a matrix of costs was made"))
    assert bool(cdist(series(30, 64, 40), step_pattern=pattern, window=window).isfinite().any())


@pytest.mark.usefixtures("worker")
def test_a_metric_may_take_sides() -> None:
    x = series(9, 12, 7)
    options: dict[str, Any] = {"metric": lambda a, b: (a - b).clamp(min=0).sum(-1)}
    assert_close(cdist(x, **options), one_by_one(x, x, **options))


@pytest.mark.parametrize("question", [cdist, nearest])
@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (torch.ones(5), torch.ones(2, 5), {}, ShapeError, r"many series, .* One\? Pass x\[None\]"),
        ([torch.ones(5), torch.ones(0)], torch.ones(2, 5), {}, ShapeError, r"none in x\[1\]"),
        (torch.ones(2, 5, 3), torch.ones(2, 5), {}, ShapeError, "as many features, got 3 and 1"),
        (torch.tensor([[1.0, torch.nan]]), torch.ones(2, 5), {}, DataError, "x must be finite, got nan"),
        (torch.ones(2, 5), torch.ones(2, 4), {"window": -1}, StructureError, "window must be an int"),
        (torch.ones(2, 5), torch.ones(2, 4), {"window": torch.ones(2, 2).bool()}, ShapeError, "window must be"),
        (torch.ones(2, 5), torch.ones(2, 4), {"step_pattern": "none"}, StructureError, "step_pattern must be"),
        (torch.ones(2, 5), torch.ones(2, 4), {"metric": "l3"}, StructureError, "metric must be one of"),
        (torch.zeros(2, 5), torch.ones(2, 4), {"metric": "cosine"}, DataError, "has no direction"),
    ],
)
def test_an_error_says_what_to_do(
    question: Any, x: Any, y: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^(DTW|{question.__name__}): .*"):
        question(x, y, **options)
    with pytest.raises(error, match=message):
        question(x, y, **options)


def test_so_many_neighbours_there_are_not() -> None:
    with pytest.raises(ShapeError, match="k must be from 1 to the 2 series of y, got 3"):
        nearest(torch.ones(1, 4), torch.ones(2, 4), 3)


@pytest.mark.parametrize("window", [-1, 1.5, "a", True])
def test_the_window_of_a_bound_is_an_int(window: Any) -> None:
    with pytest.raises(StructureError, match=f"lb_keogh: window must be an int of at least 0, or None, got {window!r}"):
        lb_keogh([[1.0, 2.0]], [[1.0, 2.0]], window=window)


@pytest.mark.parametrize("k", [0, 1.5, "a", True])
def test_how_many_are_nearest_is_an_int(k: Any) -> None:
    with pytest.raises(ShapeError, match=f"nearest: k must be an integer of at least 1, got {k!r}"):
        nearest([[1.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]], k)
