"""``semihmm export``, as a user runs it: what is written answers as the model does, and what differs is said."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("typer", reason="the speech extra is not installed")
pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
pytest.importorskip("safetensors", reason="the models extra is not installed")

import safetensors.torch as safetensors
import soundfile
from typer.testing import CliRunner

from semihmm import log_partition, viterbi
from semihmm.cli.main import app
from semihmm.errors import DataError
from semihmm.export import comparing, writing
from semihmm.export.comparing import compare, in_python
from semihmm.export.observations import read_observations
from semihmm.models import HMM, Gaussian, Neural
from semihmm.speech import load_acoustic_model
from semihmm.speech.acoustics.network import TimeDelayNetwork
from semihmm.speech.alignment.free import free_loop
from semihmm.speech.alignment.loop import features_of, phone_loop


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = HMM(3, Gaussian(3, features=2))
    with torch.no_grad():
        model.emission.mean.normal_()
        model.transition.logits.normal_()
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    model.save(folder / "model.safetensors")
    np.save(folder / "x.npy", torch.randn(3, 8, 2, generator=torch.Generator().manual_seed(0)).numpy())
    return folder


def compared(folder, kind, *options):
    files = ("--out", folder / "out", "--check", folder / "x.npy")
    result = run("export", folder / "model.safetensors", "--to", kind, *files, "--json", *options)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def agrees(found, folder):
    assert found["sequences"] == 3 and found["frames"] == 24 and found["path_agreement"] == 1.0
    assert found["posterior_l1"] < 1e-5 and found["log_likelihood"] < 1e-5
    assert found["exported_bytes"] == (folder / "out").stat().st_size
    assert found["model_seconds"] > 0 and found["exported_seconds"] > 0


SLOW = pytest.mark.skipif(
    not os.environ.get("SEMIHMM_EVERY_EXPORT"),
    reason="an export takes seconds; set SEMIHMM_EVERY_EXPORT=1 for all of them",
)


@SLOW
def test_a_program_of_torch_answers_as_the_model(folder):
    found = compared(folder, "torch")
    agrees(found, folder)
    assert found["holds"]["file"] == "torch package, torch.export"


@SLOW
def test_an_onnx_file_answers_as_the_model_and_has_no_network_to_quantise(folder):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the export extra is not installed")
    found = compared(folder, "onnx")
    agrees(found, folder)
    assert found["holds"]["input x"].endswith(", 2) FLOAT")
    files = ("--to", "onnx", "--out", folder / "small")
    result = run("export", folder / "model.safetensors", *files, "--quantize", "int8")
    assert result.exit_code == 2 and "export: the model has no network whose weights" in result.output
    assert not (folder / "small").exists()


@SLOW
def test_a_network_in_8_bits_is_compared(acoustic, data, tmp_path):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="the export extra is not installed")
    torch.manual_seed(0)
    network = TimeDelayNetwork(39, 126, width=16).eval()
    replace(acoustic, streams=(), network=network, edges=None).save(tmp_path / "model")
    files = ("--to", "onnx", "--out", tmp_path / "out", "--check", data / "austen-0880.wav")
    result = run("export", tmp_path / "model", *files, "--quantize", "int8", "--json")
    found = json.loads(result.output)
    assert found["frames"] == 298 and found["posterior_l1"] > 0 and found["path_agreement"] > 0.9
    assert result.exit_code == (found["path_agreement"] < 0.99)


def test_without_the_runtimes_library_there_is_no_comparison(folder, monkeypatch):
    monkeypatch.setattr(comparing, "find_library", lambda name: "libnone.so")
    files = ("--to", "runtime", "--out", folder / "out")
    result = run("export", folder / "model.safetensors", *files, "--check", folder / "x.npy")
    assert result.exit_code == 2 and "needs libsemihmm, which is not where this system" in result.output
    result = run("export", folder / "model.safetensors", *files)
    assert result.exit_code == 0 and "model of the C++ runtime" in result.output


def test_paths_that_differ_are_counted_and_end_in_code_1(folder, model, monkeypatch):
    other = HMM(3, Gaussian(3, features=2))
    monkeypatch.setitem(writing._KINDS, "torch", (lambda *_: None, lambda _: in_python(other)))
    (folder / "out").write_bytes((folder / "model.safetensors").read_bytes())
    files = ("--to", "torch", "--out", folder / "out", "--check", folder / "x.npy")
    result = run("export", folder / "model.safetensors", *files)
    assert result.exit_code == 1 and "3 sequences, 24 frames" in result.output
    x, lengths = read_observations(folder / "x.npy")
    found = compare(in_python(model), in_python(other), x, lengths)
    model.requires_grad_(False)
    other.requires_grad_(False)
    assert found.path_agreement == float((model.predict(x) == other.predict(x)).double().mean()) < 0.99
    assert found.posterior_l1 == pytest.approx(
        float((model.predict_proba(x) - other.predict_proba(x)).abs().sum(-1).mean()), rel=1e-5
    )
    nats = (model.log_prob(x) - other.log_prob(x)).abs().max() / 8
    assert found.log_likelihood == pytest.approx(float(nats), rel=1e-5)
    assert f"{100 * found.path_agreement:.2f}" in result.output


def test_only_frames_that_are_there_count(model):
    x = torch.randn(2, 6, 2)
    other = x.clone()
    other[1, 2:] = 9.0
    lengths, seen = torch.tensor([6, 2]), in_python(model)
    found = compare(seen, lambda _, lengths: seen(other, lengths), x, lengths)
    assert (found.frames, found.path_agreement, found.posterior_l1) == (8, 1.0, 0.0)


REFUSED = {
    "kind": (("--to", "tflite"), "export: a file is one of onnx, runtime, aoti, torch; got 'tflite'."),
    "precision": (("--to", "runtime", "--quantize", "int8"), "export: onnx files alone are quantised, got 'runtime'"),
    "data": (("--to", "torch", "--check", "NOWHERE"), "export: there is no file or folder NOWHERE."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_said_and_no_file_is_written(name, folder, tmp_path):
    options, reason = REFUSED[name]
    result = run("export", folder / "model.safetensors", *options, "--out", tmp_path / "out")
    assert result.exit_code == 2 and reason in result.output
    assert not list(tmp_path.iterdir())


def test_a_model_whose_network_is_not_in_the_file_says_what_to_do(tmp_path):
    HMM(2, Neural(torch.nn.Linear(3, 2), event_shape=(3,))).save(tmp_path / "model")
    result = run("export", tmp_path / "model", "--to", "torch", "--out", tmp_path / "out")
    assert result.exit_code == 2 and "Pass one: emission=" in result.output


# ---- observations


def test_observations_come_from_arrays_tensors_and_folders(tmp_path):
    a, b = torch.randn(5, 2), torch.randn(3, 2)
    np.save(tmp_path / "a.npy", a.numpy())
    (tmp_path / "b.safetensors").write_bytes(safetensors.save({"b": b}))
    for path, rows in ((tmp_path, [a, b]), (tmp_path / "a.npy", [a]), (tmp_path / "b.safetensors", [b])):
        x, lengths = read_observations(path)
        assert lengths.tolist() == [len(row) for row in rows]
        assert all(torch.equal(x[i, : len(row)], row) for i, row in enumerate(rows))
    np.save(tmp_path / "symbols.npy", np.array([1, 0, 2]))
    assert read_observations(tmp_path / "symbols.npy")[0].tolist() == [[1, 0, 2]]


def pickled(path):
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)


UNREADABLE = {
    "none.npy": (lambda path: None, "there is no file or folder"),
    "pickle.npy": (pickled, "cannot be read as observations"),
    "cut.npy": (lambda path: path.write_bytes(b"\x93NUMPY"), "cannot be read as observations"),
    "cut.safetensors": (lambda path: path.write_bytes(b"12"), "cannot be read as observations"),
    "sound.wav": (lambda path: path.write_bytes(b""), "only acoustic models have a front end"),
    "empty.npy": (lambda path: np.save(path, np.zeros((0, 2))), r"has \(0, 2\)"),
    "number.npy": (lambda path: np.save(path, np.zeros(())), r"has \(\)"),
    "folder": (Path.mkdir, "has none"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_are_no_observations_is_said(name, tmp_path):
    write, reason = UNREADABLE[name]
    write(tmp_path / name)
    with pytest.raises(DataError, match=reason):
        read_observations(tmp_path / name)


def test_sequences_of_different_widths_are_refused(tmp_path):
    for name, width in (("a", 2), ("b", 3)):
        np.save(tmp_path / f"{name}.npy", np.zeros((4, width)))
    with pytest.raises(DataError, match=r"of one type and width, and not empty; .* has \(4, 2\), \(4, 3\)\."):
        read_observations(tmp_path)


# ---- acoustic models


@pytest.fixture(scope="module")
def acoustic():
    return load_acoustic_model()


@pytest.fixture
def data(repository):
    return repository / "examples" / "data"


def test_the_file_of_an_acoustic_model_has_its_front_end(acoustic, tmp_path):
    plain = replace(acoustic, streams=acoustic.streams[:1])
    plain.save(tmp_path / "model")
    result = run("export", tmp_path / "model", "--to", "runtime", "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["holds"]["features"].startswith("mfcc 16000")


def test_the_phones_of_an_acoustic_model_are_heard_in_a_loop(acoustic, data, tmp_path):
    wave, rate = soundfile.read(data / "austen-0880.wav", dtype="float32")
    soundfile.write(tmp_path / "a.wav", wave[:rate], rate)
    x = features_of(acoustic)(tmp_path / "a.wav")
    loop, expected = phone_loop(acoustic), free_loop(acoustic, acoustic.log_likelihood(x))
    assert loop.predict(x).tolist() == viterbi(expected).states.tolist()
    assert float(loop.log_prob(x)) == pytest.approx(float(log_partition(expected)), rel=1e-5)


def test_a_network_hears_what_it_hears_alone_in_any_batch(acoustic):
    torch.manual_seed(0)
    network = TimeDelayNetwork(39, 126, width=8).eval()
    loop = phone_loop(replace(acoustic, streams=(), network=network))
    x, lengths = torch.randn(2, 40, 39), torch.tensor([40, 25])
    emission = loop(x, lengths).emission
    for row, length in zip(range(2), lengths.tolist(), strict=True):
        torch.testing.assert_close(emission[row, :length], network(x[row, :length]))
