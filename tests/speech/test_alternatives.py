"""The most probable readings of a transcript."""

import itertools
import math

import pytest
import torch

from semihmm.inference import log_partition, viterbi
from semihmm.speech import build_graph
from semihmm.speech.alignment.alternatives import best_readings
from semihmm.speech.alignment.pronunciation import Pronunciation

ITEMS = [
    Pronunciation("ah", (("AA",), ("IY", "AA"))),
    Pronunciation("see", (("S", "IY"),)),
    Pronunciation("eesah", (("IY", "S", "AA"), ("IY", "AA"), ("AA", "S"))),
]


@pytest.fixture
def log_likelihood():
    return torch.randn(40, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_readings_are_those_of_all_graphs_with_one_pronunciation_each(tone_model, log_likelihood):
    graph = build_graph(ITEMS, tone_model)
    found = best_readings(graph, graph.hmm(log_likelihood), 10)
    expected = {}
    for chosen in itertools.product(*(item.variants for item in ITEMS)):
        alone = build_graph([Pronunciation("x", (phones,)) for phones in chosen], tone_model)
        prior = -sum(math.log(len(item.variants)) for item in ITEMS)
        expected[sum(chosen, ())] = float(log_partition(alone.hmm(log_likelihood))) + prior
    got = {}
    for score, event in found:
        nodes = [graph.nodes[node] for node in graph.node[event].unique_consecutive().tolist()]
        got[tuple(node.phone for node in nodes if node.word >= 0)] = score
    assert got == pytest.approx(expected)
    assert len(found) == 6
    assert [score for score, _ in found] == pytest.approx(sorted(expected.values(), reverse=True))


def test_fewer_readings_are_the_first(tone_model, log_likelihood):
    """Here the words are nearly independent of one another, so the candidates are the best."""
    graph = build_graph(ITEMS, tone_model)
    hmm = graph.hmm(log_likelihood)
    every = [score for score, _ in best_readings(graph, hmm, 10)]
    assert [score for score, _ in best_readings(graph, hmm, 2)] == pytest.approx(every[:2])


def test_the_path_of_a_reading_is_its_best(tone_model, log_likelihood):
    graph = build_graph(ITEMS[1:2], tone_model)
    hmm = graph.hmm(log_likelihood)
    ((score, event),) = best_readings(graph, hmm, 3)
    assert torch.equal(event, viterbi(hmm).event)
    assert score == pytest.approx(float(log_partition(hmm)))
