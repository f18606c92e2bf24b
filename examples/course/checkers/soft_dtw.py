"""Checks exercise 9 with the totals of `semihmm.DTW` in `SmoothMax` and `Min`, and with their gradients."""

from typing import Any

import torch
from torch import Tensor

import semihmm
from checkers.tools import Case, Wrong, generator, judge, tensor
from semihmm.semirings import Max, SmoothMax


def total(cost: Tensor, gamma: float, **options: Any) -> Tensor:
    """The right answer."""
    dtw = semihmm.DTW(cost, "symmetric1", **options)
    return -semihmm.total(dtw, SmoothMax(gamma) if gamma else Max())


def check(answer: Any) -> None:
    cases, others = [], []
    for seed, (rows, columns, gamma) in enumerate(((3, 4, 1.0), (4, 3, 1.0), (3, 4, 0.5), (4, 3, 2.0))):
        cost = torch.rand(rows, columns, generator=generator(seed), dtype=torch.float64) + 0.1
        right, dtw = total(cost, gamma), semihmm.DTW(cost, "symmetric1")
        ways = semihmm.log_count(dtw).to(cost)
        twice = -semihmm.total(semihmm.DTW(cost, "symmetric2"), SmoothMax(gamma))
        mistakes = {
            "costs are multiplied by gamma, not divided": total(cost * gamma, 1.0) / gamma,
            "costs are multiplied by gamma, not divided.": gamma * total(cost * gamma, 1.0),
            "gamma is not used": total(cost, 1.0),
            "this is the plain minimum": total(cost, 0.0),
            "the soft maximum was taken: costs enter negated, exp(-x / gamma)": -total(-cost, gamma),
            "the sign is wrong: softmin is MINUS gamma times the log": -right,
            "this is the mean over alignments, not the sum": right + gamma * ways,
            "the cost of cell (0, 0) is missing": right - cost[0, 0],
            "the cost of the last cell is missing": right - cost[-1, -1],
            "a diagonal step counts its cell twice; here it counts once": twice,
            "steps that go right and down at once are missing": _without_diagonal(cost, gamma),
        }
        asked, got = f"N = {rows}, M = {columns}, gamma = {gamma}", answer.soft_dtw(cost.clone(), gamma)
        if gamma == 1:
            mistakes = {k: v for k, v in mistakes.items() if "gamma is" not in k and "multiplied" not in k}
            cases.append(Case(asked, got, right, mistakes))
        else:
            where = "At gamma = 1 all is right. Where does gamma go? -gamma * log(sum of exp(-x / gamma))."
            others.append(Case(asked, got, right, mistakes, otherwise=where))
    judge("soft_dtw", cases)
    judge("soft_dtw", others)
    cost = torch.rand(4, 5, generator=generator(9), dtype=torch.float64)
    cold = "At gamma = 0 take the plain minimum: x / 0 is no number."
    try:
        got = answer.soft_dtw(cost.clone(), 0.0)
    except ZeroDivisionError:
        raise Wrong(f"soft_dtw: {cold}") from None
    judge("soft_dtw", [Case("gamma = 0", got, total(cost, 0.0), otherwise=cold)])
    for rows, columns in ((1, 1), (1, 4), (3, 1)):
        one = torch.rand(rows, columns, generator=generator(3), dtype=torch.float64)
        case = Case(f"N = {rows}, M = {columns}: all cells lie in a row", answer.soft_dtw(one.clone(), 1.0), one.sum())
        judge("soft_dtw", [case])
    far = 1000 * cost
    lost = "exp(-x / gamma) is 0 in float64 for large costs: use logsumexp."
    judge("soft_dtw", [Case("large costs", answer.soft_dtw(far.clone(), 0.5), total(far, 0.5), otherwise=lost)])
    _gradient(answer, cost)


def _gradient(answer: Any, cost: Tensor) -> None:
    leaf, known = cost.clone().requires_grad_(), cost.clone().requires_grad_()
    found = answer.soft_dtw(leaf, 0.5)
    if not isinstance(found, Tensor) or not found.requires_grad:
        raise Wrong("soft_dtw: the answer cannot be differentiated: keep tensors all the way, no float() or item().")
    (gradient,) = torch.autograd.grad(found, leaf, allow_unused=True)
    (right,) = torch.autograd.grad(total(known, 0.5), known)
    gradient = tensor("soft_dtw", torch.zeros_like(leaf) if gradient is None else gradient)
    why = "A neighbour outside of the table is not there: do not give it a cost of inf."
    judge("soft_dtw: the gradient", [Case("N = 4, M = 5, gamma = 0.5", gradient, right, otherwise=why)])


def _without_diagonal(cost: Tensor, gamma: float) -> Tensor:
    """The same without the move (1, 1)."""
    pattern = semihmm.StepPattern((((1, 0, 1.0),), ((0, 1, 1.0),)))
    return -semihmm.total(semihmm.DTW(cost, pattern), SmoothMax(gamma))
