"""Edges, overlaps and durations of matched labels, on cases worked out by hand."""

import math

import pytest

from semihmm.speech import Interval, Tiers, compare


def tier(*items):
    return tuple(Interval(start, end, label) for label, start, end in items)


LEFT = Tiers(phones=tier(("HH", 0.1, 0.2), ("IY", 0.2, 0.4), ("T", 0.5, 0.6), ("AA", 0.6, 0.9)))
RIGHT = Tiers(phones=tier(("HH", 0.12, 0.2), ("IY", 0.2, 0.45), ("T", 0.5, 0.57), ("AA", 0.57, 0.9)))


@pytest.fixture
def matches():
    return compare(LEFT, RIGHT).phone_matches


def test_starts_and_ends_are_differences_of_edges(matches):
    assert matches.starts.differences == pytest.approx((0.02, 0.0, 0.0, -0.03))
    assert matches.ends.differences == pytest.approx((0.0, 0.05, -0.03, 0.0))


def test_internal_boundaries_follow_on_a_label_without_a_pause(matches):
    assert matches.internal.differences == pytest.approx((0.0, -0.03))


def test_kinds_and_transitions_are_the_references(matches):
    assert {kind: errors.n for kind, errors in matches.by_kind.items()} == {"vowel": 2, "fricative": 1, "stop": 1}
    assert {pair: errors.differences for pair, errors in matches.by_transition.items()} == {
        ("pause", "fricative"): pytest.approx((0.02,)),
        ("fricative", "vowel"): pytest.approx((0.0,)),
        ("pause", "stop"): pytest.approx((0.0,)),
        ("stop", "vowel"): pytest.approx((-0.03,)),
    }


def test_groups_add_up_to_the_whole(matches):
    for groups in (matches.by_kind, matches.by_transition):
        together = [difference for errors in groups.values() for difference in errors.differences]
        assert sorted(together) == sorted(matches.starts.differences)


def test_overlap_is_shared_over_joint_time(matches):
    assert matches.overlap == pytest.approx((0.8 + 0.2 / 0.25 + 0.7 + 0.3 / 0.33) / 4)


def test_missing_labels_overlap_nothing_and_extra_ones_are_of_their_own_kind():
    more = Tiers(phones=(*LEFT.phones, Interval(0.9, 1.0, "S")))
    found = compare(more, LEFT).phone_matches
    assert found.overlap == pytest.approx(4 / 5)
    assert found.by_transition["vowel", "fricative"].missing == 1
    found = compare(LEFT, more).phone_matches
    assert found.overlap == pytest.approx(1.0)
    assert found.by_transition["vowel", "fricative"].extra == 1


def test_durations_are_those_of_matched_labels(matches):
    assert matches.durations.pairs == tuple(
        (pytest.approx(a.end - a.start), pytest.approx(b.end - b.start))
        for a, b in zip(LEFT.phones, RIGHT.phones, strict=True)
    )


def test_recordings_add_up(matches):
    both = matches + matches
    assert both.starts == matches.starts + matches.starts
    assert both.overlap == pytest.approx(matches.overlap)


def test_nothing_overlaps_nothing():
    nothing = compare(Tiers(words=()), Tiers(words=())).word_matches
    assert math.isnan(nothing.overlap)
    assert nothing.durations.n == 0
    assert nothing.by_kind == {}


def test_words_of_no_length_overlap_where_they_are():
    point = Tiers(words=tier(("a", 0.5, 0.5)))
    assert compare(point, point).word_matches.overlap == 1.0
    assert compare(point, Tiers(words=tier(("a", 0.4, 0.5)))).word_matches.overlap == 0.0
