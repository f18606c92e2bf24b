"""Checks exercise 3 with `semihmm.viterbi`."""

from typing import Any

import torch
from torch import Tensor

import semihmm
from checkers.tools import Case, Wrong, generator, judge, parts, random_hmm, silent_at_first, sizes, transposed


def check(answer: Any) -> None:
    states, scores = [], []
    for seed in range(12):
        hmm = random_hmm(seed, steps=3 + seed % 6)
        best = semihmm.viterbi(hmm)
        path, score = _answer(answer, hmm)
        until = [hmm.replace(emission=hmm.emission[: t + 1]) for t in range(len(hmm.emission))]
        mistakes = {
            "these are the best states of each step alone; a path also takes transitions": hmm.emission.argmax(-1),
            "these are the states with the greatest v at each step; follow the backpointers from the last one": (
                torch.stack([semihmm.viterbi(part).event[-1] for part in until])
            ),
            "the path is the wrong way round: it was found from its end": best.event.flip(0),
            "these are the most probable states of each step, not the most probable path": (
                semihmm.smoothing(hmm).argmax(-1)
            ),
            "the emission of step 0 is missing": semihmm.viterbi(silent_at_first(hmm)).event,
            "`transition` is [from, to]; it is used as [to, from]": semihmm.viterbi(transposed(hmm)).event,
            "off by one: each state is that of the step before": torch.cat([best.event[:1], best.event[:-1]]),
            "off by one: each state is that of the step after": torch.cat([best.event[1:], best.event[-1:]]),
        }
        states.append(Case(sizes(hmm), path, best.event, mistakes))
        mistakes = {
            "the score of the best path does not add up all paths: max, not logsumexp": semihmm.log_partition(hmm),
            "this is the log-probability of the path: its score was asked for": best.score - semihmm.log_partition(hmm),
            "this is exp of the score": best.score.exp(),
            "the emission of step 0 is missing": semihmm.viterbi(silent_at_first(hmm)).score,
        }
        scores.append(Case(sizes(hmm), score, best.score, mistakes))
    judge("viterbi: the states", states)
    judge("viterbi: the score", scores)
    one = random_hmm(20, steps=1)
    judge("viterbi: the states", [Case("T = 1", _answer(answer, one)[0], semihmm.viterbi(one).event)])
    sparse = random_hmm(21, steps=6, forbidden=0.6)
    got = _answer(answer, sparse)[0]
    judge("viterbi: the states", [Case("some transitions are forbidden", got, semihmm.viterbi(sparse).event)])
    ties = []
    for seed in range(8):  # small whole numbers: many paths are the best one
        g = generator(seed)
        weights = [torch.randint(2, n, generator=g).double() for n in ((3,), (3, 3), (4, 3))]
        hmm = semihmm.HMM(*weights)
        other = semihmm.HMM(weights[0].flip(0), weights[1].flip(0, 1), weights[2].flip(1))  # its last state first
        wrong = {"of states that are equally good take the lowest index, not the highest": 2 - _best(other)}
        ties.append(Case("paths that are equally good", _answer(answer, hmm)[0], _best(hmm), wrong))
    judge("viterbi: the states", ties)


def _best(hmm: semihmm.HMM) -> Tensor:
    return semihmm.viterbi(hmm).event


def _answer(answer: Any, hmm: semihmm.HMM) -> tuple[Any, Any]:
    found = answer.viterbi(*parts(hmm))
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise Wrong("viterbi: return two things, the states and their score: `return states, score`.")
    if len(found[0]) == len(hmm.emission) - 1:
        raise Wrong("viterbi: a state is missing: T - 1 backpointers join T states, and the last state has none.")
    return found
