"""Frames whose states are known: the recordings of a corpus, aligned with their transcripts."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from semihmm.audio import condition, read_audio, resample
from semihmm.errors import DataError, DependencyError, SemihmmError
from semihmm.inference import viterbi
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.free import FREE, hear_freely
from semihmm.speech.alignment.graph import build_graph
from semihmm.speech.alignment.pieces import Piece, find_cuts
from semihmm.speech.alignment.pronunciation import Lexicon
from semihmm.speech.corpora.corpus import Recording
from semihmm.types import Hertz

PassedOver = Callable[[str, str], None]
"""Told of a recording that cannot be used: its name, and why."""

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


def stated_frames(
    model: AcousticModel, lexicon: Lexicon, said: Iterable[Utterance], passed_over: PassedOver | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each utterance, its features ``(T, F)`` and the states ``(T,)`` of the best path through its transcript.

    Frames of speech that the transcript does not hold are left out. What cannot be aligned is passed over.

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


def _stated(model: AcousticModel, lexicon: Lexicon, said: Utterance) -> tuple[Tensor, Tensor]:
    graph = build_graph(lexicon.pronounce_text(said.text, model), model, free=("ends",))
    features = model.front_end(said.at(model.front_end.sample_rate))
    graph.check_length(len(features))
    log_likelihood = model.log_likelihood(features, room=model.states)
    log_likelihood[:, -model.states :] = hear_freely(model, log_likelihood[:, : -model.states]).free
    pieces = [Piece(0, len(features), graph)]
    if len(features) * len(graph.node) > _ONE_PIECE:
        cuts = find_cuts(graph, log_likelihood, model.states)
        pieces = [Piece.between(graph, *ends) for ends in pairwise(cuts)]
    column, scripted = [], []
    for piece in pieces:
        best = viterbi(piece.graph.hmm(log_likelihood[piece.begin : piece.end]))
        if not bool(best.valid):
            raise DataError("no path through the transcript fits the recording.")
        free = torch.tensor([node.phone == FREE for node in piece.graph.nodes])
        column.append(piece.graph.column[best.event])
        scripted.append(~free[piece.graph.node[best.event]])
    kept = torch.cat(scripted)
    return features[kept], torch.cat(column)[kept]
