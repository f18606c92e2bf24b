"""Label files: what is written is read, and the formats of other tools too."""

import pytest

from semihmm.errors import DataError
from semihmm.speech import Alignment, Interval, Tiers, read_labels, read_textgrid, save_textgrid
from semihmm.speech.files.labels import is_timed

WORDS = (Interval(0.1, 0.3, "one"), Interval(0.3, 0.55, 'tw"o'))
PHONES = (Interval(0.1, 0.2, "W"), Interval(0.2, 0.3, "AH"), Interval(0.3, 0.55, "T"))


def test_a_textgrid_comes_back(tmp_path):
    save_textgrid(tmp_path / "a.TextGrid", {"words": WORDS, "phones": PHONES}, duration=0.75)
    assert read_labels(tmp_path / "a.TextGrid") == Tiers(WORDS, PHONES)
    assert "xmax = 0.75" in (tmp_path / "a.TextGrid").read_text()


def test_writing_prints_nothing_whatever_the_duration(tmp_path, capsys):
    duration = 113309 / 22050  # more digits than are written
    save_textgrid(tmp_path / "a.TextGrid", {"words": [Interval(0.1, duration, "one")]}, duration=duration)
    assert capsys.readouterr() == ("", "")
    assert read_labels(tmp_path / "a.TextGrid").words[0].end == pytest.approx(duration, abs=1e-8)


def test_pauses_and_empty_intervals_are_left_out(tmp_path):
    labels = [Interval(0, 0.1, "sil"), Interval(0.1, 0.2, "AA"), Interval(0.2, 0.2, "B"), Interval(0.2, 0.5, "sp")]
    save_textgrid(tmp_path / "a.TextGrid", {"phones": labels}, duration=0.5)
    assert read_textgrid(tmp_path / "a.TextGrid").phones == (Interval(0.1, 0.2, "AA"),)


def test_tiers_are_found_by_usual_names_or_by_the_name_given(tmp_path):
    path = tmp_path / "a.TextGrid"
    tiers = {"Word": PHONES[:1], "Ann - words": WORDS, "Phonetic": PHONES[:2], "Phoneme": PHONES, "odd": WORDS[:1]}
    save_textgrid(path, tiers, duration=1)
    assert read_labels(path) == Tiers(WORDS, PHONES)
    assert read_labels(path, word_tier="odd", phone_tier="Phonetic") == Tiers(WORDS[:1], PHONES[:2])
    with pytest.raises(DataError, match="no interval tier 'nothing'"):
        read_labels(path, word_tier="nothing")


def test_a_tier_that_is_not_there_is_none(tmp_path):
    save_textgrid(tmp_path / "a.TextGrid", {"other": WORDS}, duration=1)
    assert read_labels(tmp_path / "a.TextGrid") == Tiers(None, None)


def test_a_textgrid_in_praat_s_short_form(tmp_path):
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", "1", "<exists>", "1"]
    lines += ['"IntervalTier"', '"words"', "0", "1", "2", "0", "0.5", '""', "0.5", "1", '"yes"']
    (tmp_path / "a.TextGrid").write_text("\n".join(lines) + "\n")
    assert read_labels(tmp_path / "a.TextGrid").words == (Interval(0.5, 1, "yes"),)


@pytest.mark.parametrize(
    "content", ["", "no textgrid\n", 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n1\n']
)
def test_what_is_no_textgrid_is_refused_by_name(tmp_path, content):
    (tmp_path / "a.TextGrid").write_text(content)
    with pytest.raises(DataError, match=r"a\.TextGrid"):
        read_labels(tmp_path / "a.TextGrid")


def test_hts_labels_are_in_tenths_of_a_microsecond(tmp_path):
    (tmp_path / "a.lab").write_text("0 1000000 sil\n1000000 2500000 hh\n\n2500000 4000000 iy\n")
    phones = read_labels(tmp_path / "a.lab").phones
    assert [item.label for item in phones] == ["hh", "iy"]
    assert [item.start for item in phones] == pytest.approx([0.1, 0.25])


def test_hts_full_context_states_are_joined_into_phones(tmp_path):
    lines = [f"{i * 100000} {(i + 1) * 100000} x^sil-{phone}+b=c@1/A:0{state}" for i, (phone, state) in
             enumerate([("aa", "[2]"), ("aa", "[3]"), ("b", "[2]"), ("b", "[3]")])]  # fmt: skip
    (tmp_path / "a.lab").write_text("\n".join(lines))
    phones = read_labels(tmp_path / "a.lab").phones
    assert [item.label for item in phones] == ["aa", "b"]
    assert [item.end for item in phones] == pytest.approx([0.02, 0.04])


def test_equal_neighbours_without_states_stay_two(tmp_path):
    (tmp_path / "a.lab").write_text("0 100000 n\n100000 200000 n\n")
    assert len(read_labels(tmp_path / "a.lab").phones) == 2


def test_esps_labels_name_their_ends(tmp_path):
    (tmp_path / "a.lab").write_text("signal a\nnfields 1\n#\n\t0.1875\t125\tH#\n\t0.257\t125\tV\n\t0.34 125 m\n")
    assert read_labels(tmp_path / "a.lab").phones == (Interval(0.1875, 0.257, "V"), Interval(0.257, 0.34, "m"))


def test_a_transcript_is_not_taken_for_labels(tmp_path):
    assert not is_timed("the quick brown fox")
    assert not is_timed("")
    assert is_timed("0 10 a\n")
    (tmp_path / "a.lab").write_text("the quick brown fox")
    with pytest.raises(DataError, match="holds no times"):
        read_labels(tmp_path / "a.lab")


def test_labels_out_of_order_are_refused(tmp_path):
    (tmp_path / "a.lab").write_text("200000 300000 a\n0 100000 b\n")
    with pytest.raises(DataError, match="go back in time"):
        read_labels(tmp_path / "a.lab")


def test_unknown_endings_and_unreadable_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="should end in one of"):
        read_labels(tmp_path / "a.xml")
    with pytest.raises(DataError, match="cannot read"):
        read_labels(tmp_path / "missing.lab")


def test_an_interval_does_not_end_before_it_starts():
    with pytest.raises(DataError, match="start <= end"):
        Interval(1.0, 0.5, "a")


def test_an_alignment_s_json_has_labels(tmp_path):
    alignment = Alignment("one two", 1.0, WORDS, PHONES, frames=100, log_likelihood=-5.0)
    alignment.save(tmp_path / "a.TextGrid", tmp_path / "a.json")
    assert read_labels(tmp_path / "a.json") == read_labels(tmp_path / "a.TextGrid") == Tiers(WORDS, PHONES)
