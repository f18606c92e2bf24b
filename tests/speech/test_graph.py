"""The paths that a transcript allows."""

import math

import pytest
import torch

from semihmm.errors import DataError
from semihmm.speech import build_graph
from semihmm.speech.alignment.graph import PAUSE
from semihmm.speech.alignment.pronunciation import Pronunciation


def paths(graph):
    """Every path without self-loops, as the phones it passes, with its log-weight."""
    arcs = list(zip(graph.source.tolist(), graph.target.tolist(), graph.weight.tolist(), strict=True))

    def walk(state, weight, seen):
        if graph.final[state] > -math.inf:
            yield (
                [graph.nodes[node].phone for node in dict.fromkeys(graph.node[seen].tolist())],
                weight + graph.final[state].item(),
            )
        for source, target, arc in arcs:
            if source == state and target != state:
                yield from walk(target, weight + arc, [*seen, target])

    for state in (graph.initial > -math.inf).nonzero()[:, 0].tolist():
        yield from walk(state, graph.initial[state].item(), [state])


SEE = Pronunciation("see", (("S", "IY"),))
AH = Pronunciation("ah", (("AA",), ("IY",)))


def test_every_pronunciation_comes_with_and_without_pauses(tone_model):
    found = {" ".join(phones) for phones, _ in paths(build_graph([SEE, AH], tone_model))}
    words = {(first, second) for first in ["S IY"] for second in ["AA", "IY"]}
    expected = {
        " ".join(filter(None, [before, first, between, second, after]))
        for first, second in words
        for before in ("", "SIL")
        for between in ("", "SIL")
        for after in ("", "SIL")
    }
    assert found == expected


@pytest.mark.parametrize("pause_probability", [0.5, 0.1])
def test_ways_through_the_words_are_a_probability(tone_model, pause_probability):
    """With the phones' own transitions taken out, the weights of all paths sum to 1."""
    graph = build_graph([SEE, AH], tone_model, pause_probability=pause_probability)
    stay = math.log(0.5)  # of the tone model: three steps out of each phone
    total = sum(math.exp(weight - 3 * stay * len(phones)) for phones, weight in paths(graph))
    assert total == pytest.approx(1)


def test_a_pause_weighs_its_prior(tone_model):
    graph = build_graph([SEE], tone_model, pause_probability=0.2)
    weight = {" ".join(phones): weight - 3 * math.log(0.5) * len(phones) for phones, weight in paths(graph)}
    assert weight["S IY"] == pytest.approx(2 * math.log(0.8))
    assert weight["SIL S IY"] == pytest.approx(math.log(0.2) + math.log(0.8))


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        ((), "see ah"),
        (("ends",), "see ah|* see ah|see ah *|* see ah *"),
        (("between",), "see ah|see * ah"),
        (("instead",), "see ah|* ah|see *|* *"),
    ],
)
def test_free_speech_is_where_it_may_be_and_ways_stay_a_probability(tone_model, free, expected):
    """Pauses left out."""
    graph = build_graph([SEE, Pronunciation("ah", (("AA",),))], tone_model, free=free)
    names = {"S IY": "see", "AA": "ah"}
    found, total = set(), 0.0
    for phones, weight in paths(graph):
        inside = [math.log(0.1 * 0.25) if phone == "*" else 3 * math.log(0.5) for phone in phones]
        total += math.exp(weight - sum(inside))
        spoken = " ".join(phone for phone in phones if phone != "SIL")
        for said, name in names.items():
            spoken = spoken.replace(said, name)
        found.add(spoken)
    assert found == set(expected.split("|"))
    assert total == pytest.approx(1)


def test_arcs_run_forward_and_none_comes_twice(tone_model):
    graph = build_graph([AH, SEE, AH, AH], tone_model)
    assert (graph.source <= graph.target).all()
    pairs = set(zip(graph.source.tolist(), graph.target.tolist(), strict=True))
    assert len(pairs) == len(graph.source)
    assert (graph.node[graph.source] <= graph.node[graph.target]).all()


def test_states_take_their_phones_likelihoods(tone_model):
    graph = build_graph([SEE], tone_model)
    phones = [node.phone for node in graph.nodes]
    assert [graph.nodes[node].word for node in graph.node[::3]] == [PAUSE, 0, 0, PAUSE]
    for state, (node, column) in enumerate(zip(graph.node.tolist(), graph.column.tolist(), strict=True)):
        assert tone_model.phones[column // 3] == phones[node]
        assert column % 3 == state % 3


def test_the_shortest_path_is_the_fewest_frames_that_fit(tone_model):
    graph = build_graph([SEE, AH], tone_model)
    assert graph.shortest == 9  # S IY AA, without pauses
    graph.hmm(torch.zeros(9, 12))
    with pytest.raises(DataError, match=r"longer than the audio can hold: .* needs 9 frames, and the recording has 8"):
        graph.hmm(torch.zeros(8, 12))


def test_what_memory_cannot_hold_is_refused(tone_model):
    graph = build_graph([SEE, AH] * 50, tone_model)
    with pytest.raises(DataError, match=r"too long to be aligned in one piece: 200000 frames .* Call the Aligner"):
        graph.hmm(torch.zeros(1, 12).expand(200_000, 12))


def test_what_makes_no_graph_is_refused(tone_model):
    with pytest.raises(DataError, match="holds no words"):
        build_graph([], tone_model)
    with pytest.raises(DataError, match="has no phone 'XX'"):
        build_graph([Pronunciation("x", (("XX",),))], tone_model)
    for probability in (0, 1, math.nan):
        with pytest.raises(DataError, match="strictly between 0 and 1"):
            build_graph([SEE], tone_model, pause_probability=probability)
