"""Words as the tokens that spell them: tries, and phrases that are listened for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from semihmm.decoding.backoff import NONE, Backoff
from semihmm.errors import DataError

ROOT, OUTSIDE = 0, 1


@dataclass(frozen=True, eq=False)
class Trie:
    """How words are spelled, and which word ends in each state; -1 where none may."""

    automaton: Backoff
    word: Sequence[int]


def trie(words: Iterable[tuple[Sequence[int], int]], unknown: int | None = None) -> Trie:
    """The words with these spellings and numbers.

    Args:
        unknown: the number of all other words; None where there are to be none.

    Raises:
        DataError: a word of no tokens; two words of one spelling.

    Example:
        >>> trie([([2, 3], 0), ([2], 1)]).word  # the root, behind 2 3, ...
        [-1, -1, 1, 0]
    """
    other = NONE if unknown is None else unknown
    arcs: list[dict[int, tuple[int, float]]] = [{}, {}]
    ends = [NONE, other]
    for spelling, word in words:
        state = ROOT
        for token in spelling:
            if token not in arcs[state]:
                arcs[state][token] = (len(arcs), 0.0)
                arcs.append({})
                ends.append(other)
            state = arcs[state][token][0]
        if state == ROOT or ends[state] not in (other, word):
            what = "a word of no tokens" if state == ROOT else f"two words that are spelled {list(spelling)}"
            raise DataError(f"lexicon: there is {what}. Leave it out, or join what sounds alike to one word.")
        ends[state] = word
    zeros = [0.0] * len(arcs)
    behind = (NONE if unknown is None else OUTSIDE, 0.0)
    return Trie(Backoff(arcs, [NONE] * len(arcs), zeros, zeros, other=behind), ends)


def phrases(bonus: Mapping[tuple[int, ...], float], between: int = -1) -> Backoff:
    """An automaton that adds a bonus, in nats, for each occurrence of a phrase, overlapping ones too.

    What is heard of a phrase earns its share of the bonus at once, which is taken back where the phrase breaks off: so
    a beam does not lose it early, and in the end a sequence weighs just what it should (Aho & Corasick 1975).

    Args:
        between: a token that stands for the begin and the end of a sequence too; -1 for none.

    Example:
        >>> listen = phrases({(4, 5): 2.0})
        >>> listen.step(0, 4), listen.step(1, 5), listen.step(1, 6), listen.final
        ((1, 1.0), (2, 1.0), (0, -1.0), [-0.0, -1.0, -0.0])
    """
    after: list[dict[int, int]] = [{}]
    share, whole = [0.0], [0.0]  # what is heard of an unfinished phrase; what ends here
    for phrase, worth in bonus.items():
        state = 0
        for heard, token in enumerate(phrase, 1):
            if token not in after[state]:
                after[state][token] = len(after)
                after.append({})
                share.append(0.0)
                whole.append(0.0)
            state = after[state][token]
            if heard < len(phrase):
                share[state] = max(share[state], worth * heard / len(phrase), key=abs)
        whole[state] += worth
    order, backoff = [0], [NONE] * len(after)
    for state in order:  # which grows: shorter ones first
        for token, longer in after[state].items():
            suffix = backoff[state]
            while suffix != NONE and token not in after[suffix]:
                suffix = backoff[suffix]
            backoff[longer] = 0 if suffix == NONE else after[suffix][token]
            whole[longer] += whole[backoff[longer]]
            order.append(longer)
    at = {state: i for i, state in enumerate(order)} | {NONE: NONE}
    arcs = [{c: (at[n], share[n] - share[s] + whole[n]) for c, n in after[s].items()} for s in order]
    weights = [0.0 if backoff[s] == NONE else share[backoff[s]] - share[s] for s in order]
    made = Backoff(arcs, [at[backoff[s]] for s in order], weights, [-share[s] for s in order], other=(0, 0.0))
    if between < 0:
        return made
    ends = [made.step(s, between) for s in range(len(order))]
    final = [weight + made.final[state] for state, weight in ends]
    begin = ends[0][0]
    final = [f + share[order[begin]] for f in final]  # what the start has earned already
    return Backoff(arcs, made.backoff, weights, final, begin, made.other)
