"""Which phones in context share a state: phonetic decision trees (Young, Odell and Woodland 1994).

A phone's state has a tree. Its root holds the frames of the state between any two neighbours; a question, whether the
phone before (or after) is in some set, splits them in two, and what that gains is how much likelier the frames are
under two Gaussians than under one. The split that gains most, of all trees, is made next, as long as both halves have
frames enough. A context that nobody said answers the same questions, and so has a leaf too.

The sets are those of a clustering of the phones themselves: the two that lose least by sharing a Gaussian become one,
again and again, and every set on the way is a question.
"""

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semihmm.speech.acoustics.contexts import Contexts
from semihmm.speech.text.phones import is_silence
from semihmm.speech.training.statistics import Example, begins

LEAST_FRAMES = 60.0
"""Frames that a leaf needs."""

_FLOOR = 0.01  # least variance, as a share of the variance of all frames


@dataclass(frozen=True)
class ContextSums:
    """How the frames of each phone's states lie between its neighbours.

    Args:
        context: ``(U, 4)``: phone before, phone, phone after, state.
        count: ``(U,)`` frames.
        sums: ``(U, 2, F)`` of them, and of their squares.
    """

    context: Tensor
    count: Tensor
    sums: Tensor

    @classmethod
    def of(
        cls, paths: Sequence[Tensor | None], examples: Sequence[Example], states: int, silence: int
    ) -> "ContextSums":
        """Those of paths of states without context; the silence stands before the first phone and after the last."""
        found, frames = [], []
        for path, example in zip(paths, examples, strict=True):
            if path is not None:
                found.append(contexts_of(path, states, silence))
                frames.append(example.features.double())
        context, which = torch.cat(found).unique(dim=0, return_inverse=True)
        x = torch.cat(frames)
        sums = x.new_zeros(len(context), 2, x.shape[1]).index_add_(0, which, torch.stack([x, x.square()], 1))
        return cls(context, torch.bincount(which).double(), sums)


def contexts_of(path: Tensor, states: int, silence: int) -> Tensor:
    """The phone before, the phone, the phone after and the state, of each frame of a path, ``(T, 4)``.

    Example:
        >>> contexts_of(torch.tensor([2, 2, 0]), 1, 9).tolist()
        [[9, 2, 0, 0], [9, 2, 0, 0], [2, 0, 9, 0]]
    """
    begin, edge = begins(path, states), torch.tensor([silence])
    phone, run = path[begin] // states, begin.cumsum(0) - 1
    before, after = torch.cat([edge, phone])[run], torch.cat([phone[1:], edge])[run]
    return torch.stack([before, path // states, after, path % states], 1)


def in_context(path: Tensor, contexts: Contexts, states: int, silence: int) -> Tensor:
    """The columns of phones in context ``(T,)``, of a path through states without."""
    before, phone, after, state = contexts_of(path, states, silence).unbind(1)
    found: Tensor = contexts.table[0, before, phone, after, state].long()
    return found


def likelihood(count: Tensor, sums: Tensor, floor: Tensor) -> Tensor:
    """Log-likelihood of frames under their own Gaussian, less what all have in common: ``-n/2 sum log variance``.

    Args:
        count: ``(...,)``.
        sums: ``(..., 2, F)``.
        floor: ``(F,)`` the least variance.
    """
    mean, square = (sums / count.clamp(min=1e-9)[..., None, None]).unbind(-2)
    return -count / 2 * (square - mean.square()).maximum(floor).log().sum(-1)


def questions(sums: ContextSums, phones: int, floor: Tensor) -> Tensor:
    """Sets of phones, ``(Q, P)`` bool: each phone alone, and those that a clustering brings together."""
    count = torch.zeros(phones, dtype=torch.float64).index_add_(0, sums.context[:, 1], sums.count)
    moments = sums.sums.new_zeros(phones, *sums.sums.shape[1:]).index_add_(0, sums.context[:, 1], sums.sums)
    sets = [*torch.eye(phones, dtype=torch.bool)]
    alive = list(range(phones))
    while len(alive) > 2:  # the set of all asks nothing
        n, s = count[alive], moments[alive]
        alone = likelihood(n, s, floor)
        together = likelihood(n[:, None] + n, s[:, None] + s, floor)
        loss = (alone[:, None] + alone - together).fill_diagonal_(torch.inf)
        first, second = divmod(int(loss.argmin()), len(alive))
        one, other = alive[first], alive[second]
        sets.append(sets[one] | sets[other])
        count = torch.cat([count, (count[one] + count[other])[None]])
        moments = torch.cat([moments, (moments[one] + moments[other])[None]])
        alive = [item for item in alive if item not in (one, other)] + [len(sets) - 1]
    return torch.stack(sets)


@dataclass(frozen=True)
class _Leaf:
    """Part of a tree.

    Args:
        root: the phone's state whose tree it is, ``phone * states + state``.
        members: rows of the sums.
        answers: ``(2, P)`` bool: which phones may stand before, and after.
    """

    root: int
    members: Tensor
    answers: Tensor


@dataclass(frozen=True)
class _Split:
    """The best question to a leaf, and what it gains."""

    gain: float
    yes: _Leaf
    no: _Leaf


def grow(
    sums: ContextSums, phones: Sequence[str], states: int, most: int, *, least: float = LEAST_FRAMES
) -> tuple[Contexts, Tensor]:
    """The states of phones in context.

    Args:
        sums: of the frames.
        phones: of the model; silences have no context.
        states: of each phone.
        most: how many states there may be in context.
        least: frames of each.

    Returns:
        The contexts, and the phone's state that each column belongs to, ``(J,)``: the first are the phones' own, and
        one that no question splits has no others.
    """
    overall = sums.sums.sum(0) / sums.count.sum()
    floor = _FLOOR * (overall[1] - overall[0].square())
    asked = questions(sums, len(phones), floor)
    root = sums.context[:, 1] * states + sums.context[:, 3]
    everything = torch.ones(2, len(phones), dtype=torch.bool)
    leaves: dict[int, list[_Leaf]] = {}
    heap: list[tuple[float, int, _Leaf, _Split]] = []

    def consider(leaf: _Leaf) -> None:
        best = _best_split(leaf, sums, asked, floor, least)
        if best is not None:
            heapq.heappush(heap, (-best.gain, next(numbers), leaf, best))

    numbers = itertools.count()  # of two that gain the same, the older one is first
    for number in root.unique().tolist():
        if not is_silence(phones[number // states]):
            leaves[number] = [_Leaf(number, (root == number).nonzero()[:, 0], everything)]
            consider(leaves[number][0])
    total = 0
    while heap:
        _, _, leaf, best = heapq.heappop(heap)
        more = 2 if len(leaves[leaf.root]) == 1 else 1  # a tree of one leaf is the phone's own state
        if total + more > most:
            break
        total += more
        leaves[leaf.root] = [item for item in leaves[leaf.root] if item is not leaf] + [best.yes, best.no]
        consider(best.yes)
        consider(best.no)
    return _columns([item for tree in leaves.values() if len(tree) > 1 for item in tree], len(phones), states)


def _best_split(leaf: _Leaf, sums: ContextSums, asked: Tensor, floor: Tensor, least: float) -> _Split | None:
    context, count, moments = sums.context[leaf.members], sums.count[leaf.members], sums.sums[leaf.members]
    answer = torch.cat([asked[:, context[:, 0]], asked[:, context[:, 2]]]).double()  # (2 Q, members)
    n, s = answer @ count, (answer @ moments.flatten(1)).unflatten(1, moments.shape[1:])
    all_n, all_s = count.sum(), moments.sum(0)
    gain = likelihood(n, s, floor) + likelihood(all_n - n, all_s - s, floor) - likelihood(all_n, all_s, floor)
    gain = gain.masked_fill((n < least) | (all_n - n < least), -torch.inf)
    best = int(gain.argmax())
    if not gain[best] > 0:
        return None
    side, question = divmod(best, len(asked))
    halves = []
    for inside, allowed in ((True, asked[question]), (False, ~asked[question])):
        answers = leaf.answers.clone()
        answers[side] &= allowed
        halves.append(_Leaf(leaf.root, leaf.members[(answer[best] > 0) == inside], answers))
    return _Split(float(gain[best]), *halves)


def _columns(leaves: Sequence[_Leaf], phones: int, states: int) -> tuple[Contexts, Tensor]:
    own = torch.arange(phones * states)
    table = own.reshape(1, phones, 1, states).expand(phones, phones, phones, states).int().contiguous()
    for column, leaf in enumerate(leaves, phones * states):
        phone, state = divmod(leaf.root, states)
        table[:, phone, :, state][leaf.answers[0][:, None] & leaf.answers[1]] = column
    owner = torch.cat([own, torch.tensor([leaf.root for leaf in leaves], dtype=torch.long)])
    return Contexts(table.expand(4, -1, -1, -1, -1)), owner
