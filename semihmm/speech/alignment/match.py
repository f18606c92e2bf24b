"""Whether the words of a transcript were said, and how far their edges may be off.

Three questions about an alignment that do not take it for granted, all of them marginals of an `HMM`:

*Was this word said?* Let ``A`` be the paths of a graph in which each word, and each gap between words, may hold free
speech instead (`free`), and ``A[w]`` those that pass through the word w itself. Its *log-odds* are

    log Z(A[w]) - log Z(A without A[w]),

the difference of two log-partitions: a likelihood ratio of the word, in any pronunciation and at any time, against
whatever else may have been said there. Both are the log-partition of A plus the log of expected counts of arcs, so one
call of `marginals` answers for all words. This is goodness of pronunciation (Witt and Young 2000) in its posterior form
(Hu et al. 2015), with neighbours and edges summed over rather than fixed: a wrong word does not blame the next. The
words' phones are in context where the model has such; the free loop's are not.

*Was this phone?* The same likelihood ratio, per frame: the mean over a phone's frames t and states s, under those
marginals, of ``log p(x[t] | s) - log p(x[t] | x[:t])``, the second under the free phone loop.

*Where is this edge?* In the chain of the pronunciations chosen, the phone n has begun by frame t where the path is in
n or later, so the marginals of nodes, summed from n on, are the distribution function of its edge. Log-likelihoods are
scaled by `_SHARPNESS` first: frames are not independent, and taken to be they make every edge look sure. An edge's
deviation is the root mean square of its distance from the edge reported.

Each is turned into a number that means something by two constants (`CALIBRATION`), fitted by ``benchmarks/match.py``
on recordings that are in the public domain, CC BY or synthetic; figures are in the documentation.

References:
    Witt and Young (2000), "Phone-level pronunciation scoring and assessment for interactive language learning",
    Speech Communication 30(2-3).
    Hu, Qian, Soong and Wang (2015), "Improved mispronunciation detection with deep neural network trained acoustic
    models and transfer learning based logistic regression classifiers", Speech Communication 67.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from semihmm.inference import marginals
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.free import FREE, Unscripted
from semihmm.speech.alignment.graph import PAUSE, AlignmentGraph, build_graph
from semihmm.speech.alignment.heard import LogLikelihoods
from semihmm.speech.alignment.pronunciation import Pronunciation
from semihmm.speech.files.results import Alignment
from semihmm.speech.intervals import Interval
from semihmm.structures import HMM
from semihmm.types import Seconds

_SHARPNESS = 0.1
_PIECE, _CONTEXT = 8, 2  # words looked at together, and how many more on either side
_CERTAIN = 30.0  # raw scores beyond which nothing more is said
_ASIDE: Seconds = 1.0  # of free speech before or after the words: less may be the first or last word, said otherwise
_HURRIED = 6  # phones in a row, each as short as the model allows
_QUIET = 0.2  # speech in a word, on average, below which it is called silent
_UNWRITTEN: Seconds = 0.3  # of speech in what should be a pause


@dataclass(frozen=True)
class Calibration:
    """From raw scores to probabilities and deviations.

    Args:
        word: ``(a, b)``: a word's match is the logistic function of ``a + b * log-odds``.
        phone: the same of a phone, from its likelihood ratio per frame.
        edge: ``(a, b)``: a deviation of r frames becomes ``sqrt(a² + (b r)²)`` frames.
        certain: the log-odds, either way, beyond which nothing more is said of a word.

    Example:
        >>> calibration = Calibration(word=(0.0, 0.5), phone=(0.0, 1.0), edge=(3.0, 2.0))
        >>> round(calibration.of_word(2.0), 3), calibration.of_edge(2.0)
        (0.731, 5.0)
    """

    word: tuple[float, float]
    phone: tuple[float, float]
    edge: tuple[float, float]
    certain: float = _CERTAIN

    def of_word(self, log_odds: float) -> float:
        """A word's match."""
        return _logistic(self.word, log_odds, self.certain)

    def of_phone(self, ratio: float) -> float:
        """A phone's match."""
        return _logistic(self.phone, ratio, _CERTAIN)

    def of_edge(self, frames: float) -> float:
        """An edge's standard deviation, in frames."""
        return math.hypot(self.edge[0], self.edge[1] * frames)


CALIBRATION = Calibration(word=(3.645, 0.221), phone=(2.665, 0.402), edge=(0.596, 0.852))
"""For the Sphinx model, as ``benchmarks/match.py`` fits it."""

IN_CONTEXT = Calibration(word=(1.425, 0.107), phone=(2.206, 0.224), edge=(0.674, 0.805), certain=60.0)
"""For its phones in context, as ``benchmarks/match.py --contexts`` does."""


def calibration_of(model: AcousticModel) -> Calibration:
    """What the card of a model says of its scores, or else what fits Sphinx's."""
    if "calibration" in model.card:
        held: dict[str, Any] = {n: tuple(x) if isinstance(x, list) else x for n, x in model.card["calibration"].items()}
        return Calibration(**held)
    return CALIBRATION if model.contexts is None else IN_CONTEXT


@dataclass(frozen=True)
class Place:
    """A word where it was aligned.

    Args:
        item: the word and all its pronunciations.
        chosen: the pronunciation that it was aligned with.
        edges: the frames at which its phones begin, and that at which the last ends.
    """

    item: Pronunciation
    chosen: tuple[str, ...]
    edges: tuple[int, ...]


@dataclass(frozen=True)
class Score:
    """The raw scores of one word.

    Args:
        log_odds: of its having been said, in nats; None for a word that stands for any speech.
        entropy: of its pronunciations, given that it was said, in nats; None where that is out of the question.
        phones: the likelihood ratio per frame of each of its phones.
        starts: how far from the frame reported each phone may begin, root mean square, in frames.
        ends: the same of its end.
    """

    log_odds: float | None
    entropy: float | None
    phones: tuple[float, ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]


@dataclass(frozen=True)
class Heard:
    """A recording, as an aligner heard it.

    Args:
        model: the acoustic model.
        log_likelihood: ``(T, (phones + 1) * states)`` log-likelihoods `with_free_speech`, of phones without context.
        freely: what the free phone loop makes of it.
        phones: the frames ``[begin, end)`` of each phone of its alignment.
        unscripted: ``(T,)`` which frames the best path leaves to speech that the transcript does not hold.
        evidence: log-likelihoods of phones in context, too.
    """

    model: AcousticModel
    log_likelihood: Tensor
    freely: Unscripted
    phones: Sequence[tuple[int, int]]
    unscripted: Tensor
    evidence: LogLikelihoods

    def ratio(self, begin: int, end: int) -> Tensor:
        """Log-likelihoods of some frames less those of the free phone loop."""
        return self.log_likelihood[begin:end] - self.freely.log_likelihood[begin:end, None]

    def in_context(self, graph: AlignmentGraph, begin: int, end: int) -> HMM:
        """A graph of phones in context on some frames, its log-likelihoods less those of the free phone loop."""
        hmm = self.evidence.hmm(graph, begin, end)
        return replace(hmm, emission=hmm.emission - self.freely.log_likelihood[begin:end, None])


def assess(
    alignment: Alignment, said: Sequence[Pronunciation], heard: Heard, calibration: Calibration = CALIBRATION
) -> Alignment:
    """The alignment, with the match of every word and phone, the deviation of every edge, and what is suspicious.

    Args:
        alignment: without them.
        said: its words, with their pronunciations.
        heard: the recording.
        calibration: turns raw scores into what is reported.
    """
    places = list(_places(alignment, said, heard))
    in_context = None if heard.model.contexts is None else heard.in_context
    scores = score_words(places, heard.model, heard.ratio, _span(places, heard), in_context)
    words, phones = [], []
    rest, shift = iter(alignment.phones), 1 / heard.model.front_end.frame_rate
    for word, score in zip(alignment.words, scores, strict=True):
        match = None if score.log_odds is None else calibration.of_word(score.log_odds)
        starts, ends = ([shift * calibration.of_edge(raw) for raw in side] for side in (score.starts, score.ends))
        words.append(replace(word, match=match, start_sd=starts[0], end_sd=ends[-1], entropy=score.entropy))
        for raw, start, end in zip(score.phones, starts, ends, strict=True):
            of_phone = None if match is None else calibration.of_phone(raw)
            phones.append(replace(next(rest), match=of_phone, start_sd=start, end_sd=end))
    judged = [word.match for word in words if word.match is not None]
    found = replace(alignment, words=tuple(words), phones=tuple(phones), match=fmean(judged) if judged else None)
    frames = [(place.edges[0], place.edges[-1]) for place in places]
    return replace(found, suspicious=tuple(_suspicious(found, heard, frames)))


def _places(alignment: Alignment, said: Sequence[Pronunciation], heard: Heard) -> Iterator[Place]:
    """The words of an alignment, in frames; a word of which nothing was heard has none."""
    items, at = iter(said), 0
    for word in alignment.words:
        item = next(item for item in items if item.word == word.label)
        begin, at = at, at + 1
        while at < len(alignment.phones) and alignment.phones[at].start < word.end:
            at += 1
        chosen = tuple(phone.label for phone in alignment.phones[begin:at])
        yield Place(item, chosen, (*(start for start, _ in heard.phones[begin:at]), heard.phones[at - 1][1]))


def _span(places: Sequence[Place], heard: Heard) -> tuple[int, int]:
    """The frames between the free speech before the words and that after them, if it is long."""
    free = heard.unscripted.nonzero()[:, 0].tolist()
    before = [frame for frame in free if frame < places[0].edges[0]]
    after = [frame for frame in free if frame >= places[-1].edges[-1]]
    many = _ASIDE * heard.model.front_end.frame_rate
    return before[-1] + 1 if len(before) >= many else 0, after[0] if len(after) >= many else len(heard.unscripted)


def _suspicious(alignment: Alignment, heard: Heard, frames: Sequence[tuple[int, int]]) -> Iterator[Interval]:
    """Stretches to listen to, with the reason, by kind and then by time; ``frames`` are those of the words."""
    if alignment.match is not None and alignment.match < 0.5:
        yield Interval(0.0, alignment.duration, "the transcript fits little of the recording")
    words, speech = alignment.words, heard.freely.speech
    yield from _runs(words, [word.match is not None and word.match < 0.5 for word in words], 1, "not what was said")
    hurried = [end - begin <= heard.model.states for begin, end in heard.phones]
    yield from _runs(alignment.phones, hurried, _HURRIED, "too fast to be true")
    spoken = [float(speech[begin:end].mean()) for begin, end in frames]
    silent = [word.match is not None and share < _QUIET for word, share in zip(words, spoken, strict=True)]
    yield from _runs(words, silent, 1, "silence where there should be")
    times = [0.0, *(time for word in words for time in (word.start, word.end)), alignment.duration]
    edges = [0, *(edge for pair in frames for edge in pair), len(speech)]
    gaps = zip(times[::2], times[1::2], edges[::2], edges[1::2], strict=True)
    for start, stop, begin, end in gaps:
        if int((speech[begin:end] > 0.5).sum()) >= _UNWRITTEN * heard.model.front_end.frame_rate:
            yield Interval(start, stop, "speech that the transcript does not hold")


def _runs(items: Sequence[Interval], odd: Sequence[bool], least: int, reason: str) -> Iterator[Interval]:
    """Runs of at least so many items that are odd, as one stretch each."""
    for is_odd, run in groupby(zip(items, odd, strict=True), key=lambda pair: pair[1]):
        own = [item for item, _ in run]
        if is_odd and len(own) >= least:
            yield Interval(own[0].start, own[-1].end, f"{reason}: {' '.join(item.label for item in own)}")


def _logistic(line: tuple[float, float], raw: float, certain: float) -> float:
    return 1 / (1 + math.exp(-line[0] - line[1] * max(-certain, min(raw, certain))))


def score_words(
    places: Sequence[Place],
    model: AcousticModel,
    ratio: Callable[[int, int], Tensor],
    span: tuple[int, int],
    in_context: Callable[[AlignmentGraph, int, int], HMM] | None = None,
) -> list[Score]:
    """The raw scores of all words, a few at a time, each piece with some words of context: O(T).

    Args:
        places: the words, in order.
        model: the acoustic model.
        ratio: of frames ``[begin, end)`` gives the log-likelihoods `with_free_speech`, less those of the free phone
            loop: ``(end - begin, (phones + 1) * states)``.
        span: the frames ``[begin, end)`` that the transcript is about: those without speech before or after it.
        in_context: of a graph of phones in context and frames ``[begin, end)`` gives the structure on the same ratios;
            None without contexts. Edges are looked at without.
    """
    scores: list[Score] = []
    plain = replace(model, contexts=None)
    for first in range(0, len(places), _PIECE):
        last = min(first + _PIECE, len(places))
        low, high = max(first - _CONTEXT, 0), min(last + _CONTEXT, len(places))
        begin = places[low - 1].edges[-1] if low else span[0]
        end = places[high].edges[0] if high < len(places) else span[1]
        near, frames, own = places[low:high], ratio(begin, end), slice(first - low, last - low)
        judged = [place.item if _is_word(place.item) else _as_chosen(place) for place in near]
        graph = build_graph(judged, plain if in_context is None else model, free=["instead"])
        hmm = graph.hmm(frames) if in_context is None else in_context(graph, begin, end)
        said = _what_was_said(near, judged, graph, hmm)
        edges = _edge_deviations(near, plain, frames, begin)
        scores += [Score(*of_word, *of_edges) for of_word, of_edges in zip(said[own], edges[own], strict=True)]
    return scores


def _what_was_said(
    places: Sequence[Place], judged: Sequence[Pronunciation], graph: AlignmentGraph, hmm: HMM
) -> list[tuple[float | None, float | None, tuple[float, ...]]]:
    """Log-odds, entropy and phones of each word."""
    found = marginals(hmm)
    source, target = graph.node[graph.source], graph.node[graph.target]
    nodes = len(graph.nodes)
    entered = _per_node(found.initial, graph.node, nodes)
    entered += _per_node(found.transition[source != target], target[source != target], nodes)
    evidence = torch.where(found.emission > 0, found.emission * hmm.emission, 0.0)  # a true zero weighs nothing
    frames = _per_node(found.emission.sum(0), graph.node, nodes)
    evidence = _per_node(evidence.sum(0), graph.node, nodes)
    ratios = torch.where(frames > 0, evidence / frames, -torch.inf).tolist()

    words = []
    for index, (place, item) in enumerate(zip(places, judged, strict=True)):
        own = [number for number, node in enumerate(graph.nodes) if node.word == index]
        ends = list(accumulate(map(len, item.variants), initial=0))
        of_variant = entered[[own[end] for end in ends[:-1]]]
        chosen = ends[item.variants.index(place.chosen)]
        phones = tuple(ratios[number] for number in own[chosen : chosen + len(place.chosen)])
        odds = float(of_variant.sum().log() - entered[own[-1]].log()) if _is_word(place.item) else None
        said = of_variant.sum()
        entropy = float(torch.special.entr(of_variant / said).sum()) if said > 0 else None
        words.append((odds, entropy, phones))
    return words


def _edge_deviations(
    places: Sequence[Place], model: AcousticModel, ratio: Tensor, begin: int
) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """How far the starts, and the ends, of each word's phones may be from its edges, less ``begin``, in frames."""
    chain = build_graph(list(map(_as_chosen, places)), model)
    states = marginals(chain.hmm(_SHARPNESS * ratio.double())).emission
    nodes = states.new_zeros(len(states), len(chain.nodes)).index_add_(1, chain.node, states)
    reached = nodes.flip(1).cumsum(1).flip(1)  # [t, n]: by frame t, the path is in node n or a later one
    reached = torch.nn.functional.pad(reached, (0, 1, 1, 0))  # nothing is reached before frame 0, or after the last
    reached = torch.nn.functional.pad(reached, (0, 0, 0, 1), value=1.0)
    spoken = torch.tensor([number for number, node in enumerate(chain.nodes) if node.word != PAUSE])
    when = torch.arange(len(ratio) + 1, dtype=torch.float64)[:, None]
    arrival = reached.diff(dim=0)

    def deviations(node: Tensor, edge: list[int]) -> list[float]:
        distance = when - (torch.tensor(edge) - begin)
        return (arrival[:, node] * distance.square()).sum(0).clamp(min=0).sqrt().tolist()

    starts = deviations(spoken, [edge for place in places for edge in place.edges[:-1]])
    ends = deviations(spoken + 1, [edge for place in places for edge in place.edges[1:]])
    at = list(accumulate((len(place.chosen) for place in places), initial=0))
    return [(tuple(starts[a:b]), tuple(ends[a:b])) for a, b in pairwise(at)]


def _is_word(item: Pronunciation) -> bool:
    """Whether there is anything to judge: it must be said, and not just anything."""
    return () not in item.variants and (FREE,) not in item.variants


def _as_chosen(place: Place) -> Pronunciation:
    return replace(place.item, variants=(place.chosen,))


def _per_node(values: Tensor, node: Tensor, nodes: int) -> Tensor:
    """Add up what belongs to the same node."""
    return values.new_zeros(nodes).index_add_(0, node, values)
