"""From a corpus to what a model is trained on."""

import pytest
import torch

pytest.importorskip("soundfile", reason="the speech extra is not installed")

import soundfile

from semihmm.errors import DataError
from semihmm.speech import Lexicon, find_recordings
from semihmm.speech.training.reading import own_lexicon, pronounced, read_speakers, read_utterances

LEXICON = Lexicon({"ah": (("AA",),), "see": (("S", "IY"),)}, lambda word: ("AA",) * len(word))


@pytest.fixture
def corpus(tmp_path):
    """One recording with a text, one with times of utterances, one without any text."""
    noise = torch.randn(16000, generator=torch.Generator().manual_seed(0)).numpy() / 9
    for name in ("a", "b", "c"):
        soundfile.write(tmp_path / f"{name}.wav", noise, 16000)
    (tmp_path / "a.txt").write_text("ah [noise] see")
    (tmp_path / "b.srt").write_text(
        "1\n00:00:00,100 --> 00:00:00,400\nah\n\n2\n00:00:00,500 --> 00:00:00,900\nsee see\n"
    )
    return tmp_path


def test_utterances_are_cut_and_the_rest_is_named(corpus):
    failures = {}
    found = list(read_utterances(find_recordings(corpus), LEXICON, failures))
    assert [(item.name, len(item.wave)) for item in found] == [("a", 16000), ("b (1)", 4800), ("b (2)", 6400)]
    assert found[2].phones == ("S", "IY", "S", "IY")
    assert list(failures) == ["c"] and "no transcript" in failures["c"]


def test_a_filler_is_silence_or_nothing(corpus):
    item = next(iter(read_utterances(find_recordings(corpus), LEXICON, {})))
    assert [word.variants for word in item.words] == [(("AA",),), (("SIL",), ()), (("S", "IY"),)]


def test_labels_are_known_in_the_time_of_their_utterance(corpus, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "b.lab").write_text("1000000 3000000 AA\n6000000 7000000 S\n8500000 9500000 IY\n")
    found = {item.name: item.known for item in read_utterances(find_recordings(corpus), LEXICON, {}, labels=labels)}
    assert found["a"] == ()
    times = {
        name: [(label.label, round(label.start, 3), round(label.end, 3)) for label in known]
        for name, known in found.items()
    }
    assert times["b (1)"] == [("AA", 0.0, 0.2)]
    assert times["b (2)"] == [
        ("S", 0.1, 0.2),
        ("IY", 0.35, 0.4),
    ]


@pytest.mark.parametrize(
    "text", ["a ann b\nb  bob\n", 'a,"ann b"\n\nb,bob', "a\tann b\r\nb\tbob\r\n", "b|bob\na|ann b\na|ann b\n"]
)
def test_speakers_are_what_a_list_says(corpus, tmp_path, text):
    (tmp_path / "speakers").write_text(text)
    speakers = read_speakers(tmp_path / "speakers")
    assert speakers == {"a": "ann b", "b": "bob"}
    found = read_utterances(find_recordings(corpus), LEXICON, {}, speakers=speakers)
    assert [(item.name, item.speaker) for item in found] == [("a", "ann b"), ("b (1)", "bob"), ("b (2)", "bob")]


@pytest.mark.parametrize(
    ("text", "reason"), [("a\n", "line 1: 'a' should be"), ("a ann\na bob\n", "line 2: 'a' has had")]
)
def test_a_list_of_speakers_that_says_nothing_or_two_things_is_refused(tmp_path, text, reason):
    (tmp_path / "speakers").write_text(text)
    with pytest.raises(DataError, match=reason):
        read_speakers(tmp_path / "speakers")


def test_a_transcript_may_be_phones():
    assert [word.variants for word in pronounced("b a |x iː l", None)] == [(("b", "a"),), (("x", "iː", "l"),)]


@pytest.mark.parametrize(
    ("text", "lexicon", "reason"),
    [(" | ", None, "says nothing"), ("[noise]", LEXICON, "says nothing"), ("ah * ah", LEXICON, "any speech")],
    ids=["no phones", "fillers alone", "any speech"],
)
def test_transcripts_that_teach_nothing_are_refused(text, lexicon, reason):
    with pytest.raises(DataError, match=reason):
        pronounced(text, lexicon)


def test_an_own_dictionary_guesses_nothing(tmp_path):
    path = tmp_path / "own.dict"
    path.write_text("ja j a\n")
    lexicon = own_lexicon(path)
    assert lexicon.pronounce("ja").variants == (("j", "a"),)
    with pytest.raises(DataError, match=r"'nein' is not in .*own.dict"):
        lexicon.pronounce("nein")
