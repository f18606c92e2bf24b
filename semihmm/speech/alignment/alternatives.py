"""The best alternatives to an alignment: what was said otherwise, not the same a frame later."""

from heapq import nlargest
from itertools import pairwise

import torch
from torch import Tensor

from semihmm.inference import condition, log_partition, marginals, viterbi
from semihmm.speech.alignment.graph import PAUSE, AlignmentGraph
from semihmm.structures import HMM


def best_readings(graph: AlignmentGraph, hmm: HMM, count: int) -> list[tuple[float, Tensor]]:
    """The most probable readings of a transcript: each says every word in one of its pronunciations.

    A reading's score is the log-partition of all paths that read so, whenever they do. The candidates are the readings
    whose words are most probable one by one, which are the best where words are read independently of one another.

    Args:
        graph: the paths that the transcript allows.
        hmm: the graph on one recording.
        count: how many readings; fewer are returned where there are fewer.

    Returns:
        Scores in nats, best first, each with the states ``(T,)`` of the best path that reads so.
    """
    found = marginals(hmm)
    first, variant = _variants(graph)
    entry = graph.node[graph.source] != graph.node[graph.target]
    entered = found.initial.index_add(0, graph.target[entry], found.transition[entry])
    into = entered.new_zeros(len(graph.nodes)).index_add(0, graph.node, entered)
    weight = into[first].log().tolist()
    readings: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for word in sorted({graph.nodes[node].word for node in first}):
        own = [number for number, node in enumerate(first) if graph.nodes[node].word == word]
        longer = ((score + weight[number], (*chosen, number)) for score, chosen in readings for number in own)
        readings = nlargest(count, longer)
    ranked = []
    for _, chosen in readings:
        allowed = torch.isin(variant, torch.tensor([PAUSE, *chosen]))[graph.node]
        read = condition(hmm, allowed)
        best = viterbi(read)
        if bool(best.valid):
            ranked.append((float(log_partition(read)), best.event))
    return sorted(ranked, key=lambda scored: -scored[0])


def _variants(graph: AlignmentGraph) -> tuple[list[int], Tensor]:
    """The first node of each word's each pronunciation; and for each node the number of its own, or `PAUSE`."""
    arcs = set(zip(graph.node[graph.source].tolist(), graph.node[graph.target].tolist(), strict=True))
    nodes = [node.word for node in graph.nodes]
    first = [0] if nodes[0] != PAUSE else []
    variant = [len(first) - 1]
    for before, node in pairwise(range(len(nodes))):
        if nodes[node] == PAUSE:
            variant.append(PAUSE)
        else:
            if nodes[before] != nodes[node] or (before, node) not in arcs:
                first.append(node)
            variant.append(len(first) - 1)
    return first, torch.tensor(variant)
