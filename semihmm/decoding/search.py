"""CTC prefix beam search in plain Python: the recursion of ``csrc/prefix_beam.cc``, and its oracle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from semihmm.decoding.hypotheses import Found
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


class Searches:
    """Those of a batch; stands in for the compiled class ``BeamSearches``."""

    def __init__(self, scoring: Scoring, batch: int, beam: int, margin: float) -> None:
        self.beams = [PrefixBeam(scoring, beam, margin) for _ in range(batch)]

    def push(self, log_probs: Tensor, lengths: Tensor, threads: int) -> None:
        """Frames ``(batch, T, V)``, of which so many count."""
        for beam, rows, length in zip(self.beams, log_probs.tolist(), lengths.tolist(), strict=True):
            for row in rows[:length]:
                beam.push(row)

    def best(self, count: int, final: bool) -> list[list[Found]]:
        """See `PrefixBeam.best`."""
        return [beam.best(count, final) for beam in self.beams]
