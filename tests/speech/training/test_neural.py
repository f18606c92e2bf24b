"""A network learns tones from the alignments of Gaussians, and then aligns by itself; its losses are written out."""

import dataclasses
import itertools

import pytest
import torch

from semihmm.errors import DataError, SemihmmError
from semihmm.inference import log_partition
from semihmm.speech import Aligner, Interval, Pronunciation, load_acoustic_model
from semihmm.speech.acoustics.network import TimeDelayNetwork, together
from semihmm.speech.alignment.graph import build_graph
from semihmm.speech.training.neural import (
    Lesson,
    MutualInformation,
    PhoneSequences,
    Together,
    frame_loss,
    train_network,
)
from semihmm.speech.training.statistics import Example
from semihmm.speech.training.utterance import Utterance

from ..conftest import RATE, spoken

PHONES = {"ah": ("AA",), "see": ("S", "IY"), "ahee": ("AA", "IY")}


def said(words, seconds):
    """Words one after the other between silences, and where their phones begin."""
    phones = [phone for word in words for phone in PHONES[word]]
    wave, starts = spoken(("SIL", 0.15), *zip(phones, seconds, strict=False), ("SIL", 0.15))
    return wave, starts[1:-1]


@pytest.fixture(scope="module")
def corpus():
    lengths = itertools.cycle((0.11, 0.16, 0.21, 0.13, 0.18))
    return [
        Utterance(str(number), said(words, lengths)[0], RATE, pronounced(words))
        for number, words in enumerate(itertools.permutations(PHONES))
    ]


def pronounced(words):
    return tuple(Pronunciation(word, (PHONES[word],)) for word in words)


@pytest.fixture(scope="module", params=["mmi", "ctc-hmm"])
def trained(request, tone_model, corpus):
    return train_network(tone_model, corpus, objective=request.param, epochs=(8, 2), width=24)


def test_it_aligns_what_it_has_not_heard(trained, tone_lexicon):
    wave, starts = said(("see", "ahee", "see"), (0.2, 0.12, 0.14, 0.2, 0.17, 0.15))
    alignment = Aligner(trained, tone_lexicon)(wave, RATE, "see ahee see")
    assert [phone.label for phone in alignment.phones] == ["S", "IY", "AA", "IY", "S", "IY"]
    assert [phone.start for phone in alignment.phones] == pytest.approx(starts, abs=0.02)
    assert min(phone.confidence for phone in alignment.phones) > 0.9


def test_the_model_has_a_network_in_place_of_gaussians(trained, tone_model):
    assert trained.streams == () and tone_model.streams
    assert not trained.network.training and not any(p.requires_grad for p in trained.network.parameters())
    x = torch.randn(9, 39, generator=torch.Generator().manual_seed(0))
    found = trained.log_likelihood(x, room=3)
    assert found.shape == (9, 15) and not found[:, 12:].any()
    torch.testing.assert_close((found[:, :12] + trained.network.log_prior).exp().sum(1), torch.ones(9))


def test_training_is_the_same_each_time_and_leaves_random_numbers_alone(tone_model, corpus):
    before = torch.random.get_rng_state()
    one, two = (train_network(tone_model, corpus[:2], epochs=(1, 1), width=8) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True):
        assert torch.equal(a, b)


def lesson_for(model, frames=7, known=()):
    words = pronounced(["see"])
    states = torch.full((frames,), -1)
    states[:3] = torch.tensor([9, 10, 11])
    example = Example(torch.zeros(frames, 39), words, known)
    return Lesson(example, (), states, build_graph(words, model), torch.tensor([3, 2]))


def test_mutual_information_is_the_posterior_of_the_transcript_path_by_path(tone_model):
    lesson = lesson_for(tone_model)
    y = torch.randn(7, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64).log_softmax(1)
    prior = torch.full((12,), 1 / 12, dtype=torch.float64).log()
    graph = lesson.graph
    right = y.new_zeros(0)
    weight = {(int(a), int(b)): w for a, b, w in zip(graph.source, graph.target, graph.weight, strict=True)}
    score = {state: graph.initial[state] + (y - prior)[0, graph.column[state]] for state in range(len(graph.node))}
    for t in range(1, 7):
        score = {
            to: torch.logsumexp(
                torch.stack([score[a] + w for (a, b), w in weight.items() if b == to] + [y.new_tensor(-torch.inf)]), 0
            )
            + (y - prior)[t, graph.column[to]]
            for to in score
        }
    right = torch.logsumexp(torch.stack([score[state] + graph.final[state] for state in score]), 0)
    anything = anything_at_all(tone_model, y - prior)
    found = MutualInformation(tone_model, prior)(lesson, y)
    torch.testing.assert_close(found, (anything - right) / 7)
    assert found > 0


def anything_at_all(model, y):
    """The free phone loop's log-partition: states s of phones p, any phone after any."""
    inside = model.transitions.double()
    score = torch.full((4, 3), -torch.inf, dtype=torch.float64)
    score[:, 0] = -torch.tensor(4.0).log()
    score = score + y[0].unflatten(0, (4, 3))
    for t in range(1, len(y)):
        new = torch.logsumexp(score[:, :, None] + inside[:, :, :3], 1)
        leaving = torch.logsumexp((score[:, 2] + inside[:, 2, 3]).flatten(), 0) - torch.tensor(4.0).double().log()
        new[:, 0] = torch.logaddexp(new[:, 0], leaving)
        score = new + y[t].unflatten(0, (4, 3))
    return score.flatten().logsumexp(0)


def test_frames_of_which_nothing_is_known_do_not_count(tone_model):
    lesson = lesson_for(tone_model)
    y = torch.randn(7, 12, generator=torch.Generator().manual_seed(1)).log_softmax(1)
    expected = -(y[0, 9] + y[1, 10] + y[2, 11]) / 3
    torch.testing.assert_close(frame_loss(lesson, y), expected)


def test_phones_are_as_likely_as_their_states_together(tone_model):
    lesson = lesson_for(tone_model)
    y = torch.randn(7, 12, generator=torch.Generator().manual_seed(1)).log_softmax(1)
    loss = PhoneSequences(tone_model)
    phones = y.exp().unflatten(1, (4, 3)).sum(2).log()
    ctc = torch.nn.functional.ctc_loss(phones, torch.tensor([3, 2]), (7,), (2,), blank=0, reduction="sum")
    torch.testing.assert_close(loss(lesson, y).detach(), ctc / 7)  # as long as nothing is learnt of what follows what
    both = Together(loss)(lesson, y).detach()
    torch.testing.assert_close(both, 0.8 * ctc / 7 + 0.2 * frame_loss(lesson, y))


def test_every_parameter_learns(tone_model):
    torch.manual_seed(0)
    network, lesson = TimeDelayNetwork(39, 12, width=8, dropout=0.0), lesson_for(tone_model)
    y = network.log_posterior(torch.randn(7, 39, generator=torch.Generator().manual_seed(2)))
    MutualInformation(tone_model, network.log_prior)(lesson, y).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in network.parameters())


def test_an_output_sees_its_neighbours_and_no_further():
    network = TimeDelayNetwork(5, 4, width=8, dilations=(1, 2)).eval()
    x = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[10] += 1
    moved = (network(other) - network(x)).abs().amax(1) > 0
    assert moved.nonzero()[:, 0].tolist() == list(range(7, 14))


def test_labels_that_are_known_leave_less_to_the_transcript(tone_model):
    y = torch.randn(9, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64).log_softmax(1)
    loss = MutualInformation(tone_model, torch.zeros(12).double())
    free, known = lesson_for(tone_model, 9), lesson_for(tone_model, 9, (Interval(0.0, 0.05, "S"),))
    masked = y.clone()
    masked[:4, [state for state in range(12) if not 9 <= state < 12]] = -torch.inf  # frames whose middles are in it
    told = torch.where(masked.isinf(), -torch.inf, y)
    expected = loss(free, y) + (log_partition(free.graph.hmm(y)) - log_partition(free.graph.hmm(told))) / 9
    torch.testing.assert_close(loss(known, y), expected)
    assert loss(known, y) > loss(free, y) + 0.01


@pytest.mark.parametrize("objective", ["mmi", "ctc-hmm"])
def test_states_of_phones_in_context_are_learnt(tone_model_in_context, corpus, tone_lexicon, tmp_path, objective):
    model = train_network(tone_model_in_context, corpus, objective=objective, epochs=(8, 2), width=24)
    assert model.network.states == model.columns == 15 and model.streams == ()
    wave, starts = said(("see", "ahee", "see"), (0.2, 0.12, 0.14, 0.2, 0.17, 0.15))
    alignment = Aligner(model, tone_lexicon)(wave, RATE, "see ahee see")
    assert [phone.start for phone in alignment.phones] == pytest.approx(starts, abs=0.02)
    x = corpus[0].example(model.front_end).features
    posterior = model.network.log_posterior(x).exp()
    behind_s = posterior[:, 12:].sum(1) > 0.5
    assert behind_s.any() and (posterior[:, 6:9].sum(1) > 0.5).any()  # IY behind S, and behind AA
    model.save(tmp_path / "model.safetensors")
    loaded = load_acoustic_model(tmp_path / "model.safetensors")
    everything = torch.arange(15)
    assert torch.equal(loaded.log_likelihood(x, columns=everything), model.log_likelihood(x, columns=everything))


def test_a_phone_is_as_likely_as_all_its_kinds_in_context_together(tone_model_in_context):
    network = TimeDelayNetwork(39, 15, width=8).eval()
    model = dataclasses.replace(tone_model_in_context, streams=(), network=network)
    x = torch.randn(9, 39, generator=torch.Generator().manual_seed(0))
    posterior, prior = network.log_posterior(x).exp(), network.log_prior.exp()
    for p in (posterior, prior):
        p[..., 6:9] += p[..., 12:15]
    torch.testing.assert_close(model.log_likelihood(x, columns=torch.arange(15)), (posterior / prior).log())


def test_sequences_are_judged_by_phones_without_context(tone_model, tone_model_in_context):
    lesson = lesson_for(tone_model)
    y = torch.randn(7, 15, generator=torch.Generator().manual_seed(0), dtype=torch.float64).log_softmax(1)
    prior = torch.rand(15, generator=torch.Generator().manual_seed(1), dtype=torch.float64).log_softmax(0)
    owner = tone_model_in_context.owner
    assert owner.tolist() == [*range(12), 6, 7, 8]
    whole, whole_prior = together(y, owner)[:, :12], together(prior, owner)[:12]
    found = MutualInformation(tone_model_in_context, prior)(lesson, y)
    torch.testing.assert_close(found, MutualInformation(tone_model, whole_prior)(lesson, whole))
    found, expected = (PhoneSequences(of)(lesson, z) for of, z in ((tone_model_in_context, y), (tone_model, whole)))
    torch.testing.assert_close(found, expected)


def test_what_cannot_be_learnt_from_is_refused(tone_model, corpus):
    with pytest.raises(DataError, match="nothing to learn from"):
        train_network(tone_model, [])
    with pytest.raises(SemihmmError, match="objectives of a network are mmi and ctc-hmm; got 'hope'"):
        train_network(tone_model, corpus, objective="hope")
    failures = {}
    short = dataclasses.replace(corpus[0], name="short", words=corpus[0].words * 20)
    train_network(tone_model, [short, corpus[1]], epochs=(1, 0), width=4, failures=failures)
    assert list(failures) == ["short"]


def test_a_file_holds_the_network(tone_model, corpus, tmp_path):
    model = train_network(tone_model, corpus[:1], epochs=(1, 0), width=4)
    model.save(tmp_path / "model.safetensors")
    loaded = load_acoustic_model(tmp_path / "model.safetensors")
    x = torch.randn(9, 39, generator=torch.Generator().manual_seed(0))
    assert torch.equal(loaded.log_likelihood(x), model.log_likelihood(x))
    assert not loaded.network.training and loaded.card["network"] == "mmi; 1 utterances; aligned by tones"
