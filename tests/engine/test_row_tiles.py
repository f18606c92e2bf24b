"""Grids that the compiled backend does in strips of rows: what PyTorch gives, whatever the height and the width."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import semihmm
from semihmm import DTW, StepPattern, engine
from semihmm.semirings import Log, Max, SmoothMax

pytestmark = pytest.mark.usefixtures("needs_native")

# A strip is 8 to 64 rows: one row, parts of a strip and several, and matrices narrower than a strip is high.
SHAPES = [(1, 1), (1, 30), (2, 1), (2, 50), (5, 3), (17, 20), (33, 2), (64, 65), (65, 9), (66, 40), (150, 31)]
UNEVEN = StepPattern((((1, 0, 0.5),), ((0, 1, 3.0),), ((1, 1, 1.25),)))
PATTERNS = ["symmetric1", "symmetric2", UNEVEN, StepPattern.rabiner_juang(1, "d")]
ENDS = [(False, False), (True, False), (False, True), (True, True)]


def eighths(*shape: int) -> Tensor:
    """Costs that add up exactly, and often to the same."""
    return torch.randint(0, 9, shape).double() / 8


def ask(dtw: DTW, backend: str, semiring=None) -> tuple[Tensor, Tensor]:
    """A total and its gradient, weighted."""
    cost = dtw.cost.detach().clone().requires_grad_()
    value = semihmm.total(replace(dtw, cost=cost), semiring or SmoothMax(0.5), backend=backend)
    weight = torch.arange(1.0, value.numel() + 1, dtype=value.dtype).reshape(value.shape)
    (gradient,) = torch.autograd.grad((value * weight).sum(), cost)
    return value.detach(), gradient


def assert_agrees(dtw: DTW) -> None:
    for found, expected in zip(ask(dtw, "native"), ask(dtw, "torch"), strict=True):
        assert_close(found, expected, rtol=1e-10, atol=1e-10)
    found, expected = (semihmm.viterbi(dtw, backend=backend) for backend in ("native", "torch"))
    assert_close(found.score, expected.score)
    assert torch.equal(found.event, expected.event)  # ties included
    assert_close(semihmm.total(dtw, Max(), backend="native"), expected.score)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ends", ENDS)
def test_totals_gradients_and_paths_of_every_shape(shape: tuple[int, int], ends: tuple[bool, bool]) -> None:
    for k, pattern in enumerate(PATTERNS):
        assert_agrees(DTW(eighths(*(2, 1)[: k % 3], *shape), pattern, None, *ends))


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("window", [None, 9, "itakura"])
def test_ragged_ones_and_windows(ends: tuple[bool, bool], window: int | str | None) -> None:
    lengths = {
        "query_lengths": torch.tensor([70, 1, 33, 64, 5, 70]),
        "reference_lengths": torch.tensor([40, 40, 20, 40, 1, 39]),
    }
    for pattern in PATTERNS:
        assert_agrees(DTW(eighths(6, 70, 40), pattern, window, *ends, **lengths))


def test_cells_that_are_forbidden() -> None:
    for seed in range(6):
        cost = eighths(3, 40, 45)
        gone = torch.rand(cost.shape, generator=torch.Generator().manual_seed(seed)) < 0.35
        dtw = DTW(cost.masked_fill(gone, torch.inf), PATTERNS[seed % 4], None, *ENDS[seed % 4])
        assert_agrees(dtw)
        assert ask(dtw, "native")[1].isfinite().all()


def test_costs_as_they_lie() -> None:
    cost = eighths(3, 45, 70)
    for given in (cost.mT, cost[:, ::2, 1:], cost[:1].expand(4, -1, -1), cost[1].mT, -cost.neg(), cost.unsqueeze(1)):
        assert_agrees(DTW(given, "symmetric2"))


def test_the_gradients_of_borders() -> None:
    chain = DTW(eighths(2, 20, 12), "symmetric2", open_begin=True, open_end=True).chain()

    def gradients(backend: str) -> tuple[Tensor, ...]:
        start, end = (x[0].detach().double().requires_grad_() for x in (chain.start, chain.end))
        again = replace(chain, start=(start + 0.5,), end=(end - 0.25,))
        value = engine.total(engine.plan(again, Log(), backend=backend), Log(), again)
        return value, *torch.autograd.grad((value * torch.tensor([1.0, 2.0])).sum(), (start, end))

    for found, expected in zip(gradients("native"), gradients("torch"), strict=True):
        assert_close(found, expected)


def test_paths_that_begin_or_end_elsewhere() -> None:
    """Borders that a DTW does not have: then it is a grid like any other."""
    chain = DTW(eighths(2, 20, 12), "symmetric2").chain()
    for border in ({"start": (torch.zeros(21).double(),)}, {"end": (torch.zeros(21).double(),)}):
        other = replace(chain, **border)
        found, expected = (
            engine.total(engine.plan(other, Log(), backend=b), Log(), other) for b in ("native", "torch")
        )
        assert_close(found, expected)


def test_second_derivatives() -> None:
    cost = eighths(2, 4, 5).requires_grad_()
    torch.autograd.gradgradcheck(lambda x: semihmm.total(DTW(x, UNEVEN), SmoothMax(0.7), backend="native"), cost)


def test_the_number_of_threads_and_checkpoints() -> None:
    dtw = DTW(torch.rand(5, 80, 70), "symmetric2", query_lengths=torch.tensor([80, 3, 50, 80, 1]))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            best = semihmm.viterbi(dtw)
            found.append((*ask(dtw, "native"), best.event, best.score))
    finally:
        torch.set_num_threads(before)
    for more in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], more, strict=True))
    cost = dtw.cost.clone().requires_grad_()
    value = semihmm.total(replace(dtw, cost=cost), SmoothMax(0.5), checkpoint=True)
    assert_close(value, found[0][0])
    assert torch.equal(semihmm.viterbi(dtw, checkpoint=True).event, found[0][2])


@pytest.mark.parametrize("semiring", [Max(), SmoothMax(1.0)])
def test_sums_of_many_costs_keep_their_digits(semiring) -> None:
    cost = 50 + torch.rand(900, 900, generator=torch.Generator().manual_seed(0))
    exact = semihmm.total(DTW(cost.double(), "symmetric1"), semiring)
    assert_close(semihmm.total(DTW(cost, "symmetric1"), semiring).double(), exact, rtol=1e-6, atol=0)


def test_an_impossible_one_has_no_path_and_no_gradient() -> None:
    cost = eighths(2, 70, 30)
    cost[0, 35] = torch.inf
    value, gradient = ask(DTW(cost), "native")
    assert value[0] == -torch.inf and value[1].isfinite()
    assert not gradient[0].any() and gradient[1].any() and gradient.isfinite().all()
    assert semihmm.viterbi(DTW(cost)).valid.tolist() == [False, True]
