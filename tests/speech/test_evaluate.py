"""Boundary errors, on cases worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semihmm.errors import DataError
from semihmm.speech import Alignment, BoundaryErrors, Interval, Tiers, compare, evaluate, save_textgrid
from semihmm.speech.metrics.evaluate import match, read_phone_map


def tier(text, starts, length=0.1):
    return tuple(Interval(start, start + length, label) for label, start in zip(text.split(), starts, strict=True))


def test_figures_are_their_definitions():
    errors = BoundaryErrors((0.010, -0.020, 0.0, 0.070), missing=2, extra=1)
    assert errors.n == 4
    assert errors.mean == pytest.approx(0.025)
    assert errors.median == pytest.approx(0.015)
    assert errors.bias == pytest.approx(0.015)
    assert [errors.within(limit) for limit in (0.005, 0.010, 0.020, 0.1)] == [0.25, 0.5, 0.75, 1.0]


def test_a_boundary_exactly_at_the_tolerance_is_within():
    assert BoundaryErrors((0.3 - 0.28,)).within(0.02) == 1.0  # 0.020000000000000018 in binary


def test_no_items_have_no_figures():
    nothing = BoundaryErrors(missing=3)
    assert all(math.isnan(x) for x in (nothing.mean, nothing.median, nothing.bias, nothing.within(0.1)))


def test_errors_add_up():
    total = BoundaryErrors((0.1,), 1, 2) + BoundaryErrors((0.2, 0.3), 3, 4)
    assert total == BoundaryErrors((0.1, 0.2, 0.3), 4, 6)


def test_equal_labels_have_no_errors_and_a_shift_is_a_bias():
    tiers = Tiers(tier("a b", [0.1, 0.3]), tier("AA B", [0.1, 0.3]))
    same = compare(tiers, tiers)
    assert same.words.differences == same.phones.differences == (0.0, 0.0)
    later = Tiers(tier("a b", [0.12, 0.32]), tier("AA B", [0.12, 0.32]))
    assert compare(tiers, later).phones.bias == pytest.approx(0.02)
    assert compare(later, tiers).phones.bias == pytest.approx(-0.02)


def test_a_word_far_away_is_an_error_and_not_missing():
    errors = compare(Tiers(words=tier("one two", [0, 1])), Tiers(words=tier("one two", [0, 9]))).words
    assert errors.differences == (0.0, 8.0)
    assert errors.missing == errors.extra == 0


def test_missing_and_extra_words_are_counted_apart():
    long, short = (
        Tiers(words=tier("The big dog barks", [0, 1, 2, 3])),
        Tiers(words=tier("the dog barks!", [0.1, 2.1, 3])),
    )
    errors = compare(long, short).words
    assert errors.differences == pytest.approx((0.1, 0.1, 0.0))
    assert (errors.missing, errors.extra) == (1, 0)
    errors = compare(short, long).words
    assert (errors.n, errors.missing, errors.extra) == (3, 0, 1)


def test_as_many_phones_in_a_word_are_matched_in_order_whatever_their_labels():
    words = tier("hit", [0.0], 1.0)
    left, right = Tiers(words, tier("h I t_H", [0, 0.2, 0.4])), Tiers(words, tier("HH IH DX", [0.01, 0.21, 0.41]))
    assert compare(left, right).phones.differences == pytest.approx((0.01, 0.01, 0.01))


def test_a_phone_that_was_not_said_is_left_out_by_its_kind():
    """Considered without its R: SAMPA by hand against ARPAbet from a dictionary."""
    words = tier("sidered", [0.0], 2.0)
    left = Tiers(words, tier("s I d @ d", [0, 0.2, 0.4, 0.6, 0.8]))
    right = Tiers(words, tier("S IH D ER R D", [0.01, 0.21, 0.41, 0.61, 0.7, 0.81]))
    errors = compare(left, right).phones
    assert errors.differences == pytest.approx((0.01,) * 5)
    assert (errors.missing, errors.extra) == (0, 1)


def test_a_compound_at_the_beginning_of_a_word_is_the_last_phone_of_the_word_before():
    """His strengths: EMU's labels put what runs together into the later word."""
    left = Tiers(tier("his str", [0, 0.2]), tier("h I z_s t r", [0, 0.1, 0.2, 0.3, 0.4]))
    right = Tiers(tier("his str", [0, 0.28]), tier("HH IH Z S T R", [0.01, 0.11, 0.21, 0.28, 0.31, 0.41]))
    errors = compare(left, right).phones
    assert errors.differences == pytest.approx((0.01,) * 5)
    assert (errors.missing, errors.extra) == (0, 1)
    paused = Tiers(tier("his str", [0, 0.5]), tier("h I z_s t r", [0, 0.1, 0.5, 0.6, 0.7]))
    assert compare(paused, right).phones.differences == pytest.approx((0.01, 0.01, -0.22, -0.29, -0.29))
    first = Tiers(tier("str", [0.2]), tier("z_s t r", [0.2, 0.3, 0.4]))
    assert compare(first, first).phones.differences == (0.0,) * 3


def test_without_words_all_phones_are_matched_at_once():
    errors = compare(Tiers(phones=tier("hh ah t", [0, 0.1, 0.2])), Tiers(phones=tier("HH T", [0, 0.25]))).phones
    assert errors.differences == pytest.approx((0.0, 0.05))
    assert errors.missing == 1


def test_phones_between_words_are_not_lost():
    left = Tiers(tier("a b", [0.1, 1.0]), tier("AA R B", [0.1, 0.5, 1.0]))  # R lies after the end of its word
    assert compare(left, left).phones.n == 3


def test_the_phones_of_a_missing_word_are_missing():
    left = Tiers(tier("a b", [0, 1]), tier("AA B", [0, 1]))
    right = Tiers(tier("b", [1]), tier("B", [1.1]))
    errors = compare(left, right).phones
    assert errors.differences == pytest.approx((0.1,))
    assert errors.missing == 1


@given(st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_matching_is_in_order_complete_and_of_least_cost(left, right):
    pairs = match(left, right, lambda a, b: float(a != b))
    assert "".join(a for a, _ in pairs if a) == left
    assert "".join(b for _, b in pairs if b) == right

    def levenshtein(a, b):
        if not a or not b:
            return len(a) + len(b)
        return min(levenshtein(a[1:], b) + 1, levenshtein(a, b[1:]) + 1, levenshtein(a[1:], b[1:]) + (a[0] != b[0]))

    assert sum(a != b for a, b in pairs) == levenshtein(left, right)


def test_files_of_different_formats_are_compared(tmp_path):
    phones = tier("HH IY", [0.1, 0.2])
    save_textgrid(tmp_path / "a.TextGrid", {"phones": phones}, duration=1)
    (tmp_path / "b.lab").write_text("0 1100000 pau\n1100000 2200000 hh\n2200000 3000000 iy\n")
    result = evaluate(tmp_path / "a.TextGrid", tmp_path / "b.lab")
    assert result.phones.differences == pytest.approx((0.01, 0.02))
    assert result.words is None
    assert result.unmatched == ()


def test_folders_are_compared_by_name(tmp_path):
    words, phones = tier("he", [0.1], 0.2), tier("HH IY", [0.1, 0.2])
    for name in ("x/one", "x/two", "only left"):
        path = tmp_path / "left" / f"{name}.TextGrid"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_textgrid(path, {"my words": words, "phones": phones}, duration=1)
    for name in ("x/one", "x/two", "only right"):
        path = tmp_path / "right" / f"{name}.json"
        moved = Alignment("he", 1.0, tier("he", [0.2]), tier("HH IY", [0.2, 0.3]), frames=9, log_likelihood=0.0)
        moved.save(path.with_suffix(".TextGrid"), path)
    result = evaluate(tmp_path / "left", tmp_path / "right", word_tier="my words", phone_tier="phones")
    assert result.recordings == 2
    assert result.words.differences == pytest.approx((0.1, 0.1))
    assert result.phones.differences == pytest.approx((0.1,) * 4)
    assert result.unmatched == ("only left", "only right")


def by(speaker, *labels):
    return tuple(Interval(start, end, label, speaker=speaker) for start, end, label in labels)


def in_order(*items):
    return tuple(sorted(items, key=lambda item: item.start))


def test_each_speakers_labels_are_matched_with_the_same_speakers_though_they_overlap():
    ann = by("Ann", (0.0, 0.4, "yes"), (0.4, 0.8, "no"), (1.0, 1.2, "yes"))
    bob = by("Bob", (0.1, 0.5, "yes"), (0.5, 0.9, "yes"))
    late = by("Bob", (0.12, 0.5, "yes"), (0.52, 0.9, "yes"))
    found = compare(Tiers(in_order(*ann, *bob)), Tiers(in_order(*ann, *late)))
    assert found.recordings == 1
    assert sorted(found.words.differences) == pytest.approx([0, 0, 0, 0.02, 0.02])
    assert (found.words.missing, found.words.extra) == (0, 0)
    assert found.word_matches.internal.n == 2  # what Bob says does not interrupt Ann


def test_a_speaker_of_one_side_alone_is_missing_or_extra():
    ann, bob, eve = (by(name, (0.1, 0.4, "yes"), (0.4, 0.6, "no")) for name in ("Ann", "Bob", "Eve"))
    found = compare(Tiers(in_order(*ann, *bob), bob), Tiers(in_order(*ann, *eve), eve)).words
    assert (found.n, found.missing, found.extra) == (2, 2, 2)


def test_speakers_of_other_names_are_matched_as_one():
    one, other = (by(name, (0.1, 0.4, "yes"), (0.4, 0.6, "no")) for name in ("Ann", "speaker 1"))
    assert compare(Tiers(one), Tiers(other)).words.n == 2
    assert compare(Tiers(one), Tiers(tier("yes no", [0.1, 0.4]))).words.n == 2


def test_folders_of_several_speakers_are_compared_by_tier(tmp_path):
    tiers = {"Ann - words": by(None, (0.0, 0.5, "yes")), "Bob - words": by(None, (0.1, 0.9, "yes"))}
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        save_textgrid(tmp_path / name / "a.TextGrid", tiers, duration=1.0)
    found = evaluate(tmp_path / "left", tmp_path / "right").words
    assert found.differences == (0.0, 0.0)


def test_words_of_another_text_are_missing_and_extra():
    found = compare(Tiers(words=tier("he was not there", range(4))), Tiers(words=tier("nor will she come", range(4))))
    assert (found.words.n, found.words.missing, found.words.extra) == (0, 4, 4)


@pytest.mark.parametrize(("a", "b"), [("Café", "cafe\u0301"), ("naïve", "naive"), ("it's,", "It's"), ("co-op", "Coop")])
def test_case_accents_and_punctuation_are_no_other_word(a, b):
    assert compare(Tiers(words=tier(a, [0])), Tiers(words=tier(b, [0]))).words.n == 1


@pytest.mark.parametrize("side", ["left", "right"])
def test_of_several_files_of_a_name_the_textgrid_is_read(tmp_path, side):
    """It is what people correct: the JSON and the .lab beside it are older."""
    (tmp_path / side).mkdir()
    (tmp_path / "other").mkdir()
    save_textgrid(tmp_path / "other" / "a.TextGrid", {"words": tier("he", [0.1])}, duration=1)
    Alignment("he", 1.0, tier("he", [0.5]), (), frames=9, log_likelihood=0.0).save(
        tmp_path / side / "a.TextGrid", tmp_path / side / "a.json"
    )
    (tmp_path / side / "a.lab").write_text("0 1100000 hh\n")
    save_textgrid(tmp_path / side / "a.TextGrid", {"words": tier("he", [0.2])}, duration=1)
    folders = (tmp_path / "left", tmp_path / "other") if side == "left" else (tmp_path / "other", tmp_path / "right")
    assert abs(evaluate(*folders).words.differences[0]) == pytest.approx(0.1)


def test_a_phone_map_says_what_the_references_labels_stand_for(tmp_path):
    (tmp_path / "a.lab").write_text("0 1000000 x1\n1000000 2000000 x2\n")
    (tmp_path / "b.lab").write_text("0 1000000 hh\n1000000 2000000 iy\n")
    (tmp_path / "map").write_text("x1 HH\n\nx2 IY\n")
    errors = evaluate(tmp_path / "a.lab", tmp_path / "b.lab", phone_map=read_phone_map(tmp_path / "map")).phone_matches
    assert list(errors.by_kind) == ["fricative", "vowel"]


@pytest.mark.parametrize("content", [b"a\n", b"a b c\n", b"\xff\xfe\xff"])
def test_a_phone_map_that_is_none_is_refused(tmp_path, content):
    (tmp_path / "map").write_bytes(content)
    with pytest.raises(DataError, match="read_phone_map"):
        read_phone_map(tmp_path / "map")


def test_nothing_in_common_is_refused(tmp_path):
    save_textgrid(tmp_path / "a.TextGrid", {"words": tier("x", [0])}, duration=1)
    (tmp_path / "b.lab").write_text("0 100 x\n")
    with pytest.raises(DataError, match="on both sides"):
        evaluate(tmp_path / "a.TextGrid", tmp_path / "b.lab")
    with pytest.raises(DataError, match="no file or folder"):
        evaluate(tmp_path / "missing", tmp_path / "b.lab")
