"""``semihmm adapt`` and ``semihmm align --adapt``, as a user runs them."""

import shutil

import pytest
import soundfile
import torch

pytest.importorskip("typer", reason="the speech extra is not installed")
pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
pytest.importorskip("safetensors", reason="the models extra is not installed")

from typer.testing import CliRunner

from semihmm.cli.main import app
from semihmm.speech import Aligner, Alignment, find_recordings, load_acoustic_model, load_lexicon
from semihmm.speech.training import adapt
from semihmm.speech.training.reading import read_utterances


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, repository):
    """Two speakers: one of three seconds, and one of a word."""
    folder = tmp_path_factory.mktemp("corpus")
    for name in ("ann", "bob"):
        (folder / name).mkdir()
    for suffix in (".wav", ".txt"):
        shutil.copy(repository / "examples" / "data" / f"austen-0880{suffix}", folder / "ann" / f"a{suffix}")
    wave, rate = soundfile.read(folder / "ann" / "a.wav")
    soundfile.write(folder / "bob" / "b.wav", wave[: rate // 2], rate)
    (folder / "bob" / "b.txt").write_text("he was")
    return folder


@pytest.fixture(scope="module")
def lexicon():
    return load_lexicon(None)


def times(alignment):
    return [(phone.label, phone.start, phone.end) for phone in alignment.phones]


def test_the_model_is_a_file_that_align_takes(corpus, lexicon, tmp_path):
    out = tmp_path / "ann.safetensors"
    result = run("adapt", corpus, "--speaker", "ann", "--out", out, "--method", "fmllr,map", "--relevance", 8)
    assert result.exit_code == 0, result.output
    assert f"Adapted to 3.0 s of speech: {out}" in result.output
    model = load_acoustic_model(out)
    assert model.transform is not None and model.name == "Sphinx en-us, adapted (fmllr), adapted (map)"
    aligned = run("align", corpus / "ann", "--model", out, "--out", tmp_path / "out")
    assert aligned.exit_code == 0, aligned.output
    adapted, plain = (Aligner(of, lexicon) for of in (model, load_acoustic_model()))
    said = next(iter(read_utterances(find_recordings(corpus / "ann"), lexicon, {})))
    found = Alignment.load(tmp_path / "out" / "a.json")
    assert times(found) == times(adapted(said.wave, said.sample_rate, found.text))
    assert found.log_likelihood > plain(said.wave, said.sample_rate, found.text).log_likelihood


def test_align_adapts_to_each_speaker_and_says_to_whom_it_cannot(corpus, lexicon, tmp_path):
    result = run("align", corpus, "--out", tmp_path / "out", "--adapt", "fmllr")
    assert result.exit_code == 0, result.output
    assert "aligned with the model as it is: bob, as adapt: " in result.output
    ann, bob = read_utterances(find_recordings(corpus), lexicon, {})
    model = load_acoustic_model()
    for said, heard in ((ann, adapt(model, [ann], method="fmllr")), (bob, model)):
        found = Alignment.load(tmp_path / "out" / f"{said.name}.json")
        assert times(found) == times(Aligner(heard, lexicon)(said.wave, said.sample_rate, found.text))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--speaker", "carl"], "nobody called 'carl' speaks here. Speakers: ann, bob."),
        (["--method", "magic"], "methods of adaptation are map, fmllr, cmn, with commas between them; got 'magic'."),
        (["--method", "fmllr", "--speaker", "bob"], "frames are too few for transforms"),
    ],
)
def test_what_cannot_be_done_is_said_and_no_model_is_written(corpus, tmp_path, options, reason):
    result = run("adapt", corpus, "--out", tmp_path / "m.safetensors", *options)
    assert result.exit_code == 2 and reason in result.output
    assert not list(tmp_path.iterdir())


def test_recordings_that_cannot_be_used_are_named(corpus, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(corpus / "ann", mixed)
    (mixed / "broken.wav").write_bytes(b"")
    (mixed / "broken.txt").write_text("hello")
    result = run("adapt", mixed, "--out", tmp_path / "m.safetensors", "--method", "cmn")
    assert result.exit_code == 1 and "broken is left out" in result.output
    assert load_acoustic_model(tmp_path / "m.safetensors").front_end.mean_normalisation is False


def test_train_goes_on_to_adaptive_features_and_a_network_on_request(tmp_path):
    folder, rate = tmp_path / "corpus", 16000
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    hiss = (
        torch.randn(rate, generator=generator)
        / 20
        * torch.tensor([0.02, 1.0, 0.02]).repeat_interleave(rate // 3 + 1)[:rate]
    )
    soundfile.write(folder / "a.wav", hiss.numpy(), rate)
    (folder / "a.txt").write_text("sh")
    out = tmp_path / "m.safetensors"
    refused = run("train", folder, "--phones", "--out", out, "--network", "hope")
    assert refused.exit_code == 2 and "objectives of a network are mmi and ctc-hmm" in refused.output
    result = run("train", folder, "--phones", "--out", out, "--adaptive", "--network", "mmi", "--gaussians", 1)
    assert result.exit_code == 0, result.output
    model = load_acoustic_model(out)
    assert model.network is not None and model.streams == () and {"features", "network"} <= set(model.card)
