"""One corpus with every odd and broken thing that people have in theirs, and what each of them gets."""

import os
import unicodedata
from dataclasses import dataclass, field

import pytest
import soundfile

from semihmm.speech import Aligner, Alignment, find_recordings
from semihmm.speech.corpora.batch import Summary, align_recordings, result_paths
from semihmm.speech.files.textgrid import read_tiers

from .conftest import RATE, spoken

SAID = "eesah see"  # for half a second each in SOUND


@dataclass(frozen=True)
class Link:
    to: str


class Folder: ...


class Pipe: ...


@dataclass(frozen=True)
class Sound:
    """The sound, as a file of another format."""

    format: str = "WAV"
    subtype: str | None = None


SOUND = Sound()


@dataclass(frozen=True)
class Kind:
    """Files, and what is expected of them: words, a reason in a list of one, or words by tier."""

    files: dict = field(default_factory=dict)
    aligned: dict = field(default_factory=dict)
    failed: dict = field(default_factory=dict)
    passed_over: dict = field(default_factory=dict)


def beside(name, content, result=SAID, sound=SOUND):
    """A recording ``a.wav`` with a file beside it."""
    return Kind({"a.wav": sound, name: content}, {"a": result})


def broken(name, content, reason):
    return Kind({"a.wav": SOUND, name: content}, failed={"a": reason})


def of_format(suffix, *format):
    return Kind({f"a{suffix}": Sound(*format), "a.txt": SAID}, {"a": SAID})


def no_sound(thing, reason):
    return Kind({"a.wav": SOUND, "a.txt": SAID, "x.wav": thing, "x.txt": SAID}, {"a": SAID}, {}, {"x.wav": reason})


def table(content, failed=None, *, aligned=SAID, name="metadata.csv"):
    """A list about ``wavs/a.wav``."""
    return Kind({"wavs/a.wav": SOUND, name: content}, {"wavs/a": aligned} if aligned else {}, failed or {})


LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "Ann"
        xmin = 0
        xmax = 1
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 0.5
            text = "eesah"
        intervals [2]:
            xmin = 0.5
            xmax = 1
            text = "see"
"""


def grid(*tiers):
    """Tiers ``(name, (start, end, text), ...)`` in Praat's short form."""
    lines = ['"ooTextFile"', '"TextGrid"', "0", "1", "<exists>", str(len(tiers))]
    for name, *intervals in tiers:
        lines += ['"IntervalTier"', f'"{name}"', "0", "1", str(len(intervals))]
        lines += [f'{start} {end} "{text}"' for start, end, text in intervals]
    return "\n".join(lines) + "\n"


FIRST, SECOND = (0, 0.5, "eesah"), (0.5, 1, "see")
SPEAKERS = {
    "Ann - words": "eesah",
    "Ann - phones": None,
    "Ann - written": None,
    "Bob - words": "see",
    "Bob - phones": None,
    "Bob - written": None,
}
FREE = """"ooTextFile" "TextGrid" ! written by hand
from 0 to 1 seconds <exists> with 1 tier of class "IntervalTier" named "Ann" from 0 to 1 in 2 intervals:
the first from 0 to 0.5 "eesah", which is ! "no" 7
0.5 1 "see"
"""
SRT = "1\n00:00:00,000 --> 00:00:00,500\n<i>eesah</i>\n\n2\n00:00:00,500 --> 00:00:01,000\nsee\n"
VTT = (
    "WEBVTT\n\nNOTE not said\n\n00:00.000 --> 00:00.500\n<v Ann>eesah</v>\n\n00:00.500 --> 00:01.000\n<v Bob>see</v>\n"
)
EAF = """<?xml version="1.0" encoding="UTF-8"?><ANNOTATION_DOCUMENT><TIME_ORDER>
<TIME_SLOT TIME_SLOT_ID="t1" TIME_VALUE="0"/><TIME_SLOT TIME_SLOT_ID="t2" TIME_VALUE="500"/>
<TIME_SLOT TIME_SLOT_ID="t3" TIME_VALUE="1000"/></TIME_ORDER>
<TIER TIER_ID="A_speech" PARTICIPANT="Ann"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="t1"
TIME_SLOT_REF2="t2"><ANNOTATION_VALUE>eesah</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="translation" PARENT_REF="A_speech"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2"
TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t2"><ANNOTATION_VALUE>ja</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
</TIER><TIER TIER_ID="B_speech" PARTICIPANT="Bob"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a3"
TIME_SLOT_REF1="t2" TIME_SLOT_REF2="t3"><ANNOTATION_VALUE>see</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
</TIER></ANNOTATION_DOCUMENT>"""
BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><ANNOTATION_DOCUMENT>&b;</ANNOTATION_DOCUMENT>'
WHISPER = """{"text": " eesah see", "language": "en", "segments": [
{"id": 0, "start": 0.0, "end": 0.5, "text": " eesah"}, {"id": 1, "start": 0.5, "end": 1.0, "text": " see"}]}"""
WHISPERX = WHISPER.replace(' eesah"}', 'eesah", "speaker": "Ann"}').replace(' see"}', 'see", "speaker": "Bob"}')
WHISPER_CPP = '{"transcription": [{"offsets": {"from": 0, "to": 1000}, "text": " eesah see"}]}'
MANIFEST = """{"audio_filepath": "wavs/a.wav", "offset": 0, "duration": 0.5, "text": "eesah"}
{"audio_filepath": "wavs/a.wav", "offset": 0.5, "duration": 0.5, "text": "see"}
"""
CAFE = unicodedata.normalize("NFC", "café")

KINDS = {
    # sounds
    "suffix in capitals": Kind({"a.WAV": SOUND, "a.txt": SAID}, {"a": SAID}),
    "wave": of_format(".wave"),
    "flac": of_format(".flac", "FLAC"),
    "ogg vorbis": of_format(".ogg", "OGG", "VORBIS"),
    "oga": of_format(".oga", "OGG", "VORBIS"),
    "opus": of_format(".opus", "OGG", "OPUS"),
    "mp3": of_format(".mp3", "MP3"),
    "aiff": of_format(".aiff", "AIFF"),
    "aif": of_format(".aif", "AIFF"),
    "au": of_format(".au", "AU"),
    "caf": of_format(".caf", "CAF"),
    "w64": of_format(".w64", "W64"),
    "rf64": of_format(".rf64", "RF64"),
    "nist sphere": of_format(".sph", "NIST"),
    "m4a": Kind({"a.wav": SOUND, "a.txt": SAID, "x.m4a": "?"}, {"a": SAID}, {}, {"x.m4a": ".m4a files cannot be read"}),
    "link to nothing": no_sound(Link("nowhere.wav"), "link to nothing"),
    "link to itself": no_sound(Link("x.wav"), "link to nothing"),
    "folder called x.wav": no_sound(Folder, "a folder"),
    "pipe called x.wav": no_sound(Pipe, "no regular file"),
    "link to a sound": Kind({"deep/a.wav": SOUND, "b.wav": Link("deep/a.wav"), "b.txt": SAID, "deep/a.txt": SAID},
                            {"b": SAID, "deep/a": SAID}),
    "link to a folder": Kind({"deep/a.wav": SOUND, "deep/a.txt": SAID, "linked": Link("deep")},
                             {"deep/a": SAID, "linked/a": SAID}),
    "link in a circle": Kind({"deep/a.wav": SOUND, "deep/a.txt": SAID, "deep/x": Link("..")}, {"deep/a": SAID}, {},
                             {"deep/x": "a folder that it lies in"}),
    "macOS's companions": Kind({"a.wav": SOUND, "a.txt": SAID, "._a.wav": "\0\5", "._a.txt": "\0\5", ".DS_Store": "\0",
                                "__MACOSX/._a.wav": "\0\5"}, {"a": SAID}),
    "two sounds of one name": Kind({"a.wav": SOUND, "a.flac": Sound("FLAC"), "a.txt": SAID, "b.wav": SOUND,
                                    "b.txt": SAID}, {"b": SAID}, {"a": "would both be called"}),
    "a name that is not UTF-8": Kind({"\udcff\udcfe.wav": SOUND, "\udcff\udcfe.txt": SAID}, {"\udcff\udcfe": SAID}),
    "a name for a terminal": Kind({"[bold]\x1b[31m\n.wav": SOUND, "[bold]\x1b[31m\n.txt": SAID},
                                  {"[bold]\x1b[31m\n": SAID}),
    "a name with several dots": Kind({"a.b.c.wav": SOUND, "a.b.c.txt": SAID}, {"a.b.c": SAID}),
    # transcripts
    "text in capitals": beside("a.TXT", SAID),
    "utf-8 with a mark": beside("a.txt", SAID.encode("utf-8-sig")),
    "utf-16 with a mark": beside("a.txt", SAID.encode("utf-16")),
    "utf-16 big-endian": beside("a.txt", b"\xfe\xff" + SAID.encode("utf-16-be")),
    "utf-16 without a mark": beside("a.txt", SAID.encode("utf-16-le")),
    "utf-32": beside("a.txt", SAID.encode("utf-32")),
    "latin-1": broken("a.txt", "caf\xe9".encode("latin-1"), "line 1 is not UTF-8"),
    "no bytes": broken("a.txt", "", "says nothing"),
    "blanks": broken("a.txt", " \n\t\n", "says nothing"),
    "no transcript": Kind({"a.wav": SOUND}, failed={"a": "no transcript: no .txt"}),
    "folder called a.txt": broken("a.txt", Folder, "no transcript: no .txt"),
    "no words": broken("a.txt", "... !", "holds no words"),
    "zero bytes": broken("a.txt", "ee\0sah", "no plain text"),
    "rich text": broken("a.txt", "{\\rtf1\\ansi eesah see}", "no plain text"),
    "text in a lab": beside("a.lab", SAID),
    "hts labels": broken("a.lab", "0 100 x\n100 200 y\n", "labels with times"),
    "hts labels with a mark": broken("a.lab", "\ufeff0 100 x\n100 200 y\n", "labels with times"),
    "esps labels": broken("a.lab", "#\nword 125 x\n", "labels with times"),
    "text in its own folder": Kind({"wav48/p1/a.wav": SOUND, "txt/p1/a.txt": SAID}, {"wav48/p1/a": SAID}),
    "audacity": beside("a.txt", "0.000\t0.500\teesah\n\\\t100.0\t200.0\n0.500\t1.000\tsee\n"),
    "too much text": broken("a.txt", "see " * 60, "longer than the audio can hold"),
    # TextGrids
    "textgrid": beside("a.TextGrid", LONG),
    "textgrid in small letters": beside("a.textgrid", LONG),
    "textgrid in the short form": beside("a.TextGrid", grid(("Ann", FIRST, SECOND))),
    "textgrid in free form": beside("a.TextGrid", FREE),
    "textgrid in utf-16": beside("a.TextGrid", LONG.encode("utf-16")),
    "textgrid in utf-16 without a mark": beside("a.TextGrid", LONG.encode("utf-16-be")),
    "textgrid without an item line": beside("a.TextGrid", LONG.replace("item []:\n", "")),
    "textgrid with two tiers of one name": beside("a.TextGrid", grid(("Ann", FIRST), ("Ann", SECOND))),
    "textgrid with an empty first tier": beside("a.TextGrid", grid(("Ann", (0, 1, "")), ("Bob", FIRST, SECOND))),
    "textgrid with a tier per speaker": beside("a.TextGrid", grid(("Ann", FIRST), ("Bob", SECOND)), SPEAKERS),
    "textgrid of MFA's": beside("a.TextGrid", grid(("Ann - words", FIRST), ("Ann - phones", (0, 0.5, "IY")),
                                                   ("Bob - words", SECOND)), SPEAKERS),
    "textgrid with speakers at once": beside("a.TextGrid", grid(("Ann", (0, 1, SAID)), ("Bob", FIRST)),
                                             SPEAKERS | {"Ann - words": SAID, "Bob - words": "eesah"}),
    "textgrid of words": beside("a.TextGrid", grid(("words", (0, 0.4, "eesah"), (0.4, 0.6, ""), (0.6, 1, "see")))),
    "textgrid with the word silence": beside("a.TextGrid", grid(("words", (0, 0.6, "silence"), (0.6, 1, "sil"))),
                                             "silence"),
    "textgrid of phones": broken("a.TextGrid", grid(("phones", FIRST)), "says nothing"),
    "textgrid of points": broken("a.TextGrid", '"ooTextFile" "TextGrid" 0 1 <exists> 1 "TextTier" "x" 0 1 1 0.5 "ah"',
                                 "says nothing"),
    "textgrid cut off": broken("a.TextGrid", LONG[:-8], "ends where a text should be"),
    "textgrid with a word for a number": broken("a.TextGrid", LONG.replace("0.5", '"half"'),
                                                'line 17 has "half" where a number should be'),
    "textgrid that ends before it starts": broken("a.TextGrid", grid(("Ann", (0.5, 0.1, "see"))), "start <= end"),
    "binary textgrid": broken("a.TextGrid", "ooBinaryFile\x08TextGrid", "Save it as a text file"),
    "no textgrid": broken("a.TextGrid", "nonsense", "cannot be read as a Praat TextGrid"),
    "utterance after the end": Kind({"a.wav": SOUND, "a.TextGrid": grid(("Ann", FIRST, (70, 90, "see")))},
                                    {"a": "eesah"}, {"a 70.000–90.000 s": "most of it is after the recording"}),
    "utterance without time": Kind({"a.wav": SOUND, "a.TextGrid": grid(("Ann", FIRST, (0.5, 0.501, "see")))},
                                   {"a": "eesah"}, {"a 0.500–0.501 s": "one window needs"}),
    "no utterance that fits": broken("a.TextGrid", grid(("Ann", (7, 8, "eesah"), (8, 9, "see"))),
                                     "none of its 2 utterances"),
    # other files with times
    "srt": beside("a.srt", SRT),
    "srt of windows": beside("a.srt", SRT.replace("\n", "\r\n").encode("utf-8-sig")),
    "srt with a broken time": broken("a.srt", SRT.replace("01,000", "0x,000"), "line 6 holds no two times"),
    "srt without a number": broken("a.srt", SRT.replace("\n2\n", "\n"), "has no number above it"),
    "vtt with voices": beside("a.vtt", VTT, SPEAKERS),
    "vtt without its head": broken("a.vtt", VTT[8:], "cannot be read as VTT"),
    "eaf": beside("a.eaf", EAF, SPEAKERS),
    "eaf without a time": broken("a.eaf", EAF.replace(' TIME_VALUE="500"', ""), "annotation a1 has no TIME_SLOT_REF2"),
    "eaf that is a bomb": broken("a.eaf", BOMB, "cannot be read as an ELAN file"),
    "eaf that is another xml": broken("a.eaf", "<html></html>", "it is a html"),
    "ctm of its own": beside("a.ctm", "file 1 0.0 0.4 eesah\nfile 1 0.6 0.4 see\n"),
    "ctm of many": table("a 1 0.0 0.4 eesah 0.9\na 1 0.6 0.4 see 0.9\nx 1 0 1 ah\n", {"x": "No such file"},
                         name="all.ctm"),
    "ctm with a broken time": table("a 1 0.0 soon eesah\n", {"wavs/a": "line 1: 'soon' is no time"}, aligned=None,
                                    name="all.ctm"),
    "stm": table(";; x\na 1 Ann 0 0.5 <o> eesah\na 1 Bob 0.5 1 {see / ah}\n", aligned=SPEAKERS, name="all.stm"),
    "csv with times": beside("a.csv", "start,end,speaker,text\n0,0.5,Ann,eesah\n0:00.5,0:01,Bob,see\n", SPEAKERS),
    "csv without times": broken("a.csv", "f0,voiced\n100,1\n", "no columns for start, end and text"),
    "tsv of whisper's, in milliseconds": beside("a.tsv", "start\tend\ttext\n0\t500\teesah\n500\t1000\tsee\n"),
    "csv of milliseconds": broken("a.csv", "start,end,text\n0,500.5,eesah see\n", "Are these seconds?"),
    "json of whisper's": beside("a.json", WHISPER),
    "json of whisperx's, with speakers": beside("a.json", WHISPERX, SPEAKERS),
    "json of whisper.cpp's": beside("a.json", WHISPER_CPP),
    "json that is cut off": broken("a.json", WHISPER[:-3], "cannot be read as JSON"),
    "json that is another": broken("a.json", '{"speaker": "Ann"}', "no list 'segments'"),
    "json of our own": broken("a.json", '{"format": "semihmm-alignment-1", "text": "see"}', "no list 'segments'"),
    "json in deep brackets": broken("a.json", "[" * 100_000, "cannot be read as JSON"),
    "json of text": broken("a.json", '"eesah"', "no list 'segments'"),
    "json without times": broken("a.json", '{"segments": [{"text": "eesah"}]}',
        "segment 1 cannot be used: None is no time"),
    "json with a time that is none": broken("a.json", WHISPER.replace("1.0", "NaN"),
        "segment 2 cannot be used: nan is no time"),
    "json with a time before 0": broken("a.json", WHISPER.replace("0.0", "-1"),
        "segment 1 cannot be used: -1 is no time"),
    "json with a true time": broken("a.json", WHISPER.replace("1.0", "true"),
        "segment 2 cannot be used: True is no time"),
    "json that goes back": broken("a.json", WHISPER.replace("1.0", "0.1"), "segment 2 cannot be used"),
    "json without a text": broken("a.json", WHISPER.replace('" see"', "3"), "it has no times, or no text"),
    "json of nothing": broken("a.json", '{"segments": []}', "says nothing"),
    "table of a textgrid": beside("a.tsv", "tmin\ttier\ttext\ttmax\n0\twords\teesah\t0.5\n0\tphones\tIY\t0.5\n"
                                  "0.5\twords\tsee\t1\n"),
    "tsv with times": beside("a.tsv", "start\tend\ttext\n0\t1\teesah see\n"),
    # lists
    "manifest of nemo's": table('{"audio_filepath": "wavs/a.wav", "text": "eesah see", "duration": 1.0}\n',
        name="train.jsonl"),
    "manifest by another name": table('{"audio_filepath": "a.wav", "text": "eesah see"}\n', name="test_manifest.json"),
    "manifest with offsets": table(MANIFEST, name="manifest.jsonl"),
    "manifest with speakers": table(MANIFEST.replace('"eesah"', '"eesah", "speaker": "Ann"').replace(
        '"see"', '"see", "speaker": "Bob"'), aligned=SPEAKERS, name="manifest.jsonl"),
    "manifest with a line that is none": table(MANIFEST + "{broken\n[1]\n", {
        "m.jsonl line 3": "it is not JSON", "m.jsonl line 4": "no object"}, name="m.jsonl"),
    "manifest with a line without a sound": table(MANIFEST + '{"text": "ah"}\n', {
        "m.jsonl line 3": "names no recording"}, name="m.jsonl"),
    "manifest with a number for a sound": table(MANIFEST + '{"audio_filepath": 3, "text": "ah"}\n', {
        "m.jsonl line 3": "should be a text"}, name="m.jsonl"),
    "manifest with a number for a text": table(MANIFEST + '{"audio_filepath": "x", "text": 3}\n', {
        "x": "its text is 3"}, name="m.jsonl"),
    "manifest with an offset without an end": table(MANIFEST + '{"audio_filepath": "x", "text": "ah", "offset": 1}\n', {
        "x": "'' is no time"}, name="m.jsonl"),
    "manifest with endless numbers": table(
        MANIFEST + '{"audio_filepath": "x", "text": "ah", "offset": 1e999, "duration": 1}\n',
        {"x": "inf is no time"}, name="m.jsonl"),
    "manifest of a sound that lies elsewhere": table(MANIFEST + '{"audio_filepath": "/etc/x.wav", "text": "ah"}\n', {
        "m.jsonl line 3": "lies outside the corpus"}, name="m.jsonl"),
    "manifest that is a list": table('[{"audio_filepath": "a.wav", "text": "see"}]', {
        "m.jsonl": "a list in JSON", "wavs/a": "no transcript"}, aligned=None, name="m.jsonl"),
    "ljspeech": table("a|Eesah, C.|Eesah see.\n"),
    "ljspeech without the last column": table("a|eesah see|\n"),
    "ljspeech without the middle column": table("a||eesah see\n"),
    "coqui": table("audio_file|text|speaker_name\na.wav|eesah see|henry\n"),
    "normalised first": table("id,normalized_text,text\na,eesah see,no\n"),
    "speaker in the middle": table("a|p225|eesah see\n"),
    "language at the end": table("a|eesah see|henry|m|en\n"),
    "commas and quotes": table('file_name,transcription\na.wav,"eesah, see"\n'),
    "tabs": table("client_id\tpath\tsentence\nx\ta.wav\teesah see\n", name="metadata.tsv"),
    "table in utf-16": table("a|eesah see\n".encode("utf-16")),
    "table with times": table("file,start,end,text\na,0,0.5,eesah\na,0.5,1,see\n"),
    "two candidates": table("a|eesah see|other words\n", {"metadata.csv": "2 'eesah see', 3 'other words'",
                            "wavs/a": "no transcript"}, aligned=None),
    "names for no text": table("id|who\na|henry\n", {"metadata.csv": "--text-column", "wavs/a": "no transcript"},
                               aligned=None),
    "two names of text": table("file|text|sentence\na|eesah see|no no\n",
                               {"metadata.csv": "1 'file', 2 'text', 3 'sentence'", "wavs/a": "no transcript"},
                               aligned=None),
    "raw and plain text": table("file|raw_text|text\na|Eesah 3|eesah see\n"),
    "ids from the top of the corpus": Kind({"wavs/a.wav": SOUND, "lists/metadata.csv": "wavs/a|eesah see\n"},
                                           {"wavs/a": SAID}),
    "absolute id": table("a|eesah see\n/etc/x|ah ah\n", {"metadata.csv line 2": "lies outside the corpus"}),
    "windows id": table("wavs\\a.wav|eesah see\nC:\\x.wav|ah ah\n", {"metadata.csv line 2": "lies outside the corpus"}),
    "id of the folder above": table("a|eesah see\n../../../x|ah\n", {"metadata.csv line 2": "lies outside the corpus"}),
    "empty id": table("a|eesah see\n|ah ah\n", {"metadata.csv line 2": "names no recording"}),
    "id with a zero": table("a|eesah see\nx\0y|ah ah\n", {"xy": "NUL"}),
    "endless field": table(f"a|eesah see\nx|{'ah ' * 70_000}\n", {"x": "more than the 131072"}),
    "endless id": table(f"a|eesah see\n{'x' * 200_000}|ah\n", {"metadata.csv line 2": "a name of 200000 characters"}),
    "line in latin-1": table(b"a|eesah see\nx|caf\xe9 ah\n", {"metadata.csv line 2": "not UTF-8"}),
    "open quotes": table('id,text\na,eesah see\nx,"ah ah\n', {"metadata.csv line 3": "not comma-separated"}),
    "text with commas": table("id,text\na,eesah see\nx,ah, ah\n", {"x": "3 columns"}),
    "no text": table("a|eesah see\nx|\n", {"x": "says nothing"}),
    "no sound": table("a|eesah see\nx|ah ah\n", {"x": "No such file"}),
    "two texts": table("a|eesah see\nwavs/a|ah ah\n", {"wavs/a": "lines 1 and 2 say different things"}, aligned=None),
    "table that cannot be read": table(b"\xff\xfea", {"metadata.csv": "UTF-16", "wavs/a": "no transcript"},
                                       aligned=None),
    "librispeech": Kind({"1/2/1-2-0.flac": Sound("FLAC"), "1/2/1-2.trans.txt": "1-2-0 EESAH SEE\n\n"},
                        {"1/2/1-2-0": SAID}),
    "sounds in folders of their own": Kind({"wav48/p1/p1_1.wav": SOUND, "metadata.csv": "p1_1|eesah see\n"},
                                           {"wav48/p1/p1_1": SAID}),
    "two sounds for one id": Kind({"x/a.wav": SOUND, "y/a.wav": SOUND, "metadata.csv": "a|ah\n"},
                                  failed={"metadata.csv line 1": "there are", "x/a": "no transcript",
                                          "y/a": "no transcript"}),
    "decomposed letters": Kind({f"{CAFE}.wav": SOUND, "metadata.csv": f"{unicodedata.normalize('NFD', CAFE)}|{SAID}\n"},
                               {CAFE: SAID}),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound():
    pieces = ("IY", 0.2), ("S", 0.1), ("AA", 0.2), ("S", 0.2), ("IY", 0.3)
    return spoken(*pieces)[0].numpy()


@pytest.fixture(scope="module")
def run(tone_model, tone_lexicon, sound, tmp_path_factory):
    """All kinds in one corpus, aligned at once: names as ``kind/name``."""
    corpus, out = tmp_path_factory.mktemp("corpus"), tmp_path_factory.mktemp("out")
    for number, kind in enumerate(KINDS.values()):
        for name, content in kind.files.items():
            path = corpus / f"{number:03}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Sound):
                soundfile.write(os.fsencode(path), sound, RATE, format=content.format, subtype=content.subtype)
            elif isinstance(content, Link):
                path.symlink_to(content.to)
            elif content is Folder:
                path.mkdir()
            elif content is Pipe:
                os.mkfifo(path)
            else:
                path.write_bytes(content if isinstance(content, bytes) else content.encode())
    recordings = find_recordings(corpus)
    summary = Summary(recordings.passed_over)
    for outcome in align_recordings(Aligner(tone_model, tone_lexicon), recordings, out):
        summary.add(outcome)
    return recordings, out, summary


def own(mapping, number):
    """What of a run belongs to one kind."""
    prefix = f"{number:03}/"
    return {name.removeprefix(prefix): value for name, value in mapping.items() if name.startswith(prefix)}


@pytest.mark.parametrize(("number", "kind"), list(enumerate(KINDS.values())), ids=list(KINDS))
def test_each_gets_what_it_should(run, number, kind):
    recordings, out, summary = run
    written = {item.name: result_paths(out, item) for item in recordings if result_paths(out, item)[1].is_file()}
    written = own(written, number)
    assert written.keys() == kind.aligned.keys()
    for name, expected in kind.aligned.items():
        textgrid, record = written[name]
        tiers = {tier: " ".join(item.label for item in items if item.label) for tier, items in read_tiers(textgrid)}
        if isinstance(expected, str):
            assert tiers["words"] == expected
            assert list(tiers) == ["words", "phones", "written"]
        else:
            assert list(tiers) == list(expected)
            assert all(tiers[tier] == words for tier, words in expected.items() if words is not None)
        assert Alignment.load(record).duration == pytest.approx(1.0, abs=0.1)
    for found, wanted in ((summary.failures, kind.failed), (summary.passed_over, kind.passed_over)):
        found = own(found, number)
        found = {name: reason.replace(f"{number:03}/", "") for name, reason in found.items()}
        assert found.keys() == wanted.keys()
        for name, reason in wanted.items():
            assert reason in found[name]
            assert not found[name].startswith("unexpected")


def test_there_are_more_than_a_hundred_kinds_and_each_counts_once(run):
    recordings, _, summary = run
    assert len(KINDS) > 100
    assert summary.aligned == sum(len(kind.aligned) for kind in KINDS.values())
    assert len(summary.failures) == sum(len(kind.failed) for kind in KINDS.values())
    assert len(summary.passed_over) == sum(len(kind.passed_over) for kind in KINDS.values())
    assert len(recordings) >= summary.aligned


def test_stretches_are_where_their_times_say(run):
    recordings, out, _ = run
    number = list(KINDS).index("srt")
    (recording,) = [item for item in recordings if item.name == f"{number:03}/a"]
    words = Alignment.load(result_paths(out, recording)[1]).words
    assert words[0].end <= 0.5 <= words[1].start
    assert words[1].end <= 1.0
