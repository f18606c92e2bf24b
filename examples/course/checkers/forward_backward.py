"""Checks exercise 4 with `semihmm.smoothing`."""

from typing import Any

import torch

import semihmm
from checkers.tools import Case, judge, parts, random_hmm, silent_at_first, sizes, transposed


def check(answer: Any) -> None:
    cases = []
    for seed, steps in ((0, 5), (1, 4), (2, 3)):
        hmm = random_hmm(seed, steps=steps)
        logs, before = semihmm.smoothing(hmm), semihmm.filtering(hmm)
        after = logs - before  # the backward pass, up to a number at each step
        right, log_partition = logs.exp(), semihmm.log_partition(hmm)
        turned = transposed(hmm)
        wrong_way = semihmm.smoothing(turned) - semihmm.filtering(turned)
        twice = right * hmm.emission.exp()
        early = torch.cat([after[1:], torch.zeros_like(after[:1])])
        mistakes = {
            "this is the posterior given what came before, the forward pass alone; what comes after counts too": (
                before.exp()
            ),
            "this is the backward pass alone": after.softmax(-1),
            "the emission of step t counts twice: it is in a(t, j) and again in b(t, j)": twice,
            "the emission of step t counts twice: it is in a(t, j) and again in b(t, j).": (
                twice / twice.sum(-1, keepdim=True)
            ),
            "these are logs; probabilities were asked for": logs,
            "these are logs that are not normalised: subtract log Z, then take exp": logs + log_partition,
            "the probabilities of a step do not sum to 1: subtract log Z before exp": (logs + log_partition).exp(),
            "in the backward pass `transition` is used as [to, from]; sum over the state that is gone to": (
                before + wrong_way
            ).softmax(-1),
            "off by one in time: a(t, j) is put together with b(t + 1, j)": (before + early).softmax(-1),
            "the emission of step 0 is missing": semihmm.smoothing(silent_at_first(hmm)).exp(),
        }
        cases.append(Case(sizes(hmm), answer.posterior(*parts(hmm)), right, mistakes))
    judge("posterior", cases)
    one = random_hmm(3, steps=1)
    judge("posterior", [Case("T = 1", answer.posterior(*parts(one)), semihmm.smoothing(one).exp())])
    sparse = random_hmm(4, forbidden=0.5)
    sparse.emission[2, :2] = -torch.inf
    got, right = answer.posterior(*parts(sparse)), semihmm.smoothing(sparse).exp()
    why = "A state that no path comes to has probability 0. Where is -inf - -inf?"
    judge("posterior", [Case("some log-weights are -inf", got, right, otherwise=why)])
    long = random_hmm(5, steps=2000)
    long = long.replace(emission=long.emission - 5)
    got, right = answer.posterior(*parts(long)), semihmm.smoothing(long).exp()
    why = "The weight of 2000 steps is too small for float64: add logs, and take exp last."
    judge("posterior", [Case("T = 2000", got, right, otherwise=why)])
