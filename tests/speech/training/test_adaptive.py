"""Speaker-adaptive training, on tones of two speakers who sound unlike."""

import dataclasses

import pytest
import torch

from semihmm.errors import DataError
from semihmm.speech import Aligner, Pronunciation, load_acoustic_model
from semihmm.speech.acoustics.transform import spliced, transformed
from semihmm.speech.training import adapt
from semihmm.speech.training.adaptive import train_adaptively
from semihmm.speech.training.lda import Moments
from semihmm.speech.training.stated import stated
from semihmm.speech.training.utterance import Utterance

from ..conftest import RATE, spoken

PHONES = {"ah": ("AA",), "see": ("S", "IY"), "ahee": ("AA", "IY")}
TEXTS = (("ah", "see"), ("see", "ahee"), ("ahee", "ah", "see"), ("see", "ah"))


def utterance(words, speaker="loud", longer=0.0):
    phones = [phone for word in words for phone in PHONES[word]]
    pieces = [(phone, 0.12 + longer + 0.02 * (number % 3)) for number, phone in enumerate(phones)]
    wave, starts = spoken(("SIL", 0.15), *pieces, ("SIL", 0.15))
    said = tuple(Pronunciation(word, (PHONES[word],)) for word in words)
    gain = {"loud": 1.0, "quiet": 0.4}[speaker]
    return Utterance(f"{speaker} {' '.join(words)}", gain * wave, RATE, said, speaker=speaker), starts[1:-1]


@pytest.fixture(scope="module")
def corpus():
    return [utterance(words, speaker)[0] for words in TEXTS for speaker in ("loud", "quiet")]


OPTIONS = {"context": 2, "dimensions": 6, "gaussians": 2, "passes": 2}


@pytest.fixture(scope="module")
def trained(tone_model, corpus):
    return {of: train_adaptively(tone_model, corpus, **OPTIONS, speakers=of) for of in (True, False)}


@pytest.mark.parametrize("speakers", [True, False])
def test_a_speaker_that_was_adapted_to_is_aligned(trained, corpus, tone_lexicon, speakers):
    model = adapt(trained[speakers], [item for item in corpus if item.speaker == "loud"], method="fmllr")
    said, starts = utterance(("see", "ahee", "see"), longer=0.03)
    alignment = Aligner(model, tone_lexicon)(said.wave, RATE, "see ahee see")
    assert [phone.start for phone in alignment.phones] == pytest.approx(starts, abs=0.025)


def test_the_map_whitens_what_varies_inside_states(trained, tone_model, corpus):
    model = trained[False]
    items = list(stated(tone_model, corpus, {}))
    heard = torch.cat([transformed(spliced(item.example.features, 2), model.transform) for item in items])
    states = torch.cat([item.states for item in items])
    within = Moments.of(heard[states >= 0], states[states >= 0]).within
    assert float(within.logdet().abs()) < 0.1  # LDA makes it the identity, and MLLT has determinant 1
    torch.testing.assert_close(model.seen(items[0].example.features), heard[: len(items[0].states)])
    assert not model.transform[:, :-1].unflatten(1, (5, 39))[:, :, 13:].any()  # of cepstra alone


def test_gaussians_of_speakers_made_alike_fit_adapted_speakers_better(trained, corpus):
    def fit(speakers):
        total = 0.0
        for speaker in ("loud", "quiet"):
            own = [item for item in corpus if item.speaker == speaker]
            adapted = adapt(trained[speakers], own, method="fmllr")
            x, states = (torch.cat(parts) for parts in zip(*(i.frames for i in stated(adapted, own, {})), strict=True))
            before, after = (model.transform[:, :-1] for model in (trained[speakers], adapted))
            grown = ((after @ after.t()).logdet() - (before @ before.t()).logdet()) / 2
            total += float(adapted.log_likelihood(x).gather(1, states[:, None]).mean() + grown)
        return total

    assert fit(speakers=True) > fit(speakers=False) + 0.05
    assert trained[True].card["speakers"] == 2 and "speakers" not in trained[False].card


def test_a_file_holds_splice_and_map(trained, corpus, tmp_path):
    trained[True].save(tmp_path / "m.safetensors")
    loaded = load_acoustic_model(tmp_path / "m.safetensors")
    x = corpus[0].example(loaded.front_end).features
    assert loaded.splice == 2 and torch.equal(loaded.transform, trained[True].transform)
    torch.testing.assert_close(loaded.log_likelihood(x), trained[True].log_likelihood(x), rtol=1e-4, atol=1e-3)


def test_a_common_mean_is_taken_off_all_spliced_frames(trained, corpus):
    front_end = dataclasses.replace(trained[True].front_end, mean_normalisation=True)
    model = dataclasses.replace(trained[True], front_end=front_end)
    found = adapt(model, corpus[:1], method="cmn")  # of one utterance: nothing but where the mean is taken off
    features = (of.front_end(corpus[0].at(RATE)).float() for of in (found, model))
    seen, expected = (of.seen(x) for of, x in zip((found, model), features, strict=True))
    torch.testing.assert_close(seen, expected, rtol=1e-3, atol=1e-3)


def test_a_state_in_context_is_learnt_from_its_own_frames_after_those_without_context(
    tone_model, tone_model_in_context, corpus
):
    options = {**OPTIONS, "gaussians": 1, "speakers": False}
    alone = train_adaptively(tone_model, corpus, **options)
    model = train_adaptively(tone_model_in_context, corpus, **options)
    assert model.contexts is tone_model_in_context.contexts and model.columns == 15
    torch.testing.assert_close(model.transform, alone.transform)
    behind_s, elsewhere = torch.arange(12, 15), torch.arange(6, 9)
    items = list(stated(model, corpus, {}))
    x = torch.cat([model.seen(item.example.features) for item in items])
    states = torch.cat([item.states for item in items])
    for column in (*behind_s, *elsewhere):
        expected = x[states == column].mean(0)
        assert float((model.streams[0].mean[column, 0] - expected).norm()) < 0.5
    assert not torch.allclose(model.streams[0].mean[behind_s], alone.streams[0].mean[elsewhere], atol=1e-3)


def test_a_state_that_only_occurs_in_context_is_what_it_is_without(tone_model, tone_model_in_context, corpus):
    see = [item for item in corpus if item.name in ("loud see ah", "quiet see ah")]  # IY stands behind S alone
    alone, model = (train_adaptively(of, see, **OPTIONS) for of in (tone_model, tone_model_in_context))
    torch.testing.assert_close(model.streams[0].mean[6:9, :1], alone.streams[0].mean[6:9, :1])


@pytest.mark.parametrize("speakers", [True, False])
def test_a_model_in_context_aligns(tone_model_in_context, corpus, tone_lexicon, speakers):
    model = train_adaptively(tone_model_in_context, corpus, **OPTIONS, speakers=speakers)
    model = adapt(model, [item for item in corpus if item.speaker == "loud"], method="fmllr")
    said, starts = utterance(("see", "ahee", "see"), longer=0.03)
    alignment = Aligner(model, tone_lexicon)(said.wave, RATE, "see ahee see")
    assert [phone.start for phone in alignment.phones] == pytest.approx(starts, abs=0.025)


def test_nothing_to_learn_from_is_refused(tone_model):
    with pytest.raises(DataError, match="nothing to learn from"):
        train_adaptively(tone_model, [])
