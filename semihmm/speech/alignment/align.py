"""Forced alignment: where in a recording the words of its transcript are, and how sure that is.

The recording's log-likelihoods and the transcript's graph make one `HMM`; the alignment is its `viterbi`, the
confidences are its `marginals`, the matches log-partitions of graphs with more freedom
(`semihmm.speech.alignment.match`). A long recording is cut at moments beyond doubt first, and each piece is such an
`HMM`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import nlargest

import torch
from torch import Tensor

from semihmm.audio import condition, resample
from semihmm.errors import DataError
from semihmm.inference import expected_counts, viterbi
from semihmm.speech.acoustics.loading import load_acoustic_model, load_dictionary
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.alternatives import best_readings
from semihmm.speech.alignment.durations import DURATIONS, Durations, Run, mean_edges
from semihmm.speech.alignment.free import FREE, free_transitions
from semihmm.speech.alignment.graph import PAUSE, AlignmentGraph, Place, build_graph, check_pause_probability
from semihmm.speech.alignment.heard import LogLikelihoods
from semihmm.speech.alignment.match import Calibration, Heard, assess, calibration_of
from semihmm.speech.alignment.pieces import Cut, Piece, find_cuts
from semihmm.speech.alignment.pronunciation import Lexicon, Pronunciation
from semihmm.speech.files.results import Alignment, Alternative
from semihmm.speech.intervals import Interval
from semihmm.speech.text.transcript import timed, tokens_of
from semihmm.types import Hertz, Seconds

_ONE_PIECE = 5_000_000  # frames times states that are aligned without cuts: some 30 s of speech
_MANY = 10_000_000  # frames times states, from where on memory is dearer than time
_MOST = 40_000_000  # frames times states of a piece: some 80 s of speech without a moment beyond doubt


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
class _Heard:
    """What is known of a recording and its transcript before they are aligned."""

    pronunciations: list[Pronunciation]
    graph: AlignmentGraph
    evidence: LogLikelihoods
    boundaries: Tensor
    duration: Seconds
    wave: Tensor
    sample_rate: Hertz


@dataclass(frozen=True)
class _Solved:
    """A piece, aligned.

    For each of its frames: the node of the best path, the posteriors of its phone and word, and the entropy of phones.
    """

    nodes: Tensor
    phone: Tensor
    word: Tensor
    entropy: Tensor
    log_likelihood: float
    ranked: list[tuple[float, Tensor]]

    def moved_to(self, whole: dict[str, Tensor], begin: int) -> "_Solved":
        """The same, with its frames in those of the whole recording: small tensors between large ones waste memory."""
        end = begin + len(self.nodes)
        own = {name: frames[begin:end].copy_(getattr(self, name)) for name, frames in whole.items()}
        return _Solved(own["nodes"], own["phone"], own["word"], own["entropy"], self.log_likelihood, self.ranked)


@dataclass(frozen=True)
class Aligner:
    """Aligns recordings with their transcripts.

    Args:
        model: the acoustic model. Default: the best English one that is installed, as `load_acoustic_model` has it.
        lexicon: the pronunciations. Default: the CMU dictionary, ``gruut`` for other words.
        pause_probability: prior probability of a pause before, between and after the words.
        extra_speech: whether there may be speech between the words that the transcript does not hold. Before the first
            and after the last there may always be.
        calibration: turns raw scores into matches and deviations; None for what the model's card says, or else what
            fits Sphinx's.
        durations: how long phones last, for the `HSMM` that says where they meet (see
            `semihmm.speech.alignment.durations`); None for leaving that to the HMM, as it is where a network listens,
            whose scores are of another scale.

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
    calibration: Calibration | None = None
    durations: Durations | None = DURATIONS

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
            its pronunciations. Both take the transcript for granted; their matches do not (see
            `semihmm.speech.alignment.match`).

        Raises:
            DataError: the transcript has no words, or more than the audio can hold; the wave is too short; no moment
                of a long stretch has a sure place in the transcript.

        Beyond half a minute, the recording is cut at moments whose place in the transcript is beyond doubt (a posterior
        of at least 0.999, which `Alignment.log_likelihood` accounts for). Then time and memory are O(T), but for an
        outline of the whole that takes O(T S) and little time: an hour takes a minute and 1 GB.
        """
        heard = self._hear(wave, sample_rate, text, nbest)
        graph, frames = heard.graph, len(heard.evidence.known)
        if frames * len(graph.node) <= _ONE_PIECE:
            solved, _ = self._solve(heard, Piece(0, frames, graph), nbest)
            return self._result(heard, text, [solved], 0.0, nbest)
        cuts = find_cuts(graph, heard.evidence)
        return self._result(heard, text, *self._solve_between(heard, cuts, nbest), nbest)

    def explain(self, wave: Tensor, sample_rate: Hertz, text: str, *, nbest: int = 0) -> Evidence:
        """As calling the aligner, but without cuts, and returns the graph and the posteriors as well.

        Raises:
            DataError: as the call; or the recording is longer than some minutes.
        """
        heard = self._hear(wave, sample_rate, text, nbest)
        solved, posterior = self._solve(heard, Piece(0, len(heard.evidence.known), heard.graph), nbest)
        alignment = self._result(heard, text, [solved], 0.0, nbest)
        return Evidence(alignment, heard.graph, posterior, solved.nodes, heard.boundaries)

    def _hear(self, wave: Tensor, sample_rate: Hertz, text: str, nbest: int) -> _Heard:
        if nbest < 0:
            raise DataError(f"Aligner: nbest is the number of alternatives to return, 0 or more, got {nbest}.")
        written = self.lexicon.pronounce_text(text, self.model)
        pronunciations = [self.lexicon.as_said(item, self.model) for item in written]
        free: tuple[Place, ...] = ("ends", "between") if self.extra_speech else ("ends",)
        graph = build_graph(pronunciations, self.model, pause_probability=self.pause_probability, free=free)
        front_end = self.model.front_end
        heard = resample(condition(wave), source=sample_rate, target=front_end.sample_rate)
        features = front_end(heard)
        graph.check_length(len(features))
        duration = len(wave) / sample_rate
        boundaries = front_end.boundary(0) + torch.arange(len(features) + 1, dtype=torch.float64) / front_end.frame_rate
        boundaries[0], boundaries[-1] = 0.0, duration
        boundaries.clamp_(max=duration)
        evidence = LogLikelihoods.of(self.model, features, graph, _ONE_PIECE)
        return _Heard(pronunciations, graph, evidence, boundaries, duration, heard, sample_rate)

    def _solve_between(self, heard: _Heard, cuts: list[Cut], nbest: int) -> tuple[list[_Solved], float]:
        """The pieces between cuts, and the log-probability of the cuts."""
        solved, sure, start = [], 0.0, cuts[0]
        whole = {name: torch.empty(cuts[-1].frame) for name in ("phone", "word", "entropy")}
        whole["nodes"] = torch.empty(cuts[-1].frame, dtype=torch.long)
        for cut in cuts[1:]:
            piece = Piece.between(heard.graph, start, cut)
            if (piece.end - piece.begin) * len(piece.graph.node) > _MOST:
                begin, end = (round(float(heard.boundaries[frame]), 1) for frame in (piece.begin, piece.end))
                raise DataError(
                    f"between {begin} and {end} s of the recording no moment has a sure place in the transcript, and "
                    f"so long a stretch is not aligned without one. Does the recording say what the transcript says?"
                )
            solved.append(self._solve(heard, piece, nbest)[0].moved_to(whole, piece.begin))
            sure, start = sure + cut.log_prob, cut
        return solved, sure

    def _solve(self, heard: _Heard, piece: Piece, nbest: int) -> tuple[_Solved, Tensor]:
        """A piece, and the posterior of each of its nodes in each frame."""
        graph = piece.graph
        hmm = heard.evidence.hmm(graph, piece.begin, piece.end)
        best = viterbi(hmm)
        if not bool(best.valid):
            raise DataError("no path through the transcript fits the recording.", see="transcript-too-long")
        evidence, counts = expected_counts(hmm, ["emission"], checkpoint=hmm.emission.numel() > _MANY)
        posterior = _per_group(counts["emission"], graph.node, len(graph.nodes))
        nodes = graph.node[best.event]
        word_of_node = torch.tensor([node.word for node in graph.nodes])
        _, word = word_of_node.unique(return_inverse=True)
        words = _per_group(posterior, word, int(word.max()) + 1)
        readings = best_readings(graph, hmm, nbest) if nbest else []
        ranked = [(score, piece.node + graph.node[event]) for score, event in readings]
        solved = _Solved(
            piece.node + nodes,
            posterior.gather(1, nodes[:, None])[:, 0],
            words.gather(1, word[nodes, None])[:, 0],
            torch.special.entr(posterior).sum(1),
            float(evidence),
            ranked,
        )
        return solved, posterior

    def _result(self, heard: _Heard, text: str, solved: Sequence[_Solved], sure: float, nbest: int) -> Alignment:
        """The alignment that the pieces make, joined at cuts of this log-probability."""
        evidence = sum(piece.log_likelihood for piece in solved) - sure
        paths: list[tuple[float, tuple[Tensor, ...]]] = [(0.0, ())]
        for piece in solved if nbest else ():
            longer = ((before + score, (*path, more)) for before, path in paths for score, more in piece.ranked)
            paths = nlargest(nbest, longer, key=lambda scored: scored[0])
        tiers = _Tiers(heard, self.model, [item.word for item in heard.pronunciations], self.durations)
        nodes, phone, word, entropy = (
            torch.cat(parts)
            for parts in zip(*((piece.nodes, piece.phone, piece.word, piece.entropy) for piece in solved), strict=True)
        )
        words, phones, pauses = tiers(nodes, word, phone, entropy)
        alignment = Alignment(
            text,
            heard.duration,
            words,
            phones,
            frames=len(heard.evidence.known),
            sample_rate=heard.sample_rate,
            log_likelihood=evidence,
            free_log_likelihood=float(heard.evidence.freely.log_likelihood.double().sum()),
            unknown={item.word: " ".join(item.variants[0]) for item in heard.pronunciations if not item.known},
            alternatives=tuple(
                Alternative(score - evidence, *tiers(torch.cat(path))[:2]) for score, path in paths if path
            ),
            tokens=timed(tokens_of(text, language=self.lexicon.language or "en"), words),
            pauses=pauses,
        )
        unscripted = tiers.unscripted[nodes]
        items, counts = nodes.unique_consecutive(return_counts=True)
        runs = zip(items.tolist(), (counts.cumsum(0) - counts).tolist(), counts.cumsum(0).tolist(), strict=True)
        spoken = [(begin, end) for node, begin, end in runs if heard.graph.nodes[node].word != PAUSE]
        recording = Heard(self.model, heard.evidence.plain, heard.evidence.freely, spoken, unscripted, heard.evidence)
        return assess(alignment, heard.pronunciations, recording, self.calibration or calibration_of(self.model))


@dataclass(frozen=True)
class _Tiers:
    """Makes intervals of a path: words, phones and pauses."""

    heard: _Heard
    model: AcousticModel
    words: Sequence[str]
    durations: Durations | None

    @property
    def unscripted(self) -> Tensor:
        """Which nodes are speech that the transcript does not hold."""
        return torch.tensor([node.phone == FREE and node.word == PAUSE for node in self.heard.graph.nodes])

    def __call__(
        self, nodes: Tensor, word: Tensor | None = None, phone: Tensor | None = None, entropy: Tensor | None = None
    ) -> tuple[tuple[Interval, ...], tuple[Interval, ...], tuple[Interval, ...]]:
        """Of the nodes of each frame ``(T,)``; with confidences where posteriors of each frame are given."""
        graph = self.heard.graph
        word_of_node = torch.tensor([node.word for node in graph.nodes])
        word_path = word_of_node[nodes]
        is_pause = word_path == PAUSE
        phone_path = torch.where(is_pause, PAUSE, nodes)
        boundaries = self._boundaries(nodes)
        return (
            _tier(word_path, self.words, boundaries, word),
            _tier(phone_path, [node.phone for node in graph.nodes], boundaries, phone, entropy),
            _tier(torch.where(is_pause, self.unscripted[nodes].long(), PAUSE), ["", "*"], boundaries, phone),
        )

    def _boundaries(self, nodes: Tensor) -> Tensor:
        """Where the frames begin; where a phone does, by its duration and corrected.

        It moves by no more than half of the phone or of the one before it.
        """
        if self.model.edges is None and self.durations is None:
            return self.heard.boundaries
        boundaries, graph = self.heard.boundaries.clone(), self.heard.graph
        items, counts = nodes.unique_consecutive(return_counts=True)
        phones = [graph.nodes[node].phone for node in items.tolist()]
        begins = counts.cumsum(0)[:-1]
        times = boundaries[begins]
        middle = (torch.cat([boundaries[:1], times]) + torch.cat([times, boundaries[-1:]])) / 2
        if self.durations is not None and self.model.network is None:
            times = self._timed(items, counts, phones)
        if self.model.edges is not None:
            late = self.model.edges(self.model.front_end, self.heard.wave, times, phones[:-1], phones[1:])
            late[[phone == self.model.silence for phone in phones[1:]]] = (
                0.0  # learnt where phones begin, not where they end
            )
            times = times - late
        boundaries[begins] = torch.clamp(times, middle[:-1], middle[1:])
        return boundaries

    def _timed(self, items: Tensor, counts: Tensor, phones: Sequence[str]) -> Tensor:
        """Where phones begin, the first one left out, given how long they last."""
        assert self.durations is not None, "asked for"
        heard, model = self.heard, self.model
        transitions = torch.cat([model.transitions, free_transitions(model.states)])
        phone = heard.graph.phone[items]
        columns = phone[:, None] * model.states + torch.arange(model.states)
        begins = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        run = Run(phones, columns, transitions[phone].double(), begins)
        edges = mean_edges(run, heard.evidence.plain, self.model, self.durations)
        front_end = self.model.front_end
        return front_end.boundary(0) + edges[1:-1] / front_end.frame_rate


def _tier(
    path: Tensor,
    labels: Sequence[str],
    boundaries: Tensor,
    posterior: Tensor | None = None,
    entropy: Tensor | None = None,
) -> tuple[Interval, ...]:
    """One interval per run of equal items in ``path (T,)``, those of `PAUSE` left out."""
    items, counts = path.unique_consecutive(return_counts=True)
    ends = counts.cumsum(0)
    run = torch.arange(len(items)).repeat_interleave(counts)

    def mean(values: Tensor | None) -> list[float | None]:
        if values is None:
            return [None] * len(items)
        means: list[float | None] = (values.new_zeros(len(items)).index_add_(0, run, values) / counts).tolist()
        return means

    # Rounding may take a mean of probabilities past 1.
    sure = mean(posterior if posterior is None else posterior.clamp(max=1.0))
    times = boundaries[ends - counts].tolist(), boundaries[ends].tolist()
    return tuple(
        Interval(start, end, labels[item], sure, entropy=unsure)
        for item, start, end, sure, unsure in zip(items.tolist(), *times, sure, mean(entropy), strict=True)
        if item != PAUSE
    )


def _per_group(values: Tensor, group: Tensor, groups: int) -> Tensor:
    """Sum the columns of ``values (T, N)`` that belong to the same group: ``(T, groups)``."""
    return values.new_zeros(len(values), groups).index_add_(1, group, values)
