"""Checks exercise 11 with `semihmm.HSMM`."""

from typing import Any

import torch
from torch import Tensor

import semihmm
from checkers.tools import Case, generator, judge


def total(initial: Tensor, transition: Tensor, duration: Tensor, emission: Tensor, **options: Any) -> Tensor:
    """The log-partition."""
    return semihmm.log_partition(semihmm.HSMM(initial, transition, duration, emission, **options))


def drawn(seed: int, states: int = 2, steps: int = 5, longest: int = 3) -> list[Tensor]:
    """Random log-weights."""
    g = generator(seed)
    shapes = ((states,), (states, states), (states, longest), (steps, states))
    return [torch.randn(n, generator=g, dtype=torch.float64) for n in shapes]


def check(answer: Any) -> None:
    cases = []
    for seed, (states, steps, longest) in enumerate(((2, 5, 3), (3, 4, 2), (2, 6, 4))):
        initial, transition, duration, emission = drawn(seed, states, steps, longest)
        right = total(initial, transition, duration, emission)
        none, never = torch.zeros_like(duration[:, :1]), torch.full_like(duration[:, :1], -torch.inf)
        only_last = torch.stack([emission] * longest, 1)  # (T, D, S): what the segment's last step says
        first = torch.stack([emission.roll(d, 0) for d in range(longest)], 1)  # ... and its first one
        mistakes = {
            "off by one: a segment of d steps weighs duration[:, d - 1], not duration[:, d]": total(
                initial, transition, torch.cat([duration[:, 1:], never], 1), emission
            ),
            "the longest duration, D steps, is missing: d goes from 1 to D, both included": total(
                initial, transition, torch.cat([duration[:, :-1], never], 1), emission
            ),
            "`duration` is not used": total(initial, transition, torch.zeros_like(duration), emission),
            "only the last step of a segment has an emission; each of them has one": total(
                initial, transition, duration, torch.zeros_like(emission), segment=only_last
            ),
            "only the first step of a segment has an emission; each of them has one": total(
                initial, transition, duration, torch.zeros_like(emission), segment=first
            ),
            "the emission of step 0 is missing": total(
                initial, transition, duration, torch.cat([torch.zeros_like(emission[:1]), emission[1:]])
            ),
            "`transition` is [from, to]; it is used as [to, from]": total(initial, transition.mT, duration, emission),
            "a segment may not begin before step 0: d goes up to min(D, t)": total(
                initial, transition, duration, emission, censored="left"
            ),
            "`initial` is missing": total(torch.zeros_like(initial), transition, duration, emission),
            "this is the log-partition of an HMM: d steps take one transition, not d": semihmm.log_partition(
                semihmm.HMM(initial, transition, emission)
            ),
            "this is Z; its log was asked for": right.exp(),
            "there is a transition before the first segment": total(
                (initial.unsqueeze(-1) + transition).logsumexp(0), transition, duration, emission
            ),
            "all durations weigh as the shortest one": total(initial, transition, duration[:, :1] + none, emission),
        }
        given = [x.clone() for x in (initial, transition, duration, emission)]
        asked = f"T = {steps}, S = {states}, D = {longest}"
        cases.append(Case(asked, answer.log_partition(*given), right, mistakes))
    judge("log_partition", cases)
    for steps, longest, asked in ((2, 5, "D = 5 is longer than T = 2"), (1, 3, "T = 1"), (4, 1, "D = 1")):
        given = drawn(9, 3, steps, longest)
        why = "Durations that do not fit are left out, and a sequence may be one segment."
        right = total(*given)
        judge("log_partition", [Case(asked, answer.log_partition(*(x.clone() for x in given)), right, otherwise=why)])
    given = drawn(10, 3, 6, 3)
    given[1].fill_diagonal_(-torch.inf)  # usual: a state does not follow itself
    given[2][0, 0] = given[2][1, 1] = -torch.inf
    got, why = answer.log_partition(*(x.clone() for x in given)), "-inf forbids; where is -inf - -inf?"
    judge("log_partition", [Case("some log-weights are -inf", got, total(*given), otherwise=why)])
    given = drawn(11, 2, 1500, 4)
    got, why = answer.log_partition(*(x.clone() for x in given)), "Add logs, never take exp of a whole path."
    judge("log_partition", [Case("T = 1500", got, total(*given), otherwise=why)])
