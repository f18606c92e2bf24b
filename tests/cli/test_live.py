"""`semihmm live`, as a user runs it: with files for microphones, and a simulated clock."""

import json
import sys
from itertools import pairwise

import pytest

pytest.importorskip("typer", reason="the speech extra is not installed")
pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")

from typer.testing import CliRunner

from semihmm.cli.main import app
from semihmm.speech import Alignment, read_labels

WORDS = "he was not an ill disposed young man".split()


@pytest.fixture(scope="session")
def sound(repository):
    return repository / "examples" / "data" / "austen-0880.wav"


def run(*arguments):
    return CliRunner().invoke(app, ["live", *(str(argument) for argument in arguments)])


def test_a_script_is_followed_and_its_alignment_written(sound, tmp_path):
    out, picture = tmp_path / "a.json", tmp_path / "a.png"
    result = run(sound, "--fast", "--script", sound.with_suffix(".txt"), "--out", out, "--plot", picture)
    assert result.exit_code == 0, result.output
    assert [line.split()[2] for line in result.stdout.splitlines()[: len(WORDS)]] == WORDS
    assert "3.0 s of sound, 8 words found." in result.stdout
    alignment = Alignment.load(out)
    assert [word.label for word in alignment.words] == WORDS
    assert [word.label for word in read_labels(out.with_suffix(".TextGrid")).words] == WORDS
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_keywords_are_spotted_and_written_in_any_format(sound, tmp_path):
    result = run(sound, "--fast", "--keywords", "young man, elephant", "--out", tmp_path / "a.ctm")
    assert result.exit_code == 0, result.output
    assert [line.split()[4] for line in (tmp_path / "a.ctm").read_text().splitlines()] == ["young_man"]


def test_a_pipe_gets_a_line_of_json_for_each_frame(sound):
    result = run(sound, "--fast", "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0 and len(lines) == 299 and "of sound" in result.stderr
    assert [line["time"] for line in lines[:3]] == [0.0, 0.0178, 0.0278]
    found = [item for line in lines for item in line["found"]]
    assert len(found) > 20 and all(a["end"] <= b["start"] for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--script", "a", "--keywords", "b"], "exclude each other"),
        (["--fast"], "--fast takes a file"),
        (["no.wav"], "there is no file no.wav"),
        (["--keywords", ","], "there are no keywords"),
        (["--script", "..."], "holds no words"),
    ],
    ids=["both", "fast", "missing", "no keywords", "no words"],
)
def test_what_cannot_be_done_is_refused_with_its_reason(arguments, reason):
    result = run(*arguments)
    assert result.exit_code == 2 and reason in " ".join(result.output.split())


def test_without_sounddevice_the_way_to_install_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    result = run()
    assert result.exit_code == 2 and "pip install 'semihmm[live]'" in result.output
