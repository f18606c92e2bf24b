"""How long phones last where they stand."""

import math

import pytest
import torch

from semihmm.errors import DataError, ShapeError
from semihmm.models.durations import Geometric, Poisson
from semihmm.speech import Interval
from semihmm.speech.training import PhoneDurations, predict_durations


def tier(*items):
    """Phones one after the other: label and seconds; a number alone is a pause."""
    found, at = [], 0.0
    for item in items:
        label, seconds = item if isinstance(item, tuple) else (None, item)
        if label is not None:
            found.append(Interval(at, at + seconds, label))
        at += seconds
    return tuple(found)


MANY = [tier(*[("T", 0.05), ("AA", 0.1), ("S", 0.1), ("AA", 0.2), 0.1] * 20)]


def test_a_phone_lasts_as_it_did_in_its_context():
    durations = PhoneDurations.fit(MANY, law=Poisson)
    inside, last = (durations(tier(("T", 1.0), ("AA", 1.0), ("S", 1.0), ("AA", 1.0)))[i] for i in (1, 3))
    # 20 phones and 4 more as long as AA on average: 0.15 s
    assert inside == pytest.approx((20 * 0.1 + 4 * (20 * 0.1 + 4 * 0.15) / 24) / 24, rel=0.01)
    assert last == pytest.approx((20 * 0.2 + 4 * (20 * 0.2 + 4 * 0.15) / 24) / 24, rel=0.01)


def test_phones_that_were_not_seen_last_as_their_kind_does():
    durations = PhoneDurations.fit([tier(*[("S", 0.1), ("AA", 0.14)] * 20)])
    assert durations(tier(("Z", 1.0)))[0] == pytest.approx(0.1 * 20 / 24 + 0.12 * 4 / 24, rel=0.01)  # a fricative
    assert durations(tier(("M", 1.0)))[0] == pytest.approx(0.12, rel=0.01)  # no nasal was seen


def test_the_times_of_a_recording_do_not_matter_but_for_its_pauses():
    durations = PhoneDurations.fit(MANY)
    assert durations(tier(("T", 0.3), ("AA", 0.02))) == durations(tier(("T", 0.1), ("AA", 0.5)))
    assert durations(tier(("T", 0.1), 0.2, ("AA", 0.5))) != durations(tier(("T", 0.1), ("AA", 0.5)))


def test_durations_add_up_to_a_total_and_those_that_vary_take_most_of_it():
    vary = [tier(*[("T", 0.05), ("AA", 0.1 + 0.01 * (i % 9))]) for i in range(60)]
    durations = PhoneDurations.fit(vary)
    phones = tier(("T", 1.0), ("AA", 1.0))
    plain, longer = durations(phones), durations(phones, total=0.3)
    assert sum(longer) == pytest.approx(0.3)
    assert longer[1] - plain[1] > longer[0] - plain[0] > 0


def test_log_prob_is_that_of_the_laws():
    durations = PhoneDurations.fit(MANY, law=Geometric, frame_rate=100)
    one = tier(("T", 0.05))
    row = durations.law().detach()[durations.contexts[("stop", "T")]]  # it was never between two pauses
    assert durations.log_prob(one) == pytest.approx(float(row[4]))
    assert math.isfinite(durations.log_prob(tier(("T", 60.0))))
    assert torch.allclose(durations.law().exp().sum(-1), torch.ones((), dtype=torch.float64))


def test_held_out_recordings_are_predicted_by_the_others():
    tiers = [tier(("AA", 0.1), ("T", 0.05)), tier(("AA", 0.2), ("T", 0.05)), tier(("AA", 0.3), ("T", 0.05))]
    errors = predict_durations(tiers, ["ann", "bob", "bob"])["phone's mean"]
    assert {(round(a, 6), round(b, 6)) for a, b in errors.pairs} == {
        (0.1, 0.25), (0.05, 0.05), (0.2, 0.1), (0.3, 0.1),
    }  # fmt: skip


def test_what_cannot_be_predicted_is_refused():
    with pytest.raises(DataError, match="no phones"):
        PhoneDurations.fit([()])
    with pytest.raises(DataError, match="two groups"):
        predict_durations(MANY, ["ann"])
    with pytest.raises(ShapeError, match="1 tiers, and groups of 2"):
        predict_durations(MANY, ["ann", "bob"])
