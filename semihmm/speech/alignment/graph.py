"""The paths that a transcript allows: words, their pronunciations, the phones' states, and optional pauses.

With a model of phones in context, a phone's states depend on the phones before and after it, whatever these are on a
path: other pronunciations, pauses, the next word. A phone then has several copies, one for each class of neighbours
that it does not tell apart, and an arc joins two copies that have each other for neighbours. So the graph has the same
paths as without context, each once. Speech that the transcript does not hold is a neighbour like silence.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.copies import Copy, copies, positions
from semihmm.speech.alignment.free import FREE, free_transitions
from semihmm.speech.alignment.pronunciation import Pronunciation
from semihmm.structures import HMM

PAUSE = -1
"""The word index of a pause, and of speech that the transcript does not hold."""

Place = Literal["ends", "between", "instead"]
"""Where speech that the transcript does not hold may be: before and after it, between its words, or in place of one."""

_FREE_PROBABILITY = 0.01

MOST_CELLS = 100_000_000
"""How many frames times states are aligned in one piece: some 14 GB."""


@dataclass(frozen=True)
class Node:
    """One phone at one place of the graph.

    Args:
        word: index of the word that it belongs to, or `PAUSE`.
        phone: its name.
    """

    word: int
    phone: str


@dataclass(frozen=True)
class AlignmentGraph:
    """A transcript as the topology of an `HMM`: S states, three in a row to each copy of a phone, joined by A arcs.

    Args:
        nodes: the phones, in an order in which every arc runs forward or stays.
        phone: ``(nodes,)`` their numbers in the acoustic model; that of `FREE` is one more than there are.
        node: ``(S,)`` which of the nodes a state belongs to, in order.
        column: ``(S,)`` which column of the acoustic model's log-likelihoods a state takes; those of `FREE` follow all
            of the model's.
        initial: ``(S,)`` log-weights of starting.
        final: ``(S,)`` log-weights of ending.
        source: ``(A,)`` where the arcs come from.
        target: ``(A,)`` where they lead, in order.
        weight: ``(A,)`` their log-weights.
        spine: ``(N,)`` the nodes of one way through: every word in its shortest pronunciation, and all that may lie
            between words.
        shortest: states on the shortest path: with fewer frames there is none.
    """

    nodes: tuple[Node, ...]
    phone: Tensor
    node: Tensor
    column: Tensor
    initial: Tensor
    final: Tensor
    source: Tensor
    target: Tensor
    weight: Tensor
    spine: Tensor
    shortest: int

    def hmm(self, log_likelihood: Tensor) -> HMM:
        """The structure for one recording.

        Args:
            log_likelihood: ``(T, columns)``, those that `column` numbers.

        Raises:
            DataError: fewer frames than the shortest way through the transcript; or so many that memory would not do.
        """
        self.check_length(len(log_likelihood))
        cells = len(log_likelihood) * len(self.node)
        if cells > MOST_CELLS:
            raise DataError(
                f"the recording is too long to be aligned in one piece: {len(log_likelihood)} frames of "
                f"{len(self.node)} states need about {35 * cells / 1e9:.0f} GB of memory. Call the Aligner, which "
                f"takes it in pieces."
            )
        return HMM(
            self.initial.to(log_likelihood),
            self.weight.to(log_likelihood),
            log_likelihood[:, self.column],
            final=self.final.to(log_likelihood),
            arcs=(self.source, self.target),
        )

    def over(self, columns: Tensor) -> "AlignmentGraph":
        """The same for log-likelihoods of these of the model's columns alone, in rising order."""
        return replace(self, column=torch.searchsorted(columns, self.column))

    def check_length(self, frames: int) -> None:
        """Refuse a recording that is too short for its transcript.

        Raises:
            DataError: fewer frames than the shortest way through.
        """
        if frames < self.shortest:
            raise DataError(
                f"the transcript is longer than the audio can hold: said as fast as the model allows, it needs "
                f"{self.shortest} frames, and the recording has {frames}. Is it the right transcript?",
                see="transcript-too-long",
            )

    def part(self, first: int, last: int) -> "AlignmentGraph":
        """The states from ``first`` to ``last``, both included, and the arcs between them.

        States and nodes are numbered anew, from 0; the spine is left out, and nothing is known of the shortest path.
        """
        begin, end = torch.searchsorted(self.target, torch.tensor([first, last + 1])).tolist()
        inside = begin + (self.source[begin:end] >= first).nonzero()[:, 0]
        states = slice(first, last + 1)
        lowest, highest = int(self.node[first]), int(self.node[last])
        return replace(
            self,
            nodes=self.nodes[lowest : highest + 1],
            phone=self.phone[lowest : highest + 1],
            node=self.node[states] - lowest,
            column=self.column[states],
            initial=self.initial[states],
            final=self.final[states],
            source=self.source[inside] - first,
            target=self.target[inside] - first,
            weight=self.weight[inside],
            spine=self.spine[:0],
            shortest=0,
        )


def build_graph(
    pronunciations: Sequence[Pronunciation],
    model: AcousticModel,
    *,
    pause_probability: float = 0.5,
    free: Collection[Place] = (),
) -> AlignmentGraph:
    """The graph of a transcript: words in order, each in any of its pronunciations, pauses between where they help.

    Args:
        pronunciations: of the words, in order.
        model: whose phones, silence, transition probabilities and contexts are used.
        pause_probability: of a pause before, after and between words. The default says that nothing is known.
        free: where there may be speech that the transcript does not hold. Such a graph, and one with the word `FREE`,
            needs log-likelihoods `with_free_speech`.

    Raises:
        DataError: no words, or a pronunciation with a phone that the model lacks.
    """
    if not pronunciations:
        raise DataError("the transcript holds no words.")
    check_pause_probability(pause_probability)
    builder = _Builder(model)
    rarely, mostly = math.log(_FREE_PROBABILITY), math.log1p(-_FREE_PROBABILITY)

    def maybe_pause(ways: list[_Exit]) -> list[_Exit]:
        paused = builder.add(PAUSE, [[model.silence]], ways, math.log(pause_probability))
        return [way.weighted(math.log1p(-pause_probability)) for way in ways] + paused

    def gap(ways: list[_Exit], *, maybe_free: bool) -> list[_Exit]:
        ways = maybe_pause(ways)
        if not maybe_free:
            return ways
        said = maybe_pause(builder.add(PAUSE, [[FREE]], ways, rarely))
        return [way.weighted(mostly) for way in ways] + said

    def word(index: int, item: Pronunciation, ways: list[_Exit]) -> list[_Exit]:
        weight = -math.log(len(item.variants))
        if "instead" not in free or item.variants == ((FREE,),):
            return builder.add(index, item.variants, ways, weight)
        said = builder.add(index, item.variants, ways, weight + mostly)
        return said + builder.add(index, [[FREE]], ways, rarely)

    exits = gap([_Exit(None)], maybe_free="ends" in free)
    for index, item in enumerate(pronunciations):
        last = index == len(pronunciations) - 1
        exits = gap(word(index, item, exits), maybe_free=("ends" if last else "between") in free)
    return builder.finish(exits)


def check_pause_probability(value: float) -> None:
    """Refuse a probability that would leave no path, with or without pauses.

    Raises:
        DataError: ``value`` does not lie strictly between 0 and 1.
    """
    if not 0 < value < 1:
        raise DataError(f"the probability of a pause must lie strictly between 0 and 1, got {value}.")


@dataclass(frozen=True)
class _Exit:
    """A way out of what was built so far.

    Args:
        node: the one to leave; None at the very beginning.
        weight: log-weight of leaving it.
        depth: how many nodes a path needs to get there.
    """

    node: int | None
    weight: float = 0.0
    depth: int = 0

    def weighted(self, weight: float) -> "_Exit":
        return _Exit(self.node, self.weight + weight, self.depth)


class _Builder:
    """Grows a graph from left to right, node by node; `finish` puts copies and states into the nodes."""

    def __init__(self, model: AcousticModel) -> None:
        self.model = model
        self.index = {phone: number for number, phone in enumerate((*model.phones, FREE))}
        self.transitions = torch.cat([model.transitions, free_transitions(model.states).to(model.transitions)])
        self.leaving = self.transitions[:, -1, -1].tolist()
        self.nodes: list[Node] = []
        self.positions: list[int] = []
        self.initial: list[tuple[int, float]] = []
        self.arcs: list[tuple[int, int, float]] = []
        self.spine: list[int] = []

    def add(self, word: int, variants: Sequence[Sequence[str]], entries: list[_Exit], weight: float) -> list[_Exit]:
        """Variants of one word side by side, reached from every entry; returns their exits."""
        exits: list[_Exit] = []
        shortest: range | None = None
        for phones in variants:
            first = len(self.nodes)
            ways = [entry.weighted(weight) for entry in entries]
            for phone in phones:
                ways = [self._phone(Node(word, phone), ways)]
            self.positions += positions(len(phones))
            exits += ways
            if shortest is None or len(phones) < len(shortest):
                shortest = range(first, len(self.nodes))
        self.spine += shortest or ()
        return exits

    def _phone(self, node: Node, entries: list[_Exit]) -> _Exit:
        if node.phone not in self.index:
            raise DataError(f"{self.model.name} has no phone {node.phone!r}; it has {' '.join(self.model.phones)}.")
        number = len(self.nodes)
        self.nodes.append(node)
        for entry in entries:
            if entry.node is None:
                self.initial.append((number, entry.weight))
            else:
                self.arcs.append((entry.node, number, entry.weight))
        return _Exit(number, self.leaving[self.index[node.phone]], min(entry.depth for entry in entries) + 1)

    def finish(self, exits: list[_Exit]) -> AlignmentGraph:
        states, silence = self.model.states, self.index[self.model.silence]
        phone = [self.index[node.phone] for node in self.nodes]
        last = [(end.node, end.weight) for end in exits if end.node is not None]
        assert len(last) == len(exits), "a transcript has words, so a path has nodes"
        heard = [silence if number == self.index[FREE] else number for number in phone]
        own = self._copies(phone, heard, [node for node, _ in last])
        first = [0, *accumulate(map(len, own))]

        def after(node: int, neighbour: int) -> list[int]:
            return [number for number, copy in enumerate(own[node], first[node]) if neighbour in copy.before]

        def before(node: int, neighbour: int) -> list[int]:
            return [number for number, copy in enumerate(own[node], first[node]) if neighbour in copy.after]

        initial = torch.full((first[-1], states), -math.inf, dtype=torch.float64)
        final = initial.clone()
        for node, value in self.initial:
            initial[after(node, silence), 0] = value
        for node, value in last:
            final[before(node, silence), -1] = value
        arcs = [
            (one * states + states - 1, other * states, value)
            for origin, goal, value in self.arcs
            for one in before(origin, heard[goal])
            for other in after(goal, heard[origin])
        ]
        node_of = torch.arange(len(own)).repeat_interleave(torch.tensor([len(of_node) for of_node in own]))
        source, target, weight = self._inside(torch.tensor(phone)[node_of])
        if arcs:  # a single node has none
            sources, targets, weights = zip(*arcs, strict=True)
            source = torch.cat([source, torch.tensor(sources)])
            target = torch.cat([target, torch.tensor(targets)])
            weight = torch.cat([weight, torch.tensor(weights, dtype=weight.dtype)])
        order = target.argsort(stable=True)
        return AlignmentGraph(
            nodes=tuple(self.nodes),
            phone=torch.tensor(phone),
            node=node_of.repeat_interleave(states),
            column=torch.tensor([copy.columns for of_node in own for copy in of_node]).flatten(),
            initial=initial.flatten(),
            final=final.flatten(),
            source=source[order],
            target=target[order],
            weight=weight[order],
            spine=torch.tensor(self.spine),
            shortest=min(end.depth for end in exits) * states,
        )

    def _copies(self, phone: list[int], heard: list[int], last: list[int]) -> list[list[Copy]]:
        """Of each node, by all its neighbours; beyond the ends lies silence."""
        before: list[set[int]] = [set() for _ in phone]
        after: list[set[int]] = [set() for _ in phone]
        silence = self.index[self.model.silence]
        for node, _ in self.initial:
            before[node].add(silence)
        for node in last:
            after[node].add(silence)
        for origin, goal, _ in self.arcs:
            after[origin].add(heard[goal])
            before[goal].add(heard[origin])
        return [copies(self.model, *node) for node in zip(phone, self.positions, before, after, strict=True)]

    def _inside(self, phone: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sources, targets and log-weights of the arcs inside nodes of these phones."""
        inside = self.transitions[phone, :, :-1].double()
        node, row, column = (inside > -math.inf).nonzero().unbind(1)
        first = node * self.model.states
        return first + row, first + column, inside[node, row, column]
