"""What is in a page, without a browser: it needs nothing from elsewhere, and nothing in it can do harm."""

import base64
import hashlib
import io
import json
import os
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import soundfile
import torch

from semihmm.audio import read_audio
from semihmm.errors import DataError
from semihmm.speech import Alignment, Alternative, Interval, find_recordings, save_textgrid, view_results
from semihmm.speech.corpora.utterances import align_utterances
from semihmm.speech.files.textgrid import read_tiers
from semihmm.speech.view import folder, sound
from semihmm.speech.view.page import write_page
from semihmm.speech.view.sheet import Sheet

from .conftest import sound as recorded

WORDS = (Interval(0.1, 0.3, "he", 0.9, None, 0.8, 0.01, 0.02, 0.0), Interval(0.3, 0.7, "was", 0.5, None, 0.1))
ALIGNMENT = Alignment(
    "He was.",
    1.0,
    WORDS,
    (Interval(0.1, 0.2, "HH", 0.9), Interval(0.2, 0.3, "IY", 0.9), Interval(0.3, 0.7, "W", 0.5)),
    100,
    -5000.0,
    match=0.45,
    suspicious=(Interval(0.3, 0.7, "not what was said: was"),),
    unaligned={"0.8–0.9 s": "too short"},
)
HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    '" onload="alert(1)',
    "]]>&lt;/script&gt; \u2028 \u2029 {policy}",
    os.fsdecode(b"\xff\xfe"),
]


class Page(HTMLParser):
    """The elements of a page, and what its scripts hold."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements, self.scripts, self.title, self._open = [], [], "", ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._open = ""

    def handle_data(self, data):
        if self._open == "script":
            self.scripts[-1] += data
        elif self._open == "title":
            self.title += data

    @property
    def content(self):
        return json.loads(self.scripts[0])


@pytest.fixture
def page(tmp_path):
    def page(*sheets, **options):
        write_page(tmp_path / "a.html", sheets, **{"title": "a"} | options)
        return Page(tmp_path / "a.html")

    return page


def test_a_page_refers_to_nothing_outside_of_it(page):
    made = page(Sheet("a", ALIGNMENT))
    assert [
        name for name, _ in made.elements
    ] == "html head meta meta meta title style body main noscript script script".split()
    assert [attrs for _, attrs in made.elements if {"src", "href", "srcset", "data"} & attrs.keys()] == []
    style = Path(folder.__file__).with_name("page.css").read_text()
    assert not re.search(r"url\(|@import", style)


def test_a_page_runs_its_own_program_alone_and_fetches_nothing(page):
    made = page(Sheet("a", ALIGNMENT))
    (policy,) = (attrs["content"] for _, attrs in made.elements if "http-equiv" in attrs)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    digest = base64.b64encode(hashlib.sha256(made.scripts[1].encode()).digest()).decode()
    assert rules["default-src"] == "'none'" and rules["script-src"] == f"'sha256-{digest}'"
    assert "http" not in policy and "*" not in policy


def test_what_a_page_shows_is_in_it(page):
    sheet = Sheet("a", ALIGNMENT, notes=("a note",))
    made = page(sheet)
    assert made.content["sheets"] == [sheet.content()] and made.content["rows"] == []
    shown = made.content["sheets"][0]
    assert shown["text"] == "He was." and shown["duration"] == 1.0
    assert [tier["name"] for tier in shown["tiers"]] == ["words", "phones", "written"]
    figures = {"confidence": 0.9, "match": 0.8, "start_sd": 0.01, "end_sd": 0.02, "entropy": 0.0}
    assert shown["tiers"][0]["items"] == [
        [0.0, 0.1, "", None],
        [0.1, 0.3, "he", figures],
        [0.3, 0.7, "was", {"confidence": 0.5, "match": 0.1}],
        [0.7, 1.0, "", None],
    ]
    assert shown["suspicious"] == [[0.3, 0.7, "not what was said: was"]]
    assert shown["notes"] == ["a note", "Not aligned: 0.8–0.9 s: too short"]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_transcript_and_no_name_can_break_out(page, text):
    bad = replace(ALIGNMENT, text=text, words=(Interval(0.1, 0.3, text),), unaligned={text: text})
    made = page(Sheet(text, bad), title=text)
    assert len(made.scripts) == 2 and len(made.elements) == 12
    assert made.content["sheets"][0]["text"] == text == made.content["title"]
    assert made.content["sheets"][0]["tiers"][0]["items"][1][2] == text
    assert made.title == text.encode("utf-8", "backslashreplace").decode()


def test_the_program_is_built_of_these_sources(repository):
    """Run ``make web`` where this fails."""
    web = repository / "web" / "view"
    digest = hashlib.sha256()
    for source in (web / "build.js", web / "package-lock.json", *sorted((web / "src").iterdir())):
        digest.update(source.read_bytes())
    program = Path(folder.__file__).with_name("page.js").read_text(encoding="utf-8")
    assert program.startswith(f"/*! sources {digest.hexdigest()}\n")


def test_the_program_is_small_and_carries_the_licences_of_what_is_in_it():
    program = Path(folder.__file__).with_name("page.js")
    notice = program.with_name("NOTICE").read_text(encoding="utf-8")
    assert program.stat().st_size < 300_000
    assert "wavesurfer.js" in notice and "Redistributions in binary form must reproduce" in notice
    assert notice.split("\n\n", 1)[1].strip() in program.read_text(encoding="utf-8")


def test_the_lock_file_names_no_registry(repository):
    lock = json.loads((repository / "web" / "view" / "package-lock.json").read_text())
    packages = {name: item for name, item in lock["packages"].items() if name}
    assert packages["node_modules/wavesurfer.js"]["version"] and "esbuild" in str(packages.keys())
    assert all("resolved" not in item and item["integrity"] for item in packages.values())


def test_the_sound_of_a_page_is_what_was_aligned():
    wave = torch.sin(torch.arange(1000) / 7.0) * 0.9
    made = sound.inside(wave, 8000)
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(made["flac"])), dtype="float32")
    assert rate == made["rate"] == 8000
    torch.testing.assert_close(torch.from_numpy(heard), wave, rtol=0, atol=1 / 32768)


def test_sound_beyond_full_scale_is_made_softer_as_a_whole():
    heard, _ = soundfile.read(io.BytesIO(base64.b64decode(sound.inside(torch.tensor([0.0, 4.0, -2.0]), 8000)["flac"])))
    assert heard == pytest.approx([0.0, 1.0, -0.5], abs=1e-4)


def test_the_outline_has_the_loudest_sample_of_each_block():
    wave = torch.zeros(1000)
    wave[[3, 500]] = torch.tensor([0.25, -0.5])
    made = sound.beside(wave, 8000, "a%20b.wav")
    outline = torch.frombuffer(bytearray(base64.b64decode(made["outline"])), dtype=torch.int8)
    assert made["address"] == "a%20b.wav" and len(outline) == 25
    assert outline.nonzero()[:, 0].tolist() == [0, 12] and outline[[0, 12]].tolist() == [64, -127]


def test_a_corrected_textgrid_is_what_is_shown_without_figures_where_it_was_corrected(tmp_path):
    tiers = {"words": (WORDS[0], replace(WORDS[1], end=0.6)), "mine": (Interval(0.2, 0.4, "?"),)}
    save_textgrid(tmp_path / "a.TextGrid", tiers, duration=1.0)
    words, mine = Sheet("a", ALIGNMENT, read_tiers(tmp_path / "a.TextGrid")).content()["tiers"]
    assert [(item[1], item[3] is None) for item in words["items"]] == [
        (0.1, True),
        (0.3, False),
        (0.6, True),
        (1.0, True),
    ]
    assert mine["name"] == "mine" and mine["items"][1][:3] == [0.2, 0.4, "?"]


def test_tiers_know_their_speakers():
    items = tuple(replace(word, speaker=name) for word, name in zip(WORDS, ("Ann", "Bob"), strict=True))
    tiers = Sheet("a", replace(ALIGNMENT, words=items, phones=())).content()["tiers"]
    assert [(tier["kind"], tier["speaker"]) for tier in tiers][::3] == [("words", "Ann"), ("words", "Bob")]
    assert tiers[3]["items"][1] == [0.3, 0.7, "was", {"confidence": 0.5, "match": 0.1}]


def test_alternatives_that_look_the_same_are_shown_once():
    same = [Alternative(-float(rank), (), ALIGNMENT.phones) for rank in range(2)]
    other = Alternative(-3.0, (), (Interval(0.1, 0.3, "IY"),))
    shown = Sheet("a", replace(ALIGNMENT, alternatives=(*same, other))).content()["alternatives"]
    assert [item["log_prob"] for item in shown] == [-0.0, -3.0]


def test_a_row_of_the_overview_has_the_figures():
    row = Sheet("a", ALIGNMENT).row("recordings/a.html")
    assert row["match"] == 0.45 and row["confidence"] == pytest.approx(0.7) and row["per_frame"] == -50.0
    assert row["suspicious"] == 2 and row["duration"] == 1.0 and row["address"] == "recordings/a.html"
    bare = Alignment("", 1.0, (), (), 0, 0.0)
    assert [Sheet("a", bare).row("")[name] for name in ("match", "confidence", "per_frame")] == [None] * 3


def test_a_folder_becomes_an_overview_and_a_page_for_each(results, corpus, tmp_path):
    viewed = list(view_results(results, tmp_path / "out", audio=corpus))
    assert [(item.name, item.notes) for item in viewed] == [("alone", ()), ("deep/wrong", ()), ("good", ())]
    rows = Page(tmp_path / "out" / "index.html").content["rows"]
    for item, row in zip(viewed, rows, strict=True):
        assert (tmp_path / "out" / unquote(row["address"])).resolve() == item.page.resolve()
        made = Page(item.page).content
        assert (item.page.parent / made["overview"]).resolve() == (tmp_path / "out" / "index.html").resolve()
        assert [sheet["name"] for sheet in made["sheets"]] == [item.name] == [row["name"]]
        assert made["sheets"][0]["sound"]["rate"] == 16000


def test_a_folder_may_become_one_page(results, corpus, tmp_path):
    assert {item.page for item in view_results(results, tmp_path / "all.html", audio=corpus)} == {tmp_path / "all.html"}
    content = Page(tmp_path / "all.html").content
    assert [row["address"] for row in content["rows"]] == ["#0", "#1", "#2"] and len(content["sheets"]) == 3


def test_linked_sound_stays_in_its_file(results, corpus, tmp_path):
    for linked in (False, True):
        page = tmp_path / str(linked) / "a.html"
        list(view_results(results / "good.json", page, audio=corpus, link_audio=linked))
        made = Page(page).content["sheets"][0]["sound"]
        assert ("flac" in made) == (not linked)
    assert (page.parent / unquote(made["address"])).resolve() == (corpus / "good.wav").resolve()
    assert len(base64.b64decode(made["outline"])) == 400


def test_a_page_without_its_sound_says_so(results, tmp_path):
    (viewed,) = view_results(results / "good.json", tmp_path / "a.html")
    assert "no sound: no recording good in" in viewed.notes[0]
    assert Page(tmp_path / "a.html").content["sheets"][0]["sound"] is None


def test_the_sound_of_another_recording_is_noticed(results, corpus, tmp_path):
    (viewed,) = view_results(results / "good.json", tmp_path / "a.html", audio=corpus / "alone.wav")
    assert "is it another?" in viewed.notes[0]


def test_results_are_told_from_other_files(results, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match="holds no results of 'semihmm align'"):
        list(view_results(tmp_path, tmp_path / "a.html"))
    with pytest.raises(DataError, match="there is no file and no folder"):
        list(view_results(tmp_path / "nothing", tmp_path / "a.html"))
    with pytest.raises(DataError, match="is not a file that 'semihmm align' wrote"):
        list(view_results(tmp_path / "other.json", tmp_path / "a.html"))
    (tmp_path / "good.json").write_bytes((results / "good.json").read_bytes())
    (viewed,) = view_results(tmp_path, tmp_path / "a.html")
    assert viewed.name == "good" and "The tiers are those of the JSON file" in viewed.notes[0]


def test_a_result_that_cannot_be_read_is_named_and_the_others_have_pages(results, tmp_path):
    for name in ("good", "alone"):
        (tmp_path / f"{name}.json").write_bytes((results / f"{name}.json").read_bytes())
    (tmp_path / "cut.json").write_bytes((results / "good.json").read_bytes()[:500])
    viewed = {item.name: item for item in view_results(tmp_path, tmp_path / "out")}
    assert viewed["cut"].page is None and "cannot read" in viewed["cut"].notes[0]
    rows = Page(tmp_path / "out" / "index.html").content["rows"]
    assert [row["name"] for row in rows] == ["alone", "good"] == [name for name in viewed if viewed[name].page]


def test_posteriors_are_those_of_each_utterance_in_its_stretch(results, aligner, tmp_path):
    pieces = (("SIL", 0.3), ("AA", 0.4), ("SIL", 1.3), ("S", 0.4), ("IY", 0.4), ("SIL", 0.2))
    soundfile.write(tmp_path / "a.wav", recorded(pieces).numpy(), 16000)
    (tmp_path / "a.csv").write_text("start,end,text\n0,1,ah\n1.1,1.15,ahee ahee\n1.5,3,see\n")
    (recording,) = find_recordings(tmp_path)
    alignment = align_utterances(aligner, *read_audio(recording.audio), recording.utterances())
    alignment.save(tmp_path / "results" / "a.TextGrid", tmp_path / "results" / "a.json")
    (viewed,) = view_results(tmp_path / "results", tmp_path / "a.html", audio=tmp_path, aligner=aligner)
    assert viewed.notes == ()
    shown = Page(tmp_path / "a.html").content["sheets"][0]
    assert [note.partition(": the")[0] for note in shown["notes"]] == ["Not aligned: 1.100–1.150 s"]
    assert shown["posteriors"]["phones"] == ["pause", "AA", "S", "IY"]
    assert shown["posteriors"]["start"] < 0.02 and shown["posteriors"]["end"] == pytest.approx(3.0, abs=0.03)


def test_a_result_beside_its_recording_is_not_taken_for_its_transcript(results, corpus, aligner, tmp_path):
    for source, suffix in ((results, "json"), (results, "TextGrid"), (corpus, "wav")):
        shutil.copy(source / f"good.{suffix}", tmp_path)
    for place in (None, corpus):
        list(view_results(tmp_path, tmp_path / "a.html", audio=place, aligner=aligner))
        posteriors = Page(tmp_path / "a.html").content["sheets"][0]["posteriors"]
        assert posteriors["start"] < 0.02 and posteriors["end"] == pytest.approx(2.0, abs=0.03)


def test_the_aligner_is_asked_for_posteriors_and_alternatives(results, corpus, aligner, tmp_path):
    list(view_results(results / "good.json", tmp_path / "a.html", audio=corpus, aligner=aligner, nbest=1))
    shown = Page(tmp_path / "a.html").content["sheets"][0]
    assert shown["posteriors"]["phones"] == ["pause", "AA", "S", "IY"]
    assert 0 <= shown["posteriors"]["start"] < 0.02 and shown["posteriors"]["end"] == pytest.approx(2.0, abs=0.03)
    assert len(shown["alternatives"]) == 1


def test_a_recording_that_the_aligner_refuses_has_a_page_without_posteriors(results, corpus, tone_model, tmp_path):
    class Refusing:
        model = tone_model

        def explain(self, *arguments, **options):
            raise DataError("too long.")

    (viewed,) = view_results(results / "good.json", tmp_path / "a.html", audio=corpus, aligner=Refusing())
    assert viewed.notes == ("No posteriors: too long.",)


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2_300_000, "2.3 MB")]
)
def test_sizes_are_said_in_the_unit_that_suits(tmp_path, count, said):
    (tmp_path / "a").write_bytes(bytes(count))
    assert sound.size(tmp_path / "a") == said
