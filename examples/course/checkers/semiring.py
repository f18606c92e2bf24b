"""Checks exercise 6 with `semihmm.testing.check_semiring`, and by listing the paths that are best."""

from typing import Any

import torch

import semihmm
from checkers.tools import Case, Wrong, generator, judge
from semihmm.errors import LawError
from semihmm.testing import check_semiring

HINTS = {
    "lift(-inf) is zero": "What is forbidden is no path. `zero` and lift(-inf) are (-inf, -inf): the log of 0 is -inf.",
    "zero is the identity of plus": "No path has the score -inf, and the log of 0 is -inf.",
    "one is the identity of times": "The empty path has the score 0 and is there once; the log of 1 is 0.",
    "times is annihilated by zero": "What comes after no path is no path: both parts are -inf.",
    "plus is associative": "Only paths that tie with the best one are counted, whatever the grouping.",
    "plus commutes": "Which one came first does not matter; if both tie, both count.",
    "distributes": "a * (b + c) = a * b + a * c: counts multiply where one thing follows another, so their logs add.",
    "sum": "`sum` adds up any number of values along `dim`, which counts from the right; of none it is `zero`.",
    "gradient": "Where all is -inf, take max and logsumexp from semihmm.semirings: Max().sum and Log().sum.",
}


def check(answer: Any) -> None:
    semiring = answer.BestCount()
    two = semiring.lift(torch.zeros(3))
    if getattr(two, "shape", None) != (2, 3):
        raise Wrong(
            f"BestCount.lift: a log-weight (3,) becomes a value (2, 3): scores, then logs of counts. Got {_shape(two)}."
        )
    cases = []
    for seed in range(4):
        g = generator(seed)
        hmm = semihmm.HMM(*(torch.randint(2, n, generator=g).double() for n in ((3,), (3, 3), (4, 3))))
        scores = semihmm.topk(hmm, 81).score
        best = scores.max()
        count, every = (scores == best).sum(), torch.tensor(81.0)
        right = torch.stack([best, count.log()])
        mistakes = {
            "this counts all paths, not only those that tie with the best": torch.stack([best, every.log()]),
            "the count is a number; its log was asked for": torch.stack([best, count]),
            "a tie counts once: where scores are equal, the counts of both add up": torch.stack([best, 0 * best]),
        }
        try:
            got = semihmm.total(hmm, semiring, backend="torch")
        except NotImplementedError:
            raise
        except (RuntimeError, ValueError) as error:
            raise Wrong(f"BestCount: the total of an HMM cannot be computed: {error}") from error
        why = "Along a path scores add up and counts multiply, so both parts of `times` are sums."
        cases.append(Case("T = 4, S = 3, log-weights of 0 and 1", got, right, mistakes, otherwise=why))
    judge("BestCount", cases)
    try:
        check_semiring(semiring)
    except LawError as error:
        hint = next((hint for law, hint in HINTS.items() if law in str(error)), "")
        raise Wrong(f"check_semiring says: {error} {hint}".strip()) from error


def _shape(x: Any) -> str:
    return str(tuple(x.shape)) if isinstance(x, torch.Tensor) else type(x).__name__
