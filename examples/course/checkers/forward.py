"""Checks exercise 2 with `semihmm.log_partition`."""

from typing import Any

import torch

import semihmm
from checkers.tools import INF, Case, Wrong, judge, parts, random_hmm, silent_at_first, sizes, transposed


def check(answer: Any) -> None:
    cases = []
    for seed, steps in ((0, 5), (1, 4), (2, 2)):
        hmm = random_hmm(seed, steps=steps)
        late = torch.cat([hmm.emission[:1], hmm.emission[:-1]])
        twice = (hmm.initial.unsqueeze(-1) + hmm.transition).logsumexp(0)
        right = semihmm.log_partition(hmm)
        mistakes = {
            "the emission of step 0 is missing": semihmm.log_partition(silent_at_first(hmm)),
            "the emission of the last step is missing": semihmm.log_partition(
                hmm.replace(emission=torch.cat([hmm.emission[:-1], torch.zeros_like(hmm.emission[:1])]))
            ),
            "it stops one step before the last": semihmm.log_partition(hmm.replace(emission=hmm.emission[:-1])),
            "off by one in time: step t takes the emission of step t - 1": semihmm.log_partition(
                hmm.replace(emission=late)
            ),
            "`initial` is missing": semihmm.log_partition(hmm.replace(initial=torch.zeros_like(hmm.initial))),
            "there is a transition before step 0: T steps are joined by T - 1 transitions": semihmm.log_partition(
                hmm.replace(initial=twice)
            ),
            "`transition` is [from, to]; it is used as [to, from]": semihmm.log_partition(transposed(hmm)),
            "this is Z; its log was asked for": right.exp(),
            "this is the score of the best path: alternatives are added up by logsumexp, not by max": semihmm.viterbi(
                hmm
            ).score,
            "the sign is wrong": -right,
        }
        got = answer.log_partition(*parts(hmm))
        if getattr(got, "shape", ()) == (3,):
            raise Wrong("log_partition: a number for each last state came back; paths may end in any of them: add up.")
        cases.append(Case(sizes(hmm), got, right, mistakes))
    judge("log_partition", cases)
    one = random_hmm(3, steps=1)
    judge("log_partition", [Case("T = 1", answer.log_partition(*parts(one)), semihmm.log_partition(one))])
    sparse = random_hmm(4, forbidden=0.5)
    sparse.emission[2, :2] = -INF
    lost = "Where all of a sum is -inf, its greatest term is -inf, and -inf minus that is NaN; torch.logsumexp knows."
    got, right = answer.log_partition(*parts(sparse)), semihmm.log_partition(sparse)
    judge("log_partition", [Case("some log-weights are -inf", got, right, otherwise=lost)])
    never = sparse.replace(transition=torch.full_like(sparse.transition, -INF))
    judge("log_partition", [Case("no path is allowed", answer.log_partition(*parts(never)), -INF, otherwise=lost)])
    for sign in (-1.0, 1.0):
        long = random_hmm(5, steps=3000)
        long = long.replace(emission=long.emission + 5 * sign)
        got, right = answer.log_partition(*parts(long)), semihmm.log_partition(long)
        why = "Weights of 3000 steps are too small or too large for float64: add logs, never take exp of a whole path."
        judge("log_partition", [Case("T = 3000", got, right, otherwise=why)])
