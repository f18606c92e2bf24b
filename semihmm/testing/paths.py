"""Every path of a small CTC, MonotonicAlignment, DTW, RNNT, EditDistance or Lattice, from the definitions alone.

An enumeration takes one sequence without batch axes and gives for each path its event, in nested lists as the structure
has it, and the log-weights along it: all paths that lengths and topology allow, whatever the potentials are.
"""

import math
from collections.abc import Iterator
from itertools import combinations_with_replacement, pairwise, product

from torch import Tensor

from semihmm.structures import CTC, DTW, RNNT, EditDistance, Lattice, MonotonicAlignment
from semihmm.structures.dtw import PATTERNS, StepPattern

Listed = tuple[object, list[float]]


def _length(lengths: Tensor | None, longest: int) -> int:
    return longest if lengths is None else int(lengths)


def ctc_paths(ctc: CTC) -> Iterator[Listed]:
    """Every string of places that collapses to the targets: tokens in order, some optional ones left out."""
    longest = ctc.emission.shape[-2]
    frames = _length(ctc.input_lengths, longest)
    tokens = ctc.targets.tolist()[: _length(ctc.target_lengths, ctc.targets.shape[-1])]
    optional = [False] * len(tokens) if ctc.optional is None else ctc.optional.tolist()[: len(tokens)]
    emission = ctc.emission.tolist()
    for kept in product(*([True, False] if o else [True] for o in optional)):
        wanted = [i for i, k in enumerate(kept) if k]
        for places in product([-1, *wanted], repeat=frames):
            # Merge equal neighbours, drop blanks: what is left must be the targets, each once.
            runs = [p for i, p in enumerate(places) if p >= 0 and (i == 0 or places[i - 1] != p)]
            touching = any(p != q and p >= 0 and q >= 0 and tokens[p] == tokens[q] for p, q in pairwise(places))
            if runs == wanted and not touching:
                spoken = [ctc.blank if p < 0 else tokens[p] for p in places]
                event = [[token, place] for token, place in zip(spoken, places, strict=True)]
                yield event + [[-1, -1]] * (longest - frames), [emission[t][v] for t, v in enumerate(spoken)]


def monotonic_paths(alignment: MonotonicAlignment) -> Iterator[Listed]:
    """Every way to cut the frames into one run for each token."""
    longest, tokens = alignment.emission.shape[-2:]
    frames, tokens = _length(alignment.input_lengths, longest), _length(alignment.target_lengths, tokens)
    emission = alignment.emission.tolist()
    for run in product(range(1, frames + 1), repeat=tokens):
        if sum(run) == frames:
            event = [token for token, count in enumerate(run) for _ in range(count)]
            yield event + [-1] * (longest - frames), [emission[t][u] for t, u in enumerate(event)]


def dtw_paths(dtw: DTW) -> Iterator[Listed]:
    """Every sequence of moves from where it may begin to where it may end."""
    height, width = dtw.cost.shape[-2:]
    n, m = _length(dtw.query_lengths, height), _length(dtw.reference_lengths, width)
    pattern = dtw.step_pattern if isinstance(dtw.step_pattern, StepPattern) else PATTERNS[dtw.step_pattern]
    cost = dtw.cost.tolist()

    def inside(i: int, j: int) -> bool:
        if not (0 <= i < n and 0 <= j < m):
            return False
        if isinstance(dtw.window, Tensor):
            return bool(dtw.window[i, j])
        if dtw.window == "itakura":
            back_i, back_j = n - 1 - i, m - 1 - j
            return i <= 2 * j and j <= 2 * i and back_i <= 2 * back_j and back_j <= 2 * back_i
        return dtw.window is None or abs(i - j) <= int(dtw.window)

    def onward(pairs: list[list[int]], weights: list[float]) -> Iterator[Listed]:
        i, j = pairs[-1]
        if i == n - 1 and (j == m - 1 or dtw.open_end):
            yield pairs + [[-1, -1]] * (height + width - 1 - len(pairs)), weights
        for move in pattern.moves:
            at, added, allowed = (i, j), [], True
            for down, right, count in move:
                at = (at[0] + down, at[1] + right)
                allowed = allowed and inside(*at)
                if allowed and (count or cost[at[0]][at[1]] == math.inf):  # what counts 0 times may still be forbidden
                    added.append(-math.inf if cost[at[0]][at[1]] == math.inf else -count * cost[at[0]][at[1]])
            if allowed:
                yield from onward([*pairs, [*at]], weights + added)

    for j in range(m if dtw.open_begin else 1):
        if inside(0, j):
            yield from onward([[0, j]], [-cost[0][j]])


def rnnt_paths(rnnt: RNNT) -> Iterator[Listed]:
    """Every choice of a frame for each label, in order."""
    longest, most = rnnt.label.shape[-2:]
    frames, labels = _length(rnnt.input_lengths, longest), _length(rnnt.target_lengths, most)
    for chosen in combinations_with_replacement(range(frames), labels):
        weights = [float(rnnt.label[t, u]) for u, t in enumerate(chosen)]
        weights += [float(rnnt.blank[t, sum(c <= t for c in chosen)]) for t in range(frames)]
        yield [*chosen, *[-1] * (most - labels)], weights


def edit_paths(edit: EditDistance) -> Iterator[Listed]:
    """Every string of deletions, insertions and substitutions that uses up both sequences."""
    height, width = edit.substitution.shape[-2:]
    n, m = _length(edit.source_lengths, height), _length(edit.target_lengths, width)

    def onward(i: int, j: int, event: list[list[int]], weights: list[float]) -> Iterator[Listed]:
        if (i, j) == (n, m):
            yield event + [[-1, -1]] * (height + width - len(event)), weights
        if i < n:
            yield from onward(i + 1, j, [*event, [i, -1]], [*weights, -float(edit.deletion[i])])
        if j < m:
            yield from onward(i, j + 1, [*event, [-1, j]], [*weights, -float(edit.insertion[j])])
        if i < n and j < m:
            yield from onward(i + 1, j + 1, [*event, [i, j]], [*weights, -float(edit.substitution[i, j])])

    yield from onward(0, 0, [], [])


def lattice_paths(lattice: Lattice) -> Iterator[Listed]:
    """Every walk along arcs."""
    arcs = list(zip(lattice.source.tolist(), lattice.target.tolist(), lattice.log_weight.tolist(), strict=True))
    starts = {u for u, _, _ in arcs} - {v for _, v, _ in arcs} if lattice.start is None else set(lattice.start)
    ends = {v for _, v, _ in arcs} - {u for u, _, _ in arcs} if lattice.end is None else set(lattice.end)

    def onward(node: int, event: list[int], weights: list[float]) -> Iterator[tuple[list[int], list[float]]]:
        if node in ends:
            yield event, weights
        for number, (source, target, weight) in enumerate(arcs):
            if source == node:
                yield from onward(target, [*event, number], [*weights, weight])

    found = [path for start in sorted(starts) for path in onward(start, [], [])]
    longest = max((len(event) for event, _ in found), default=0)
    for event, weights in found:
        yield event + [-1] * (longest - len(event)), weights
