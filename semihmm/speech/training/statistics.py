"""The statistics of one recording: what its paths say about the states, in expectation. They add up over recordings."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.inference import condition, expected_counts, viterbi
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.graph import AlignmentGraph, build_graph
from semihmm.speech.alignment.pronunciation import Pronunciation
from semihmm.speech.intervals import Interval
from semihmm.speech.training.mixtures import Mixtures
from semihmm.structures import HMM


@dataclass(frozen=True)
class Draft:
    """A model that is being learnt.

    Args:
        model: as it stands.
        mixtures: of its J columns, as its only stream has them.
        owner: ``(J,)`` the phone's state that each of them is a kind of: ``phone * states + state``.
        pause_probability: of a pause before, between and after the words.
    """

    model: AcousticModel
    mixtures: Mixtures
    owner: Tensor
    pause_probability: float = 0.5


@dataclass(frozen=True)
class Example:
    """A recording as features, and what is said in it.

    Args:
        features: ``(T, F)`` float32, as the model's front end computes them.
        words: with their pronunciations.
        known: phones or words whose times are known: there, nothing else is said.
    """

    features: Tensor
    words: tuple[Pronunciation, ...]
    known: tuple[Interval, ...] = ()


@dataclass(frozen=True)
class Statistics:
    """Sums over frames, for J states of C Gaussians, in float64.

    Args:
        occupancy: ``(J, C)`` how many frames each Gaussian accounts for.
        first: ``(J, C, F)`` the sum of those frames.
        second: ``(J, C, F)`` the sum of their squares.
        leaving: ``(J,)`` how often each state is left.
        log_likelihood: of the recordings, all paths together, in nats.
        frames: of the recordings.
        impossible: how many recordings had no path.
    """

    occupancy: Tensor
    first: Tensor
    second: Tensor
    leaving: Tensor
    log_likelihood: float = 0.0
    frames: int = 0
    impossible: int = 0

    @classmethod
    def none(cls, states: int, components: int, features: int) -> "Statistics":
        """Those of no recording."""
        sums = torch.zeros(2, states, components, features, dtype=torch.float64)
        return cls(sums[0, :, :, 0].clone(), sums[0], sums[1], sums[0, :, 0, 0].clone())

    def __add__(self, other: "Statistics") -> "Statistics":
        return Statistics(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def states(self) -> Tensor:
        """How many frames each state accounts for, ``(J,)``."""
        return self.occupancy.sum(1)


Each = Callable[[Callable[[Example], Statistics], Sequence[Example]], Iterable[Statistics]]
"""A `map` of recordings to their statistics, in order."""


def statistics_of(draft: Draft, example: Example) -> Statistics:
    """The expected statistics of one recording, given what is said: a pure function.

    With g the posterior of a state, and r, given the state, that of one of its Gaussians, a frame x counts ``g r``
    frames of that Gaussian, and adds ``g r x`` and ``g r x²`` to its sums.
    """
    sums, x = Statistics.none(*draft.mixtures.mean.shape), example.features
    try:
        graph, hmm, each, index = _on(draft, example)
    except DataError:  # it is too short
        return replace(sums, impossible=1)
    evidence, counts = expected_counts(hmm, ["emission", "transition", "final"])
    if not evidence.isfinite():
        return replace(sums, impossible=1)
    states = graph.column.unique()
    posterior = torch.zeros(each.shape[:2]).index_add_(1, index, counts["emission"].float())
    share = each.softmax(2).mul_(posterior[:, :, None]).flatten(1)
    both = (share.t() @ torch.cat([x, x.square()], 1)).double().unflatten(0, (len(states), -1))
    sums.occupancy[states] = share.sum(0).double().unflatten(0, (len(states), -1))
    sums.first[states], sums.second[states] = both.chunk(2, 2)
    onward = graph.source != graph.target
    sums.leaving.index_add_(0, graph.column[graph.source[onward]], counts["transition"][onward].double())
    sums.leaving.index_add_(0, graph.column, counts["final"].double())
    return replace(sums, log_likelihood=float(evidence), frames=len(x))


def path_of(draft: Draft, example: Example) -> Tensor | None:
    """The best path's states ``(T,)``, by the columns of the model; None if there is no path."""
    try:
        graph, hmm, _, _ = _on(draft, example)
    except DataError:
        return None
    best = viterbi(hmm)
    return graph.column[best.event] if bool(best.valid) else None


def begins(path: Tensor, states: int) -> Tensor:
    """Whether a phone begins at each frame ``(T,)`` of a path through states without context, phone after phone.

    Example:
        >>> begins(torch.tensor([0, 0, 1, 0, 1, 2, 3]), 2).int().tolist()
        [1, 0, 0, 1, 0, 1, 0]
    """
    found = torch.ones(len(path), dtype=torch.bool)
    found[1:] = (path[1:] // states != path[:-1] // states) | (path[1:] < path[:-1])
    return found


def statistics_of_path(path: Tensor, features: Tensor, states: int) -> Statistics:
    """The same as `statistics_of`, of a single path ``(T,)`` through states of a single Gaussian each."""
    sums, x = Statistics.none(states, 1, features.shape[1]), features.double()
    one = torch.ones(len(path), dtype=torch.float64)
    sums.occupancy[:, 0].index_add_(0, path, one)
    sums.first[:, 0].index_add_(0, path, x)
    sums.second[:, 0].index_add_(0, path, x.square())
    last = torch.cat([path[1:] != path[:-1], torch.ones(1, dtype=torch.bool)])
    sums.leaving.index_add_(0, path[last], one[last])
    return replace(sums, frames=len(path))


def _on(draft: Draft, example: Example) -> tuple[AlignmentGraph, HMM, Tensor, Tensor]:
    """The graph, its structure, the log-densities of the columns that it has ``(T, columns, C)``, and which is whose.

    Raises:
        DataError: the recording is too short for what is said.
    """
    graph = build_graph(example.words, draft.model, pause_probability=draft.pause_probability)
    graph.check_length(len(example.features))
    columns, index = graph.column.unique(return_inverse=True)
    each = draft.mixtures.log_densities(example.features, columns)
    hmm = graph.over(columns).hmm(each.logsumexp(2))
    return graph, constrained(graph, hmm, example, draft.model), each, index


def constrained(graph: AlignmentGraph, hmm: HMM, example: Example, model: AcousticModel) -> HMM:
    """A graph on a recording in which, while a known label lasts, nothing else is said."""
    if not example.known:
        return hmm
    names = [(example.words[node.word].word if node.word >= 0 else "", node.phone) for node in graph.nodes]
    allowed = torch.ones(hmm.emission.shape, dtype=torch.bool)
    edges = model.front_end.boundary(0) + torch.arange(len(allowed) + 1) / model.front_end.frame_rate
    for label in example.known:
        begin, end = torch.searchsorted((edges[:-1] + edges[1:]) / 2, torch.tensor([label.start, label.end])).tolist()
        allowed[begin:end] &= torch.tensor([label.label in both for both in names])[graph.node]
    return condition(hmm, allowed)
