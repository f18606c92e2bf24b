"""tests/decoding/test_beam.py: the beam search against all label sequences, and its kernel against its twin."""

import itertools
import math
import pickle
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

import semihmm
from semihmm.decoding import BeamSearch, NGram, Vocabulary, beam_search, exact, greedy
from semihmm.engine.backends import native
from semihmm.errors import DataError, ShapeError

LETTERS = Vocabulary(["-", " ", "a", "b"], delimiter=" ")
TOKENS = Vocabulary(["-", "a", "b"])
LN10 = math.log(10)
MODEL = NGram(
    {
        ("<s>",): (-99.0, -0.3),
        ("</s>",): (-1.1, 0.0),
        ("<unk>",): (-3.0, 0.0),
        ("a",): (-1.2, 0.25),
        ("b",): (-1.6, -0.7),
        ("ab",): (-0.9, -0.2),
        ("<s>", "a"): (-0.4, -0.1),
        ("a", "b"): (-0.5, -0.6),
        ("ab", "</s>"): (-0.2, 0.0),
        ("<s>", "a", "b"): (-0.15, 0.0),
        ("a", "b", "</s>"): (-0.05, 0.0),
    }
)
KINDS = {
    "plain": {},
    "margin": {"margin": 1.5},
    "lexicon": {"lexicon": ["ab", "b"]},
    "words": {"word_bonus": 0.7},
    "model": {"language_model": MODEL, "lm_weight": 0.8, "word_bonus": 0.3},
    "model-and-lexicon": {"lexicon": ["ab", "ba", "a"], "language_model": MODEL},
    "hotwords": {"hotwords": {"ab": 2.5, "b a": 1.5, "b": -1.0}},
    "everything": {
        "lexicon": ["ab", "a", "b", "bb"],
        "language_model": MODEL,
        "lm_weight": 1.7,
        "word_bonus": 1.1,
        "hotwords": {"a b": 3.0, "bb": 4.0},
    },
}


def draw(*shape, seed=0, scale=1.0, dtype=torch.float64):
    return (scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)).log_softmax(-1)


def sequences(tokens, blank, most):
    labels = [c for c in range(tokens) if c != blank]
    return [list(x) for n in range(most + 1) for x in itertools.product(labels, repeat=n)]


def probability(log_probs, labels, blank=0):
    return float(semihmm.log_partition(semihmm.CTC(log_probs, torch.tensor(labels, dtype=torch.int64), blank=blank)))


def katz(model, history, word):
    """The log-probability of a word, by the recursion of its definition."""
    if (*history, word) in model.grams:
        return model.grams[(*history, word)][0]
    assert history, word
    return model.grams.get(history, (0.0, 0.0))[1] + katz(model, history[1:], word)


def weight(kind, labels, vocabulary=LETTERS):
    """What a label sequence weighs by itself, from its text alone."""
    words, total = vocabulary.words(labels), 0.0
    if "lexicon" in kind and not set(words) <= set(kind["lexicon"]):
        return -math.inf
    total += kind.get("word_bonus", 0.0) * len(words)
    if model := kind.get("language_model"):
        known = [word if (word,) in model.grams else "<unk>" for word in words]
        said = ["<s>", *known, "</s>"]
        p = sum(katz(model, tuple(said[max(i - 2, 0) : i]), said[i]) for i in range(1, len(said)))
        total += kind.get("lm_weight", 1.0) * p
    text = f" {vocabulary.text(labels)} "
    for phrase, bonus in kind.get("hotwords", {}).items():
        total += bonus * sum(text.startswith(f" {phrase} ", i) for i in range(len(text)))
    return total


def same(a, b):
    for name in ("labels", "frames", "lengths", "log_prob", "score"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_a_beam_that_holds_all_finds_all_label_sequences_with_their_probabilities(steps, blank):
    log_probs = draw(steps, 3, seed=steps)
    every = sequences(3, blank, steps)
    found = beam_search(log_probs, beam=len(every), count=len(every), blank=blank)
    reached = {tuple(x): probability(log_probs, x, blank) for x in every}
    reached = {x: p for x, p in reached.items() if p > -math.inf}
    assert {tuple(x) for x in found.tolist()[0]} == set(reached)
    wanted = torch.tensor([reached[tuple(x)] for x in found.tolist()[0]], dtype=torch.float64)
    assert_close(found.log_prob[: len(wanted)], wanted)
    assert_close(found.log_prob.logsumexp(-1), torch.zeros((), dtype=torch.float64))
    assert (found.log_prob[1:] <= found.log_prob[:-1]).all() and not found.valid[len(reached) :].any()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_the_best_scores_are_those_of_all_label_sequences(kind, seed):
    steps = 5
    log_probs = draw(steps, 4, seed=seed)
    every = sequences(4, 0, steps)
    kind = {name: x for name, x in kind.items() if name != "margin"}
    found = BeamSearch(LETTERS, beam=len(every), **kind)(log_probs, count=20)
    scores = {tuple(x): probability(log_probs, x) + weight(kind, x) for x in every}
    best = sorted(scores.values(), reverse=True)[:20]
    assert_close(found.score, torch.tensor(best, dtype=torch.float64))
    for labels, score, log_prob in zip(found.tolist()[0], found.score, found.log_prob, strict=True):
        assert_close(float(score), scores[tuple(labels)])
        assert_close(float(log_prob), probability(log_probs, labels))


def test_a_model_of_tokens_weighs_each_token():
    kind = {"language_model": MODEL, "lm_weight": 0.6, "word_bonus": 0.4}
    vocabulary = Vocabulary(["-", "a", "b", "c"])  # c is unknown to the model
    log_probs = draw(5, 4)
    every = sequences(4, 0, 5)
    found = BeamSearch(vocabulary, beam=len(every), **kind)(log_probs, count=20)
    scores = sorted((probability(log_probs, x) + weight(kind, x, vocabulary) for x in every), reverse=True)
    assert_close(found.score, torch.tensor(scores[:20], dtype=torch.float64))


def test_labels_begin_where_they_do_on_the_best_path():
    log_probs = draw(7, 3, seed=5)
    found = beam_search(log_probs, beam=200, count=20)
    for labels, frames in zip(found.tolist()[0], found.frames.tolist(), strict=True):
        event = semihmm.viterbi(semihmm.CTC(log_probs, torch.tensor(labels, dtype=torch.int64))).event
        index = event[:, 1].tolist()
        assert frames[: len(labels)] == [index.index(i) for i in range(len(labels))]
        assert frames[len(labels) :] == [-1] * (len(frames) - len(labels))


@pytest.mark.skipif(native() is None, reason="the native backend is not loaded")
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("beam", [1, 2, 7, 40])
@pytest.mark.parametrize("shape", [(40, 4), (9, 4)], ids=["long", "short"])
def test_the_kernel_is_its_twin(kind, beam, shape):
    for seed, scale in enumerate((0.5, 2.0, 6.0)):
        log_probs = draw(*shape, seed=seed, scale=scale)
        if seed == 1:  # ties, and tokens that cannot be
            log_probs = log_probs.round().masked_fill(draw(*shape, seed=9) < -2, -torch.inf)
        searches = [BeamSearch(LETTERS, beam, backend=backend, **kind) for backend in ("native", "torch")]
        same(*(search(log_probs, count=beam) for search in searches))


@given(cuts=st.lists(st.integers(0, 30), max_size=6), kind=st.sampled_from(list(KINDS)), beam=st.integers(1, 9))
def test_however_frames_are_cut_the_result_is_the_same_to_the_bit(cuts, kind, beam):
    log_probs = draw(2, 30, 4, seed=3)
    lengths = torch.tensor([30, 17])
    search = BeamSearch(LETTERS, beam, **KINDS[kind])
    stream = search.stream(2)
    for first, last in itertools.pairwise([0, *sorted(cuts), 30]):
        stream.push(log_probs[:, first:last], (lengths - first).clamp(0, last - first))
    same(stream.hypotheses(beam, final=True), search(log_probs, lengths, count=beam))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_is_its_items_side_by_side(threads):
    log_probs = draw(3, 2, 900, 4, scale=2.0)
    lengths = torch.tensor([[900, 0], [1, 40], [300, 900]])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = beam_search(log_probs, lengths, beam=5, count=4)
    finally:
        torch.set_num_threads(before)
    assert found.score.shape == (3, 2, 4)
    for i, j in itertools.product(range(3), range(2)):
        alone = beam_search(log_probs[i, j, : lengths[i, j]], beam=5, count=4)
        assert found.tolist()[2 * i + j] == alone.tolist()[0]
        assert torch.equal(found.score[i, j], alone.score) and torch.equal(found.log_prob[i, j], alone.log_prob)


def test_float32_input_is_summed_in_float64():
    log_probs = draw(300, 8, dtype=torch.float32)
    found = beam_search(log_probs, count=3)
    same(found, beam_search(log_probs.double(), count=3))
    assert_close(exact(found, log_probs).log_prob >= found.log_prob, found.valid)


@pytest.mark.parametrize("beam", [1, 3, 10, 100])
def test_a_beam_has_no_more_than_the_probability_of_a_sequence(beam):
    log_probs = draw(40, 6, scale=1.5)
    found = beam_search(log_probs, beam=beam, count=beam)
    sums = [probability(log_probs, x) for x in found.tolist()[0]]
    whole = exact(found, log_probs)
    assert_close(whole.log_prob, torch.tensor(sorted(sums, reverse=True), dtype=torch.float64))
    assert all(float(a) <= b + 1e-9 for a, b in zip(found.log_prob, sums, strict=True))


def test_a_long_search_lets_go_of_what_it_dropped():
    log_probs = draw(1, 2000, 3, scale=0.3)
    a, b = (BeamSearch(TOKENS, 3, backend=backend)(log_probs, count=3) for backend in (None, "torch"))
    same(a, b)
    assert int(a.lengths.min()) > 700


def test_what_is_heard_so_far_is_there_before_the_end():
    search = BeamSearch(LETTERS, lexicon=["ab"])
    stream = search.stream()
    stream.push(torch.tensor([[0.1, 0.1, 0.7, 0.1]]).log())
    assert LETTERS.texts(stream.hypotheses())[0][0] == "a"
    assert LETTERS.texts(stream.hypotheses(9, final=True)) == [["", " "]]  # `a` is no word
    stream.push(torch.tensor([[0.1, 0.1, 0.1, 0.7]]).log())
    assert LETTERS.texts(stream.hypotheses(final=True)) == [["ab"]]


def test_what_cannot_be_has_no_hypothesis():
    log_probs = torch.full((2, 3), -torch.inf)
    found = beam_search(log_probs, count=2)
    assert found.tolist() == [[]] and not found.valid.any() and found.confidence.tolist() == [0.0, 0.0]
    assert found.score.tolist() == [-math.inf] * 2


def test_the_empty_sequence_is_what_no_frames_say():
    found = beam_search(torch.zeros(0, 3), count=2)
    assert found.tolist() == [[[]]] and found.log_prob[0] == 0.0


def test_confidences_are_shares():
    found = beam_search(draw(4, 3), beam=500, count=500)
    assert_close(found.confidence, found.log_prob.exp())


def test_greedy_reads_the_best_path():
    log_probs = draw(2, 50, 5)
    lengths = torch.tensor([50, 23])
    found = greedy(log_probs, lengths, blank=2)
    for b, (rows, n) in enumerate(zip(log_probs, lengths.tolist(), strict=True)):
        path = rows[:n].argmax(-1).tolist()
        runs = [(token, len(list(run))) for token, run in itertools.groupby(path)]
        starts = itertools.accumulate((n for _, n in runs), initial=0)
        said = [(token, start) for (token, _), start in zip(runs, starts, strict=False) if token != 2]
        assert found.tolist()[b] == [[token for token, _ in said]]
        assert found.frames[b, 0, : len(said)].tolist() == [start for _, start in said]
        assert_close(found.log_prob[b, 0], rows[:n].amax(-1).sum())
        assert found.log_prob[b, 0] <= probability(rows[:n], found.tolist()[b][0], blank=2)


def test_a_beam_of_a_peaked_network_is_greedy():
    log_probs = draw(80, 6, scale=40.0)
    assert beam_search(log_probs).tolist() == greedy(log_probs).tolist()


def test_the_search_is_that_of_fast_ctc_decode():
    peer = pytest.importorskip("fast_ctc_decode")
    for seed, scale in enumerate((1.0, 3.0, 8.0)):
        log_probs = draw(200, 12, seed=seed, scale=scale, dtype=torch.float32)
        text, _ = peer.beam_search(log_probs.exp().numpy(), "-abcdefghijk", beam_size=20, beam_cut_threshold=0.0)
        vocabulary = Vocabulary("-abcdefghijk")
        assert vocabulary.texts(beam_search(log_probs, beam=20))[0][0] == text


def test_the_search_is_that_of_flashlight_where_both_hold_all():
    decoder = pytest.importorskip("flashlight.lib.text.decoder")
    for seed in range(3):
        log_probs = draw(6, 4, seed=seed, dtype=torch.float32)
        options = decoder.LexiconFreeDecoderOptions(
            beam_size=5000,
            beam_size_token=4,
            beam_threshold=1e9,
            lm_weight=0.0,
            sil_score=0.0,
            log_add=True,
            criterion_type=decoder.CriterionType.CTC,
        )
        theirs = decoder.LexiconFreeDecoder(options, decoder.ZeroLM(), 0, 0, []).decode(log_probs.data_ptr(), 6, 4)
        found = beam_search(log_probs, beam=5000, count=10)
        for labels, log_prob, one in zip(found.tolist()[0], found.log_prob, theirs, strict=False):
            assert labels == [token for token, _ in itertools.groupby(one.tokens[1:-1]) if token]
            assert_close(float(log_prob), one.score, rtol=1e-6, atol=1e-6)


WRONG = {
    "an empty beam": (lambda: beam_search(draw(3, 4), beam=0), DataError, "beam must be from 1"),
    "a negative margin": (lambda: BeamSearch(LETTERS, margin=-1.0), DataError, "margin must be a finite number of 0"),
    "no hypotheses": (lambda: beam_search(draw(3, 4), count=0), DataError, "count must be at least 1"),
    "other tokens": (lambda: BeamSearch(LETTERS)(draw(3, 5)), ShapeError, r"must be \(..., T, 4\), got \(3, 5\)"),
    "one axis": (lambda: beam_search(draw(3)), ShapeError, "must be floats"),
    "whole numbers": (lambda: beam_search(torch.zeros(3, 4, dtype=torch.int64)), ShapeError, "must be floats"),
    "another batch": (
        lambda: BeamSearch(LETTERS).stream(2).push(draw(3, 3, 4)),
        ShapeError,
        r"must be floats \(2, T, V\), got \(3, 3, 4\)",
    ),
    "NaN": (lambda: beam_search(torch.tensor([[0.0, torch.nan]])), DataError, r"got nan at \[0, 1\].*log_softmax"),
    "infinity": (lambda: beam_search(torch.tensor([[0.0, torch.inf]])), DataError, "below infinity"),
    "long lengths": (lambda: beam_search(draw(3, 4), torch.tensor(4)), ShapeError, "lengths must lie between 0 and 3"),
    "a blank beyond": (lambda: beam_search(draw(3, 4), blank=4), DataError, "blank must be among the 4 tokens"),
    "a letter that is not there": (
        lambda: BeamSearch(LETTERS, lexicon=["abc"]),
        DataError,
        "'abc' is spelled with 'c'",
    ),
    "a hotword of other letters": (lambda: BeamSearch(LETTERS, hotwords={"c": 1.0}), DataError, "spelled with 'c'"),
    "an empty word": (lambda: BeamSearch(LETTERS, lexicon=[""]), DataError, "a word of no tokens"),
    "an empty hotword": (lambda: BeamSearch(LETTERS, hotwords={" ": 1.0}), DataError, "hotword of no letters"),
    "a lexicon without words": (lambda: BeamSearch(TOKENS, lexicon=["a"]), DataError, "the token that ends a word"),
    "an endless bonus": (
        lambda: BeamSearch(LETTERS, word_bonus=math.inf),
        DataError,
        "word_bonus must be a finite number",
    ),
    "no weight": (lambda: BeamSearch(LETTERS, lm_weight=0.0), DataError, "lm_weight must be positive"),
    "a backend": (lambda: BeamSearch(LETTERS, backend="gpu"), DataError, "backend must be"),
    "a token twice": (lambda: Vocabulary(["-", "a", "a"]), DataError, "no two alike, got 'a' twice"),
    "no tokens": (lambda: Vocabulary([]), DataError, "at least one, no two alike, got none"),
    "no delimiter": (lambda: Vocabulary(["-", "a"], delimiter="|"), DataError, "delimiter must be one of the tokens"),
    "two words, one spelling": (
        partial(BeamSearch, LETTERS, lexicon={"a": "a", "b": "a"}, language_model=MODEL),
        DataError,
        "two words that are spelled",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_search_that_was_pickled_finds_the_same():
    log_probs = draw(20, 4)
    for kind in KINDS.values():
        search = BeamSearch(LETTERS, 9, **kind)
        found = search(log_probs, count=9)
        same(pickle.loads(pickle.dumps(search))(log_probs, count=9), found)


def test_a_lexicon_may_be_read_from_a_generator():
    log_probs = draw(20, 4)
    a, b = BeamSearch(LETTERS, lexicon=(word for word in ("ab", "b"))), BeamSearch(LETTERS, lexicon=["ab", "b"])
    same(a(log_probs), b(log_probs))
    same(pickle.loads(pickle.dumps(a))(log_probs), b(log_probs))
