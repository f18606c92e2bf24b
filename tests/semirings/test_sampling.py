"""Sample against the probabilities it draws from."""

import math

import numpy
import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from semihmm.errors import SemiringError
from semihmm.semirings import Log, Sample


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, -1e4])
def test_frequencies_fit_the_softmax(dtype, offset):
    # Fixed seed; a right sampler with a fresh seed would fail once in 10,000 runs of one of these cases.
    x = torch.tensor([0.0, -2.0, 1.0, -math.inf, -0.5, -300.0], dtype=dtype) + offset
    n = 20_000
    value, index = Sample(n).choose(x, -1, generator())
    counts = (index // n).bincount(minlength=6).numpy()
    probability = x.double().softmax(-1).numpy()
    possible = probability > 1e-9
    assert_close(value, Log().sum(x, -1))
    assert counts[~possible].sum() == 0
    assert stats.chisquare(counts[possible], n * probability[possible]).pvalue > 1e-4


def test_rows_and_entries_of_the_batch_draw_apart():
    n, batch = 400, 50
    _, index = Sample(n).choose(torch.zeros(batch, 4), -1, generator())
    argument, row = index // n, index % n
    assert torch.equal(row, torch.arange(n).unsqueeze(-1).expand(n, batch))
    # Independent draws of 4 agree in a quarter of the cases; five standard deviations are 0.02 or less.
    for left, right in ((argument[1:], argument[:-1]), (argument[:, 1:], argument[:, :-1])):
        share = (left == right).double().mean().item()
        assert abs(share - 0.25) < 5 * math.sqrt(0.25 * 0.75 / left.numel())


def test_the_joint_of_two_entries_is_the_product():
    # Fixed seed; false alarm once in 10,000.
    n = 10_000
    x = torch.tensor([[0.0, 1.0], [0.5, -0.5]])
    _, index = Sample(n).choose(x, -1, generator())
    pairs = (index // n) @ torch.tensor([2, 1])
    p, q = x.double().softmax(-1).numpy()
    assert stats.chisquare(pairs.bincount(minlength=4).numpy(), n * numpy.outer(p, q).ravel()).pvalue > 1e-4


def test_an_argument_of_probability_zero_is_never_drawn():
    x = torch.full((64, 40), -math.inf)
    x[torch.arange(64), torch.arange(64) % 40] = -1e4
    x[:, 17] = -1e4 - 500.0  # exp(-500) is 0 in float32: not possible unless alone
    _, index = Sample(1000).choose(x, -1, generator())
    assert torch.equal(index // 1000, (torch.arange(64) % 40).expand(1000, 64))


def test_many_rare_arguments_are_drawn_as_often_as_one_that_is_as_likely():
    # 5e-8 added to 1 is lost in float32, 40,000 times; here they make one draw in 501.
    x = torch.cat([torch.zeros(1), torch.full((40_000,), 5e-8).log()])
    _, index = Sample(50_000).choose(x, -1, generator())
    rare = (index // 50_000 > 0).sum().item()
    assert abs(rare - 50_000 / 501) < 5 * math.sqrt(50_000 / 501)  # five standard deviations


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1 - 2**-53, 1.0])
def test_the_ends_of_the_unit_interval_draw_what_is_possible(monkeypatch, uniform):
    monkeypatch.setattr(torch, "rand", lambda shape, **how: torch.full(shape, uniform, dtype=how["dtype"]))
    x = torch.tensor([-math.inf, 0.3, -math.inf, 0.1, -math.inf, -math.inf])
    _, index = Sample(1).choose(x, -1)
    assert index.item() == (1 if uniform <= 0.5 else 3)


def test_a_cumsum_that_rounds_up_where_nothing_is_added_draws_nothing_there(monkeypatch):
    exact = torch.Tensor.cumsum  # on a GPU the sum up to an argument may depend on where its block begins
    monkeypatch.setattr(torch.Tensor, "cumsum", lambda x, *how, **more: exact(x, *how, **more) + (x == 0) * 0.5)
    monkeypatch.setattr(torch, "rand", lambda shape, **how: torch.full(shape, 0.6, dtype=how["dtype"]))
    _, index = Sample(1).choose(torch.tensor([0.0, -math.inf, 0.0]), -1)
    assert index.item() == 2


def test_where_nothing_is_possible_the_index_is_0():
    value, index = Sample(3).choose(torch.full((2, 4), -math.inf), -1, generator())
    assert value.tolist() == [-math.inf, -math.inf]
    assert index.tolist() == [[0, 0], [1, 1], [2, 2]]  # argument 0


def test_the_same_seed_draws_the_same():
    x = torch.randn(5, 6, 7)
    draws = [Sample(4).choose(x, -2, generator(seed))[1] for seed in (1, 1, 2)]
    assert draws[0].shape == (4, 5, 7)
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_no_draws_are_refused():
    with pytest.raises(SemiringError, match="at least 1; got 0"):
        Sample(0)
