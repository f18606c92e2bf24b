"""Adapted models, against what pseudo-observations would give, and on tones that were changed on purpose."""

import copy
import dataclasses

import pytest
import torch

from semihmm.errors import DataError, SemihmmError, ShapeError
from semihmm.speech import Interval, Pronunciation, load_acoustic_model
from semihmm.speech.acoustics.model import tied_mixture
from semihmm.speech.acoustics.transform import after, identity, transformed
from semihmm.speech.training.adaptation import (
    GaussianStatistics,
    adapt,
    most_probable,
    pulls,
    responsibilities,
)
from semihmm.speech.training.fmllr import TransformStatistics, fmllr
from semihmm.speech.training.stated import stated
from semihmm.speech.training.utterance import Utterance

from ..conftest import RATE, WORDS, spoken


def emission(seed=0, codebooks=2, states=2, components=3, features=4):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(codebooks, components, features, generator=generator, dtype=torch.float64) * 2
    variance = torch.rand(codebooks, components, features, generator=generator, dtype=torch.float64) + 0.3
    weights = torch.randn(codebooks, states, components, generator=generator, dtype=torch.float64)
    return tied_mixture(mean, variance, weights.log_softmax(-1))


def frames(count=200, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator, dtype=torch.float64) * 2
    return x, torch.randint(4, (count,), generator=generator)


def log_likelihood(mixture, x, states):
    return mixture(x).gather(1, states[:, None]).sum()


def seen(mixture, x, states):
    statistics = GaussianStatistics.none(mixture)
    statistics.add(mixture, x, states)
    return statistics


def test_responsibilities_are_bayes_rule_written_out():
    mixture, (x, states) = emission(), frames(20)
    for state, book, rows, share in responsibilities(mixture, x, states):
        assert book == state // 2
        normal = torch.distributions.Normal(mixture.mean[book], (mixture.log_variance[book] / 2).exp())
        for row, own in zip(rows.tolist(), share, strict=True):
            assert int(states[row]) == state
            joint = (normal.log_prob(x[row]).sum(1) + mixture.weights()[state]).exp()
            torch.testing.assert_close(own, joint / joint.sum())


def test_without_frames_nothing_moves():
    mixture = emission()
    found = most_probable(mixture, GaussianStatistics.none(mixture), relevance=5.0)
    for name in ("mean", "log_variance"):
        torch.testing.assert_close(getattr(found, name), getattr(mixture, name))
    torch.testing.assert_close(found.weights(), mixture.weights())


def test_with_next_to_no_prior_it_is_a_step_of_em():
    mixture, (x, states) = emission(), frames(500)
    posterior = torch.nn.functional.one_hot(states, 4).double()
    expected = emission().requires_grad_(True)
    expected.maximise(expected.statistics(x, posterior))
    found = most_probable(mixture, seen(mixture, x, states), relevance=1e-9)
    torch.testing.assert_close(found.mean, expected.mean.detach())
    torch.testing.assert_close(found.log_variance, expected.log_variance.detach())
    torch.testing.assert_close(found.weights().exp(), expected.weights().exp().detach(), rtol=0, atol=1e-6)


def test_the_prior_is_worth_so_many_frames_of_its_own_mean_and_variance():
    mean, variance = torch.tensor([[[1.0, -2.0]]]), torch.tensor([[[0.5, 2.0]]])
    prior = tied_mixture(mean, variance, torch.zeros(1, 1, 1))
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    before = torch.cat([mean[0] + variance[0].sqrt(), mean[0] - variance[0].sqrt()]).repeat(4, 1)  # eight frames
    together = torch.cat([before.double(), x])
    found = most_probable(prior, seen(prior, x, torch.zeros(30, dtype=torch.long)), relevance=8.0)
    torch.testing.assert_close(found.mean[0, 0], together.mean(0))
    torch.testing.assert_close(found.log_variance[0, 0].exp(), together.var(0, correction=0))


def test_weights_are_those_of_frames_and_prior_together():
    mixture, (x, states) = emission(), frames()
    statistics = seen(mixture, x, states)
    found = most_probable(mixture, statistics, relevance=2.0).weights().exp()
    counts = statistics.count + 2.0 * 3 * mixture.weights().exp()
    torch.testing.assert_close(found, counts / counts.sum(1, keepdim=True))


@pytest.mark.parametrize("part", ["means", "weights", "variances"])
def test_only_what_is_asked_for_moves_and_the_likelihood_rises(part):
    mixture, (x, states) = emission(), frames()
    found = most_probable(mixture, seen(mixture, x, states), relevance=1.0, parts=[part])
    same = {
        "means": torch.equal(found.mean, mixture.mean),
        "weights": torch.allclose(found.weights(), mixture.weights()),
        "variances": torch.equal(found.log_variance, mixture.log_variance),
    }
    assert [name for name, is_same in same.items() if not is_same] == [part]
    assert log_likelihood(found, x, states) > log_likelihood(mixture, x, states) + 1


def test_pulls_are_the_gradient_of_the_expected_log_density():
    mixture, (x, states) = emission(), frames(30)
    moved = x.clone().requires_grad_()
    log_likelihood(mixture, moved, states).backward()  # by Fisher's identity
    precision, pull = pulls(mixture, x, states)
    torch.testing.assert_close(pull - precision * x, moved.grad)


def test_maps_one_after_the_other_are_one_map():
    generator = torch.Generator().manual_seed(0)
    x, first, second = (torch.randn(*shape, generator=generator) for shape in ((5, 3), (4, 4), (2, 5)))
    torch.testing.assert_close(transformed(x, after(second, first)), transformed(transformed(x, first), second))
    assert torch.equal(after(second, None), second)


SAID = {
    "a": ("eesah", ("IY", 0.3), ("S", 0.2), ("AA", 0.3)),
    "b": ("see ah", ("S", 0.2), ("IY", 0.3), ("AA", 0.3)),
    "c": ("ahee see", ("AA", 0.2), ("IY", 0.3), ("S", 0.2), ("IY", 0.2)),
}


@pytest.fixture(scope="module")
def corpus():
    """Tones that are a third as loud as the model's."""
    return [
        Utterance(name, spoken(*pieces)[0] / 3, RATE, tuple(Pronunciation(word, WORDS[word]) for word in text.split()))
        for name, (text, *pieces) in SAID.items()
    ]


def frames_of(model, corpus):
    found = [item.frames for item in stated(model, corpus, {})]
    return torch.cat([features for features, _ in found]), torch.cat([states for _, states in found])


def fit(model, x, states):
    """Mean log-density of frames in given states."""
    grown = 0.0 if model.transform is None else float(model.transform[:, :-1].det().abs().log())
    return float(model.log_likelihood(x).gather(1, states[:, None]).mean()) + grown


def test_states_are_where_the_phones_are(tone_model, corpus):
    for (_, *pieces), item in zip(SAID.values(), stated(tone_model, corpus, {}), strict=True):
        features, states = item.frames
        assert item.phones == tuple(phone for phone, _ in pieces)
        phones, counts = (states // 3).unique_consecutive(return_counts=True)
        expected = [(tone_model.phones.index(phone), seconds) for phone, seconds in pieces]
        assert [phone for phone in phones.tolist() if phone] == [phone for phone, _ in expected]
        heard = [count for phone, count in zip(phones.tolist(), counts.tolist(), strict=True) if phone]
        assert heard == pytest.approx([100 * seconds for _, seconds in expected], abs=5)
        assert len(features) == len(states)


def test_speech_that_the_transcript_does_not_hold_is_left_out(tone_model):
    wave, _ = spoken(("IY", 0.6), ("AA", 0.3))
    (item,) = stated(tone_model, [Utterance("a", wave, RATE, (Pronunciation("ah", (("AA",),)),))], {})
    assert (item.states[:50] == -1).all() and (item.states[65:85] // 3 == tone_model.phones.index("AA")).all()
    assert len(item.frames[0]) == len(item.frames[1]) == (item.states >= 0).sum() < 40


@pytest.mark.parametrize(("method", "gain"), [("fmllr", 3.0), ("map", 3.0)])
def test_a_quiet_speaker_fits_the_adapted_model(tone_model, corpus, method, gain):
    before = copy.deepcopy(tone_model.streams)
    adapted = adapt(tone_model, corpus, method=method, relevance=10.0)
    frames = frames_of(tone_model, corpus)
    assert fit(adapted, *frames) > fit(tone_model, *frames) + gain
    assert adapted.name == f"tones, adapted ({method})"
    for old, new in zip(before, tone_model.streams, strict=True):
        assert torch.equal(old.mean, new.mean) and tone_model.transform is None
    again = adapt(tone_model, corpus, method=method, relevance=10.0, passes=2)
    frames = frames_of(adapted, corpus)
    assert fit(again, *frames) > fit(adapted, *frames) - 1e-3


def test_of_one_codebook_and_speaker_the_map_is_fmllr_of_all_frames(tone_model, corpus):
    adapted = adapt(tone_model, corpus[:2], method="fmllr")
    x, states = frames_of(tone_model, corpus[:2])
    stream = tone_model.streams[0]
    own = fmllr(TransformStatistics.of(x[:, :13], *pulls(stream, x[:, :13], states)))
    torch.testing.assert_close(adapted.transform[:13, :13], own[:, :-1])
    torch.testing.assert_close(adapted.transform[:13, -1], own[:, -1])
    assert not adapted.transform[:13, 13:39].any()


def test_a_common_mean_is_taken_off_each(tone_model, corpus):
    front_end = dataclasses.replace(tone_model.front_end, mean_normalisation=True)
    adapted = adapt(dataclasses.replace(tone_model, front_end=front_end), corpus, method="cmn")
    waves = [item.at(RATE) for item in corpus]
    static = torch.cat([transformed(adapted.front_end(wave), adapted.transform)[:, :13] for wave in waves])
    cepstra = torch.cat([front_end.cepstrum(wave) for wave in waves])
    torch.testing.assert_close(
        static[cepstra[:, 0] >= 0].mean(0), torch.zeros(13, dtype=static.dtype), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(static - static[0], cepstra - cepstra[0])


def test_what_cannot_be_used_is_named_and_left_out(tone_model, corpus):
    too_long = dataclasses.replace(corpus[0], name="long", words=corpus[0].words * 40)
    silent = dataclasses.replace(corpus[0], name="silent", wave=torch.zeros(RATE))
    failures = {}
    alone = adapt(tone_model, corpus)
    found = adapt(tone_model, [silent, *corpus, too_long], failures=failures)
    assert set(failures) == {"silent", "long"} and "longer than the audio can hold" in failures["long"]
    torch.testing.assert_close(found.streams[0].mean, alone.streams[0].mean)


def test_known_labels_are_kept_to(tone_model, corpus):
    wrong = dataclasses.replace(corpus[0], known=(Interval(0.0, 0.6, "IY"),))  # the S begins at 0.3, in truth
    (free,), (kept,) = (list(stated(tone_model, [item], {})) for item in (corpus[0], wrong))
    iy = tone_model.phones.index("IY")
    assert 25 <= (free.states // 3 == iy).sum() <= 35
    assert 55 <= (kept.states // 3 == iy).sum() <= 60


def test_adapting_to_nothing_or_too_little_is_refused(tone_model, corpus):
    for method in ("map", "fmllr"):
        with pytest.raises(DataError, match="nothing to adapt to"):
            adapt(tone_model, [], method=method)
    with pytest.raises(DataError, match="79 frames are too few"):
        adapt(tone_model, corpus[:1], method="fmllr")
    with pytest.raises(DataError, match="Choose fmllr"):
        adapt(tone_model, corpus, method="cmn")
    for wrong in ({"method": "magic"}, {"parts": ["colour"]}, {"passes": 0}, {"relevance": 0.0}):
        with pytest.raises(SemihmmError, match="method must be one of map, fmllr, cmn"):
            adapt(tone_model, corpus, **wrong)


@pytest.mark.parametrize("method", ["map", "fmllr"])
def test_a_file_holds_the_adapted_model(tone_model, corpus, method, tmp_path):
    adapted = adapt(tone_model, corpus, method=method)
    adapted.save(tmp_path / "model.safetensors")
    loaded = load_acoustic_model(tmp_path / "model.safetensors")
    x, _ = frames_of(tone_model, corpus)
    torch.testing.assert_close(loaded.log_likelihood(x), adapted.log_likelihood(x), rtol=1e-4, atol=1e-3)
    assert loaded.name == adapted.name and (loaded.transform is None) == (method == "map")


def test_a_map_is_for_features_of_its_width(tone_model):
    mapped = dataclasses.replace(tone_model, transform=identity(39))
    x = torch.randn(5, 39, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mapped.log_likelihood(x), tone_model.log_likelihood(x))
    with pytest.raises(ShapeError, match=r"it maps features \(T, 39\)"):
        mapped.log_likelihood(x[:, :38])
