"""Whether words were said and where their edges may be, against sums over the paths in question, one by one."""

import math
from dataclasses import replace

import pytest
import torch

from semihmm.inference import condition, log_partition
from semihmm.speech import Aligner, build_graph
from semihmm.speech.alignment import match as matching
from semihmm.speech.alignment.free import FREE, hear_freely, with_free_speech
from semihmm.speech.alignment.match import Calibration, Place, score_words
from semihmm.speech.alignment.pronunciation import Pronunciation

from .conftest import RATE, spoken

AH = Pronunciation("ah", (("AA",),))
EESAH = Pronunciation("eesah", (("IY", "S", "AA"), ("IY", "AA")))
SEE = Pronunciation("see", (("S", "IY"),))
ITEMS = (AH, EESAH, SEE)
PLACES = (
    Place(AH, ("AA",), (4, 12)),
    Place(EESAH, ("IY", "S", "AA"), (12, 16, 20, 24)),
    Place(SEE, ("S", "IY"), (28, 33, 39)),
)


@pytest.fixture(scope="module")
def ratio(tone_model):
    """Log-likelihood ratios of 45 frames of nothing in particular: nothing is sure."""
    log_likelihood = torch.randn(45, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    freely = hear_freely(tone_model, log_likelihood)
    return with_free_speech(tone_model, log_likelihood, freely) - freely.log_likelihood[:, None]


@pytest.fixture(scope="module")
def scores(tone_model, ratio):
    return score_words(PLACES, tone_model, lambda begin, end: ratio[begin:end], (0, 45))


def through(graph, hmm, allowed):
    """Log-partition of the paths that pass only nodes for which ``allowed`` holds."""
    mask = torch.tensor([allowed(node) for node in graph.nodes])[graph.node]
    return float(log_partition(condition(hmm, mask)))


def test_log_odds_are_the_difference_of_two_log_partitions(tone_model, ratio, scores):
    graph = build_graph(ITEMS, tone_model, free=("instead",))
    hmm = graph.hmm(ratio)
    for index, score in enumerate(scores):
        said = through(graph, hmm, lambda node, index=index: node.word != index or node.phone != FREE)
        other = through(graph, hmm, lambda node, index=index: node.word != index or node.phone == FREE)
        assert score.log_odds == pytest.approx(said - other, abs=1e-6)


def test_the_entropy_of_a_word_is_that_of_its_pronunciations(tone_model, ratio, scores):
    graph = build_graph(ITEMS, tone_model, free=("instead",))
    hmm = graph.hmm(ratio)
    own = [number for number, node in enumerate(graph.nodes) if node.word == 1]
    long, short = set(own[:3]), set(own[3:5])
    numbered = replace(graph, nodes=tuple(enumerate(graph.nodes)))
    logs = torch.tensor(
        [through(numbered, hmm, lambda pair, kept=kept: pair[1].word != 1 or pair[0] in kept) for kept in (long, short)]
    )
    assert scores[1].entropy == pytest.approx(float(torch.distributions.Categorical(logits=logs).entropy()), abs=1e-6)
    assert scores[0].entropy == scores[2].entropy == 0


def test_deviations_are_those_of_all_places_of_an_edge(tone_model, ratio, scores):
    """The probability of each place by forbidding all others, on the pronunciations that were aligned."""
    chosen = [replace(place.item, variants=(place.chosen,)) for place in PLACES]
    graph = build_graph(chosen, tone_model)
    hmm = graph.hmm(matching._SHARPNESS * ratio)
    nodes = [number for number, node in enumerate(graph.nodes) if node.word >= 0]

    def deviation(first, edge):
        """Of the frame at which the path comes to node ``first`` or a later one."""
        logs = []
        for frame in range(46):
            late = (torch.arange(45) >= frame)[:, None]
            logs.append(float(log_partition(condition(hmm, (graph.node >= first) == late))))
        probability = torch.tensor(logs, dtype=torch.float64).softmax(0)
        return float((probability * (torch.arange(46) - edge) ** 2).sum().sqrt())

    spoken = iter(nodes)
    for place, score in zip(PLACES, scores, strict=True):
        for j in range(len(place.chosen)):
            node = next(spoken)
            assert score.starts[j] == pytest.approx(deviation(node, place.edges[j]), rel=1e-6)
            assert score.ends[j] == pytest.approx(deviation(node + 1, place.edges[j + 1]), rel=1e-6)


def test_phones_have_the_mean_ratio_of_their_frames(tone_model, ratio, scores):
    """By the definition: over paths, the ratios of the states passed, weighted by the posterior."""
    graph = build_graph(ITEMS, tone_model, free=("instead",))
    hmm = graph.hmm(ratio.clone().requires_grad_())
    node = next(number for number, node in enumerate(graph.nodes) if node.word == 2)
    emission = hmm.emission
    (posterior,) = torch.autograd.grad(log_partition(hmm), emission)
    own = graph.node == node
    expected = (posterior * emission)[:, own].sum() / posterior[:, own].sum()
    assert scores[2].phones[0] == pytest.approx(float(expected.detach()), rel=1e-6)


@pytest.fixture(scope="session")
def aligner(tone_model, tone_lexicon):
    return Aligner(tone_model, tone_lexicon, calibration=Calibration((2.0, 0.2), (2.0, 0.6), (0.5, 1.2)))


SAID = [("SIL", 0.2), ("IY", 0.15), ("S", 0.15), ("AA", 0.15), ("SIL", 0.1), ("S", 0.15), ("IY", 0.2), ("SIL", 0.2)]


def test_what_was_said_matches_and_what_was_not_does_not(aligner):
    wave, _ = spoken(*SAID)
    right = aligner(wave, RATE, "eesah see")
    assert all(item.match > 0.85 for item in (*right.words, *right.phones))
    assert right.match > 0.9
    assert right.suspicious == ()
    wrong = aligner(wave, RATE, "eesah ahee")
    assert [word.match > 0.5 for word in wrong.words] == [True, False]
    assert right.log_likelihood - right.free_log_likelihood > wrong.log_likelihood - wrong.free_log_likelihood
    assert wrong.suspicious[0].label == "not what was said: ahee"


def test_a_transcript_of_something_else_is_named(aligner):
    wave, _ = spoken(("SIL", 0.2), ("S", 0.3), ("AA", 0.3), ("SIL", 0.2))
    found = aligner(wave, RATE, "ahee ahee")
    assert found.match < 0.5
    assert (found.suspicious[0].start, found.suspicious[0].end) == (0, found.duration)
    assert found.suspicious[0].label == "the transcript fits little of the recording"


def test_words_in_silence_are_named(aligner):
    wave, _ = spoken(("SIL", 1.0))
    found = aligner(wave, RATE, "see see")
    assert any(item.label == "silence where there should be: see see" for item in found.suspicious)


def test_words_faster_than_speech_are_named(aligner):
    wave, _ = spoken(("SIL", 0.1), ("AA", 0.13), ("SIL", 0.1))
    found = aligner(wave, RATE, "eesah eesah eesah")
    assert any(item.label == "too fast to be true: IY AA IY AA IY AA" for item in found.suspicious)


def test_an_edge_that_could_be_anywhere_deviates_more_than_a_sharp_one(aligner):
    wave, _ = spoken(("AA", 0.4), ("IY", 0.4))
    sharp = aligner(wave, RATE, "ahee").phones[1]
    wave, _ = spoken(("AA", 0.8))
    vague = aligner(wave, RATE, "ah ah").phones[1]
    assert 0 < sharp.start_sd < 0.03
    assert vague.start_sd > 0.1
    both = aligner(wave, RATE, "ah ah")
    assert both.words[0].end_sd == both.phones[0].end_sd == pytest.approx(both.words[1].start_sd)


def test_pieces_agree_with_the_whole(aligner, monkeypatch):
    """Words further away than the context of a piece do not matter."""
    wave, _ = spoken(("SIL", 0.1), *[("IY", 0.1), ("S", 0.1), ("AA", 0.1), ("SIL", 0.1)] * 6)
    monkeypatch.setattr(matching, "_PIECE", 100)
    whole = aligner(wave, RATE, "eesah " * 6)
    monkeypatch.setattr(matching, "_PIECE", 2)
    pieces = aligner(wave, RATE, "eesah " * 6)
    for a, b in zip((*whole.words, *whole.phones), (*pieces.words, *pieces.phones), strict=True):
        assert a.match == pytest.approx(b.match, abs=1e-3)
        assert a.start_sd == pytest.approx(b.start_sd, abs=1e-3)
        assert a.end_sd == pytest.approx(b.end_sd, abs=1e-3)
    assert math.isfinite(whole.match)


def test_words_that_may_be_silent_are_not_judged(tone_model, ratio):
    """A filler: any noise, or nothing at all."""
    filler = Pronunciation("[noise]", (("SIL",), ()))
    places = (PLACES[0], Place(filler, ("SIL",), (24, 28)), PLACES[2])
    scores = score_words(places, tone_model, lambda begin, end: ratio[begin:end], (0, 45))
    assert [score.log_odds is None for score in scores] == [False, True, False]
    assert scores[1].entropy == 0


def test_a_filler_that_is_silent_is_not_suspicious(aligner):
    wave, _ = spoken(*SAID)
    found = aligner(wave, RATE, "eesah [noise] see")
    assert found.match > 0.9
    assert found.suspicious == ()
