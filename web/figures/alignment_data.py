"""What the alignment viewer shows: sentences of examples/data as the HMMs that align them.

    python web/figures/alignment_data.py    # writes src/alignment/sentences.json; then `make figures`

The page computes posteriors by itself, at any temperature, from the log-weights written here.
"""

import json
import math
import sys
from base64 import b64encode
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import semihmm
from semihmm.audio import read_audio
from semihmm.speech import Aligner, AlignmentGraph, Pronunciation, build_graph

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "data"
WRITTEN = Path(__file__).parent / "src" / "alignment" / "sentences.json"
SENTENCES = ("austen-0880", "austen-0870")
READINGS = 5
STEP = 1 / 512  # nats; what log-likelihoods are rounded to


@dataclass(frozen=True)
class Sentence:
    """A recording, its transcript as a graph, and the log-likelihoods of the graph's states.

    Args:
        peaks: ``(T,)`` the largest of each frame.
        below: ``(T, columns)`` how far each is below that, in `STEP`, as int16.
        boundaries: ``(T + 1,)`` where the frames begin and, last, where the recording ends, in seconds.
    """

    name: str
    text: str
    wave: Tensor
    sample_rate: int
    model: str
    pronunciations: list[Pronunciation]
    graph: AlignmentGraph
    peaks: Tensor
    below: Tensor
    boundaries: Tensor

    @property
    def hmm(self) -> semihmm.HMM:
        """In float64, of the numbers as they are written."""
        return self.graph.hmm(self.peaks[:, None] + self.below.double() * STEP)


def sentence(name: str, aligner: Aligner) -> tuple[Sentence, list[tuple[str, ...]]]:
    """A sentence, and its most probable readings as the phones of each: those that the aligner finds."""
    wave, sample_rate = read_audio(FOLDER / f"{name}.wav")
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").strip()
    found = aligner.explain(wave, sample_rate, text, nbest=READINGS)
    model = aligner.model
    written = aligner.lexicon.pronounce_text(text, model)
    pronunciations = [aligner.lexicon.as_said(item, model) for item in written]
    graph = build_graph(pronunciations, model, pause_probability=aligner.pause_probability)
    columns = graph.column.unique()
    heard = semihmm.audio.resample(
        semihmm.audio.condition(wave), source=sample_rate, target=model.front_end.sample_rate
    )
    log_likelihood = model.log_likelihood(model.front_end(heard), columns=columns).double()
    peaks = log_likelihood.amax(1).float().double()
    below = ((log_likelihood - peaks[:, None]) / STEP).round()
    assert below.min() > -(2**15), "STEP is too small for these log-likelihoods"
    below = below.clamp(max=0).short()
    assert len(below) == len(found.boundaries) - 1
    made = Sentence(
        name, text, wave, sample_rate, model.name, pronunciations, graph.over(columns), peaks, below, found.boundaries
    )
    readings = [tuple(phone.label for phone in item.phones) for item in found.alignment.alternatives]
    return made, readings


def variants(graph: AlignmentGraph, pronunciations: list[Pronunciation]) -> list[list[range]]:
    """The graph's nodes of each pronunciation of each word, in the order in which `build_graph` makes them."""
    found = []
    for number, item in enumerate(pronunciations):
        first = next(at for at, node in enumerate(graph.nodes) if node.word == number)
        own = []
        for phones in item.variants:
            own.append(range(first, first + len(phones)))
            assert tuple(graph.nodes[at].phone for at in own[-1]) == tuple(phones)
            first += len(phones)
        found.append(own)
    return found


def allowed(graph: AlignmentGraph, pronunciations: list[Pronunciation], phones: tuple[str, ...]) -> Tensor:
    """Which of the graph's nodes a reading takes, ``(nodes,)``; pauses are free."""
    chosen = [at for at, node in enumerate(graph.nodes) if node.word < 0]
    for own in variants(graph, pronunciations):
        fits = [way for way in own if tuple(graph.nodes[at].phone for at in way) == phones[: len(way)]]
        longest = max(fits, key=len)
        chosen += longest
        phones = phones[len(longest) :]
    assert not phones
    return torch.isin(torch.arange(len(graph.nodes)), torch.tensor(chosen))


def runs(graph: AlignmentGraph, states: Tensor) -> list[list[int]]:
    """A path as the nodes that it goes through: node, first frame, and the frame after the last."""
    nodes, counts = graph.node[states].unique_consecutive(return_counts=True)
    edges = [0, *counts.cumsum(0).tolist()]
    return [[node, begin, end] for node, (begin, end) in zip(nodes.tolist(), pairwise(edges), strict=True)]


def content(one: Sentence, readings: list[tuple[str, ...]]) -> dict[str, Any]:
    """As the page reads it: numbers of tensors in base64, little-endian."""
    graph, hmm = one.graph, one.hmm
    best = semihmm.viterbi(hmm)
    ways = []
    for phones in readings:
        nodes = allowed(graph, one.pronunciations, phones)
        path = semihmm.viterbi(semihmm.condition(hmm, nodes[graph.node].expand_as(hmm.emission)))
        ways.append({"nodes": nodes.nonzero()[:, 0].tolist(), "runs": runs(graph, path.event)})
    starts, ends = (
        [[at, float(weight)] for at, weight in enumerate(weights.tolist()) if weight > -math.inf]
        for weights in (graph.initial, graph.final)
    )
    return {
        "name": one.name,
        "text": one.text,
        "model": one.model,
        "duration": len(one.wave) / one.sample_rate,
        "first": float(one.boundaries[1]),
        "shift": float(one.boundaries[2] - one.boundaries[1]),
        "words": [item.word for item in one.pronunciations],
        "nodes": [[node.word, node.phone] for node in graph.nodes],
        "node": graph.node.tolist(),
        "column": graph.column.tolist(),
        "starts": starts,
        "ends": ends,
        "source": graph.source.tolist(),
        "target": graph.target.tolist(),
        "weight": packed(graph.weight, "<f8"),
        "step": STEP,
        "peaks": packed(one.peaks, "<f4"),
        "below": packed(one.below, "<i2"),
        "frames": len(one.peaks),
        "best": runs(graph, best.event),
        "readings": ways,
        "rate": one.sample_rate,
        "sound": b64encode(mu_law(one.wave)).decode("ascii"),
    }


def packed(x: Tensor, kind: str) -> str:
    """The numbers in base64, as a numpy dtype."""
    return b64encode(x.numpy().astype(kind).tobytes()).decode("ascii")


def mu_law(wave: Tensor) -> bytes:
    """Eight bits for each sample: good enough to listen to, and half the size."""
    wave = wave.double().clamp(-1, 1)
    bent = wave.sign() * (255 * wave.abs()).log1p() / math.log(256)
    return ((bent + 1) * 127.5).round().numpy().astype(np.uint8).tobytes()


def main() -> None:
    """Write them all."""
    aligner = Aligner()
    made = [content(*sentence(name, aligner)) for name in SENTENCES]
    WRITTEN.write_text(json.dumps(made, separators=(",", ":")) + "\n", encoding="utf-8")
    sys.stdout.write(f"{WRITTEN.relative_to(ROOT)}: {WRITTEN.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
