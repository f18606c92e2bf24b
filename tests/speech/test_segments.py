"""Utterances with times, in every format that people have them in."""

import pytest

from semihmm.errors import DataError
from semihmm.speech import Interval, Tiers, read_textgrid
from semihmm.speech.corpora.segments import Tier, in_lanes, is_audacity, join_words, read_segments, utterances_of
from semihmm.speech.files.textgrid import read_tiers


def said(intervals):
    return [(item.speaker, item.start, item.end, item.label) for item in intervals]


@pytest.fixture
def read(tmp_path):
    def read(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return said(read_segments(path))

    return read


TWO = [("Ann", 0.0, 1.5, "he was"), ("Bob", 1.5, 2.0, "not")]
SRT = "1\r\n00:00:00,000 --> 00:00:01,500\r\n[Ann]: he\r\n<b>was</b>\r\n\r\n2\r\n0:00:01.500 --> 0:00:02.000"
SRT += "\r\n[Bob]: not\r\n"
VTT = """WEBVTT - a title

NOTE
said by nobody

STYLE
::cue { color: red }

intro
00:00.000 --> 00:01.500 align:start position:0%
<v.loud Ann>he <00:00:00.500><c>was</c></v>

00:00:01.500 --> 00:00:02.000
<v Bob>not
"""
EAF = """<ANNOTATION_DOCUMENT><HEADER TIME_UNITS="milliseconds"/><TIME_ORDER>
<TIME_SLOT TIME_SLOT_ID="a" TIME_VALUE="0"/><TIME_SLOT TIME_SLOT_ID="b" TIME_VALUE="1500"/>
<TIME_SLOT TIME_SLOT_ID="c" TIME_VALUE="2000"/><TIME_SLOT TIME_SLOT_ID="unused"/></TIME_ORDER>
<TIER TIER_ID="text@Bob"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="1" TIME_SLOT_REF1="b" TIME_SLOT_REF2="c">
<ANNOTATION_VALUE> not </ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="text" PARTICIPANT="Ann"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="2" TIME_SLOT_REF1="a"
TIME_SLOT_REF2="b"><ANNOTATION_VALUE>he was</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="words" PARENT_REF="text"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="3" TIME_SLOT_REF1="a"
TIME_SLOT_REF2="unused"><ANNOTATION_VALUE>he</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
</ANNOTATION_DOCUMENT>"""
LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = 3
item []:
    item [1]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 2
        points: size = 1
        points [1]:
            number = 0.5
            mark = "click"
    item [2]:
        class = "IntervalTier"
        name = "Ann"
        xmin = 0
        xmax = 2
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = "he was"
        intervals [2]:
            xmin = 1.5
            xmax = 2
            text = ""
    item [3]:
        class = "IntervalTier"
        name = "Bob"
        xmin = 0
        xmax = 2
        intervals: size = 1
        intervals [1]:
            xmin = 1.5
            xmax = 2
            text = "not"
"""
SHORT = "\n".join(line.split(" = ")[-1].removeprefix("tiers? ") for line in LONG.splitlines() if "[" not in line)
SHORT = SHORT.replace("points: size = ", "").replace("intervals: size = ", "")
FILES = {
    "a.srt": SRT,
    "a.vtt": VTT,
    "a.eaf": EAF,
    "a.TextGrid": LONG,
    "a.TEXTGRID": SHORT,
    "a.csv": "begin,end,speaker,text\n0,1.5,Ann,he was\n1.5,2,Bob,not\n",
    "a.tsv": "Text\tTier\ttmin\ttmax\nhe was\tAnn\t0\t1.5\nnot\tBob\t1.5\t2\n",
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_says_the_same(read, name):
    assert read(name, FILES[name]) == TWO


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", [name for name in FILES if name != "a.eaf"])
def test_every_format_may_be_in_any_encoding(read, name, encoding):
    assert read(name, FILES[name].replace("was", "wäs").encode(encoding)) == [(*TWO[0][:3], "he wäs"), TWO[1]]


def test_a_subtitle_may_say_where_it_stands(read):
    assert read("a.srt", SRT.replace("02.000", "02.000 X1:100 X2:200 Y1:100 Y2:200")) == TWO


def test_one_speaker_needs_no_name(read):
    assert read("a.csv", "start,end,speaker,text\n0,1,Ann,he\n1,2,Ann,was\n") == [
        (None, 0, 1, "he"),
        (None, 1, 2, "was"),
    ]


def test_a_textgrid_in_free_form_with_remarks(read):
    written = LONG.replace("item []:", "").replace("he was", 'he ""was""').replace("intervals [2]", '! 7 "no"\nthen')
    assert read("a.TextGrid", written) == [("Ann", 0.0, 1.5, 'he "was"'), TWO[1]]


@pytest.mark.parametrize("end", range(1, len(LONG) - 2, 7))
def test_a_textgrid_cut_off_anywhere_is_refused(read, end):
    with pytest.raises(DataError, match=r"a\.TextGrid cannot be read as a Praat TextGrid"):
        read("a.TextGrid", LONG[:end])


def test_what_a_textgrid_lacks_is_named_with_its_line(read):
    with pytest.raises(DataError, match=r'line 26 has "xx" where a number should be'):
        read("a.TextGrid", LONG.replace("1.5", '"xx"', 1))


def test_tiers_are_speakers_unless_their_names_say_what_they_hold():
    phrase, word = [Interval(0, 2, "he was")], [Interval(0, 1, "he"), Interval(1, 2, "was")]
    tiers = {"phones": [Interval(0, 1, "HH")], "notes": [Interval(0, 1, "loud")], "words": word, "Ann": phrase}
    tiers["utterances"] = [Interval(0, 1.9, "he was")]
    assert said(utterances_of(Tier(name, None, items) for name, items in tiers.items())) == [(None, 0, 1.9, "he was")]
    del tiers["utterances"]
    assert said(utterances_of(Tier(name, None, items) for name, items in tiers.items())) == [(None, 0, 2, "he was")]
    del tiers["words"]
    tiers["Bob"] = [Interval(3, 4, "not")]
    assert said(utterances_of(Tier(name, None, items) for name, items in tiers.items())) == [
        ("Ann", 0, 2, "he was"),
        ("Bob", 3, 4, "not"),
    ]


def test_single_words_are_joined_up_to_a_pause():
    words = [Interval(0, 1, "he"), Interval(1.4, 2, "was"), Interval(2.6, 3, "not"), Interval(3, 4, "at all")]
    assert said(join_words(words)) == [(None, 0, 2, "he was"), (None, 2.6, 4, "not at all")]
    phrases = [Interval(0, 1, "he was"), Interval(1, 2, "not")]
    assert join_words(phrases) == phrases


def test_utterances_of_one_speaker_do_not_overlap():
    items = [Interval(0, 2, "a"), Interval(1, 3, "b", speaker="Ann"), Interval(1, 2.5, "c"), Interval(2, 3, "d")]
    assert said(in_lanes(items)) == [(None, 0, 2, "a"), ("Ann", 1, 3, "b"), ("2", 1, 2.5, "c"), (None, 2, 3, "d")]


def test_an_overlap_of_some_milliseconds_is_none():
    assert said(in_lanes([Interval(0, 1.005, "a"), Interval(1, 2, "b")])) == [
        (None, 0, 1.005, "a"),
        (None, 1.005, 2, "b"),
    ]


def test_labels_of_audacity_are_no_text(read):
    labels = "0.000000\t1.500000\the was\n\\\t20.0\t4000.0\n1.500000\t2.000000\tnot\n"
    assert is_audacity(labels)
    assert read("a.txt", labels) == [(None, *item[1:]) for item in TWO]
    assert not is_audacity("0.5\t1.5 he was\nnot\n")
    assert not is_audacity("")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.srt", SRT.replace("-->", "->"), "cannot be read as SRT"),
        ("a.srt", SRT.replace("00:00:00,000", "00:00:00"), "line 2 holds no two times"),
        ("a.srt", SRT.replace("01.500", "01.5"), "line 7 holds no two times"),
        ("a.srt", SRT.replace("02.000", "02.000 " + "a:b:c " * 5000 + "d"), "line 7 holds no two times"),
        ("a.srt", SRT.replace("\r\n2\r\n", "\r\n"), "no number above it"),
        ("a.srt", SRT.replace("0:00:02.000", "0:00:01.000"), "start <= end"),
        ("a.vtt", VTT.replace("00:01.500 ", "00:01,500 "), "cannot be read as VTT"),
        ("a.eaf", EAF[:-9], "cannot be read as an ELAN file"),
        ("a.eaf", EAF.replace('TIME_SLOT_REF2="c"', ""), "annotation 1 has no TIME_SLOT_REF2 with a time"),
        ("a.csv", "start,end,text\n0,soon,he\n", "line 2: 'soon' is no time"),
        ("a.csv", "start,end,text\n2,1,he\n", "start <= end"),
        ("a.csv", "he was\n", "no columns for start, end and text"),
        ("a.csv", "", "no columns for start, end and text"),
        ("a.eaf", None, "cannot be read as an ELAN file"),
    ],
)
def test_a_file_with_one_mistake_is_refused_whole(tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_text(content, newline="")
    with pytest.raises(DataError, match=reason):
        read_segments(tmp_path / name)


def test_entities_do_not_multiply(tmp_path):
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 9}">' for i in range(1, 9))
    bomb = f'<!DOCTYPE x [<!ENTITY a0 "ha">{entities}]><ANNOTATION_DOCUMENT>&a8;</ANNOTATION_DOCUMENT>'
    (tmp_path / "a.eaf").write_text(bomb)
    with pytest.raises(DataError, match="cannot be read as an ELAN file"):
        read_segments(tmp_path / "a.eaf")


def test_words_of_several_speakers_are_read_in_order_of_time(tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text(
        LONG.replace('"Ann"', '"Ann - words"').replace('"Bob"', '"Bob - words"').replace("he was", "silence")
    )
    words = Interval(0, 1.5, "silence", speaker="Ann"), Interval(1.5, 2, "not", speaker="Bob")
    assert read_textgrid(path) == Tiers(words=words)


def test_two_tiers_of_one_name_are_refused_where_one_is_meant(tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text(LONG.replace('"Ann"', '"words"').replace('"Bob"', '"words"'))
    assert [name for name, _ in read_tiers(path)] == ["words", "words"]
    for tier in (None, "words"):
        with pytest.raises(DataError, match=r"two tiers 'words'\. Rename one of them"):
            read_textgrid(path, word_tier=tier)
