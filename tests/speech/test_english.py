"""The English model that comes with semihmm, and the dictionary beside it where pocketsphinx is not installed."""

import sys
from statistics import median

import pytest

pytest.importorskip("gruut", reason="the speech extra is not installed")
pytest.importorskip("safetensors", reason="the models extra is not installed")
pytest.importorskip("soundfile", reason="the speech extra is not installed")
pytest.importorskip("typer", reason="the speech extra is not installed")

from typer.testing import CliRunner

from semihmm.audio import read_audio
from semihmm.cli.main import app
from semihmm.speech import Aligner, Tiers, compare, load_acoustic_model, load_dictionary, read_labels
from semihmm.speech.acoustics import loading
from semihmm.speech.alignment.match import CALIBRATION, calibration_of


@pytest.fixture
def without_pocketsphinx(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)  # as Python has it: it cannot be found
    assert not loading.has_sphinx_model()


@pytest.fixture(scope="module")
def english():
    return load_acoustic_model("english")


def test_the_file_is_small_and_its_card_says_what_it_was_made_of(english):
    assert loading._ENGLISH.stat().st_size < 5e6
    card = english.card
    assert "MIT" in card["licence"] and "CC BY 4.0" in str(card["recordings"])
    assert not [name for name in card["recordings"] if "ae-english" in name]
    assert {"median_ms", "within_20_ms", "within_50_ms", "missing"} <= card["onsets of phones"]["ae-english"].keys()
    assert card["little data"] == [] and card["left out"] == []


def test_its_matches_have_constants_of_their_own(english, tone_model):
    assert calibration_of(english) != CALIBRATION == calibration_of(tone_model)
    assert calibration_of(english).word[1] > 0


@pytest.mark.usefixtures("without_pocketsphinx")
def test_without_pocketsphinx_it_aligns_with_gruut_s_dictionary(repository, english):
    aligner = Aligner()
    assert aligner.model.name == english.name and aligner.model.card == english.card
    wave, rate = read_audio(repository / "examples" / "data" / "arctic_a0009.wav")
    found = aligner(wave, rate, "He turned sharply, and faced Gregson across the table.")
    assert not found.unknown and found.match > 0.9
    reference = read_labels(repository / "examples" / "data" / "arctic_a0009.lab")
    errors = compare(reference, Tiers(found.words, found.phones)).phones
    shift = median(errors.differences)  # another convention
    assert errors.missing <= 1 and median(abs(late - shift) for late in errors.differences) < 0.008


@pytest.mark.usefixtures("without_pocketsphinx")
def test_gruut_s_dictionary_is_in_the_model_s_phones(english):
    dictionary = load_dictionary()
    assert len(dictionary) > 120_000
    assert {phone for variants in dictionary.values() for phones in variants for phone in phones} <= set(english.phones)
    assert dictionary["don't"] == (("D", "OW", "N", "T"),)


@pytest.mark.usefixtures("without_pocketsphinx")
def test_without_pocketsphinx_the_command_says_which_model_aligns(repository, tmp_path, english):
    recording = repository / "examples" / "data" / "austen-0880.wav"
    found = CliRunner().invoke(app, ["align", str(recording), "--out", str(tmp_path)])
    assert found.exit_code == 0
    assert english.name in found.stdout
    assert f"Aligning with {english.name}, as the package pocketsphinx is not installed" in found.stderr


def test_it_may_be_named(repository, tmp_path, english):
    recording = repository / "examples" / "data" / "austen-0880.wav"
    found = CliRunner().invoke(app, ["align", str(recording), "--out", str(tmp_path), "--model", "english"])
    assert found.exit_code == 0
    assert english.name in found.stdout and "pocketsphinx" not in found.stderr


def test_the_sphinx_model_is_the_best_that_is_installed(english):
    pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
    assert load_acoustic_model().name == "Sphinx en-us" != english.name
