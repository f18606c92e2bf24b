"""Every path of a small HMM or HSMM, one by one, from the definitions alone.

An enumeration takes one sequence without batch axes and gives for each path its event and the log-weights along it: all
paths that the lengths and the topology allow, in an order that does not depend on the potentials' values. A log-weight
that is a tuple is an arc of several potentials, which the structure adds up before a semiring sees them.
"""

import math
from collections.abc import Iterator
from itertools import product

from torch import Tensor

from semihmm.structures import HMM, HSMM

Weight = float | tuple[float, ...]
Enumerated = tuple[object, list[Weight]]


def hmm_paths(hmm: HMM) -> Iterator[Enumerated]:
    """All sequences of states along existing arcs: ``states ** length`` of them in a dense model."""
    length = hmm.steps if hmm.lengths is None else int(hmm.lengths)
    initial, emission = hmm.initial.tolist(), hmm.emission.tolist()
    for states in product(range(hmm.states), repeat=length):
        weights: list[Weight] = [initial[states[0]], emission[0][states[0]]]
        for t in range(1, length):
            arc = _transition(hmm, t - 1, states[t - 1], states[t])
            if arc is None:
                break
            weights += [arc, emission[t][states[t]]]
        else:
            if hmm.final is not None:
                weights.append(float(hmm.final[states[-1]]))
            yield states, weights


def _transition(hmm: HMM | HSMM, t: int, source: int, target: int) -> float | None:
    """The log-weight of the arc out of step ``t``; None if there is none."""
    event = 1 if hmm.arcs is not None else 2
    weight = hmm.transition if hmm.transition.ndim == event else hmm.transition[t]
    if hmm.arcs is not None:
        pairs = list(zip(*(x.tolist() for x in hmm.arcs), strict=True))
        return float(weight[pairs.index((source, target))]) if (source, target) in pairs else None
    if hmm.offsets is not None:
        offset = target - source
        return float(weight[target, hmm.offsets.index(offset)]) if offset in hmm.offsets else None
    return float(weight[source, target])


def hsmm_paths(hsmm: HSMM) -> Iterator[Enumerated]:
    """All tilings of the sequence, with all states of their segments."""
    end = hsmm.steps if hsmm.lengths is None else int(hsmm.lengths)
    for lengths in _tilings(end, hsmm.longest):
        for states in product(range(hsmm.states), repeat=len(lengths)):
            starts = [sum(lengths[:i]) for i in range(len(lengths))]
            segments = list(zip(states, starts, lengths, strict=True))
            weights: list[Weight] = [float(hsmm.initial[states[0]])]
            for i, (state, start, length) in enumerate(segments):
                if i:
                    arc = _transition(hsmm, start - 1, states[i - 1], state)
                    if arc is None:
                        break
                    weights.append(arc)
                last = start + length - 1
                parts = [_duration(hsmm, last, state, length, start == 0, start + length == end)]
                parts += [float(hsmm.emission[t, state]) for t in range(start, start + length)]
                if hsmm.segment is not None:
                    parts.append(float(hsmm.segment[last, length - 1, state]))
                weights.append(tuple(parts))
            else:
                if hsmm.final is not None:
                    weights.append(float(hsmm.final[states[-1]]))
                yield segments, weights


def _tilings(steps: int, longest: int) -> Iterator[tuple[int, ...]]:
    if steps == 0:
        yield ()
    for first in range(1, min(steps, longest) + 1):
        for rest in _tilings(steps - first, longest):
            yield (first, *rest)


def _duration(hsmm: HSMM, last: int, state: int, length: int, begins: bool, ends: bool) -> float:
    """The log-weight of a segment's length; where an end of the sequence cuts it, of all it may have been."""
    table: Tensor = hsmm.duration if hsmm.duration.ndim == 2 else hsmm.duration[last]
    weights = table[state].tolist()
    left = begins and hsmm.censored in ("left", "both")
    right = ends and hsmm.censored in ("right", "both")
    if not left and not right:
        return float(weights[length - 1])
    # A true duration d fits in one way if one end is cut, and if both are in as many as there are places for it.
    return log_sum(
        weights[d - 1] + (math.log(d - length + 1) if left and right else 0.0) for d in range(length, hsmm.longest + 1)
    )


def log_sum(weights: Iterator[float] | list[float]) -> float:
    """The log of the sum of the exponentials; ``-inf`` of nothing."""
    given = list(weights)
    peak = max(given, default=-math.inf)
    return peak + math.log(math.fsum(math.exp(x - peak) for x in given)) if peak > -math.inf else -math.inf
