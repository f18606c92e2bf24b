"""Checks exercise 7 with `semihmm.CTC`: its labels and arcs are read off all of its paths."""

from itertools import pairwise
from typing import Any

import torch

import semihmm
from checkers.tools import Case, Wrong, generator, judge

TEXTS = (([1, 2], 0), ([1], 0), ([1, 1], 0), ([], 0), ([1, 2, 2], 0), ([0, 2, 0], 1))
Arc = tuple[int, int]


def check(answer: Any) -> None:
    cases = []
    for tokens, blank in TEXTS:
        found = answer.ctc_topology(list(tokens), blank)
        if not isinstance(found, tuple | list) or len(found) != 4:
            raise Wrong("ctc_topology: return four lists: `return labels, arcs, starts, ends`.")
        asked = f"tokens {tokens}, blank {blank}"
        labels, starts, ends = ([int(i) for i in found[n]] for n in (0, 2, 3))
        arcs = [(int(i), int(j)) for i, j in found[1]]
        right = _read(tokens, blank)
        _labels(labels, right[0], tokens, blank, asked)
        if len(set(arcs)) < len(arcs):
            raise Wrong(f"ctc_topology: an arc is listed twice, so its paths count twice ({asked}).")
        _arcs(set(arcs), right[1], right[0], blank, asked)
        _places("begin", set(starts), right[2], asked)
        _places("end", set(ends), right[3], asked)
        scores = torch.randn(6, 3, generator=generator(0), dtype=torch.float64)
        total = semihmm.log_partition(semihmm.CTC(scores, torch.tensor(tokens, dtype=torch.int64), blank=blank))
        cases.append(Case(asked, _total(scores, (labels, arcs, starts, ends)), total))
    judge("the log-partition of your topology", cases)


def _read(tokens: list[int], blank: int) -> tuple[list[int], set[Arc], set[int], set[int]]:
    """The labels, arcs, starts and ends that CTC's own paths have, in as many frames as show all of them."""
    frames, vocabulary = 2 * len(tokens) + 2, 3
    target = torch.tensor(tokens, dtype=torch.int64)
    ctc = semihmm.CTC(torch.zeros(frames, vocabulary), target, blank=blank)
    every = semihmm.topk(ctc, round(float(semihmm.log_count(ctc).exp()))).event
    places = ctc.path(every).slots[:, 1:].tolist()
    pairs = {
        (place, int(token))
        for path, says in zip(places, every[..., 0], strict=True)
        for place, token in zip(path, says, strict=True)
    }
    arcs = {arc for path in places for arc in pairwise(path)}
    return [label for _, label in sorted(pairs)], arcs, {path[0] for path in places}, {path[-1] for path in places}


def _labels(got: list[int], right: list[int], tokens: list[int], blank: int, asked: str) -> None:
    if got == right:
        return
    if got == tokens:
        why = "there are no blanks: one goes before, between and after the tokens"
    elif got == right[1:-1]:
        why = "the blanks before the first token and after the last one are missing"
    elif len(got) == len(right) and blank and 0 in got[::2]:
        why = "the blank is not always 0"
    else:
        why = f"there should be {len(right)} places, blanks at the even ones"
    raise Wrong(f"ctc_topology: labels: {why} ({asked}: got {got}).")


def _arcs(got: set[Arc], right: set[Arc], labels: list[int], blank: int, asked: str) -> None:
    for i, j in sorted(right - got):
        why = {
            0: "a token or a blank may last for several frames, so each place leads to itself",
            1: "each place leads to the next one",
            2: "between two different tokens the blank may be left out",
        }[j - i]
        raise Wrong(f"ctc_topology: the arc {(i, j)} is missing: {why} ({asked}).")
    for i, j in sorted(got - right):
        inside = 0 <= i < len(labels) and 0 <= j < len(labels)
        if not inside:
            why = f"there are {len(labels)} places, from 0 on"
        elif j < i:
            why = "time goes on: arcs are (from, to)"
        elif j == i + 2 and labels[i] == labels[j] != blank:
            why = "two equal tokens need the blank between them, else they are merged into one"
        else:
            why = "it leaves a token out"
        raise Wrong(f"ctc_topology: the arc {(i, j)} should not be there: {why} ({asked}).")


def _places(what: str, got: set[int], right: set[int], asked: str) -> None:
    for place in sorted(right - got):
        why = "the blank is optional there" if place % 2 else "the token beside it need not be there at once"
        raise Wrong(f"ctc_topology: paths may {what} in place {place}, too: {why} ({asked}).")
    for place in sorted(got - right):
        raise Wrong(f"ctc_topology: paths may not {what} in place {place}: that leaves a token out ({asked}).")


def _total(scores: torch.Tensor, found: tuple[Any, ...]) -> torch.Tensor:
    """The log-partition of an HMM whose states are the places."""
    labels, arcs, starts, ends = found

    def only(places: list[int]) -> torch.Tensor:
        return torch.tensor([0.0 if i in places else -torch.inf for i in range(len(labels))], dtype=scores.dtype)

    source, target = torch.tensor(list(arcs)).unbind(-1)
    weight = scores.new_zeros(len(arcs))
    hmm = semihmm.HMM(only(starts), weight, scores[:, labels], only(ends), arcs=(source, target))
    return semihmm.log_partition(hmm)
