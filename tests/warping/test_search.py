"""Subsequence search: every stretch tried, in all step patterns."""

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from dtaidistance.subsequence.dtw import subsequence_alignment
from torch import Tensor
from torch.testing import assert_close

from semihmm import StepPattern
from semihmm.engine import pairs as compiled
from semihmm.engine.backends import native
from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.structures.dtw import PATTERNS
from semihmm.warping import dtw, search

searching = importlib.import_module("semihmm.warping.search")  # whose function has its name


def every_stretch(query: Tensor, series: Tensor, k: int, **options: Any) -> list[tuple[int, int, float]]:
    """The nearest of all stretches, then the nearest that it leaves."""
    tried = []
    for start in range(len(series)):
        for stop in range(start + 1, len(series) + 1):
            try:
                tried.append((float(dtw(query, series[start:stop], **options).distance), start, stop))
            except StructureError:  # the slopes of the step pattern do not allow it
                continue
    found: list[tuple[int, int, float]] = []
    for distance, start, stop in sorted(tried):
        if len(found) < k and all(stop <= a or b <= start for a, b, _ in found):
            found.append((start, stop, distance))
    return found


@pytest.fixture(params=["native", "torch"])
def worker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch":
        monkeypatch.setattr(compiled, "MODULE", None)
    elif native() is None:
        pytest.skip("the native backend is not loaded")


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("metric", "pattern"),
    [
        ("squared", "symmetric1"),
        ("euclidean", "symmetric2"),
        ("cosine", "symmetric1"),
        ("squared", "asymmetric"),
        ("manhattan", "symmetricP1"),
    ],
)
@pytest.mark.parametrize("n", [1, 4])
def test_matches_are_the_nearest_stretches_that_do_not_overlap(metric: Any, pattern: str, n: int) -> None:
    query, series = torch.randn(n, 2, dtype=torch.float64), torch.randn(17, 2, dtype=torch.float64)
    expected = every_stretch(query, series, 30, metric=metric, step_pattern=pattern)
    for k in (1, 3, 30):
        found = search(query, series, k, metric=metric, step_pattern=pattern)
        start, stop, distance = zip(*expected[:k], strict=True)
        assert found.start.tolist() == list(start) and found.stop.tolist() == list(stop)
        assert_close(found.distance, torch.tensor(distance, dtype=torch.float64))


FAR = StepPattern((((1, 1, 1.0),), ((0, 3, 1.0),), ((2, 1, 0.5),)))  # no slope says how far it goes
TIED = {
    "symmetricP0",
    "asymmetricP0",
}  # symmetric2 again; and ends that cost the same, since steps aside are free
SLOPES = [*sorted(set(PATTERNS) - TIED), StepPattern.rabiner_juang(5, "c"), FAR]


@pytest.mark.parametrize("pattern", SLOPES)
@pytest.mark.parametrize("n", [1, 4])
def test_the_matches_of_every_step_pattern_are_the_nearest_stretches(
    pattern: Any, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "CELLS", 1)  # costs of few items at a time
    for seed in range(2):
        draw = torch.Generator().manual_seed(seed)
        query, series = (torch.randn(size, generator=draw, dtype=torch.float64) for size in (n, 26))
        expected = every_stretch(query, series, 30, metric=apart, step_pattern=pattern)
        found = search(query, series, 30, metric=apart, step_pattern=pattern)
        assert found.start.tolist() == [start for start, _, _ in expected]
        assert found.stop.tolist() == [stop for _, stop, _ in expected]
        assert_close(found.distance, torch.tensor([distance for _, _, distance in expected], dtype=torch.float64))


def apart(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().sum(-1)  # no two of its sums are equal


def test_what_costs_nothing_is_not_below_0() -> None:
    assert str(float(search([1.0, 2.0], [0.0, 1.0, 2.0], metric=apart).distance)) == "0.0"


@pytest.mark.parametrize(
    "options", [{"metric": apart}, {"step_pattern": "symmetricP1"}, {"step_pattern": "asymmetric"}]
)
def test_no_matrix_of_a_whole_long_series_is_made(options: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    ends = searching.ends
    monkeypatch.setattr(searching, "ends", lambda structure: made.append(structure.cost.numel()) or ends(structure))
    monkeypatch.setattr(searching, "CELLS", 6000)
    query, series = torch.randn(6, dtype=torch.float64), torch.randn(5000, dtype=torch.float64)
    found = search(query, series, 3, **options)
    assert 5 < len(made) < 12 and max(made) < 7000
    monkeypatch.setattr(searching, "CELLS", 1 << 20)
    whole = search(query, series, 3, **options)
    assert torch.equal(found.start, whole.start) and torch.equal(found.stop, whole.stop)


@pytest.mark.usefixtures("worker")
def test_many_matches_in_a_long_series_are_each_the_nearest_of_what_is_left() -> None:
    query, series = torch.randn(5, dtype=torch.float64), torch.randn(300, dtype=torch.float64).cumsum(0)
    found = search(query, series, 40)
    used = torch.zeros(300, dtype=torch.bool)
    for start, stop, distance in zip(*(x.tolist() for x in found), strict=True):
        gaps = [gap for gap in np.split(np.arange(300), np.flatnonzero(used.diff()) + 1) if not used[gap[0]]]
        best = min(
            float(dtw(query, series[torch.from_numpy(g)], open_begin=True, open_end=True).distance) for g in gaps
        )
        assert distance == pytest.approx(best)
        assert float(dtw(query, series[start:stop]).distance) == pytest.approx(distance)
        assert not bool(used[start:stop].any())
        used[start:stop] = True


def test_the_first_match_is_that_of_dtaidistance() -> None:
    query, series = np.random.default_rng(0).standard_normal(12), np.random.default_rng(1).standard_normal(200)
    theirs = subsequence_alignment(query, series, penalty=0).best_match()
    found = search(query, series)
    assert [int(found.start), int(found.stop) - 1] == theirs.segment
    assert float(found.distance) == pytest.approx(theirs.distance)


def test_a_match_may_be_much_longer_than_the_query() -> None:
    series = torch.cat([torch.tensor([9.0, 0.0]), torch.full((100,), 0.5), torch.tensor([1.0, 9.0])]).double()
    found = search([0.0, 0.5, 1.0], series)  # what lies between may be no shorter
    assert (int(found.start), int(found.stop), float(found.distance)) == (1, 103, 0.0)


@pytest.mark.parametrize(
    ("query", "series", "k", "error", "message"),
    [
        ([1.0], [1.0], 0, ShapeError, "k must be an integer of at least 1, got 0"),
        ([], [1.0], 1, ShapeError, "query must be .* at least one item"),
        ([1.0], [1.0, float("nan")], 1, DataError, r"series must be finite, got nan at \(1, 0\)"),
        (torch.ones(3, 2), torch.ones(5, 3), 1, ShapeError, "as many features, got 2 and 3"),
        (torch.ones(2, 3, 1), torch.ones(5, 1), 1, ShapeError, "one series each"),
    ],
)
def test_an_error_says_what_to_do(query: Any, series: Any, k: int, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        search(query, series, k)


@pytest.mark.parametrize("k", [0, 1.5, "a", True])
def test_how_many_are_searched_for_is_an_int(k: Any) -> None:
    with pytest.raises(ShapeError, match=f"search: k must be an integer of at least 1, got {k!r}"):
        search([1.0, 2.0], [0.0, 1.0, 2.0, 0.0, 1.0, 2.0], k)
