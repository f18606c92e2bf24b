"""Scripts, keywords and phones as they are said, against the best path through all frames at once."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from semihmm import viterbi
from semihmm.errors import DataError
from semihmm.speech.alignment.free import FREE, PENALTY, free_loop, hear_freely
from semihmm.speech.alignment.graph import PAUSE
from semihmm.speech.live import (
    FileSource,
    KeywordSpotter,
    LiveFrontEnd,
    PhoneListener,
    ScriptFollower,
    Session,
    SimulatedClock,
)
from semihmm.speech.live.loop import FreeLoop
from semihmm.speech.live.tasks import in_the_running

from .conftest import RATE, spoken

SCRIPT = "ah see ahee eesah see ah ahee see"
AH, SEE, AHEE, EESAH = (
    [("AA", 0.2)],
    [("S", 0.15), ("IY", 0.15)],
    [("AA", 0.15), ("IY", 0.2)],
    [("IY", 0.1), ("S", 0.1), ("AA", 0.1)],
)
GAP = [("SIL", 0.15)]
SAID = [*GAP, *AH, *GAP, *SEE, *AHEE, *GAP, *EESAH, *SEE, *GAP, *AH, *AHEE, *SEE, *GAP]


def session_of(model, task, say=print):
    return Session(model, task, clock=SimulatedClock(work=lambda: 0.0), say=say)


def found_in(session, wave, block=0.01):
    moments = list(session.play(FileSource(wave.float(), RATE, clock=session.clock, block=block)))
    return [one for moment in moments for one in moment.now.found]


def sounds_of(model, wave):
    """What the free loop makes of a recording, and its frames."""
    loop, features = FreeLoop(model), LiveFrontEnd(model.front_end)
    return [loop.push(row) for row in model.log_likelihood(torch.cat([features.push(wave.float()), features.finish()]))]


def runs_of(path, graph):
    """``(word, first frame, frame behind the last)`` of an offline path, and whether the word itself was said."""
    word = torch.tensor([node.word for node in graph.nodes])[graph.node][path]
    items, counts = word.unique_consecutive(return_counts=True)
    ends = counts.cumsum(0)
    phones = [graph.nodes[graph.node[path[end - 1]]].phone for end in ends.tolist()]
    rows = zip(items.tolist(), (ends - counts).tolist(), ends.tolist(), phones, strict=True)
    return [(item, begin, end, phone != FREE) for item, begin, end, phone in rows if item != PAUSE]


@pytest.mark.parametrize(
    ("window", "beam"), [(10_000, 30.0), (10_000, 1e9), (100, 30.0)], ids=["beam", "all", "window"]
)
def test_words_are_those_of_the_best_path_to_the_frame(tone_model, tone_lexicon, window, beam):
    sounds = sounds_of(tone_model, spoken(*SAID, *SAID)[0])
    follower = ScriptFollower(tone_model, tone_lexicon, f"{SCRIPT} {SCRIPT}", window=window, beam=beam)
    assert len(follower.graph.node) > 300
    found = [one for item in sounds for one in follower.push(item).found] + list(follower.finish())
    best = viterbi(follower.graph.hmm(torch.stack([item.ratio for item in sounds])))
    time = tone_model.front_end.boundary
    expected = [(w, time(begin), time(end), said) for w, begin, end, said in runs_of(best.event, follower.graph)]
    assert [(one.index, one.item.start, one.item.end, one.said) for one in found] == expected
    assert [one.item.label for one in found] == 2 * SCRIPT.split()
    phones = [phone for one in found for phone in one.phones]
    assert all(a.end <= b.start + 1e-9 for a, b in pairwise(phones))


def spans_of(one):
    return [(item.label, item.start, item.end) for item in (one.item, *one.phones)]


def test_blocks_of_any_size_give_the_same_words(tone_model, tone_lexicon):
    wave, _ = spoken(*SAID)
    pieces = [
        found_in(session_of(tone_model, ScriptFollower(tone_model, tone_lexicon, SCRIPT)), wave, block=block)
        for block in (0.01, 0.0031, 0.7)
    ]
    first = pieces[0]
    assert len(first) == len(SCRIPT.split())
    for other in pieces[1:]:  # sums of more frames at a time are rounded elsewhere
        assert [one.score for one in other] == pytest.approx([one.score for one in first], abs=1e-5)
        assert [one.item.match for one in other] == pytest.approx([one.item.match for one in first], abs=1e-5)
        assert [spans_of(one) for one in other] == [spans_of(one) for one in first]


def test_words_are_where_they_were_said(tone_model, tone_lexicon):
    wave, starts = spoken(*GAP, *AH, *GAP, *SEE, *GAP)
    found = found_in(session_of(tone_model, ScriptFollower(tone_model, tone_lexicon, "ah see")), wave)
    assert [one.item.label for one in found] == ["ah", "see"]
    assert [one.item.start for one in found] == pytest.approx([starts[1], starts[3]], abs=0.02)
    assert [phone.label for phone in found[1].phones] == ["S", "IY"]
    assert all(one.said and one.item.match > 0.9 for one in found)


def test_with_a_beam_words_are_certain_long_before_the_end(tone_model, tone_lexicon):
    """Without one, none is: the path that waits before the first word never dies."""
    wave, _ = spoken(*SAID)
    sounds, early = sounds_of(tone_model, wave), {}
    for beam in (30.0, 1e9):
        follower = ScriptFollower(tone_model, tone_lexicon, SCRIPT, beam=beam)
        early[beam] = sum(len(follower.push(item).found) for item in sounds)
    assert early[30.0] >= 6 and early[1e9] == 0


def test_a_word_that_is_read_otherwise_was_not_said(tone_model, tone_lexicon):
    wave, _ = spoken(*GAP, *AH, *GAP, ("S", 0.5), *GAP, *SEE, *GAP)
    found = found_in(session_of(tone_model, ScriptFollower(tone_model, tone_lexicon, "ah ahee see")), wave)
    assert [one.said for one in found] == [True, False, True]
    assert found[1].item.match == 0.0 and not found[1].phones


def test_a_reading_that_is_cut_off_ends_where_it_was(tone_model, tone_lexicon):
    wave, _ = spoken(*GAP, *AH, *GAP, *SEE, *AHEE, *GAP)
    session = session_of(tone_model, ScriptFollower(tone_model, tone_lexicon, SCRIPT))
    found = found_in(session, wave)
    assert [one.item.label for one in found if one.said] == ["ah", "see", "ahee"]
    assert len(found) == 3
    alignment = session.alignment(found, SCRIPT)
    assert alignment.duration == pytest.approx(len(wave) / RATE)
    assert all(word.end <= alignment.duration for word in alignment.words)


def test_the_current_word_is_told_at_once(tone_model, tone_lexicon):
    wave, starts = spoken(*GAP, *AH, *GAP, *SEE, *GAP)
    session = session_of(tone_model, ScriptFollower(tone_model, tone_lexicon, "ah see"))
    moments = list(session.play(FileSource(wave.float(), RATE, clock=session.clock)))
    at = {round(moment.time, 2): moment.now for moment in moments}
    (ah,) = [now for time, now in at.items() if abs(time - starts[1] - 0.15) < 0.005]
    (see,) = [now for time, now in at.items() if abs(time - starts[3] - 0.2) < 0.005]
    assert (ah.label, ah.index, ah.place) == ("ah", 0, 1) and ah.probability > 0.9
    assert (see.label, see.index, see.place) == ("see", 1, 2) and see.probability > 0.9


def test_lost_sound_is_a_gap_and_times_stay_right(tone_model, tone_lexicon):
    wave, starts = spoken(*GAP, *AH, *GAP, *GAP, *GAP, *SEE, *GAP)
    wave = wave.float()
    hole = slice(round(starts[3] * RATE), round(starts[4] * RATE))
    wave[hole] = math.nan
    session = session_of(tone_model, ScriptFollower(tone_model, tone_lexicon, "ah see"), say=lambda text: None)
    moments = list(session.play(FileSource(wave, RATE, clock=session.clock)))
    lost = [moment.time for moment in moments if moment.lost]
    assert starts[3] - 0.08 < min(lost) < starts[3] and starts[4] < max(lost) < starts[4] + 0.08
    found = [one.item for moment in moments for one in moment.now.found]
    assert [item.start for item in found] == pytest.approx([starts[1], starts[5]], abs=0.02)


def test_a_script_without_words_is_refused(tone_model, tone_lexicon):
    with pytest.raises(DataError, match="holds no words"):
        ScriptFollower(tone_model, tone_lexicon, " - ")


def test_keywords_are_found_where_they_are_said(tone_model, tone_lexicon):
    wave, starts = spoken(*SAID)
    found = found_in(session_of(tone_model, KeywordSpotter(tone_model, tone_lexicon, ["see"], -1.0)), wave)
    sees = [start for (phone, _), start in zip(SAID, starts, strict=True) if phone == "S"]
    begins = [one.item.start for one in found]
    assert len(begins) >= 2 and all(min(abs(begin - see) for see in sees) < 0.03 for begin in begins)


def test_a_higher_threshold_finds_no_more(tone_model, tone_lexicon):
    wave, _ = spoken(*SAID)
    counts = [
        len(found_in(session_of(tone_model, KeywordSpotter(tone_model, tone_lexicon, ["see"], threshold)), wave))
        for threshold in (-1.0, 0.0, 20.0)
    ]
    assert counts[0] >= counts[1] >= counts[2] == 0 < counts[0]


def test_the_probability_of_a_keyword_is_told_at_once(tone_model, tone_lexicon):
    wave, starts = spoken(*GAP, *AH, *GAP, *SEE, *GAP)
    session = session_of(tone_model, KeywordSpotter(tone_model, tone_lexicon, ["see"], -1.0))
    moments = list(session.play(FileSource(wave.float(), RATE, clock=session.clock)))
    inside = [moment.now for moment in moments if starts[3] + 0.1 < moment.time < starts[4]]
    outside = [moment.now for moment in moments if moment.time < starts[3] - 0.05]
    assert len(inside) >= 4 and all(now.label == "see" and now.posterior[0] > 0.9 for now in inside)
    assert all(not now.label for now in outside)


@pytest.mark.parametrize(("words", "reason"), [([], "there are no keywords"), (["..."], "has no sound")])
def test_keywords_that_are_none_are_refused(tone_model, tone_lexicon, words, reason):
    with pytest.raises(DataError, match=reason):
        KeywordSpotter(tone_model, tone_lexicon, words)


def test_phones_are_those_of_the_loops_best_path(tone_model):
    wave, _ = spoken(*SAID)
    session = session_of(tone_model, PhoneListener(tone_model))
    found = found_in(session, wave)
    features = LiveFrontEnd(tone_model.front_end)
    rows = tone_model.log_likelihood(torch.cat([features.push(wave.float()), features.finish()]))
    best = viterbi(free_loop(tone_model, rows)).event
    begins = (best[1:] // 3 != best[:-1] // 3) | (best[1:] < best[:-1])
    edges = [0, *(begins.nonzero()[:, 0] + 1).tolist()]
    expected = [(tone_model.phones[int(best[edge]) // 3], edge) for edge in edges if best[edge] // 3]
    time = tone_model.front_end.boundary
    assert [(one.item.label, one.item.start) for one in found] == [(phone, time(edge)) for phone, edge in expected]


def test_a_frame_at_a_time_hears_what_the_whole_says(tone_model):
    wave, _ = spoken(*SAID)
    features = LiveFrontEnd(tone_model.front_end)
    rows = tone_model.log_likelihood(torch.cat([features.push(wave.float()), features.finish()]))
    heard, loop = hear_freely(tone_model, rows), FreeLoop(tone_model, penalty=PENALTY)
    sounds = [loop.push(row) for row in rows]
    ratio = torch.stack([item.ratio for item in sounds])
    torch.testing.assert_close(ratio[:, :-3], rows - heard.log_likelihood[:, None], atol=2e-3, rtol=1e-4)
    assert bool((ratio[:, -3:] == -PENALTY).all())
    speech = torch.stack([item.phones for item in sounds])[:, 1:].sum(1)
    torch.testing.assert_close(speech, heard.speech, atol=1e-3, rtol=0)
    assert loop.log_likelihood == pytest.approx(float(heard.log_likelihood.double().sum()), rel=1e-4)


def test_a_state_is_in_the_running_if_one_that_leads_to_it_is():
    filtered = torch.tensor([-1.0, -50.0, -0.1])
    source, target = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 2, 2])
    assert in_the_running(filtered, source, target, 10.0).tolist() == [True, True, True]
    assert in_the_running(torch.tensor([-20.0, -0.1, -0.1]), source, target, 10.0).tolist() == [False, True, True]


def test_a_model_that_hears_frames_together_is_refused(tone_model):
    with pytest.raises(DataError, match="others around it"):
        session_of(replace(tone_model, splice=2), PhoneListener(tone_model))
