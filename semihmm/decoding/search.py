"""CTC prefix beam search in plain Python: the recursion of ``csrc/prefix_beam.cc``, and its oracle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from semihmm.decoding.hypotheses import Found
from semihmm.decoding.saving import BeamState
from semihmm.decoding.scoring import Scoring, States


class Ending(NamedTuple):
    """All paths that end in one way: log of their sum, the best of them, and where its tokens begin."""

    sum: float = -math.inf
    best: float = -math.inf
    onsets: tuple[int, ...] = ()

    def followed_by(self, y: float) -> Ending:
        """One frame longer."""
        return Ending(self.sum + y, self.best + y, self.onsets)

    def begun(self, frame: int) -> Ending:
        """With a token that begins in this frame."""
        return self._replace(onsets=(*self.onsets, frame))

    def __or__(self, other: Ending) -> Ending:
        best = other if other.best > self.best else self
        return Ending(log_add(self.sum, other.sum), best.best, best.onsets)


class Entry(NamedTuple):
    """A label sequence of the beam: its paths that end in a blank, in its last token, in either."""

    labels: tuple[int, ...]
    states: States
    weight: float
    blank: Ending
    token: Ending
    either: Ending

    def before(self, token: int) -> Ending:
        """The paths that a token makes a label longer: if it is the last one again, those that end in a blank."""
        return self.blank if self.labels[-1:] == (token,) else self.either


def log_add(a: float, b: float) -> float:
    """``log(exp(a) + exp(b))``.

    Example:
        >>> log_add(0.0, -math.inf)
        0.0
    """
    a, b = max(a, b), min(a, b)
    return a if b == -math.inf else a + math.log1p(math.exp(b - a))


class PrefixBeam:
    """The beam of one sequence, frame by frame."""

    def __init__(self, scoring: Scoring, beam: int, margin: float) -> None:
        self.scoring, self.beam, self.margin, self.frame = scoring, beam, margin, 0
        nothing = Ending(0.0, 0.0)
        self.entries = [Entry((), scoring.start(), 0.0, nothing, Ending(), nothing)]

    def push(self, row: Sequence[float]) -> None:
        """One more frame."""
        held = {entry.labels: entry for entry in self.entries}
        found: list[tuple[float, int, int, Entry]] = []
        for slot, entry in enumerate(self.entries):
            blank, token = entry.either.followed_by(row[self.scoring.blank]), Ending()
            if entry.labels:
                y, shorter = row[entry.labels[-1]], held.get(entry.labels[:-1])
                token = entry.token.followed_by(y)
                if shorter is not None:
                    token |= shorter.before(entry.labels[-1]).followed_by(y).begun(self.frame)
            next_ = entry._replace(blank=blank, token=token, either=blank | token)
            found.append((-(next_.either.sum + entry.weight), slot, -1, next_))
            for label, y in enumerate(row):
                longer = (*entry.labels, label)
                if label == self.scoring.blank or longer in held:
                    continue
                if (stepped := self.scoring.step(entry.states, label)) is not None:
                    states, gained = stepped
                    ending = entry.before(label).followed_by(y).begun(self.frame)
                    next_ = Entry(longer, states, entry.weight + gained, Ending(), ending, ending)
                    found.append((-(ending.sum + next_.weight), slot, label, next_))
        best = sorted(x for x in found if x[0] < math.inf)[: self.beam]  # no two have the same slot and label
        self.entries = [entry for cost, _, _, entry in best if cost <= best[0][0] + self.margin]
        self.frame += 1

    def best(self, count: int, final: bool) -> list[Found]:
        """The best ones, as if all had been said; or so far, if not ``final``."""
        found = []
        for slot, entry in enumerate(self.entries):
            end = self.scoring.final(entry.states) if final else 0.0
            found.append((-(entry.either.sum + (entry.weight + end)), slot, entry))
        best = sorted(x for x in found if x[0] < math.inf)[:count]
        return [(entry.labels, entry.either.onsets, entry.either.sum, -cost) for cost, _, entry in best]

    def state(self) -> BeamState:
        """What there is to save: label sequences and onsets as trees, whose nodes are numbered as they are found."""
        labels: dict[tuple[int, int], int] = {(-1, -1): 0}
        onsets: dict[tuple[int, int], int] = {}

        def found(tree: dict[tuple[int, int], int], root: int, path: Sequence[int]) -> int:
            for step in path:
                root = tree.setdefault((root, step), len(tree))
            return root

        endings = [ending for e in self.entries for ending in (e.blank, e.token, e.either)]
        nodes = [found(labels, 0, entry.labels) for entry in self.entries]
        begun = [found(onsets, -1, ending.onsets) for ending in endings]
        sums = [x for ending in endings for x in (ending.sum, ending.best)]
        return BeamState(
            self.frame, [p for p, _ in labels], [t for _, t in labels], [b for b, _ in onsets], [f for _, f in onsets],
            nodes, begun, sums,
        )  # fmt: skip

    def restore(self, state: BeamState) -> None:
        """Go on from there.

        Raises:
            ValueError: it is the state of no such beam.
        """
        known: list[tuple[tuple[int, ...], States, float]] = [((), self.scoring.start(), 0.0)]
        for parent, token in list(zip(state.parents, state.tokens, strict=True))[1:]:
            _check(0 <= parent < len(known) and 0 <= token < self.scoring.tokens and token != self.scoring.blank)
            labels, states, weight = known[parent]
            stepped = self.scoring.step(states, token)
            if stepped is None:
                raise ValueError("a label sequence is not allowed")
            known.append(((*labels, token), stepped[0], weight + stepped[1]))
        begun: list[tuple[int, ...]] = [()]
        for before, frame in zip(state.before, state.begun, strict=True):
            _check(-1 <= before < len(begun) - 1 and 0 <= frame < state.frame)
            begun.append((*begun[before + 1], frame))
        _check(len(set(state.nodes)) == len(state.nodes) <= self.beam)
        _check(all(0 <= node < len(known) for node in state.nodes))
        _check(all(-1 <= onset < len(begun) - 1 for onset in state.onsets))
        _check(all(x < math.inf for x in state.sums))
        pairs = list(zip(state.sums[::2], state.sums[1::2], strict=True))
        endings = [Ending(*pair, begun[onset + 1]) for pair, onset in zip(pairs, state.onsets, strict=True)]
        self.entries = [Entry(*known[n], *endings[3 * i : 3 * i + 3]) for i, n in enumerate(state.nodes)]
        for entry in self.entries:
            for ending in entry[3:]:
                _check(len(ending.onsets) == len(entry.labels) or ending.sum == ending.best == -math.inf)
        self.frame = state.frame


def _check(fits: bool) -> None:
    if not fits:
        raise ValueError("it is the state of no such beam")


class Searches:
    """Those of a batch; stands in for the compiled class ``BeamSearches``."""

    def __init__(self, scoring: Scoring, batch: int, beam: int, margin: float) -> None:
        self.beams = [PrefixBeam(scoring, beam, margin) for _ in range(batch)]

    def push(self, log_probs: Tensor, lengths: Tensor, threads: int) -> None:
        """Frames ``(batch, T, V)``, of which so many count."""
        for beam, rows, length in zip(self.beams, log_probs.tolist(), lengths.tolist(), strict=True):
            for row in rows[:length]:
                beam.push(row)

    def state(self) -> list[BeamState]:
        """See `PrefixBeam.state`."""
        return [beam.state() for beam in self.beams]

    def restore(self, states: Sequence[BeamState]) -> None:
        """See `PrefixBeam.restore`."""
        for beam, state in zip(self.beams, states, strict=True):
            beam.restore(state)

    def best(self, count: int, final: bool) -> list[list[Found]]:
        """See `PrefixBeam.best`."""
        return [beam.best(count, final) for beam in self.beams]
