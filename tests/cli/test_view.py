"""The command that makes pages, as a user runs it."""

import re
import shutil

import pytest

pytest.importorskip("typer", reason="the speech extra is not installed")
pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")

from typer.testing import CliRunner

from semihmm.cli.main import app
from semihmm.speech import Alignment, Interval


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["view", *(str(argument) for argument in arguments)])


@pytest.fixture
def data(repository):
    return repository / "examples" / "data"


@pytest.fixture
def result(tmp_path, data):
    """What `semihmm align` might have written."""
    text = (data / "austen-0880.txt").read_text().strip()
    record = tmp_path / "aligned" / "austen-0880.json"
    alignment = Alignment(text, 2.99, (Interval(0.24, 0.35, "he", 0.98, match=0.99),), (), 299, -45000.0, match=0.99)
    alignment.save(record.with_suffix(".TextGrid"), record)
    return record


def test_view_makes_a_page_and_says_how_large_it_is(run, result, data, tmp_path):
    done = run(result, "--audio", data, "--out", "a.html")
    assert done.exit_code == 0, done.output
    assert re.search(r"1 recordings\. Open a\.html in a browser; the largest page has 2\d\d\.\d kB\.", done.output)
    assert "he was not an ill disposed young man" in (tmp_path / "a.html").read_text()
    linked = run(result, "--audio", data, "--out", "b.html", "--link-audio")
    assert re.search(r"the largest page has 1\d\d\.\d kB", linked.output)


def test_view_of_a_folder_makes_a_folder(run, result, data, tmp_path):
    (result.parent / "cut.json").write_bytes(result.read_bytes()[:60])
    done = run(result.parent, "--audio", data, "--out", "pages")
    assert done.exit_code == 1
    assert "cut: Alignment.load: cannot read" in done.output and "1 recordings. Open pages/index.html" in done.output
    assert (tmp_path / "pages" / "recordings" / "austen-0880.html").is_file()


def test_view_says_what_a_page_lacks(run, result):
    done = run(result, "--out", "a.html")
    assert done.exit_code == 0
    assert "austen-0880: no sound: no recording austen-0880 in" in done.output


def test_view_asks_the_aligner_for_posteriors(run, result, data, tmp_path):
    shutil.copy(data / "austen-0880.wav", result.parent)
    done = run(result, "--out", "a.html", "--explain", "--nbest", "2")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "a.html").read_text()
    assert '"posteriors":{"phones":["pause","HH","IY"' in page and page.count('"log_prob"') == 2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nothing", "--out", "a.html"), "there is no file and no folder nothing"),
        ((".", "--out", "a.html"), "holds no results of 'semihmm align'"),
        ((".", "--out", "a.html", "--nbest", "2"), "--nbest takes --explain"),
    ],
    ids=["missing", "empty", "nbest"],
)
def test_what_view_cannot_do_it_refuses(run, arguments, reason):
    done = run(*arguments)
    assert done.exit_code == 2
    assert reason in done.output.replace("\n", " ")
