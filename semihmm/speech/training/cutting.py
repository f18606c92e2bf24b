"""Long utterances as several short ones, which fit into memory: cut in the pauses that a model hears between words.

The model may be rough: a recording is aligned between moments whose place in the transcript is beyond doubt
(`semihmm.speech.alignment.pieces`), so that no error of it goes far. The transcript is taken to be right: to a rough
model, much of what is said might be anything else.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.graph import PAUSE
from semihmm.speech.intervals import Interval
from semihmm.speech.training.stated import best_path
from semihmm.speech.training.utterance import Utterance
from semihmm.types import Seconds

LONG: Seconds = 90.0
"""An utterance that lasts longer is cut."""

_USUAL: Seconds = 30.0  # of a piece, at most, where there are pauses
_PAUSE: Seconds = 0.15  # of a pause, at least


def is_long(utterance: Utterance) -> bool:
    """Whether an utterance is to be cut."""
    return len(utterance.wave) > LONG * utterance.sample_rate


def in_pieces(model: AcousticModel, utterances: Iterable[Utterance]) -> Iterator[Utterance]:
    """Utterances, with pieces in place of the long ones; one that cannot be cut stays whole.

    Args:
        model: says where pauses are.
        utterances: in order.
    """
    for item in utterances:
        if not is_long(item):
            yield item
            continue
        try:
            yield from _pieces(model, item)
        except DataError:
            yield item


def _pieces(model: AcousticModel, utterance: Utterance) -> Iterator[Utterance]:
    front_end = model.front_end
    graph, node, _ = best_path(model, replace(utterance.example(front_end), known=()), free=())
    word = torch.tensor([item.word for item in graph.nodes])[node]
    places = _places(word, front_end.frame_rate)
    inner = [front_end.boundary(0) + place / front_end.frame_rate for place in places]
    edges = [0.0, *inner, len(utterance.wave) / utterance.sample_rate]
    said = [0, *(word.cummax(0).values[places] + 1).tolist(), len(utterance.words)]
    for number, ((begin, end), (one, other)) in enumerate(zip(pairwise(edges), pairwise(said), strict=True), 1):
        yield replace(
            utterance,
            name=f"{utterance.name}, part {number}",
            wave=utterance.wave[round(begin * utterance.sample_rate) : round(end * utterance.sample_rate)],
            words=utterance.words[one:other],
            known=tuple(
                Interval(max(label.start, begin) - begin, min(label.end, end) - begin, label.label)
                for label in utterance.known
                if label.start < end and label.end > begin
            ),
        )


def _places(word: Tensor, frame_rate: float) -> list[int]:
    """The middles of the longest pauses between words, one in each stretch of `_USUAL`, or where the next one is."""
    items, counts = word.unique_consecutive(return_counts=True)
    ends = counts.cumsum(0)
    inside = (items == PAUSE) & (counts >= _PAUSE * frame_rate) & (ends > counts) & (ends < len(word))
    length, middle = counts[inside], (ends - counts // 2)[inside]
    found, begin, usual = list[int](), 0, _USUAL * frame_rate
    while len(word) - begin > usual:
        near = (middle > begin + usual / 3) & (middle <= begin + usual)
        later = middle[middle > begin + usual]
        if not near.any() and not len(later):
            break
        begin = int(middle[near][length[near].argmax()]) if near.any() else int(later[0])
        found.append(begin)
    return found
