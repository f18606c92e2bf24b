"""`semihmm.warping.barycenter` and `soft_barycenter`: means of items that lie on them, minima of what warping costs."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import semihmm
from semihmm.engine.backends import native
from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.structures.dtw import PATTERNS
from semihmm.testing import oracle
from semihmm.testing.paths import dtw_paths
from semihmm.warping import averaging, barycenter, dtw, soft_barycenter, soft_dtw
from semihmm.warping.averaging import counted

BOTH = pytest.mark.parametrize("mean", [barycenter, soft_barycenter])
Mean = Callable[..., Any]


def walks(count: int = 4, items: int = 7, features: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, items, features, generator=generator, dtype=torch.float64).cumsum(1)


def ragged(count: int = 4) -> list[Tensor]:
    return [series[: 5 + k % 3] for k, series in enumerate(walks(count))]


@pytest.mark.parametrize("gamma", [0.0, 0.7])
@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("step_pattern", ["symmetric1", "symmetric2", "symmetricP1"])
def test_a_step_puts_items_where_all_paths_say_that_they_lie(
    step_pattern: str, window: int | None, gamma: float
) -> None:
    series, start = [each[: 3 + k] for k, each in enumerate(walks(3, 5))], walks(1, 4, seed=1)[0]
    weights = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    total, mass = torch.zeros(4, 2, dtype=torch.float64), torch.zeros(4, 1, dtype=torch.float64)
    for each, weight in zip(series, weights, strict=True):
        cost = (each.unsqueeze(1) - start).square().sum(-1) / (gamma or 1e-4)  # so cold that only the best path counts
        count = oracle.marginals(semihmm.DTW(cost, step_pattern, window), dtw_paths)["cost"]
        total, mass = total + weight * count.T @ each, mass + weight * count.sum(0).unsqueeze(-1)
    given: dict[str, Any] = {"init": start, "weights": weights, "step_pattern": step_pattern, "window": window}
    found = (
        soft_barycenter(series, gamma=gamma, max_iter=1, **given) if gamma else barycenter(series, max_iter=1, **given)
    )
    assert_close(found.series, total / mass)


@pytest.mark.skipif(native() is None, reason="the native backend is not loaded")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("window", [None, 9, "itakura", "mask"])
@pytest.mark.parametrize("order", list(permutations(((1, 1, 2.0), (0, 1, 1.0), (1, 0, 1.0)))))
def test_compiled_paths_are_those_of_viterbi_where_they_tie(order: Any, window: Any, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    series = [torch.randint(0, 3, (n, 2), generator=generator).to(dtype) for n in (1, 38, 30, 35, 70, 40)]
    series = series if window is None else [each for each in series if 30 <= len(each) <= 40]
    if window == "mask":
        i, j = torch.arange(40).unsqueeze(-1), torch.arange(35)
        window = (5 * i <= 6 * j + 60) & (5 * j <= 6 * i + 40)
    start = torch.randint(0, 3, (35, 2), generator=generator).to(dtype)
    pattern = semihmm.StepPattern(tuple((cell,) for cell in order))
    given: dict[str, Any] = {"init": start, "step_pattern": pattern, "window": window}
    given["weights"] = torch.rand(len(series), generator=generator)
    assert_close(barycenter(series, max_iter=1, **given), barycenter(series, max_iter=1, **given, backend="torch"))


@pytest.mark.skipif(native() is None, reason="the native backend is not loaded")
def test_compiled_means_make_no_matrix_and_are_the_same_bits_on_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("viterbi", "squared_distances"):
        monkeypatch.setattr(averaging, name, lambda *_: pytest.fail("a matrix of costs was made"))
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(barycenter(walks(20, 140)))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0].series, found[1].series) and torch.equal(found[0].cost, found[1].cost)


def test_dba_is_that_of_tslearn() -> None:
    peer = pytest.importorskip("tslearn.barycenters.dba")
    series = walks(6, 20)
    theirs = peer.dtw_barycenter_averaging_petitjean(series.numpy(), max_iter=8, tol=0.0)
    assert_close(barycenter(series, max_iter=8, tol=0.0).series, torch.from_numpy(theirs))


def test_at_a_soft_barycenter_soft_dtw_has_no_slope() -> None:
    series = ragged()
    found = soft_barycenter(series, gamma=0.5, tol=1e-9, max_iter=500)
    at = found.series.requires_grad_()
    cost = torch.stack([soft_dtw(each, at, 0.5) for each in series]).mean()
    assert found.converged
    assert_close(found.cost, cost)
    assert_close(torch.autograd.grad(cost, at)[0], torch.zeros_like(at), atol=1e-7, rtol=0)


def test_a_soft_barycenter_is_no_worse_than_that_of_tslearn() -> None:
    peer = pytest.importorskip("tslearn.barycenters.softdtw")
    series = walks(5, 12)
    theirs = torch.from_numpy(peer.softdtw_barycenter(series.numpy(), gamma=1.0, tol=1e-10, max_iter=500))
    found = soft_barycenter(series, gamma=1.0, tol=1e-7, max_iter=500)
    assert_close(found.cost, soft_dtw(series, theirs.expand(5, -1, -1)).mean(), rtol=1e-6, atol=0)
    assert_close(found.series, theirs, rtol=0, atol=1e-3)


def test_dba_costs_what_dtw_says() -> None:
    found = barycenter(ragged())
    assert_close(found.cost, torch.stack([dtw(each, found.series).cost for each in ragged()]).mean())


@BOTH
def test_no_step_makes_it_worse(mean: Mean) -> None:
    costs = [float(mean(walks(6, 15), max_iter=steps, tol=0.0).cost) for steps in range(1, 12)]
    assert costs == sorted(costs, reverse=True) and costs[-1] < costs[0]


def test_towards_0_a_soft_barycenter_is_that_of_the_best_paths() -> None:
    series = walks(4, 8)
    hard = barycenter(series, max_iter=100, tol=0.0)
    assert_close(soft_barycenter(series, gamma=1e-4, init=hard.series).series, hard.series, atol=1e-3, rtol=0)


@BOTH
def test_a_weight_is_how_often_a_series_is_there(mean: Mean) -> None:
    a, b, c, d = ragged()
    start = walks(1, 6, seed=2)[0]
    weighted = mean([a, b, c, d], init=start, weights=[2.0, 1.0, 0.0, 1.0])
    repeated = mean([a, a, b, d], init=start)
    assert_close(weighted.series, repeated.series)
    assert_close(weighted.cost, repeated.cost)


@BOTH
def test_a_feature_given_twice_has_one_mean(mean: Mean) -> None:
    single = walks(4, 9, 1)
    alone = mean(single)
    twice = mean(single.expand(-1, -1, 2), **({"gamma": 2.0} if mean is soft_barycenter else {}))
    assert_close(twice.series, alone.series.expand(-1, 2))
    flat = mean(single.squeeze(-1))
    assert_close(flat.series, alone.series.squeeze(-1))


@BOTH
def test_the_mean_has_the_size_that_was_asked_for_or_the_average(mean: Mean) -> None:
    assert mean(ragged()).series.shape == (6, 2)
    assert mean(ragged(), 11).series.shape == (11, 2)
    assert mean([[1.0, 2.0], [3.0]], 3).series.shape == (3,)
    assert mean(walks().float()).series.dtype == torch.float32


@BOTH
@pytest.mark.parametrize("step_pattern", ["symmetric1", "symmetric2"])
def test_gradients_are_those_of_where_it_ends(mean: Mean, step_pattern: str) -> None:
    series = walks(3, 5, 1).requires_grad_()
    weights = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64, requires_grad=True)

    def ends(series: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        found = mean(series, weights=weights, step_pattern=step_pattern, tol=1e-12, max_iter=1000)
        assert found.converged
        return found.series, found.cost

    assert torch.autograd.gradcheck(ends, (series, weights), atol=1e-6, check_undefined_grad=False)


def test_an_item_that_no_series_lies_on_stays_and_has_no_gradient() -> None:
    series = walks(2, 3, 1).requires_grad_()
    start = torch.tensor([0.0, 50.0, 0.0, 50.0, 0.0], dtype=torch.float64).unsqueeze(-1)
    found = soft_barycenter(series, gamma=0.01, init=start, step_pattern="asymmetric")
    assert found.series[[1, 3]].tolist() == [[50.0], [50.0]]
    (gradient,) = torch.autograd.grad(found.series[1].sum(), series)
    assert gradient.tolist() == torch.zeros(2, 3, 1).tolist()


@pytest.mark.parametrize("name", PATTERNS)
def test_pairs_count_as_often_as_the_cost_grows_with_theirs(name: str) -> None:
    cost = torch.rand(3, 9, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    square = semihmm.DTW(cost if name != "rigid" else cost[..., :8, :], name)
    best = semihmm.viterbi(square)
    assert best.valid.all()
    (gradient,) = torch.autograd.grad(-best.score.sum(), cost)
    query, reference, count = counted(square.pattern, best.event)
    found = torch.zeros(3, 72, dtype=torch.float64).scatter_add(-1, query * 8 + reference, count.double())
    assert_close(found.unflatten(-1, (9, 8)), gradient)


@BOTH
def test_what_cannot_be_averaged_is_said(mean: Mean) -> None:
    name = mean.__name__
    with pytest.raises(ShapeError, match=rf"{name}: weights must be one for each series, \(4,\), got \(3,\)"):
        mean(walks(), weights=[1.0, 2.0, 3.0])
    with pytest.raises(DataError, match=rf"{name}: weights must be finite, not below 0, and not all 0"):
        mean(walks(2), weights=[1.0, -1.0])
    with pytest.raises(ShapeError, match=rf"{name}: init says how many items there are"):
        mean(walks(), 5, init=walks()[0])
    with pytest.raises(ShapeError, match=rf"{name}: init must be one series"):
        mean(walks(), init=walks())
    with pytest.raises(ShapeError, match=rf"{name}: size must be an integer of at least 1, got 0"):
        mean(walks(), 0)
    with pytest.raises(ShapeError, match=rf"{name}: max_iter must be an integer of at least 1, got 0"):
        mean(walks(), max_iter=0)
    with pytest.raises(StructureError, match=rf"{name}: no path leads .* make it at least 5"):
        mean(walks(), 12, window=1)
    with pytest.raises(ShapeError, match=rf"{name}: x must be a list of at least one series"):
        mean([])
    with pytest.raises(StructureError, match="gamma must be a finite number above 0, got 0"):
        soft_barycenter(walks(), gamma=0)
