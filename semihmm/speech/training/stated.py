"""Frames whose states are known: the recordings of a corpus, aligned with their transcripts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from semihmm.audio import condition, read_audio, resample
from semihmm.errors import DataError, DependencyError, SemihmmError
from semihmm.inference import viterbi
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.free import FREE
from semihmm.speech.alignment.graph import PAUSE, Place, build_graph
from semihmm.speech.alignment.heard import LogLikelihoods
from semihmm.speech.alignment.pieces import Piece, find_cuts
from semihmm.speech.alignment.pronunciation import Lexicon, Pronunciation
from semihmm.speech.corpora.corpus import Recording
from semihmm.types import Hertz

PassedOver = Callable[[str, str], None]
"""Told of a recording that cannot be used: its name, and why."""

_FREE: tuple[Place, ...] = ("ends",)
_ONE_PIECE = 5_000_000  # frames times states that are aligned without cuts


@dataclass(frozen=True)
class Utterance:
    """What is said in a stretch of a recording.

    Args:
        name: of the recording.
        speaker: whose it is: as its labels say, or else the folder that the recording is in.
        wave: ``(N,)`` its samples.
        sample_rate: of them.
        text: the transcript.
    """

    name: str
    speaker: str
    wave: Tensor
    sample_rate: Hertz
    text: str

    def at(self, sample_rate: Hertz) -> Tensor:
        """Its samples at another rate, without a constant offset."""
        return resample(condition(self.wave), source=self.sample_rate, target=sample_rate)


def utterances(recordings: Iterable[Recording], passed_over: PassedOver | None = None) -> Iterator[Utterance]:
    """The utterances of recordings, read as they are needed; what cannot be read is passed over."""
    for recording in recordings:
        try:
            said = recording.utterances()
            wave, rate = read_audio(recording.audio)
            wave = condition(wave, in_place=True)
        except DependencyError:
            raise
        except (SemihmmError, OSError) as error:
            if passed_over:
                passed_over(recording.name, str(error))
            continue
        for item in said:
            first, last = (round(min(time, len(wave) / rate) * rate) for time in (item.start, item.end))
            speaker = item.speaker or recording.name.rpartition("/")[0]
            yield Utterance(recording.name, speaker, wave[first:last], rate, item.label)


@dataclass(frozen=True)
class Stated:
    """An utterance on the best path through its transcript.

    Args:
        features: ``(T, F)``.
        states: ``(T,)`` columns of the model's log-likelihoods; -1 for speech that the transcript does not hold.
        phones: of the words that the path takes, in order.
        pronunciations: of the words.
    """

    features: Tensor
    states: Tensor
    phones: tuple[str, ...]
    pronunciations: Sequence[Pronunciation]

    @property
    def known(self) -> tuple[Tensor, Tensor]:
        """The features and the states of the frames that the transcript holds."""
        kept = self.states >= 0
        return self.features[kept], self.states[kept]


def stated(
    model: AcousticModel, lexicon: Lexicon, said: Iterable[Utterance], passed_over: PassedOver | None = None
) -> Iterator[Stated]:
    """Utterances, aligned; what cannot be is passed over.

    Args:
        model: aligns.
        lexicon: how words are said.
        said: as `utterances` reads them.
        passed_over: told of utterances that cannot be used.
    """
    for item in said:
        try:
            yield _stated(model, lexicon, item)
        except DependencyError:
            raise
        except SemihmmError as error:
            if passed_over:
                passed_over(item.name, str(error))


def _stated(model: AcousticModel, lexicon: Lexicon, said: Utterance) -> Stated:
    pronunciations = lexicon.pronounce_text(said.text, model)
    graph = build_graph(pronunciations, model, free=_FREE)
    features = model.front_end(said.at(model.front_end.sample_rate))
    graph.check_length(len(features))
    heard = LogLikelihoods.of(model, features, graph, _ONE_PIECE)
    pieces = [Piece(0, len(features), graph)]
    if len(features) * len(graph.node) > _ONE_PIECE:
        pieces = [Piece.between(graph, *ends) for ends in pairwise(find_cuts(graph, heard))]
    column, node = [], []
    for piece in pieces:
        best = viterbi(heard.hmm(piece.graph, piece.begin, piece.end))
        if not bool(best.valid):
            raise DataError("no path through the transcript fits the recording.")
        column.append(piece.graph.column[best.event])
        node.append(piece.node + piece.graph.node[best.event])
    nodes = torch.cat(node)
    unscripted = torch.tensor([node.phone == FREE for node in graph.nodes])[nodes]
    passed = [graph.nodes[number] for number in nodes.unique_consecutive().tolist()]
    phones = tuple(node.phone for node in passed if node.word != PAUSE)
    return Stated(features, torch.where(unscripted, -1, torch.cat(column)), phones, pronunciations)
