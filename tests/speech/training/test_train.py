"""Training from a flat start, on tones."""

import dataclasses
import math

import pytest
import torch

from semihmm.errors import DataError
from semihmm.speech import Aligner, Interval, Lexicon, Pronunciation, load_acoustic_model
from semihmm.speech.alignment import graph
from semihmm.speech.training import Recipe, Utterance, cutting, train
from semihmm.speech.training.sharing import in_threads

RATE = 16000
TONES = {"SIL": 0.0, "AA": 400.0, "IY": 900.0, "S": 2500.0}
WORDS = {"ah": (("AA",),), "see": (("S", "IY"),), "eesah": (("IY", "S", "AA"), ("IY", "AA"))}


def utterance(number):
    """Three words with a pause after one of them, and where their phones begin: a little off any grid."""
    generator = torch.Generator().manual_seed(number)
    words = [list(WORDS)[i] for i in torch.randint(3, (3,), generator=generator)]
    phones = [["SIL"], *([*WORDS[word][0]] for word in words), ["SIL"]]
    phones.insert(2 + number % 2, ["SIL"])
    names = [phone for part in phones for phone in part]
    seconds = (0.08 + 0.12 * torch.rand(len(names), generator=generator)).tolist()
    waves, starts, now = [], [], 0.0
    for phone, length in zip(names, seconds, strict=True):
        time = torch.arange(round(length * RATE)) / RATE + now
        waves.append((torch.sin(2 * math.pi * TONES[phone] * time) / 3).float())
        if phone != "SIL":
            starts.append(now)
        now += len(time) / RATE
    wave = torch.cat(waves)
    wave += torch.randn(len(wave), generator=generator) / 1000
    return Utterance(f"u{number}", wave, RATE, tuple(Pronunciation(word, WORDS[word]) for word in words)), starts


@pytest.fixture(scope="module")
def corpus():
    return [utterance(number) for number in range(12)]


@pytest.fixture(scope="module")
def quick():
    return Recipe.for_rate(RATE, gaussians=2)


@pytest.fixture(scope="module")
def model(corpus, quick):
    return train([item for item, _ in corpus], recipe=quick)


def errors(model, corpus):
    """How far edges are off, the smallest first; those between two phones of the same tone are anywhere."""
    aligner = Aligner(model, Lexicon(WORDS))
    off = []
    for item, starts in corpus:
        found = aligner(item.wave, RATE, " ".join(word.word for word in item.words))
        assert len(found.phones) == len(starts)
        off += [abs(phone.start - start) for phone, start in zip(found.phones, starts, strict=True)]
    return sorted(off)


def test_edges_are_where_tones_change(corpus, model):
    off = errors(model, corpus)
    assert off[len(off) // 2] < 0.005 and off[int(0.85 * len(off))] < 0.012


def test_phones_in_context_have_states_of_their_own_and_align(tmp_path, corpus):
    found = train([item for item, _ in corpus], recipe=Recipe.for_rate(RATE, gaussians=1, triphones=10))
    assert found.contexts is not None and 12 < found.card["states"] == found.contexts.columns <= 22
    found.save(tmp_path / "model")
    off = errors(load_acoustic_model(tmp_path / "model"), corpus)
    assert off[len(off) // 2] < 0.008 and off[int(0.8 * len(off))] < 0.015


@pytest.fixture
def joined(corpus, monkeypatch):
    """The last eight as one utterance, with their phones as labels, which counts as long."""
    monkeypatch.setattr(cutting, "LONG", 5.0)
    monkeypatch.setattr(cutting, "_USUAL", 2.0)
    parts, now, known = [item for item, _ in corpus[4:]], 0.0, []
    for item, starts in corpus[4:]:
        known += [
            Interval(now + start, now + start + 0.05, phone) for start, phone in zip(starts, item.phones, strict=True)
        ]
        now += len(item.wave) / RATE
    words = tuple(word for item in parts for word in item.words)
    return Utterance("joined", torch.cat([item.wave for item in parts]), RATE, words, tuple(known), "ann")


def test_a_long_utterance_is_cut_in_pauses(joined, model):
    pieces = list(cutting.in_pieces(model, [joined]))
    assert [piece.name for piece in pieces] == [f"joined, part {n}" for n in range(1, len(pieces) + 1)]
    assert len(pieces) >= 4 and {piece.speaker for piece in pieces} == {"ann"}
    assert tuple(word for piece in pieces for word in piece.words) == joined.words
    torch.testing.assert_close(torch.cat([piece.wave for piece in pieces]), joined.wave)
    for piece in pieces:
        assert tuple(label.label for label in piece.known) == piece.phones
        assert all(0 < label.start < label.end < len(piece.wave) / RATE for label in piece.known)


def test_long_utterances_are_learnt_from(corpus, quick, joined):
    model = train([*(item for item, _ in corpus[:4]), dataclasses.replace(joined, known=())], recipe=quick)
    assert model.card["left out"] == [] and model.card["utterances"] > 8
    assert model.card["seconds"] == pytest.approx(sum(len(item.wave) for item, _ in corpus) / RATE, abs=0.1)
    off = errors(model, corpus)
    assert off[len(off) // 2] < 0.005 and off[int(0.85 * len(off))] < 0.012


def test_one_that_cannot_be_cut_stays_whole(joined, model):
    hopeless = dataclasses.replace(joined, words=joined.words * 20, known=())
    assert list(cutting.in_pieces(model, [hopeless])) == [hopeless]


def test_long_utterances_alone_are_cut_too_or_refused_by_name(quick, joined, monkeypatch):
    alone = dataclasses.replace(joined, known=())
    assert train([alone], recipe=quick).card["utterances"] > 4
    monkeypatch.setattr(graph, "MOST_CELLS", 1000)
    with pytest.raises(DataError, match=r"1 utterances are too long to begin with: joined lasts \d+ s. Give the times"):
        train([alone], recipe=quick)


def test_the_same_recordings_give_the_same_bytes(tmp_path, corpus, quick, model):
    train([item for item, _ in corpus], recipe=quick, each=in_threads(3)).save(tmp_path / "again")
    model.save(tmp_path / "once")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "once").read_bytes()
    assert load_acoustic_model(tmp_path / "once").card == model.card


def test_likelihood_rises_with_every_number_of_gaussians(corpus, quick):
    found = []
    train([item for item, _ in corpus], recipe=quick, watch=found.append)
    assert [each.number for each in found] == list(range(1, quick.passes + 1))
    for first, last in ((0, 7), (8, 11), (12, 15)):
        assert found[last].log_likelihood > found[first].log_likelihood


def test_phones_that_nobody_says_are_in_the_model_if_asked_for(corpus, quick):
    found = train([item for item, _ in corpus[:2]], phones=["UW"], recipe=quick)
    assert found.phones == ("AA", "IY", "S", "UW", "SIL")
    assert "UW" in found.card["little data"] and "AA" not in found.card["little data"]
    assert found.card["seconds of phones"]["UW"] == 0.0


def test_what_is_too_short_is_named(corpus, quick):
    item, _ = corpus[0]
    short = Utterance("short", item.wave[2000:2900], RATE, item.words)
    assert train([item, short], recipe=quick).card["left out"] == ["short"]


def test_known_labels_move_edges(corpus, quick):
    """Labels that say that every phone begins 30 ms later than it does."""
    items = [item for item, _ in corpus]
    late = []
    for item, starts in corpus:
        ends = [*starts[1:], starts[-1] + 0.05]
        said = [p for w in item.words for p in w.variants[0]]
        labels = [Interval(b + 0.03, max(e, b + 0.04), p) for b, e, p in zip(starts, ends, said, strict=True)]
        late.append(Utterance(item.name, item.wave, RATE, item.words, tuple(labels)))
    free, bound = (train(given, recipe=quick) for given in (items, late))
    assert bound.card["log-likelihood per frame"] < free.card["log-likelihood per frame"]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "no utterances"),
        ([Utterance("a", torch.randn(700), RATE, (Pronunciation("ah", (("AA",) * 9,)),))], "none of the 1 .* a has"),
        ([Utterance("b", torch.zeros(9000), RATE, (Pronunciation("ah", (("AA",),)),))], "b: .*digitally silent"),
        ([Utterance("c", torch.randn(30), RATE, (Pronunciation("ah", (("AA",),)),))], "c: .*30 samples"),
    ],
    ids=["empty", "too short for its phones", "silent", "shorter than a window"],
)
def test_what_cannot_be_learnt_from_is_said(items, message):
    with pytest.raises(DataError, match=message):
        train(items)
