"""Forced alignment: where in a recording the words of its transcript are, and how sure that is.

The recording's log-likelihoods and the transcript's graph make one `HMM`; the alignment is its `viterbi`, the
confidences are its `marginals`, the alternatives its readings in other pronunciations.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor

from semihmm.audio import resample
from semihmm.errors import DataError
from semihmm.inference import log_partition, marginals, viterbi
from semihmm.speech.acoustic import AcousticModel, load_acoustic_model, load_dictionary
from semihmm.speech.alternatives import best_readings
from semihmm.speech.free import FREE, hear_freely, with_free_speech
from semihmm.speech.graph import PAUSE, AlignmentGraph, Place, build_graph, check_pause_probability
from semihmm.speech.intervals import Interval
from semihmm.speech.match import CALIBRATION, Calibration, Heard, assess
from semihmm.speech.pronunciation import Lexicon
from semihmm.speech.results import Alignment, Alternative
from semihmm.speech.transcript import words_of
from semihmm.types import Hertz

_MANY = 10_000_000  # frames times states, from where on memory is dearer than time


@dataclass(frozen=True)
class Evidence:
    """Everything that one recording says about its transcript, for who wants more than the `Alignment`.

    Args:
        alignment: the result.
        graph: the paths that the transcript allows.
        posterior: ``(T, nodes)`` probability, per frame, of each of the graph's phones.
        nodes: ``(T,)`` which of the graph's phones the best path is in.
        boundaries: ``(T + 1,)`` where the frames begin and, last, where the recording ends, in seconds.
    """

    alignment: Alignment
    graph: AlignmentGraph
    posterior: Tensor
    nodes: Tensor
    boundaries: Tensor


@dataclass(frozen=True)
class Aligner:
    """Aligns recordings with their transcripts.

    Args:
        model: the acoustic model. Default: Sphinx US English, from the ``pocketsphinx`` package.
        lexicon: the pronunciations. Default: the CMU dictionary from the same package, ``gruut`` for other words.
        pause_probability: prior probability of a pause before, between and after the words.
        extra_speech: whether there may be speech between the words that the transcript does not hold, as there always
            may be before and after them.
        calibration: turns raw scores into matches and deviations; the default fits the default model.

    Example:
        >>> import torch
        >>> from semihmm.speech import Aligner
        >>> noise = torch.randn(16000, generator=torch.Generator().manual_seed(0)) / 30
        >>> alignment = Aligner()(noise, 16000, "hello world")
        >>> [word.label for word in alignment.words]
        ['hello', 'world']
    """

    model: AcousticModel = field(default_factory=load_acoustic_model)
    lexicon: Lexicon = field(default_factory=lambda: Lexicon(load_dictionary()))
    pause_probability: float = 0.5
    extra_speech: bool = False
    calibration: Calibration = CALIBRATION

    def __post_init__(self) -> None:
        check_pause_probability(self.pause_probability)

    def __call__(self, wave: Tensor, sample_rate: Hertz, text: str, *, nbest: int = 0) -> Alignment:
        """Align one recording.

        Args:
            wave: ``(N,)`` samples in [-1, 1].
            sample_rate: of ``wave``; changed to the model's as needed.
            text: the transcript.
            nbest: how many of the most probable readings to return: alignments that differ in pronunciations.

        Returns:
            The alignment. A phone's confidence is the posterior probability of that phone, at that place of the
            transcript, averaged over the frames that the best path spends in it; a word's, that of the word in any of
            its pronunciations. Both take the transcript for granted; their matches do not (see `semihmm.speech.match`).

        Raises:
            DataError: the transcript has no words, or more than the audio can hold; the wave is silent, too short or
                too long.

        Time and memory are O(T S) for T frames and S states of the graph, about 35 bytes each: a minute takes 0.9 GB,
        two take 2.6. Cut longer recordings at pauses.
        """
        return self.explain(wave, sample_rate, text, nbest=nbest).alignment

    def explain(self, wave: Tensor, sample_rate: Hertz, text: str, *, nbest: int = 0) -> Evidence:
        """As calling the aligner, but returns the graph and the posteriors as well."""
        if nbest < 0:
            raise DataError(f"Aligner: nbest is the number of alternatives to return, 0 or more, got {nbest}.")
        if len(wave) and bool((wave == wave[0]).all()):
            raise DataError("the recording is silent: all its samples are the same.")
        pronunciations = [self.lexicon.pronounce(word) for word in words_of(text)]
        free: tuple[Place, ...] = ("ends", "between") if self.extra_speech else ("ends",)
        graph = build_graph(pronunciations, self.model, pause_probability=self.pause_probability, free=free)
        front_end = self.model.front_end
        features = front_end(resample(wave, source=sample_rate, target=front_end.sample_rate))
        frames = len(features)
        log_likelihood = self.model.log_likelihood(features).float()
        heard = hear_freely(self.model, log_likelihood)
        log_likelihood = with_free_speech(self.model, log_likelihood, heard)
        hmm = graph.hmm(log_likelihood)

        best = viterbi(hmm)
        if not bool(best.valid):
            raise DataError("no path through the transcript fits the recording.")
        states = marginals(hmm, checkpoint=hmm.emission.numel() > _MANY).emission
        posterior = _per_group(states, graph.node, len(graph.nodes))
        nodes = graph.node[best.event]
        duration = len(wave) / sample_rate
        starts = [0.0] + [min(front_end.boundary(frame), duration) for frame in range(1, frames)]
        boundaries = torch.tensor([*starts, duration], dtype=torch.float64)

        words = [item.word for item in pronunciations]
        evidence = float(log_partition(hmm))
        alternatives = []
        if nbest:
            for score, event in best_readings(graph, hmm, nbest):
                alternatives.append(Alternative(score - evidence, *_tiers(graph, words, graph.node[event], boundaries)))
        alignment = Alignment(
            text,
            duration,
            *_tiers(graph, words, nodes, boundaries, posterior),
            frames=frames,
            log_likelihood=evidence,
            free_log_likelihood=float(heard.log_likelihood.sum()),
            unknown={item.word: " ".join(item.variants[0]) for item in pronunciations if not item.known},
            alternatives=tuple(alternatives),
        )
        unscripted = torch.tensor([node.phone == FREE and node.word == PAUSE for node in graph.nodes])[nodes]
        recording = Heard(self.model, log_likelihood, heard, boundaries, unscripted)
        alignment = assess(alignment, pronunciations, recording, self.calibration)
        return Evidence(alignment, graph, posterior, nodes, boundaries)


def _tiers(
    graph: AlignmentGraph, words: Sequence[str], nodes: Tensor, boundaries: Tensor, posterior: Tensor | None = None
) -> tuple[tuple[Interval, ...], tuple[Interval, ...]]:
    """The word and phone intervals of one path of nodes ``(T,)``, with confidences where a posterior is given."""
    word_of_node = torch.tensor([node.word for node in graph.nodes])
    word_path = word_of_node[nodes]
    phone_path = torch.where(word_path == PAUSE, PAUSE, nodes)
    word_posterior = None
    if posterior is not None:
        spoken = word_of_node != PAUSE
        word_posterior = _per_group(posterior[:, spoken], word_of_node[spoken], len(words))
    return (
        _tier(word_path, words, boundaries, word_posterior),
        _tier(phone_path, [node.phone for node in graph.nodes], boundaries, posterior),
    )


def _tier(path: Tensor, labels: Sequence[str], boundaries: Tensor, posterior: Tensor | None) -> tuple[Interval, ...]:
    """One interval per run of equal items in ``path (T,)``, pauses left out."""
    found, begin = [], 0
    for item, run in groupby(path.tolist()):
        end = begin + len(list(run))
        if item != PAUSE:
            # Rounding may take a mean of probabilities past 1.
            sure = None if posterior is None else min(float(posterior[begin:end, item].mean()), 1.0)
            found.append(Interval(float(boundaries[begin]), float(boundaries[end]), labels[item], sure))
        begin = end
    return tuple(found)


def _per_group(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Sum the columns of ``values (T, N)`` that belong to the same group: ``(T, groups)``."""
    return values.new_zeros(len(values), groups).index_add_(1, group, values)
