"""Thousands of damaged lists and annotations: each is read, or refused by name."""

import random

import pytest

from semihmm.errors import DataError
from semihmm.speech import Interval, find_recordings, save_textgrid
from semihmm.speech.files.labels import read_lab

SEEDS = {
    "metadata.csv": b'a|He said "$3".|He said three dollars.\nb|Only this|\nwavs/c.wav|Yes.|yes\n',
    "metadata.tsv": b"file_name\ttext\tspeaker\tstart\tend\na.wav\the was\tann\t0\t1\nb.wav\tnot ill\tbob\t1\t2.5\n",
    "x.trans.txt": b"a HE BEGAN A CONFUSED COMPLAINT\nb GIVE NOT\n",
    "x.stm": b";; comment\na 1 ann 0.0 1.5 <o,f0> he was {not / ill}\nb A bob 0:00:01 2.0 disposed\n",
    "x.ctm": b"a 1 0.0 0.4 he 0.9\na 1 0.5 0.4 was 0.8 lex ann\nb A 0.2 0.1 <ALT_BEGIN>\nb A 0.2 0.1 ill\n",
    "a.srt": b"1\n00:00:00,000 --> 00:00:01,100\n[ANN]: <i>he</i> was\n\n2\n00:00:01,100 --> 00:00:02,900\nan ill\n",
    "a.vtt": b"WEBVTT\n\nNOTE x\n\n1\n00:00.000 --> 00:01.100 align:start\n<v Ann>he &amp; was</v>\n\n00:02.000 --> "
    b"00:03.000\nnot\n",
    "a.csv": b'start,end,text,speaker\n0,1.1,"he was, not",ann\n0:00:01.1,2.9,an ill,bob\n',
    "a.tsv": b"start\tend\ttext\n0\t1100\the was\n1100\t2900\tnot\n",
    "a.json": b'{"segments": [{"start": 0.0, "end": 1.1, "text": " he was", "speaker": "ann"}, '
    b'{"start": 1.1, "end": 2, "text": "not"}]}',
    "x.jsonl": b'{"audio_filepath": "a.wav", "text": "he was", "offset": 0.5, "duration": 1.5, "speaker": 3}\n'
    b'{"audio_filepath": "b.wav", "text": "not"}\n',
    "a.txt": b"0.000000\t1.100000\the was not\n1.100000\t2.900000\tan ill\n",
    "a.lab": b"0 1000000 sil\n1000000 2500000 x^sil-hh+iy=w@1/A:0[2]\n2500000 4000000 iy\n",
    "b.lab": b"signal a\nnfields 1\n#\n\t0.1875\t125\tH#\n\t0.257\t125\tV\n\t0.34 125 m\n",
    "a.eaf": b"""<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT><TIME_ORDER><TIME_SLOT TIME_SLOT_ID="t1" TIME_VALUE="0"/><TIME_SLOT TIME_SLOT_ID="t2"
TIME_VALUE="1100"/></TIME_ORDER><TIER TIER_ID="words@ann" PARTICIPANT="Ann"><ANNOTATION><ALIGNABLE_ANNOTATION
ANNOTATION_ID="a1" TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t2"><ANNOTATION_VALUE>he was &amp; not</ANNOTATION_VALUE>
</ALIGNABLE_ANNOTATION></ANNOTATION></TIER></ANNOTATION_DOCUMENT>""",
}
PIECES = [
    b"\0",
    b"\xff",
    b"\xfe\xff",
    b"\xef\xbb\xbf",
    b"|",
    b"\t",
    b",",
    b'"',
    b"\n",
    b"\r",
    b"../",
    b"/",
    b"\\",
    b"C:\\",
    b"#",
]
PIECES += [
    b"999999999999999999999",
    b"1e999",
    b"-1",
    b"nan",
    b"\xc2\xb2",
    b"-->",
    b"<",
    b"&x;",
    b"{",
    b" ",
    b"x" * 5000,
]
PIECES += [b"null", b"[", b"}", b"true"]
PIECES += [
    "٣".encode(),
    b"\xe2\x80\xa8",
    b"\xed\xb3\xbf",
    b"",
    b"a",
    b"0",
    b"<ALT>",
    b"null",
    b"[",
    b"}",
    b"true",
    b"text",
    b"start",
    b"\x1b[31m",
]


def damaged(content, rng):
    """A few bytes cut out, doubled, replaced or put in."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content) + 1)
        size = rng.choice([0, 0, 1, 3, 20])
        middle = rng.choice([rng.choice(PIECES), content[at : at + size] * 2, bytes([rng.randrange(256)])])
        content = content[:at] + middle + content[at + size :]
    if rng.random() < 0.1:
        content = content[: rng.randrange(len(content) + 1)]
    if rng.random() < 0.1:
        content = content.decode("latin-1").encode(rng.choice(["utf-16", "utf-16-le", "utf-32"]))
    return content


@pytest.fixture
def corpus(tmp_path):
    for sound in ("a.wav", "b.wav", "wavs/c.wav"):
        (tmp_path / sound).parent.mkdir(exist_ok=True)
        (tmp_path / sound).touch()
    return tmp_path


def said(corpus):
    """What each recording says, or why it says nothing."""
    found = {}
    for item in find_recordings(corpus):
        try:
            found[item.name] = [(part.speaker, part.label) for part in item.utterances()]
        except DataError as error:
            found[item.name] = str(error)
    return found


@pytest.mark.parametrize("name", [*SEEDS, "a.TextGrid"])
def test_what_is_damaged_is_read_or_refused_by_name(corpus, name):
    rng = random.Random(f"seed of {name}")
    path = corpus / name
    if name == "a.TextGrid":
        tiers = {"Ann": [Interval(0, 1, 'he "was"')], "Bob": [Interval(1, 2, "not")], "phones": [Interval(0, 1, "HH")]}
        save_textgrid(path, tiers, duration=3)
        content = path.read_bytes()
    else:
        content = SEEDS[name]
    path.write_bytes(content)
    whole = said(corpus)
    assert isinstance(whole["a" if name != "b.lab" else "b"], str if name.endswith(".lab") else list)
    outcomes = set()
    for _ in range(240):
        path.write_bytes(damaged(content, rng))
        found = said(corpus)
        assert found.keys() >= {"a", "b", "wavs/c"}
        outcomes.add(repr(found))
        if name.endswith(".lab"):
            try:
                read_lab(path)
            except DataError:
                outcomes.add("refused")
    assert len(outcomes) > 20
