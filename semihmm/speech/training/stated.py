"""Frames whose states are known: utterances, aligned with what is said in them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from semihmm.errors import DataError, DependencyError, SemihmmError
from semihmm.inference import viterbi
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.free import FREE
from semihmm.speech.alignment.graph import PAUSE, AlignmentGraph, Place, build_graph
from semihmm.speech.alignment.heard import LogLikelihoods
from semihmm.speech.alignment.pieces import Piece, find_cuts
from semihmm.speech.training.statistics import Example, constrained
from semihmm.speech.training.utterance import Utterance

_FREE: tuple[Place, ...] = ("ends",)
_ONE_PIECE = 5_000_000  # frames times states that are aligned without cuts


@dataclass(frozen=True)
class Stated:
    """An utterance on the best path through what is said in it.

    Args:
        utterance: itself.
        example: its features, and what is said.
        states: ``(T,)`` columns of the model's log-likelihoods; -1 for speech that the transcript does not hold.
        phones: of the words in the pronunciations of the path, in order.
    """

    utterance: Utterance
    example: Example
    states: Tensor
    phones: tuple[str, ...]

    @property
    def frames(self) -> tuple[Tensor, Tensor]:
        """The features and the states of the frames that the transcript holds."""
        kept = self.states >= 0
        return self.example.features[kept], self.states[kept]


def stated(model: AcousticModel, utterances: Iterable[Utterance], failures: dict[str, str]) -> Iterator[Stated]:
    """Utterances, aligned; why others cannot be is added to ``failures``, by name."""
    for item in utterances:
        try:
            yield _stated(model, item)
        except DependencyError:
            raise
        except SemihmmError as error:
            failures[item.name] = str(error)


def _stated(model: AcousticModel, utterance: Utterance) -> Stated:
    example = utterance.example(model.front_end)
    graph, node, column = best_path(model, example)
    unscripted = torch.tensor([item.phone == FREE for item in graph.nodes])[node]
    passed = (graph.nodes[number] for number in node.unique_consecutive().tolist())
    phones = tuple(item.phone for item in passed if item.word != PAUSE)
    return Stated(utterance, example, torch.where(unscripted, -1, column), phones)


def best_path(
    model: AcousticModel, example: Example, *, free: tuple[Place, ...] = _FREE
) -> tuple[AlignmentGraph, Tensor, Tensor]:
    """The graph of what is said, and the node and the column of each frame, ``(T,)``.

    A long recording is cut at moments beyond doubt, unless labels are known.

    Args:
        model: listens.
        example: the recording.
        free: where there may be speech that is not known.

    Raises:
        DataError: no path fits, or a stretch without such a moment is too long.
    """
    graph, frames = build_graph(example.words, model, free=free), len(example.features)
    graph.check_length(frames)
    heard = LogLikelihoods.of(model, example.features, graph, _ONE_PIECE)
    pieces = [Piece(0, frames, graph)]
    if frames * len(graph.node) > _ONE_PIECE and not example.known:
        pieces = [Piece.between(graph, *ends) for ends in pairwise(find_cuts(graph, heard))]
    column, node = [], []
    for piece in pieces:
        hmm = heard.hmm(piece.graph, piece.begin, piece.end)
        best = viterbi(constrained(piece.graph, hmm, example, model))
        if not bool(best.valid):
            raise DataError("no path through what is said fits the recording.")
        column.append(piece.graph.column[best.event])
        node.append(piece.node + piece.graph.node[best.event])
    return graph, torch.cat(node), torch.cat(column)
