"""Checks exercise 8 with `semihmm.EditDistance`, and with `semihmm.testing.check_structure`."""

from collections.abc import Iterator
from typing import Any

import torch

import semihmm
from checkers.tools import Case, Wrong, generator, judge
from semihmm.errors import LawError, SemihmmError
from semihmm.testing import check_structure


def check(answer: Any) -> None:
    cases = []
    for seed, (rows, columns) in enumerate(((3, 3), (2, 2), (4, 4))):
        g = generator(seed)
        substitution, deletion, insertion = (
            torch.rand(n, generator=g, dtype=torch.float64) for n in ((rows, columns), (rows,), (columns,))
        )
        costs = (substitution, deletion, insertion)
        mistakes = {
            "deletions and insertions have changed places: a deletion goes down (1, 0), an insertion right (0, 1)": (
                _distance(substitution, insertion, deletion)
            ),
            "substitutions are missing: the move (1, 1)": _distance(substitution + 9, deletion, insertion),
            "off by one: the cost of arriving at cell (i, j) is that of items i - 1 and j - 1; pad in front": _distance(
                *(_later(x) for x in costs)
            ),
            "substitutions are [j, i]": _distance(substitution.mT, deletion, insertion),
        }
        # The factor 1 turns costs into gains: the best path is the dearest.
        dear = -float(semihmm.viterbi(semihmm.EditDistance(-substitution, -deletion, -insertion)).score)
        mistakes["the sign is wrong: costs are log-weights times -1 (factor=-1.0)"] = dear
        right = _distance(*costs)
        cases.append(Case(f"N = {rows}, M = {columns}", _ask(answer.Levenshtein(*costs)), right, mistakes))
    judge("Levenshtein: the distance", cases)
    words = answer.Levenshtein.between(torch.tensor([*b"kitten"]), torch.tensor([*b"sitting"]))
    judge("Levenshtein: the distance", [Case("kitten to sitting", _ask(words), 3.0)])
    g = generator(7)
    small = answer.Levenshtein(*(torch.rand(n, generator=g, dtype=torch.float64) for n in ((2, 3), (2,), (3,))))
    try:
        check_structure(small, paths=paths, samples=300)
    except (SemihmmError, LawError) as error:
        raise Wrong(f"the distances are right, but check_structure says: {error}") from error


def _ask(structure: Any) -> torch.Tensor:
    try:
        return -semihmm.viterbi(structure).score
    except SemihmmError as error:
        raise Wrong(f"Levenshtein.chain: {error}") from error


def _distance(*costs: torch.Tensor) -> torch.Tensor:
    return -semihmm.viterbi(semihmm.EditDistance(*costs)).score


def _later(x: torch.Tensor) -> torch.Tensor:
    """What is read where costs are padded behind: those of the next item, and 0 for that of none."""
    for axis in range(x.ndim):
        x = torch.cat([x.narrow(axis, 1, x.shape[axis] - 1), torch.zeros_like(x.narrow(axis, 0, 1))], axis)
    return x


def paths(item: semihmm.EditDistance, i: int = 0, j: int = 0) -> Iterator[tuple[list[tuple[int, int]], list[float]]]:
    """All alignments from the definition alone: what `check_structure` compares every answer with."""
    rows, columns = item.substitution.shape
    if (i, j) == (rows, columns):
        yield [], []
    moves = (
        (i + 1, j, (i, -1), item.deletion[i] if i < rows else None),
        (i, j + 1, (-1, j), item.insertion[j] if j < columns else None),
        (i + 1, j + 1, (i, j), item.substitution[i, j] if i < rows and j < columns else None),
    )
    for down, right, operation, cost in moves:
        if cost is not None:
            for event, weights in paths(item, down, right):
                yield [operation, *event], [-float(cost), *weights]
