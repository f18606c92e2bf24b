"""The command line, as a user runs it."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
import soundfile

pytest.importorskip("typer", reason="the speech extra is not installed")
pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")

from typer.testing import CliRunner

from semihmm import cli
from semihmm.cli import show
from semihmm.cli.main import app
from semihmm.speech import Alignment, Recording, read_labels
from semihmm.speech.corpora.batch import Outcome


@pytest.fixture(scope="session")
def run():
    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def data(repository):
    return repository / "examples" / "data"


@pytest.fixture
def corpus(tmp_path, data):
    folder = tmp_path / "corpus"
    folder.mkdir()
    for suffix in (".wav", ".txt"):
        shutil.copy(data / f"austen-0880{suffix}", folder)
    return folder


def row(output, name):
    """The cells of a table's row."""
    (line,) = [line for line in output.splitlines() if re.match(rf"\W*{re.escape(name)}\s", line)]
    return [cell.strip() for cell in line.strip("│┃ ").split("│")][1:]


def test_align_writes_words_phones_and_confidences(run, corpus, tmp_path):
    result = run("align", corpus, "--out", tmp_path / "out", "--nbest", 3)
    assert result.exit_code == 0, result.output
    alignment = Alignment.load(tmp_path / "out" / "austen-0880.json")
    assert [word.label for word in alignment.words] == "he was not an ill disposed young man".split()
    assert all(0 <= item.confidence <= 1 for item in (*alignment.words, *alignment.phones))
    assert len(alignment.alternatives) == 3
    labels = read_labels(tmp_path / "out" / "austen-0880.TextGrid")
    assert [phone.label for phone in labels.phones] == [phone.label for phone in alignment.phones]
    assert row(result.output, "recordings aligned") == ["1"]
    assert row(result.output, "seconds of audio") == ["3.0"]
    assert float(row(result.output, "× real time")[0]) > 0
    assert float(row(result.output, "log-likelihood per frame (nats)")[0]) < 0
    assert row(result.output, "words without entry") == ["0"]
    assert row(result.output, "failures") == ["0"]


def test_phones_in_context_are_another_model_to_resume(run, corpus, tmp_path):
    for options, finished in (([], 0), (["--resume", "--contexts"], 0), (["--resume", "--contexts"], 1)):
        result = run("align", corpus, "--out", tmp_path / "out", *options)
        assert result.exit_code == 0, result.output
        assert ("finished before" in result.output) == bool(finished)
    assert len(Alignment.load(tmp_path / "out" / "austen-0880.json").words) == 8


def test_one_bad_file_is_named_and_the_exit_code_says_so(run, corpus, tmp_path):
    (corpus / "broken.wav").write_bytes(b"")
    (corpus / "broken.txt").write_text("hello")
    result = run("align", corpus, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert row(result.output, "recordings aligned") == ["1"]
    assert row(result.output, "failures") == ["1"]
    assert re.search(r"failed broken: .*empty file", result.output)
    assert not list((tmp_path / "out").glob("broken*"))


def test_what_is_suspicious_is_named_with_its_times(run, corpus, tmp_path):
    result = run("align", corpus, "--out", tmp_path / "out")
    assert row(result.output, "suspicious recordings") == ["0"]
    (corpus / "austen-0880.txt").write_text("he was not a table young man")
    result = run("align", corpus, "--out", tmp_path / "out", "--extra-speech")
    assert result.exit_code == 0
    assert row(result.output, "suspicious recordings") == ["1"]
    assert re.search(r"suspicious austen-0880: .*\d\.\d\d–\d\.\d\d s not what was said:.* table", result.output)


def test_unknown_words_are_reported(run, corpus, tmp_path):
    (corpus / "austen-0880.txt").write_text("he was not a flibbertigibbet")
    result = run("align", corpus, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert row(result.output, "words without entry") == ["1"]
    assert "Not in the dictionary, pronounced by rule: flibbertigibbet" in result.output


def test_a_dictionary_of_one_s_own_adds_words(run, corpus, tmp_path):
    (corpus / "austen-0880.txt").write_text("xyzzy disposed young man")
    (tmp_path / "own.dict").write_text("xyzzy HH IY W AH Z N AA T AH N IH L\n")
    result = run("align", corpus, "--out", tmp_path / "out", "--dictionary", tmp_path / "own.dict")
    assert result.exit_code == 0
    assert row(result.output, "words without entry") == ["0"]
    assert Alignment.load(tmp_path / "out" / "austen-0880.json").phones[0].label == "HH"


def test_a_phone_that_the_model_lacks_is_named_with_the_dictionary_s_line(run, corpus, tmp_path):
    (tmp_path / "own.dict").write_text(";;; mine\nxyzzy Q IY\n")
    result = run("align", corpus, "--out", tmp_path / "out", "--dictionary", tmp_path / "own.dict")
    assert result.exit_code == 2
    assert "own.dict, line 2: 'xyzzy' has the phone 'Q'" in result.output


def test_a_text_in_another_language_fails_unless_it_is_called_english(run, corpus, tmp_path):
    (corpus / "austen-0880.txt").write_text("der Mann hatte drei Söhne und wohnte hier vielleicht")
    result = run("align", corpus, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "is it English? If so, say that the language is 'en'" in result.output
    result = run("align", corpus, "--out", tmp_path / "out", "--language", "en")
    assert result.exit_code == 0
    assert "56 % of the words are not in the dictionary: are the recordings in its language?" in result.output


def test_a_single_name_is_no_reason_to_doubt_the_language(run, corpus, tmp_path):
    (corpus / "austen-0880.txt").write_text("he was not Gostak")
    result = run("align", corpus, "--out", tmp_path / "out")
    assert "Not in the dictionary" in result.output
    assert "is its language" not in result.output


@pytest.mark.parametrize(
    ("language", "reason"),
    [("de", "no acoustic model of German comes with"), ("tlh", "'tlh' is not known here")],
)
def test_a_language_without_a_model_is_refused(run, corpus, tmp_path, language, reason):
    result = run("align", corpus, "--out", tmp_path / "out", "--language", language)
    assert result.exit_code == 2
    assert reason in result.output


def test_oov_lists_the_words_without_an_entry_and_what_it_could_not_read(run, corpus):
    (corpus / "austen-0880.txt").write_text("a flibbertigibbet and a cat, a gostak, a Flibbertigibbet [laughs]")
    soundfile.write(corpus / "b.wav", [0.0], 8000)
    result = run("oov", corpus)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["flibbertigibbet\t2", "gostak\t1"]
    assert "b is left out: no transcript" in result.stderr


def test_g2p_writes_a_dictionary_that_align_reads(run, corpus, tmp_path):
    result = run("g2p", "tomato", "Gostak")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:2] == ["tomato T AH M EY T OW", "tomato(2) T AH M AA T OW"]
    assert result.stdout.splitlines()[2].startswith("gostak G")
    (tmp_path / "own.dict").write_text(result.stdout)
    assert run("oov", corpus, "--dictionary", tmp_path / "own.dict").exit_code == 0


def test_g2p_takes_the_output_of_oov():
    result = CliRunner().invoke(app, ["g2p"], input="gostak\t3\n\nflibber\t1\n")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["gostak", "flibber"]


def test_a_strict_run_names_what_is_odd_and_its_exit_code_says_so(run, corpus, tmp_path):
    assert run("align", corpus, "--out", tmp_path / "out", "--strict").exit_code == 0
    (corpus / "x.m4a").touch()
    shutil.copy(corpus / "austen-0880.wav", corpus / "b.wav")
    (corpus / "b.txt").write_text("he was not a table young flibbertigibbet")
    wave, rate = soundfile.read(corpus / "austen-0880.wav")
    soundfile.write(corpus / "c.wav", wave[::2], rate // 2)
    shutil.copy(corpus / "austen-0880.txt", corpus / "c.txt")
    assert run("align", corpus, "--out", tmp_path / "out").exit_code == 0
    log = tmp_path / "log.jsonl"
    result = run("align", corpus, "--out", tmp_path / "out", "--strict", "--resume", "--entropy", "--log", log)
    assert result.exit_code == 1
    for line in ("unknown words (1): b", "suspicious (1): b", "warning (1): c", "passed over (1): x.m4a"):
        assert f"strict: {line}\n" in result.output
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events[0] == "passed over"
    assert events.count("recording") == 3
    assert events[-1] == "end"


def test_a_strict_validation_objects_to_oddities(run, corpus):
    assert run("validate", corpus, "--strict").exit_code == 0
    (corpus / "austen-0880.txt").write_text("he was not a flibbertigibbet")
    assert run("validate", corpus).exit_code == 0
    assert run("validate", corpus, "--strict").exit_code == 1


def test_progress_has_a_time_left_on_a_terminal_and_is_silent_elsewhere(monkeypatch, capsys):
    recording = Recording("a", Path("a.wav"), None)
    with show.progress(2) as advance:
        advance(Outcome(recording))
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with show.progress(2) as advance:
        advance(Outcome(recording))
        time.sleep(0.2)  # the bar is drawn ten times a second
    assert re.search(r"1/2.*\d:\d\d:\d\d.*\d:\d\d:\d\d", capsys.readouterr().err)


def test_g2p_names_the_words_that_nothing_can_pronounce_and_prints_the_others():
    pytest.importorskip("ko_pron", reason="the ko extra is not installed")
    result = CliRunner().invoke(app, ["g2p", "--language", "ko", "같이", "xyzzy", "3시"])
    assert result.exit_code == 1
    assert result.stdout.splitlines() == ["같이 k ɐ tɕʰ i", "세 s e", "시 s i"]
    assert "'xyzzy' is not in syllables of Hangul" in result.stderr


def test_resume_leaves_finished_results_alone(run, corpus, tmp_path):
    assert run("align", corpus, "--out", tmp_path / "out").exit_code == 0
    before = (tmp_path / "out" / "austen-0880.json").stat().st_mtime_ns
    result = run("align", corpus, "--out", tmp_path / "out", "--resume")
    assert result.exit_code == 0
    assert row(result.output, "finished before") == ["1"]
    assert (tmp_path / "out" / "austen-0880.json").stat().st_mtime_ns == before


def test_the_column_of_the_text_can_be_named(run, corpus, tmp_path):
    text = (corpus / "austen-0880.txt").read_text().strip()
    (corpus / "austen-0880.txt").unlink()
    (corpus / "metadata.csv").write_text(f"austen-0880|{text}|and another text\n")
    result = run("align", corpus, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert re.search(r"failed metadata\.csv: .*Choose one with --text-column", result.output)
    assert run("align", corpus, "--out", tmp_path / "out", "--text-column", "2").exit_code == 0
    assert Alignment.load(tmp_path / "out" / "austen-0880.json").text == text


def test_what_was_passed_over_is_named_whatever_its_name(run, corpus, tmp_path):
    (corpus / "[red]\x1b[31m.m4a").touch()
    result = run("align", corpus, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert re.search(r"passed over +│ +1 │", result.output)
    assert r"passed over [red]\x1b[31m.m4a: .m4a files cannot be read here" in result.output


def test_a_name_that_no_terminal_can_show_is_shown(run, corpus, tmp_path):
    (corpus / os.fsdecode(b"\xff\xfe.wav")).touch()
    result = run("align", corpus, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert r"failed \udcff\udcfe: no transcript" in result.output


def test_a_folder_that_cannot_be_written_to_is_noticed_before_the_model_is_loaded(run, corpus, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("semihmm.cli.main.build_aligner", lambda *options: pytest.fail("the model was loaded"))
    result = run("align", corpus, "--out", tmp_path / "file" / "out")
    assert result.exit_code == 2
    assert "results cannot be written to" in result.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["align", "nowhere", "--out", "out"], "there is no folder"),
        (["align", ".", "--out", "out", "--nbest", "-1"], "nbest"),
        (["align", "."], "--out"),
        (["align", ".", "--out", "out", "--jobs", "0"], "jobs"),
        (["align", ".", "--out", "out", "--engine", "spark"], "choose local, dask or torchrun"),
        (["align", ".", "--out", "out", "--engine", "torchrun"], "no rank of torchrun"),
        (["evaluate", ".", ".", "--engine", "spark"], "choose local, dask or torchrun"),
        (["align", ".", "--out", "out", "--log", "."], "Is a directory"),
        (["evaluate", "nowhere", "nowhere"], "no file or folder"),
        (["demo", "--data", "nowhere"], "there is no folder"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_what_cannot_be_done_ends_with_code_2_and_the_reason(run, tmp_path, monkeypatch, arguments, reason):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert reason in re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]|\x1b\[[0-9;]*m", "", result.output))
    assert "Traceback" not in result.output


def test_results_do_not_go_into_the_corpus(run, corpus):
    result = run("align", corpus, "--out", corpus)
    assert result.exit_code == 2
    assert "must not be the corpus itself" in result.output


def test_a_pause_probability_out_of_range_is_refused(run, corpus, tmp_path):
    result = run("align", corpus, "--out", tmp_path / "out", "--pause-probability", 1.5)
    assert result.exit_code == 2
    assert "strictly between 0 and 1" in result.output


def test_evaluate_prints_errors_of_words_and_phones(run, tmp_path):
    for name, late in (("a", 0), ("b", 200_000)):
        (tmp_path / f"{name}.lab").write_text(f"{late} {late + 10**6} hh\n{late + 10**6} {late + 2 * 10**6} iy\n")
    result = run("evaluate", tmp_path / "a.lab", tmp_path / "b.lab")
    assert result.exit_code == 0, result.output
    assert row(result.output, "n") == ["2", "1", "2"]  # onsets, those without a pause before them, ends
    assert row(result.output, "mean error (ms)") == ["20.0"] * 3
    assert row(result.output, "bias (ms)") == ["+20.0"] * 3
    assert row(result.output, "within 10 ms (%)") == ["0.0"] * 3
    assert row(result.output, "within 20 ms (%)") == ["100.0"] * 3
    assert "No words on both sides" in result.output


def test_evaluate_goes_into_details_with_a_phone_map(run, tmp_path):
    (tmp_path / "a.lab").write_text("0 1000000 x1\n1000000 2000000 iy\n")
    (tmp_path / "b.lab").write_text("0 1000000 hh\n1000000 2000000 iy\n")
    (tmp_path / "map").write_text("x1 HH\n")
    result = run("evaluate", tmp_path / "a.lab", tmp_path / "b.lab", "--details", "--phone-map", tmp_path / "map")
    assert result.exit_code == 0, result.output
    assert re.search(r"│ fricative +│ 1 │", result.output)
    assert re.search(r"│ fricative – vowel +│ 1 │", result.output)


def test_evaluate_names_what_only_one_side_has(run, data, corpus, tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.lab").write_text("0 10 aa\n")
    (tmp_path / "x" / "b.lab").write_text("0 10 aa\n")
    result = run("evaluate", tmp_path / "x", tmp_path / "y")
    assert "On one side only: b" in result.output


def test_the_demo_prints_a_table_and_words_and_draws_a_picture(run, data, tmp_path):
    result = run("demo", "--out", tmp_path, "--data", data, "--smoke")
    assert result.exit_code == 0, result.output
    assert row(result.output, "recordings aligned") == ["1"]
    start, end, confidence, match, phones = row(result.output, "disposed")
    assert 1.3 < float(start) < float(end) < 2.3
    assert 0.5 < float(confidence) <= 1
    assert 0.5 < float(match) <= 1
    assert phones == "D IH S P OW Z D"
    assert (tmp_path / "alignment.png").read_bytes().startswith(b"\x89PNG")


def test_the_demo_has_recordings_of_its_own(run, tmp_path):
    result = run("demo", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert row(result.output, "recordings aligned") == ["3"]
    assert row(result.output, "suspicious recordings") == ["0"]


def test_a_demo_of_bad_recordings_says_so(run, tmp_path):
    soundfile.write(tmp_path / "a.wav", [0.0], 8000)
    assert run("demo", "--out", tmp_path / "out", "--data", tmp_path).exit_code == 1


def test_info_says_what_would_be_used(run):
    result = run("info")
    assert result.exit_code == 0
    assert "Sphinx en-us: 42 phones of 3 states" in result.output


def test_the_examples_say_what_they_should(data):
    """Whatever is in the examples has a transcript, and its source is named."""
    readme = (data / "README.md").read_text(encoding="utf-8")
    for audio in data.glob("*.wav"):
        assert audio.with_suffix(".txt").read_text().strip()
        assert audio.name in readme


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_the_extra_the_command_says_what_to_install(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit) as end:
        cli.app()
    assert end.value.code == 2
    assert "pip install 'semihmm[speech]'" in capsys.readouterr().err


def test_the_command_is_what_pyproject_installs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["semihmm", "--help"])
    with pytest.raises(SystemExit) as end:
        cli.app()
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("align", "evaluate", "oov", "g2p", "demo", "info"))


def test_info_survives_a_package_that_is_not_installed(run, monkeypatch):
    def version(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(metadata, "version", version)
    result = run("info")
    assert result.exit_code == 0
    assert row(result.output, "gruut") == ["not installed"]


def test_commands_of_speech_do_not_wait_for_what_exports_models():
    code = "import sys, semihmm.cli.show; print(any(name.startswith('semihmm.export') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_help_and_version_do_not_wait_for_pytorch():
    """In a process of its own, which must end without having imported what the work needs."""
    script = (
        "import sys; from semihmm.cli import app; sys.argv[1:] = {arguments!r}\n"
        "try: app()\n"
        "except SystemExit as end: print(end.code, sorted({{'torch', 'numpy', 'semihmm.speech'}} & sys.modules.keys()))"
    )
    for arguments, shown in ((["--help"], "align"), (["--version"], metadata.version("semihmm"))):
        command = [sys.executable, "-c", script.format(arguments=arguments)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
        assert shown in said
        assert said.splitlines()[-1] == "0 []"


def test_a_single_recording_is_aligned(run, data, tmp_path):
    result = run("align", data / "austen-0880.wav", "--out", tmp_path, "--format", "ctm,srt")
    assert result.exit_code == 0, result.output
    assert sorted(path.suffix for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        ".TextGrid",
        ".ctm",
        ".json",
        ".srt",
    ]
    result = run("align", data / "README.md", "--out", tmp_path)
    assert result.exit_code == 2
    assert "is no sound file" in result.output


def test_validate_counts_what_can_be_aligned(run, data, tmp_path):
    result = run("validate", data)
    assert result.exit_code == 0, result.output
    assert re.search(r"(\d+) of \1 recordings can be aligned", result.output)
    shutil.copy(data / "austen-0880.wav", tmp_path / "a.wav")
    result = run("validate", tmp_path)
    assert result.exit_code == 1
    assert "cannot be aligned a: no transcript" in result.output
    assert "0 of 1 recordings can be aligned" in result.output


def test_recordings_of_a_telephone_are_said_to_lack_something(run, data, tmp_path):
    wave, rate = soundfile.read(data / "austen-0880.wav")
    soundfile.write(tmp_path / "a.wav", wave[::2], rate // 2)
    shutil.copy(data / "austen-0880.txt", tmp_path / "a.txt")
    result = run("align", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "1 recordings have 8000 Hz: the acoustic model listens up to 6800 Hz" in result.output
    assert Alignment.load(tmp_path / "out" / "a.json").sample_rate == 8000
