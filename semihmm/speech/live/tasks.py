"""What is listened for, frame by frame: the common ground of following a script, keywords and phones."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from semihmm.speech.intervals import Interval
from semihmm.speech.live.loop import Sounds
from semihmm.types import Seconds


@dataclass(frozen=True)
class Found:
    """A word or phone of which all is certain.

    Args:
        item: when it was said.
        index: its number: of the script's words, of the keywords, of the model's phones.
        score: log-likelihood ratio of its frames against the free phone loop, in nats a frame; those that were lost
            count 0.
        said: False for a word of the script in whose place something else was said.
        phones: that it is made of.

    Example:
        >>> Found(Interval(0.5, 0.8, "yes"), index=0, score=1.5).said
        True
    """

    item: Interval
    index: int
    score: float
    said: bool = True
    phones: tuple[Interval, ...] = ()


@dataclass(frozen=True)
class Now:
    """What is known when a frame has come.

    Args:
        label: what is most probably being said; empty for a pause, or for nothing that is listened for.
        index: its number, -1 for none.
        probability: of that, given the frames so far.
        place: how many words of a script have begun.
        found: what has become certain.
        posterior: ``(n,)`` probability of each keyword, or of each phone.
        labels: of those.

    Example:
        >>> Now("yes", 0, 0.9).found
        ()
    """

    label: str
    index: int
    probability: float
    place: int = 0
    found: tuple[Found, ...] = ()
    posterior: Tensor | None = None
    labels: tuple[str, ...] = ()


class Task(Protocol):
    """What is listened for."""

    def push(self, sounds: Sounds) -> Now:
        """The next frame."""
        ...

    def finish(self) -> tuple[Found, ...]:
        """What is left at the end."""
        ...


@dataclass
class Run:
    """Frames one after the other in one node of a graph.

    Args:
        node: its number.
        begin: the first frame.
        end: the frame behind the last.
        score: of all its frames together.
    """

    node: int
    begin: int
    end: int
    score: float


class Runs:
    """Frames whose states are certain, in runs of the same node.

    Args:
        node: ``(S,)`` of each state.
        column: ``(S,)`` of each state, in `Sounds.ratio`.

    Example:
        >>> runs = Runs(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2]))
        >>> for frame in range(4):
        ...     runs.wait(torch.tensor([1.0, 2.0, 4.0]))
        >>> list(runs.settle([0, 1, 2, 2])), runs.last
        ([Run(node=0, begin=0, end=2, score=3.0)], Run(node=1, begin=2, end=4, score=8.0))
    """

    def __init__(self, node: Tensor, column: Tensor) -> None:
        self._node, self._column = node.tolist(), column.tolist()
        self._waiting: deque[Tensor] = deque()
        self._frame = 0
        self.last: Run | None = None
        self.latest: tuple[int, Tensor] | None = None  # the state that was settled last, and its frame

    def wait(self, ratio: Tensor) -> None:
        """One frame more, whose state is not certain yet."""
        self._waiting.append(ratio)

    def settle(self, states: Iterable[int]) -> Iterator[Run]:
        """The states of the frames that have waited longest; gives the runs that end with them."""
        for state in states:
            ratio, node = self._waiting.popleft(), self._node[state]
            if self.last is None or node != self.last.node or (self.latest is not None and state < self.latest[0]):
                if self.last is not None:
                    yield self.last
                self.last = Run(node, self._frame, self._frame, 0.0)
            self._frame += 1
            self.last.end, self.last.score = self._frame, self.last.score + float(ratio[self._column[state]])
            self.latest = state, ratio

    @property
    def waiting(self) -> list[Tensor]:
        """The frames whose states are not certain."""
        return list(self._waiting)


def timed(run: Run, label: str, time: Callable[[int], Seconds]) -> Interval:
    """A run in seconds."""
    return Interval(time(run.begin) if run.begin else 0.0, time(run.end), label)


def in_the_running(filtered: Tensor, source: Tensor, target: Tensor, beam: float) -> Tensor:
    """Which states ``(S,)`` the next frame may be in: those that an arc leads to from one with log-posterior > -beam.

    Args:
        filtered: ``(S,)`` log-posteriors of the latest frame.
        source: ``(A,)`` where arcs come from.
        target: ``(A,)`` where they lead.
        beam: in nats.
    """
    reached = torch.full_like(filtered, -torch.inf).scatter_reduce(0, target, filtered[source], "amax")
    return reached > -beam
