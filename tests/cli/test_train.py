"""``semihmm train``, as a user runs it."""

import math
import shutil

import pytest
import torch

pytest.importorskip("typer", reason="the speech extra is not installed")
pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
pytest.importorskip("safetensors", reason="the models extra is not installed")

import soundfile
from typer.testing import CliRunner

from semihmm.cli.main import app
from semihmm.speech import Alignment, load_acoustic_model


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("corpus")
    for name in ("austen-0880", "austen-0890"):
        for suffix in (".wav", ".txt"):
            shutil.copy(repository / "examples" / "data" / (name + suffix), folder)
    return folder


def test_a_corpus_becomes_a_model_that_aligns_it(corpus, tmp_path):
    model, out = tmp_path / "models" / "austen.safetensors", tmp_path / "out"
    shutil.copytree(corpus, tmp_path / "corpus")
    (tmp_path / "corpus" / "lonely.wav").write_bytes((corpus / "austen-0880.wav").read_bytes())
    trained = run("train", tmp_path / "corpus", "--out", model, "--gaussians", 1, "--licence", "public domain")
    assert trained.exit_code == 1  # the one without a transcript
    assert "lonely" in trained.stdout and "no transcript" in trained.stdout
    card = load_acoustic_model(model).card
    assert (card["licence"], card["utterances"], card["corpus"]) == ("public domain", 2, "corpus")
    assert "little data" in trained.stdout and card["little data"]
    assert run("align", corpus, "--model", model, "--out", out).exit_code == 0
    found = Alignment.load(out / "austen-0880.json")
    assert [word.label for word in found.words] == "he was not an ill disposed young man".split()


def test_the_number_of_threads_changes_no_byte(corpus, tmp_path):
    for jobs in (1, 2):
        assert run("train", corpus, "--out", tmp_path / str(jobs), "--gaussians", 1, "--jobs", jobs).exit_code == 0
    one, two = (load_acoustic_model(tmp_path / str(jobs)) for jobs in (1, 2))
    one.save(tmp_path / "one")
    assert one.name == "1" and two.name == "2"
    content = [(tmp_path / name).read_bytes() for name in ("1", "2")]
    assert content[0].replace(b'\\"name\\": \\"1\\"', b"") == content[1].replace(b'\\"name\\": \\"2\\"', b"")


def test_phones_in_context_are_trained_with_features_of_speakers_and_a_network(tmp_path):
    generator, folder, speakers = torch.Generator().manual_seed(0), tmp_path / "tones", []
    folder.mkdir()
    for number in range(12):
        phones = [0, *(1 + torch.randint(2, (6,), generator=generator)).tolist(), 0]
        time = torch.arange(2400) / 16000
        waves = [torch.sin(2 * math.pi * (0, 400, 900)[phone] * time) / 3 for phone in phones]
        noise = torch.randn(2400 * len(phones), generator=generator) / 50
        soundfile.write(folder / f"{number}.wav", (torch.cat(waves) + noise).numpy(), 16000)
        (folder / f"{number}.txt").write_text(" ".join(" ai"[phone] for phone in phones[1:-1]))
        speakers.append(f"{number} speaker{number % 2}\n")
    (tmp_path / "utt2spk").write_text("".join(speakers))
    options = ["--phones", "--gaussians", 1, "--triphones", 8, "--adaptive", "--network", "mmi"]
    found = run("train", folder, "--out", tmp_path / "m", *options, "--speakers", tmp_path / "utt2spk")
    assert found.exit_code == 0
    model = load_acoustic_model(tmp_path / "m")
    assert model.contexts is not None and model.network.states == model.columns > len(model.plain)
    assert model.card["speakers"] == 2 and "LDA" in model.card["features"]


def test_phones_may_be_given_in_place_of_words(corpus, tmp_path):
    folder = tmp_path / "phones"
    folder.mkdir()
    shutil.copy(corpus / "austen-0880.wav", folder)
    (folder / "austen-0880.txt").write_text("h i | w ɔ z | n ɔ t | a n | ɪ l | d ɪ s p o z d | j ʌ ŋ | m a n")
    assert run("train", folder, "--out", tmp_path / "m", "--phones", "--gaussians", 1).exit_code == 0
    assert "ɔ" in load_acoustic_model(tmp_path / "m").phones


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere", "--out", "m"], "no folder"),
        (["{corpus}", "--out", "{corpus}"], "is a folder"),
        (["{corpus}", "--out", "m", "--dictionary", "{corpus}/own.dict"], "'he' is not in"),
        (["{empty}", "--out", "m"], "no sound files"),
    ],
    ids=["no corpus", "out is a folder", "no pronunciations", "empty corpus"],
)
def test_what_cannot_be_done_is_said(corpus, tmp_path, arguments, reason):
    (tmp_path / "empty").mkdir()
    (corpus / "own.dict").write_text("she S IY\n")
    given = [text.format(corpus=corpus, empty=tmp_path / "empty") for text in arguments]
    found = run("train", *[str(tmp_path / text) if text == "m" else text for text in given])
    assert found.exit_code == 2
    assert reason in found.stderr
