"""Weighted moments, against sums of their terms."""

import pytest
import torch
from torch.testing import assert_close

from semihmm.engine import tensors

pytestmark = pytest.mark.usefixtures("needs_native")
SIZES = [(1, 1, 1), (31, 3, 2), (32, 8, 4), (33, 9, 13), (70, 17, 8), (600, 4, 9), (5, 2, 33)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("count", "groups", "features"), SIZES)
def test_they_are_sums_over_observations(count: int, groups: int, features: int, dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(count)
    x = torch.randn(count, features, generator=g).to(dtype) + 9
    share = torch.rand(count, groups, generator=g).to(dtype)
    centre = torch.full((features,), 9.0).double()
    found = tensors.weighted_moments(x, share, centre)
    assert found is not None
    away = (x.double() - centre).unsqueeze(1)
    each = share.double().unsqueeze(-1)
    for sums, terms in zip(found, (share.double(), each * away, each * away.square()), strict=True):
        assert_close(sums, terms.sum(0), rtol=1e-13, atol=1e-13)


def test_they_lie_in_memory_as_they_like() -> None:
    x, share, centre = torch.randn(6, 80).double().T, torch.rand(160, 3).double()[::2], torch.randn(12).double()[::2]
    plain = tensors.weighted_moments(x.contiguous(), share.contiguous(), centre.contiguous())
    assert_close(tensors.weighted_moments(x, share, centre), plain, rtol=0, atol=0)


def test_what_is_far_from_0_keeps_its_digits() -> None:
    x = 1e8 + torch.arange(100.0).double().unsqueeze(-1)
    found = tensors.weighted_moments(x, torch.ones(100, 1).double(), x[:1].flatten())
    assert found is not None
    assert [y.item() for y in found] == [100, 4950, 328350]


def test_nothing_sums_to_nothing() -> None:
    for n, groups, features in ((0, 2, 3), (4, 0, 3), (4, 2, 0)):
        found = tensors.weighted_moments(torch.ones(n, features), torch.ones(n, groups), torch.zeros(features))
        assert found is not None
        weight, first, second = found
        assert weight.tolist() == [float(n)] * groups
        assert first.tolist() == second.tolist() == [[0.0] * features] * groups


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    x, share, centre, before = torch.randn(5000, 4), torch.rand(5000, 8), torch.zeros(4), torch.get_num_threads()
    monkeypatch.setattr(tensors, "THREADS_FROM", 0)
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(tensors.weighted_moments(x, share, centre))
    finally:
        torch.set_num_threads(before)
    assert_close(found[1:], found[:1] * 2, rtol=0, atol=0)


def test_other_numbers_are_not_taken() -> None:
    x, share, centre = torch.ones(3, 2), torch.ones(3, 2), torch.zeros(2)
    assert tensors.weighted_moments(x.bfloat16(), share.bfloat16(), centre) is None
    assert tensors.weighted_moments(x, share.double(), centre) is None
