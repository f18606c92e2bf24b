"""Long recordings: what is aligned in pieces is what would be aligned in one."""

import random

import pytest
import torch

from semihmm.audio import read_audio
from semihmm.errors import DataError
from semihmm.speech import Aligner, build_graph
from semihmm.speech.alignment import align, pieces
from semihmm.speech.alignment.free import hear_freely
from semihmm.speech.alignment.heard import LogLikelihoods
from semihmm.speech.alignment.pieces import Cut, Piece

from .conftest import RATE, WORDS, spoken


@pytest.fixture(scope="session")
def aligner(tone_model, tone_lexicon):
    return Aligner(tone_model, tone_lexicon)


def said(count, seed=0):
    """Random words in random pronunciations, with pauses here and there: pieces, text, and where each word begins."""
    draw = random.Random(seed)
    sounds, words, starts, now = [("SIL", 0.2)], [], [], 0.2
    for _ in range(count):
        word = draw.choice(sorted(WORDS))
        words.append(word)
        starts.append(now)
        more = [(phone, draw.randint(6, 15) / 100) for phone in draw.choice(WORDS[word])]
        more.append(("SIL", draw.randint(5, 30) / 100))  # of one tone after another, nobody knows where it ends
        sounds += more
        now += sum(seconds for _, seconds in more)
    return sounds, " ".join(words), starts


def in_one(monkeypatch, aligner, wave, text, **options):
    with monkeypatch.context() as patch:
        patch.setattr(align, "_ONE_PIECE", 10**12)
        return aligner(wave, RATE, text, **options)


def in_pieces(monkeypatch, aligner, wave, text, **options):
    with monkeypatch.context() as patch:
        patch.setattr(align, "_ONE_PIECE", 0)
        return aligner(wave, RATE, text, **options)


def assert_the_same(found, expected):
    assert [(i.start, i.end, i.label) for i in found.phones] == [(i.start, i.end, i.label) for i in expected.phones]
    assert [(i.start, i.end, i.label) for i in found.words] == [(i.start, i.end, i.label) for i in expected.words]
    for tier in ("words", "phones"):
        sure = [item.confidence for item in getattr(found, tier)]
        assert sure == pytest.approx([item.confidence for item in getattr(expected, tier)], abs=2e-3)
    assert found.log_likelihood == pytest.approx(expected.log_likelihood, abs=0.1, rel=1e-6)


def test_minutes_are_aligned_as_in_one_piece(monkeypatch, aligner):
    sounds, text, starts = said(200)
    wave, _ = spoken(*sounds)
    assert len(wave) > 70 * RATE
    found = in_pieces(monkeypatch, aligner, wave, text)
    assert_the_same(found, in_one(monkeypatch, aligner, wave, text))
    assert [word.start for word in found.words] == pytest.approx(starts, abs=0.03)


def test_frames_of_all_pieces_are_held_together(monkeypatch, aligner):
    """Small tensors of one piece, left between the large ones of the next, would keep memory from being used again."""
    sounds, text, _ = said(400)
    wave, _ = spoken(*sounds)
    storages, result = [], Aligner._result

    def spied(self, heard, text, solved, *arguments):
        for name in ("nodes", "phone", "word", "entropy"):
            storages.append([getattr(piece, name).untyped_storage().data_ptr() for piece in solved])
        return result(self, heard, text, solved, *arguments)

    monkeypatch.setattr(Aligner, "_result", spied)
    in_pieces(monkeypatch, aligner, wave, text)
    assert all(len(of_name) > 5 for of_name in storages)
    assert [len(set(of_name)) for of_name in storages] == [1, 1, 1, 1]


def test_real_speech_is_aligned_as_in_one_piece(monkeypatch, repository):
    pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
    texts = sorted((repository / "examples" / "data").glob("austen-*.txt")) * 2
    wave = torch.cat([read_audio(path.with_suffix(".wav"))[0] for path in texts])
    text = " ".join(path.read_text() for path in texts)
    english = Aligner()
    assert_the_same(in_pieces(monkeypatch, english, wave, text), in_one(monkeypatch, english, wave, text))


def test_a_recording_is_cut_every_few_seconds(monkeypatch, tone_model, aligner):
    sounds, text, _ = said(120)
    wave, _ = spoken(*sounds)
    graph = build_graph([aligner.lexicon.pronounce(word) for word in text.split()], tone_model)
    evidence = LogLikelihoods.of(tone_model, tone_model.front_end(wave), graph, 0)
    cuts = pieces.find_cuts(graph, evidence)
    frames = len(evidence.known)
    assert [cuts[0].frame, cuts[-1].frame] == [0, frames]
    inner = [cut.frame for cut in cuts[1:-1]]
    assert len(inner) == round(frames / 1000) - 1
    assert all(abs(frame - 1000 * (index + 1)) <= 400 for index, frame in enumerate(inner))
    assert all(cut.log_prob > -1.1e-3 for cut in cuts)


def test_speech_before_and_after_the_transcript_is_left_to_itself(monkeypatch, aligner):
    before, _, _ = said(60, seed=4)
    inside, text, starts = said(90, seed=5)
    after, _, _ = said(90, seed=6)
    wave, begins = spoken(*before, *inside, *after)
    found = in_pieces(monkeypatch, aligner, wave, text)
    assert_the_same(found, in_one(monkeypatch, aligner, wave, text))
    expected = [start + begins[len(before)] for start in starts]
    assert [word.start for word in found.words[10:-10]] == pytest.approx(expected[10:-10], abs=0.03)


def test_speech_that_the_transcript_leaves_out_moves_nothing_after_it(monkeypatch, tone_model, tone_lexicon):
    """Fifteen seconds of it, which windows could take for what they wait for."""
    aligner = Aligner(tone_model, tone_lexicon, extra_speech=True)
    before, first, _ = said(60, seed=1)
    extra, _, _ = said(40, seed=2)
    after, second, starts = said(90, seed=3)
    wave, begins = spoken(*before, *extra, *after)
    found = in_pieces(monkeypatch, aligner, wave, f"{first} {second}")
    shift = begins[len(before) + len(extra)]
    assert_the_same(found, in_one(monkeypatch, aligner, wave, f"{first} {second}"))
    late = [word.start for word in found.words[60:]]
    assert late[50:] == pytest.approx([start + shift for start in starts[50:]], abs=0.03)


@pytest.mark.parametrize("shift", [-400, -120, -30, 30, 120, 400])
def test_a_wrong_outline_makes_no_wrong_cut(monkeypatch, aligner, shift):
    """What is near does not say the same."""
    sounds, text, _ = said(120)
    wave, _ = spoken(*sounds)
    expected = in_one(monkeypatch, aligner, wave, text)
    right = pieces._outline

    def wrong(graph, *arguments):
        return (right(graph, *arguments) + shift).clamp(0, len(graph.nodes) - 1)

    monkeypatch.setattr(pieces, "_outline", wrong)
    assert_the_same(in_pieces(monkeypatch, aligner, wave, text), expected)


def test_without_a_moment_beyond_doubt_there_is_one_piece_or_a_refusal(monkeypatch, aligner):
    """One tone, and words that may begin anywhere in it."""
    wave, _ = spoken(("AA", 40.0))
    text = " ".join(["ah"] * 60)
    assert_the_same(in_pieces(monkeypatch, aligner, wave, text), in_one(monkeypatch, aligner, wave, text))
    monkeypatch.setattr(align, "_MOST", 1_000_000)
    with pytest.raises(DataError, match=r"between 0.0 and 40.0 s of the recording no moment has a sure place"):
        in_pieces(monkeypatch, aligner, wave, text)


def test_alternatives_of_pieces_are_those_of_the_whole(monkeypatch, aligner):
    sounds, text, _ = said(80)
    wave, _ = spoken(*sounds)
    found = in_pieces(monkeypatch, aligner, wave, text, nbest=5).alternatives
    expected = in_one(monkeypatch, aligner, wave, text, nbest=5).alternatives
    assert [item.log_prob for item in found] == pytest.approx([item.log_prob for item in expected], abs=0.1)
    assert [item.start for item in found[0].phones] == [item.start for item in expected[0].phones]


def test_a_piece_holds_the_paths_from_its_cut_to_the_next(tone_model, aligner):
    graph = build_graph([aligner.lexicon.pronounce(word) for word in ("eesah", "see", "ah")], tone_model)
    first, last = 4, len(graph.node) - 5
    piece = Piece.between(graph, Cut(10, first), Cut(50, last))
    assert (piece.begin, piece.end, piece.node) == (10, 50, int(graph.node[first]))
    arcs = set(zip(graph.source.tolist(), graph.target.tolist(), graph.weight.tolist(), strict=True))
    part = piece.graph
    inside = zip((part.source + first).tolist(), (part.target + first).tolist(), part.weight.tolist(), strict=True)
    assert set(inside) == {arc for arc in arcs if first <= arc[0] and arc[1] <= last}
    assert part.initial.exp().nonzero().flatten().tolist() == [0]
    ends = {state + first: weight for state, weight in enumerate(part.final.tolist()) if weight > -torch.inf}
    assert ends == {source: weight for source, target, weight in arcs if target == last and source >= first}
    assert [part.nodes[node] for node in part.node.tolist()] == [
        graph.nodes[node] for node in graph.node[first : last + 1].tolist()
    ]


def silent_to(model, log_likelihood):
    """900 frames that say the same of every state."""
    known = torch.full((900, 15), log_likelihood)
    return LogLikelihoods(model, None, hear_freely(model, torch.zeros(900, 12)), torch.arange(15), known)


def test_what_has_no_path_is_refused_before_it_is_cut(tone_model, aligner):
    graph = build_graph([aligner.lexicon.pronounce("ah")] * 3, tone_model)
    with pytest.raises(DataError, match="no path through the transcript"):
        pieces.find_cuts(graph, silent_to(tone_model, -torch.inf))


def test_what_is_too_long_for_its_outline_is_refused(monkeypatch, tone_model, aligner):
    monkeypatch.setattr(pieces, "_MOST_OUTLINE_CELLS", 1000)
    graph = build_graph([aligner.lexicon.pronounce("ah")] * 3, tone_model)
    with pytest.raises(DataError, match=r"900 frames and 7 phones. Cut it"):
        pieces.find_cuts(graph, silent_to(tone_model, 0.0))
