"""Phones in context, against every path written out."""

import dataclasses
from itertools import groupby

import pytest
import torch

from semihmm.audio import read_audio
from semihmm.errors import ShapeError
from semihmm.inference import condition, log_partition
from semihmm.speech import Aligner, Contexts, build_graph, load_acoustic_model
from semihmm.speech.acoustics.model import tied_mixture
from semihmm.speech.alignment import align
from semihmm.speech.alignment.free import FREE
from semihmm.speech.alignment.graph import PAUSE
from semihmm.speech.alignment.heard import LogLikelihoods
from semihmm.speech.alignment.match import CALIBRATION, Heard, Place, score_words
from semihmm.speech.alignment.pronunciation import Pronunciation

from .conftest import RATE, WORDS, spoken

COLUMNS = 20
TRANSCRIPTS = {
    "one phone": [Pronunciation("ah", (("AA",),))],
    "variants": [Pronunciation(word, WORDS[word]) for word in ("eesah", "see")],
    "single phones in a row": [Pronunciation("ah", (("AA",), ("IY",)))] * 2,
    "a word that may be nothing": [
        Pronunciation("see", WORDS["see"]),
        Pronunciation("[noise]", (("SIL",), ())),
        Pronunciation("eesah", WORDS["eesah"]),
    ],
    "unscripted": [
        Pronunciation("see", WORDS["see"]),
        Pronunciation("*", (("*",),)),
        Pronunciation("ahee", WORDS["ahee"]),
    ],
}


def in_context(model, table, columns=COLUMNS):
    """The tone model with states for phones in context, each of which expects what the phone of its number does."""
    phone = torch.cat([torch.arange(4).repeat_interleave(3), torch.arange(columns - 12) % 4])
    streams = tuple(
        tied_mixture(stream.mean, stream.log_variance.exp(), torch.zeros(columns, 1), phone) for stream in model.streams
    )
    return dataclasses.replace(model, streams=streams, contexts=Contexts(table))


@pytest.fixture(params=[2, COLUMNS], ids=["few columns, many alike", "many columns"])
def context_model(request, tone_model):
    """Random states for everything, silence too."""
    generator = torch.Generator().manual_seed(request.param)
    table = torch.randint(COLUMNS - request.param, COLUMNS, (4, 4, 4, 4, 3), generator=generator)
    table[..., 1:] = COLUMNS - 1  # of three states one tells contexts apart
    return in_context(tone_model, table)


def paths(graph):
    """The states of every path without self-loops, with its log-weight."""
    arcs = {}
    for source, target, weight in zip(graph.source.tolist(), graph.target.tolist(), graph.weight.tolist(), strict=True):
        if source != target:
            arcs.setdefault(source, []).append((target, weight))

    def walk(state, weight, seen):
        if graph.final[state] > -torch.inf:
            yield seen, weight + float(graph.final[state])
        for target, arc in arcs.get(state, ()):
            yield from walk(target, weight + arc, [*seen, target])

    for state in (graph.initial > -torch.inf).nonzero()[:, 0].tolist():
        yield from walk(state, float(graph.initial[state]), [state])


def written_out(transcript, model, **options):
    """Columns and log-weight of every path: those of the graph without contexts, phone by phone."""
    graph = build_graph(transcript, dataclasses.replace(model, contexts=None), **options)
    for states, weight in paths(graph):
        nodes = [graph.nodes[node] for node in dict.fromkeys(graph.node[states].tolist())]
        positions = []
        for word, run in groupby(nodes, key=lambda node: node.word):
            length = len(list(run))
            inner = ["begin", *["inside"] * (length - 2), "end"]
            positions += ["single"] * length if word == PAUSE or length == 1 else inner
        near = ["SIL", *("SIL" if node.phone == "*" else node.phone for node in nodes), "SIL"]
        columns = []
        for at, (node, position) in enumerate(zip(nodes, positions, strict=True)):
            if node.phone == "*":
                columns += [COLUMNS, COLUMNS + 1, COLUMNS + 2]
                continue
            before, own, after = (model.phones.index(phone) for phone in near[at : at + 3])
            where = ["inside", "begin", "end", "single"].index(position)
            columns += model.contexts.table[where, before, own, after].tolist()
        yield columns, weight


@pytest.mark.parametrize("free", [(), ("ends", "between"), ("instead",)], ids=["plain", "between", "instead"])
@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_the_graph_has_every_path_with_its_contexts_and_each_once(context_model, name, free):
    transcript = TRANSCRIPTS[name]
    graph = build_graph(transcript, context_model, free=free)
    found = sorted((graph.column[states].tolist(), weight) for states, weight in paths(graph))
    expected = sorted(written_out(transcript, context_model, free=free))
    assert [columns for columns, _ in found] == [columns for columns, _ in expected]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in expected])


def test_arcs_run_forward_and_states_of_a_node_are_together(context_model):
    graph = build_graph(TRANSCRIPTS["variants"] * 3, context_model)
    assert (graph.source <= graph.target).all()
    assert (graph.node.diff() >= 0).all()
    assert len(set(zip(graph.source.tolist(), graph.target.tolist(), strict=True))) == len(graph.source)


def test_what_no_neighbour_changes_has_no_copies(tone_model):
    plain = torch.arange(12).reshape(4, 1, 3).expand(4, 4, 4, 4, 3)
    with_contexts = build_graph(TRANSCRIPTS["variants"], in_context(tone_model, plain, columns=12), free=["between"])
    without = build_graph(TRANSCRIPTS["variants"], tone_model, free=["between"])
    for name in ("node", "column", "initial", "final", "source", "target", "weight", "spine", "phone"):
        assert torch.equal(getattr(with_contexts, name), getattr(without, name)), name


def test_states_that_are_copies_of_those_without_context_change_no_result(tone_model, tone_lexicon):
    """Each phone has other columns in each context, and all sound the same: alignment, confidences and matches too."""
    own = (torch.arange(4)[None, None, :, None] + 4 * torch.arange(4)[None, :, None, None]).expand(4, -1, -1, 4)
    table = (12 + own)[..., None].expand(-1, -1, -1, -1, 3)
    model = in_context(tone_model, table, columns=28)
    wave, _ = spoken(("SIL", 0.2), ("S", 0.1), ("IY", 0.12), ("AA", 0.1), ("IY", 0.2), ("SIL", 0.2))
    aligners = (Aligner(of, tone_lexicon, calibration=CALIBRATION) for of in (tone_model, model))
    one, other = (aligner(wave, RATE, "see ahee", nbest=3) for aligner in aligners)
    for tier in ("words", "phones"):
        for a, b in zip(getattr(one, tier), getattr(other, tier), strict=True):
            assert (a.label, a.start, a.end) == (b.label, b.start, b.end)
            assert (a.confidence, a.match, a.start_sd) == pytest.approx((b.confidence, b.match, b.start_sd), abs=1e-5)
    assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-3)
    assert [item.log_prob for item in one.alternatives] == pytest.approx([item.log_prob for item in other.alternatives])


def test_columns_that_are_not_kept_are_computed(context_model, tone_model):
    wave, _ = spoken(("SIL", 0.2), ("S", 0.1), ("IY", 0.12), ("SIL", 0.2))
    graph = build_graph(TRANSCRIPTS["unscripted"], context_model, free=["ends"])
    features = context_model.front_end(wave)
    kept, left = (LogLikelihoods.of(context_model, features, graph, most) for most in (10**6, 0))
    assert len(left.columns) == 15 < len(kept.columns)
    assert torch.equal(left.plain, kept.plain)
    expected = kept.hmm(graph, 5, 40)
    torch.testing.assert_close(left.hmm(graph, 5, 40).emission, expected.emission, rtol=1e-5, atol=1e-4)
    assert log_partition(expected) > -torch.inf


def test_log_odds_in_context_are_those_of_the_paths_in_context(context_model):
    wave, _ = spoken(("SIL", 0.1), ("S", 0.1), ("IY", 0.12), ("AA", 0.1), ("SIL", 0.1))
    items = [Pronunciation("see", WORDS["see"]), Pronunciation("ah", WORDS["ah"])]
    graph = build_graph(items, context_model, free=["instead"])
    features = context_model.front_end(wave)
    evidence = LogLikelihoods.of(context_model, features, graph, 10**6)
    evidence = dataclasses.replace(evidence, known=evidence.known / 100)  # so that nothing is sure
    nobody = torch.zeros(len(features), dtype=torch.bool)
    heard = Heard(context_model, evidence.plain, evidence.freely, [], nobody, evidence)
    places = [Place(items[0], ("S", "IY"), (10, 20, 32)), Place(items[1], ("AA",), (32, 42))]
    scores = score_words(places, context_model, heard.ratio, (0, len(features)), heard.in_context)
    hmm = evidence.hmm(graph, 0, len(features))
    for index, score in enumerate(scores):
        free = torch.tensor([node.phone == FREE for node in graph.nodes])[graph.node]
        mine = torch.tensor([node.word == index for node in graph.nodes])[graph.node]
        said, other = (log_partition(condition(hmm, ~mine | where)) for where in (~free, free))
        assert score.log_odds == pytest.approx(float(said - other), abs=1e-3)


def test_english_in_context_is_aligned_in_pieces_as_in_one(monkeypatch, repository):
    pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
    aligner = Aligner(load_acoustic_model(contexts=True))
    texts = sorted((repository / "examples" / "data").glob("austen-*.txt"))
    wave = torch.cat([read_audio(path.with_suffix(".wav"))[0] for path in texts])
    text = " ".join(path.read_text() for path in texts)
    results = []
    for most in (10**12, 0):
        monkeypatch.setattr(align, "_ONE_PIECE", most)
        results.append(aligner(wave, RATE, text))
    one, other = results
    for tier in ("words", "phones"):
        found, expected = getattr(other, tier), getattr(one, tier)
        assert [i.label for i in found] == [i.label for i in expected]
        times = [time for i in expected for time in (i.start, i.end)]
        assert [time for i in found for time in (i.start, i.end)] == pytest.approx(times, abs=1e-5)
        assert [i.confidence for i in found] == pytest.approx([i.confidence for i in expected], abs=2e-3)


@pytest.mark.parametrize(
    "table",
    [torch.zeros(4, 3, 3, 3, 3), torch.zeros(3, 4, 4, 4, 3, dtype=torch.int), torch.zeros(4, 4, dtype=torch.int)],
    ids=["not integers", "three positions", "no table"],
)
def test_what_is_no_table_is_refused(table):
    with pytest.raises(ShapeError, match=r"Contexts: table must be integers \(4, P, P, P, S\)"):
        Contexts(table)


@pytest.mark.parametrize(
    "table",
    [torch.full((4, 4, 4, 4, 3), COLUMNS), torch.zeros(4, 4, 4, 4, 2).int(), torch.zeros(4, 3, 3, 3, 3).int()],
    ids=["columns", "states", "phones"],
)
def test_contexts_of_another_model_are_refused(tone_model, table):
    with pytest.raises(ShapeError, match=f"contexts must be of 4 phones, 3 states and at most {COLUMNS} columns"):
        in_context(tone_model, table)
