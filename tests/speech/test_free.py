"""What a recording sounds like when no transcript says what to expect."""

import math

import pytest
import torch

from semihmm.inference import log_partition
from semihmm.speech import build_graph
from semihmm.speech.alignment import free
from semihmm.speech.alignment.free import FREE, PENALTY, free_loop, hear_freely, with_free_speech
from semihmm.speech.alignment.pronunciation import Pronunciation

from .conftest import spoken


@pytest.fixture(scope="session")
def heard(tone_model):
    wave, _ = spoken(("SIL", 0.2), ("IY", 0.2), ("S", 0.2), ("AA", 0.2))
    log_likelihood = tone_model.log_likelihood(tone_model.front_end(wave)).float()
    return log_likelihood, hear_freely(tone_model, log_likelihood)


def test_any_phone_follows_any_other_with_the_same_probability(tone_model):
    loop = free_loop(tone_model, torch.zeros(2, 12))
    torch.testing.assert_close(loop.transition.exp().sum(1), torch.ones(12))
    last, first = [2, 5, 8, 11], [0, 3, 6, 9]
    torch.testing.assert_close(loop.transition[last][:, first].exp(), torch.full((4, 4), 0.5 / 4))
    assert loop.initial.exp()[first].tolist() == [0.25] * 4
    assert loop.initial.exp().sum() == 1


def test_a_phone_may_follow_itself_though_its_last_state_is_its_first(tone_model):
    """A model of one state per phone: staying and coming again are one arc, whose probabilities add up."""
    from dataclasses import replace

    one = replace(tone_model, transitions=torch.tensor([[0.5, 0.5]]).log().expand(4, 1, -1))
    loop = free_loop(one, torch.zeros(2, 4))
    torch.testing.assert_close(loop.transition.exp(), torch.full((4, 4), 0.125) + 0.5 * torch.eye(4))


def test_densities_of_frames_add_up_to_the_log_partition(tone_model, heard):
    log_likelihood, freely = heard
    total = log_partition(free_loop(tone_model, log_likelihood.double()))
    torch.testing.assert_close(freely.log_likelihood.double().sum(), total, rtol=1e-5, atol=0)
    for frames in (1, 7):
        part = log_partition(free_loop(tone_model, log_likelihood[:frames].double()))
        torch.testing.assert_close(freely.log_likelihood[:frames].double().sum(), part, rtol=1e-5, atol=0)


def test_speech_is_told_from_silence(heard):
    _, freely = heard
    assert (freely.speech[:15] < 0.01).all()
    assert (freely.speech[25:] > 0.99).all()


def test_free_speech_is_worse_than_the_loop_by_its_penalty(tone_model, heard):
    log_likelihood, freely = heard
    both = with_free_speech(tone_model, log_likelihood, freely)
    torch.testing.assert_close(both[:, :12], log_likelihood)
    torch.testing.assert_close(both[:, 12:], (freely.log_likelihood - PENALTY)[:, None].expand(-1, 3))


def test_free_speech_alone_weighs_nothing_but_its_penalty_and_its_length(tone_model, heard):
    """A graph whose only word is free speech, without pauses that matter: the loop's total, less what is known."""
    log_likelihood, freely = heard
    graph = build_graph([Pronunciation(FREE, ((FREE,),))], tone_model, pause_probability=1e-300)
    frames = len(log_likelihood)
    found = log_partition(graph.hmm(with_free_speech(tone_model, log_likelihood, freely).double()))
    lengths = math.log(sum(0.5**2 * 0.1 * (a + 1) * 0.5**a * 0.9 ** (frames - 3 - a) for a in range(frames - 2)))
    expected = float(freely.log_likelihood.double().sum()) - PENALTY * frames + lengths
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_a_recording_heard_in_blocks_is_heard_as_a_whole(tone_model, heard, monkeypatch):
    log_likelihood, whole = heard
    monkeypatch.setattr(free, "_BLOCK", 7)
    blocks = hear_freely(tone_model, log_likelihood)
    torch.testing.assert_close(blocks.log_likelihood, whole.log_likelihood)
    torch.testing.assert_close(blocks.speech, whole.speech)


def test_nothing_of_a_block_outlives_it(tone_model, heard, held_tensors, monkeypatch):
    """But its part of the result: what lies between the large tensors of one block and the next keeps them apart."""
    held, filtering = [], free.filtering

    def counted(loop):
        held.append(held_tensors())
        return filtering(loop)

    monkeypatch.setattr(free, "_BLOCK", 5)
    monkeypatch.setattr(free, "filtering", counted)
    hear_freely(tone_model, heard[0])
    assert len(held) > 5
    assert len(set(held[1:])) == 1
