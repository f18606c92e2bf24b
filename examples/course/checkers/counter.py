"""Checks exercise 12 with `semihmm.constrain`, a list of all paths, and `semihmm.testing.check_structure`."""

from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any

import torch
from torch import Tensor

import semihmm
from checkers.tools import Case, Wrong, judge, random_hmm, silent_at_first, transposed
from semihmm import automata
from semihmm.errors import LawError, SemihmmError
from semihmm.testing import check_structure


def total(hmm: semihmm.HMM, language: Any) -> Tensor:
    """The log-partition of the paths that a language allows."""
    return semihmm.log_partition(semihmm.constrain(hmm, language))


def entries(k: int) -> automata.Language:
    """State 0 is entered k times, however long it lasts."""
    zero, other = automata.label(0), automata.label(1) | automata.label(2)
    stay, away = zero.repeat(1), other.repeat(1)
    if not k:
        return other.star()
    return other.star() + stay + (away + stay).repeat(k - 1, k - 1) + other.star()


def check(answer: Any) -> None:
    cases = []
    for seed, k in ((0, 2), (1, 1), (2, 3)):
        hmm = random_hmm(seed)
        two = hmm.replace(initial=(hmm.initial.unsqueeze(-1) + hmm.transition).logsumexp(0))
        later = semihmm.constrain(hmm, automata.any_label + automata.exactly(k, 0))
        mistakes = {
            "paths with fewer than k steps in state 0 count, too: say where a path may end": total(
                hmm, automata.at_most(k, 0)
            ),
            "paths with more than k steps in state 0 count, too": total(hmm, automata.at_least(k, 0)),
            "all paths count: nothing is constrained": semihmm.log_partition(hmm),
            "a first step in state 0 is not counted: the count begins with 1 there": semihmm.log_partition(later),
            "it counts how often state 0 is entered, not how many steps are spent in it": total(hmm, entries(k)),
            "state 1 is counted, not state 0": total(hmm, automata.exactly(k, 1)),
            "the last state is counted, not state 0": total(hmm, automata.exactly(k, 2)),
            "one state 0 too many": total(hmm, automata.exactly(k + 1, 0)),
            "one state 0 too few": total(hmm, automata.exactly(k - 1, 0)),
            "the emission of step 0 is missing": total(silent_at_first(hmm), automata.exactly(k, 0)),
            "`transition` is [from, to]; it is used as [to, from]": total(transposed(hmm), automata.exactly(k, 0)),
            "`initial` is missing": total(hmm.replace(initial=torch.zeros_like(hmm.initial)), automata.exactly(k, 0)),
            "there is a transition before the first step": total(two, automata.exactly(k, 0)),
        }
        try:
            got = semihmm.log_partition(answer.ExactlyK(hmm.initial, hmm.transition, hmm.emission, k))
        except SemihmmError as error:
            raise Wrong(f"ExactlyK.chain: {error}") from error
        cases.append(Case(f"T = 5, S = 3, k = {k}", got, total(hmm, automata.exactly(k, 0)), mistakes))
    judge("ExactlyK: the log-partition", cases)
    for k in (0, 4):
        hmm = random_hmm(5, states=2, steps=4)
        got = semihmm.log_partition(answer.ExactlyK(hmm.initial, hmm.transition, hmm.emission, k))
        right = total(hmm, automata.exactly(k, 0))
        judge("ExactlyK: the log-partition", [Case(f"T = 4, k = {k}", got, right)])
    hmm = random_hmm(6, states=3, steps=4)
    try:
        check_structure(answer.ExactlyK(hmm.initial, hmm.transition, hmm.emission, 2), paths=paths, samples=300)
    except (SemihmmError, LawError) as error:
        raise Wrong(f"the log-partition is right, but check_structure says: {error}") from error
    _fit(answer)


def paths(item: Any) -> Iterator[tuple[object, list[float]]]:
    """All paths from the definition alone: what `check_structure` compares every answer with."""
    steps, states = item.emission.shape
    for event in product(range(states), repeat=steps):
        if event.count(0) == item.k:
            weights = [item.initial[event[0]], *(item.transition[arc] for arc in pairwise(event))]
            yield event, [float(x) for x in (*weights, *(item.emission[t, s] for t, s in enumerate(event)))]


def _fit(answer: Any) -> None:
    events = torch.tensor([[0, 1, 2, 0, 1, 2], [1, 2, 0, 1, 2, 0], [2, 0, 1, 2, 0, 1], [1, 2, 0, 0, 1, 2]])

    def mean_log_prob(initial: Tensor, transition: Tensor) -> float:
        hmm = semihmm.HMM(initial, transition, torch.zeros(6, 3, dtype=initial.dtype))
        return float(semihmm.log_prob(semihmm.constrain(hmm, automata.exactly(2, 0)), events).mean())

    found = answer.fit(events.clone(), 3, 2)
    if not isinstance(found, tuple | list) or len(found) != 2 or found[0].shape != (3,) or found[1].shape != (3, 3):
        raise Wrong("fit: return initial (3,) and transition (3, 3).")
    if any(x.requires_grad for x in found):
        raise Wrong("fit: detach what you return: it is trained.")
    before = mean_log_prob(torch.zeros(3), torch.zeros(3, 3))
    after = mean_log_prob(*found)
    if after != after:
        raise Wrong("fit: the parameters are NaN. Is the step too large?")
    if after < before:
        raise Wrong(
            f"fit: the mean log-probability fell from {before:.3f} to {after:.3f}: minimise minus the log-probability."
        )
    if after < -1.75:
        raise Wrong(
            f"fit: the mean log-probability rose from {before:.3f} to {after:.3f}; more or larger steps take it "
            "beyond -1.75."
        )
