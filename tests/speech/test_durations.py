"""Explicit durations: the phones' HSMM against all of its segmentations, written out one by one."""

import dataclasses
import math
from itertools import combinations, pairwise, product

import pytest
import torch

from semihmm.errors import DataError
from semihmm.inference import log_partition
from semihmm.speech import Aligner, Durations, load_acoustic_model
from semihmm.speech.alignment import durations as module
from semihmm.speech.alignment.durations import DURATIONS, Run, Ways, mean_edges

from .conftest import RATE, spoken

STATES = 3


def chain(phones, seed=0):
    """Transitions with loops, one jump ahead and one back."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.rand(phones, STATES, STATES + 1, generator=generator, dtype=torch.float64)
    found[:, :-1, -1] = found[:, 1, 0] = 0.0
    return (found / found.sum(-1, keepdim=True)).log()


def run_of(phones, begins, seed=0):
    columns = torch.arange(STATES * len(phones)).unflatten(0, (-1, STATES))
    return Run(phones, columns, chain(len(phones), seed), torch.tensor(begins))


def heard(frames, phones, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(frames, STATES * phones, generator=generator, dtype=torch.float64)


def through(run, phone, begin, end, log_likelihood):
    """The sum over all ways of one phone through some frames, and of their probabilities alone."""
    total = blind = -math.inf
    for states in product(range(STATES), repeat=end - begin):
        if states[0] != 0:
            continue
        moves = [*zip(states, [*states[1:], STATES], strict=True)]
        weight = sum(float(run.transitions[phone, a, b]) for a, b in moves)
        frames = sum(float(log_likelihood[begin + t, run.columns[phone, s]]) for t, s in enumerate(states))
        total, blind = (float(torch.logaddexp(torch.tensor(x).double(), torch.tensor(y).double())) for x, y in
                        ((total, weight + frames), (blind, weight)))  # fmt: skip
    return total, blind


def segmentations(run, log_likelihood, reach, law):
    """Every choice of inner edges within reach, and its log-weight."""
    begins = run.begins.tolist()
    for inner in combinations(range(begins[0] + 1, begins[-1]), len(begins) - 2):
        if all(abs(a - b) <= reach for a, b in zip(inner, begins[1:-1], strict=True)):
            edges = [begins[0], *inner, begins[-1]]
            weight = 0.0
            for phone, (begin, end) in enumerate(pairwise(edges)):
                total, blind = through(run, phone, begin, end, log_likelihood)
                weight += total - blind + law(phone, end - begin, blind) if blind > -math.inf else -math.inf
            yield edges, weight


@pytest.mark.parametrize(("reach", "rate"), [(1, 100), (2, 100), (1, 200)])
@pytest.mark.parametrize("seed", range(3))
def test_mean_edges_are_means_over_all_segmentations(tone_model, monkeypatch, seed, reach, rate):
    """Of frames that come twice as often, each counts half."""
    monkeypatch.setattr(module, "_REACH", reach / rate)
    monkeypatch.setattr(module, "_SHARPNESS", 100.0)
    front_end = dataclasses.replace(tone_model.front_end, frame_rate=rate)
    model = dataclasses.replace(tone_model, front_end=front_end)
    phones = ["AA", "S", "IY"]
    run, log_likelihood = run_of(phones, [0, 3, 5, 8], seed), heard(8, 3, seed)
    durations = Durations({"AA": (0.03, 0.015), "IY": (0.02, 0.01)})

    def law(phone, frames, blind):
        if phones[phone] == "S":
            return blind  # that of the HMM
        mean, deviation = (rate * value for value in durations.laws[phones[phone]])
        shape, scale = (mean / deviation) ** 2, deviation**2 / mean
        each = [(shape - 1) * math.log(d) - d / scale for d in range(1, 3 + 2 * reach + 1)]
        return each[frames - 1] - float(torch.tensor(each).double().logsumexp(0))

    evidence = 100 / rate * log_likelihood
    weighted = list(segmentations(run, evidence, reach, law))
    posterior = torch.tensor([weight for _, weight in weighted]).double().softmax(0)
    expected = posterior @ torch.tensor([edges for edges, _ in weighted]).double()
    torch.testing.assert_close(mean_edges(run, log_likelihood, model, durations), expected, atol=1e-5, rtol=0)
    ways = Ways.of(run, evidence, reach)
    known = torch.tensor([True, False, True])[:, None]
    laws = durations.log_prob(phones, model, ways.longest)[0]
    duration = torch.where(known, laws, ways.duration)
    total = log_partition(ways.hsmm(0, 3, duration))
    expected = torch.tensor([weight for _, weight in weighted]).double().logsumexp(0)
    torch.testing.assert_close(total.double(), expected, atol=1e-4, rtol=1e-5)


def test_pieces_are_the_whole_where_context_says_enough(tone_model, monkeypatch):
    phones = ["AA", "S", "IY", "S"] * 8
    run, log_likelihood = run_of(phones, list(range(0, 10 * 33, 10))), heard(10 * 32, 32)
    pieces = mean_edges(run, log_likelihood, tone_model, Durations({}))
    monkeypatch.setattr(module, "_BLOCK", 20)
    blocks = mean_edges(run, log_likelihood, tone_model, Durations({}))
    assert (pieces - blocks).abs().max() < 0.05
    monkeypatch.setattr(module, "_BLOCK", 100)
    monkeypatch.setattr(module, "_PIECE", 100)
    whole = mean_edges(run, log_likelihood, tone_model, Durations({}))
    assert (pieces - whole).abs().max() < 0.05
    assert pieces[[0, -1]].tolist() == [0, 10 * 32]
    assert bool((pieces.diff() > 0).all())


def test_of_a_long_phone_the_middle_does_not_count(tone_model):
    log_likelihood = heard(40, 3)
    long = torch.cat([log_likelihood[:20], torch.zeros(400, 9), log_likelihood[20:]])
    run = run_of(["AA", "SIL", "IY"], [0, 10, 430, 440])
    shortened, frames = run.shortened(60)
    assert shortened.begins.tolist() == [0, 10, 70, 80]
    assert frames[[9, 10, 39, 40, 69, 70]].tolist() == [9, 10, 39, 400, 429, 430]
    other = long.clone()
    other[40:400] = 7.0
    found, same = (mean_edges(run, heard, tone_model, Durations({})) for heard in (long, other))
    assert torch.equal(found, same)
    assert (found[1:-1] - torch.tensor([10, 430])).abs().max() < 8


def test_impossible_frames_leave_the_edges_of_the_hmm(tone_model):
    log_likelihood = heard(8, 3)
    log_likelihood[4] = -math.inf
    run = run_of(["AA", "S", "IY"], [0, 3, 5, 8])
    assert mean_edges(run, log_likelihood, tone_model, Durations({})).tolist() == [0, 3, 5, 8]


def test_a_law_is_for_models_that_have_its_phones(tone_model):
    own = Durations({"AA": (0.1, 0.05)})
    law, known = own.log_prob(["AA", "S"], tone_model, 50)
    assert known.tolist() == [True, False]
    frames = torch.arange(1.0, 51).double()
    assert float(law[0].exp() @ frames) == pytest.approx(10, abs=0.1)
    assert not Durations({"AA": (0.1, 0.05), "XX": (0.1, 0.05)}).log_prob(["AA"], tone_model, 50)[1].any()


@pytest.mark.parametrize("law", [(0.0, 0.1), (0.1, -0.1), (math.nan, 0.1), (0.1, math.inf)])
def test_a_law_that_is_none_is_refused(law):
    with pytest.raises(DataError, match="'AA' should have a mean and a standard deviation above 0"):
        Durations({"AA": law})


def test_tones_are_found_between_frames(tone_model, tone_lexicon):
    """Within two frames of where they are, at any offset of the frames, and on average about as near as the HMM's."""
    plain, timed = [], []
    for offset in (0.0, 0.0025, 0.005, 0.0075):
        pieces = (("SIL", 0.15 + offset), ("IY", 0.12), ("S", 0.2), ("AA", 0.15), ("SIL", 0.1), ("S", 0.1), ("IY", 0.2))
        wave, starts = spoken(*pieces)
        due = [start for index, start in enumerate(starts) if index not in (0, 4)]
        for found, durations in ((plain, None), (timed, Durations({}))):
            aligner = Aligner(tone_model, tone_lexicon, durations=durations)
            phones = aligner(wave, RATE, "eesah see").phones
            found += [abs(phone.start - start) for phone, start in zip(phones, due, strict=True)]
    assert max(timed) < 0.02
    assert sum(timed) < sum(plain) + 0.002 * len(plain)
    assert len({round(error, 5) for error in timed}) > len({round(error, 5) for error in plain})


def test_english_durations_are_for_english_models(repository):
    pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
    model = load_acoustic_model()
    assert DURATIONS.laws.keys() == {phone for phone in model.phones if phone.isalpha()} - {"SIL", "OY"}
    assert dataclasses.replace(Aligner(), durations=None).durations is None
    assert all(0.03 < mean < 0.2 and 0.3 < sd / mean < 0.7 for mean, sd in DURATIONS.laws.values())
