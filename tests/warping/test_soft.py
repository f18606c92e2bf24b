"""Soft-DTW and its divergence: by enumeration, against tslearn, and their gradients in every step pattern."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from tslearn.metrics import soft_dtw as tslearn_soft_dtw

from semihmm import DTW, StepPattern
from semihmm.errors import StructureError
from semihmm.structures.dtw import PATTERNS
from semihmm.testing import oracle
from semihmm.testing.paths import dtw_paths
from semihmm.warping import SoftDTWLoss, dtw, soft_barycenter, soft_dtw, soft_dtw_divergence

EVERY: list[Any] = [*sorted(PATTERNS), *(StepPattern.rabiner_juang(kind, w) for kind in range(1, 8) for w in "abcd")]
IDS = [*sorted(PATTERNS), *(f"{kind}{w}" for kind in range(1, 8) for w in "abcd")]


def series(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("pattern", EVERY, ids=IDS)
def test_values_are_those_of_all_paths_and_gradients_are_exact(pattern: StepPattern | str) -> None:
    x, y = series(4, 2).requires_grad_(), series(4, 2)
    gamma = 0.7
    value = soft_dtw(x, y, gamma, step_pattern=pattern)
    cost = (x.detach().unsqueeze(1) - y).square().sum(-1) / gamma
    assert_close(value, -gamma * oracle.log_partition(DTW(cost, pattern), dtw_paths))
    torch.autograd.gradcheck(lambda x: soft_dtw(x, y, gamma, step_pattern=pattern), x)
    torch.autograd.gradgradcheck(lambda x: soft_dtw(x, y, gamma, step_pattern=pattern), x)


@pytest.mark.parametrize("gamma", [0.01, 1.0, 10.0])
def test_soft_dtw_is_that_of_tslearn(gamma: float) -> None:
    x, y = series(12, 3), series(15, 3)
    assert float(soft_dtw(x, y, gamma)) == pytest.approx(tslearn_soft_dtw(x.numpy(), y.numpy(), gamma=gamma))


def test_the_colder_the_nearer_to_the_best_path() -> None:
    x, y = series(9), series(7)
    values = [float(soft_dtw(x, y, gamma)) for gamma in (10.0, 1.0, 0.1, 0.01)]
    assert all(warm < cold for warm, cold in pairwise(values))
    assert values[-1] <= float(dtw(x, y).cost) <= values[-1] + 0.01 * math.log(3) * 15


def test_a_divergence_is_least_between_equal_series() -> None:
    x, y = series(20, 6, 2), series(20, 6, 2)
    assert bool((soft_dtw_divergence(x, y) > 0).all())
    same = x.clone().requires_grad_()
    value = soft_dtw_divergence(same, x)
    assert_close(value, torch.zeros_like(value))
    assert_close(torch.autograd.grad(value.sum(), same)[0], torch.zeros_like(x), atol=1e-12, rtol=0.0)


@pytest.mark.parametrize("divergence", [False, True])
def test_a_loss_reduces_its_pairs(divergence: bool) -> None:
    x, y = [series(n, 2) for n in (5, 3)], [series(m, 2) for m in (4, 6)]
    function = soft_dtw_divergence if divergence else soft_dtw
    each = torch.stack([function(a, b, 0.5, window=3) for a, b in zip(x, y, strict=True)])
    for reduction, expected in {"none": each, "sum": each.sum(), "mean": each.mean()}.items():
        loss = SoftDTWLoss(0.5, window=3, divergence=divergence, reduction=reduction)
        assert_close(loss(x, y), expected)
    assert "gamma=0.5" in repr(loss)


def test_an_error_says_what_to_do() -> None:
    with pytest.raises(StructureError, match=r"gamma must be a finite number above 0, got 0\. The best path alone"):
        soft_dtw([1.0], [1.0], gamma=0)
    with pytest.raises(StructureError, match=r"soft_dtw: no path .* make it at least 3"):
        soft_dtw([1.0] * 5, [1.0, 2.0], window=1)
    with pytest.raises(StructureError, match="reduction must be mean, sum or none"):
        SoftDTWLoss(reduction="max")


@pytest.mark.parametrize("gamma", [0, -1.0, math.nan, math.inf, "a", True])
def test_a_temperature_is_a_number_above_0(gamma: Any) -> None:
    for owner, ask in (
        ("soft_dtw", lambda: soft_dtw([1.0], [1.0], gamma)),
        ("SoftDTWLoss", lambda: SoftDTWLoss(gamma)),
        ("soft_barycenter", lambda: soft_barycenter([[1.0, 2.0]], gamma=gamma)),
    ):
        with pytest.raises(StructureError, match=f"{owner}: gamma must be a finite number above 0, got {gamma!r}"):
            ask()
