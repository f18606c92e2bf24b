"""Checks exercise 1 with the semiring `Count`, whose totals are numbers of paths."""

from typing import Any

import torch
from torch import Tensor

import semihmm
from checkers.tools import Case, Wrong, generator, judge
from semihmm.semirings import Count


def count(first: Tensor, allowed: Tensor, steps: int) -> int:
    weights = [torch.where(mask, 0.0, -torch.inf) for mask in (first, allowed)]
    return int(semihmm.total(semihmm.HMM(*weights, torch.zeros(steps, len(first))), Count()))


def check(answer: Any) -> None:
    cases = []
    g = generator(0)
    for steps in (5, 4, 1, 3):
        first, allowed = torch.rand(4, generator=g) < 0.5, torch.rand(4, 4, generator=g) < 0.6
        first[steps % 4], allowed[0, 1], allowed[1, 0] = True, True, False
        every = torch.ones_like(first)
        mistakes = {
            "T steps are joined by T - 1 transitions; there is one too many": count(first, allowed, steps + 1),
            "`allowed` is [from, to]; it is used as [to, from]": count(first, allowed.mT, steps),
            "not every state may be the first: `first` is not used": count(every, allowed, steps),
            "any transition is taken: `allowed` is not used": count(first, torch.ones_like(allowed), steps),
            "the answer says whether there is a path, not how many": min(1, count(first, allowed, steps)),
            "this counts the states that paths may end in; add up the ways to get there": _ends(first, allowed, steps),
        }
        if steps > 1:
            mistakes["there is a transition too few"] = count(first, allowed, steps - 1)
            got = answer.count_paths(first.clone(), allowed.clone(), steps)
            cases.append(Case(f"T = {steps}, S = 4", got, count(first, allowed, steps), mistakes))
    judge("count_paths", cases)
    first, allowed = torch.tensor([True, False, True]), torch.ones(3, 3, dtype=torch.bool)
    judge("count_paths", [Case("T = 1, where 2 of 3 states may be first", answer.count_paths(first, allowed, 1), 2)])
    nowhere = torch.zeros(3, 3, dtype=torch.bool)
    judge("count_paths", [Case("T = 2 and no transition is allowed", answer.count_paths(first, nowhere, 2), 0)])
    many = answer.count_paths(first | True, allowed, 38)
    if int(many) != count(first | True, allowed, 38):
        near = abs(int(many) / 3**38 - 1) < 1e-4
        raise Wrong(
            "count_paths: 3 states that all follow each other have 3^38 paths of 38 steps, got "
            f"{int(many)}. {'Floats do not count exactly beyond 2^53; use int64.' if near else ''}".strip()
        )


def _ends(first: Tensor, allowed: Tensor, steps: int) -> int:
    """How many states paths may end in."""
    weights = [torch.where(mask, 0.0, -torch.inf) for mask in (first, allowed)]
    last = torch.eye(len(first)).log()  # one sequence for each last state
    hmm = semihmm.HMM(*weights, torch.zeros(len(first), steps, len(first)), last)
    return int((semihmm.total(hmm, Count()) > 0).sum())
