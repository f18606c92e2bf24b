"""``semihmm info FILE``: what a file holds, told from its header; and a sentence about any other file."""

import json
import pickle
import random
import struct
import warnings
import zipfile
from contextlib import suppress

import pytest
import torch

pytest.importorskip("typer", reason="the speech extra is not installed")
pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
pytest.importorskip("safetensors", reason="the models extra is not installed")

import safetensors.torch as safetensors
from typer.testing import CliRunner

from semihmm.cli.main import app
from semihmm.errors import SemihmmError
from semihmm.export.contents import contents
from semihmm.models import HMM, HSMM, Gaussian, GaussianMixture, LinearChainCRF, Neural, durations
from semihmm.speech import load_acoustic_model
from semihmm.streaming import Stream


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def told(path):
    result = run("info", path, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


MODELS = {
    "dense": (
        lambda: HMM(3, Gaussian(3, features=2)),
        {"states": "3", "transition": "9 of 9 arcs", "emission": "Gaussian(features=2, covariance=diag)"},
    ),
    "arcs": (
        lambda: HMM(2, GaussianMixture(2, features=3, components=4), arcs=([0, 0, 1], [0, 1, 1])),
        {"transition": "3 arcs", "emission": "GaussianMixture(features=3, components=4, covariance=diag)"},
    ),
    "segments": (
        lambda: HSMM(2, Gaussian(2, features=1), durations.Poisson(2, max_duration=9)),
        {"file": "model of semihmm.models: HSMM", "duration": "Poisson(max_duration=9, min_duration=1)"},
    ),
    "network": (
        lambda: HMM(2, Neural(torch.nn.Linear(3, 2), event_shape=(3,)), offsets=(0, 1)),
        {"transition": "offsets 0, 1", "to load": "pass emission=...: the file has its parameters alone"},
    ),
    "crf": (lambda: LinearChainCRF(4), {"file": "model of semihmm.models: LinearChainCRF", "numbers": "24 F32"}),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_says_what_it_is_made_of(name, tmp_path):
    make, expected = MODELS[name]
    make().save(tmp_path / "model")
    assert expected.items() <= told(tmp_path / "model").items()
    assert told(tmp_path / "model")["size"] == f"{(tmp_path / 'model').stat().st_size:,} bytes"


def test_an_acoustic_model_says_its_phones_and_its_front_end(tmp_path):
    model = load_acoustic_model()
    model.save(tmp_path / "model")
    rows = told(tmp_path / "model")
    assert rows["file"] == "acoustic model, version 1"
    assert rows["phones"] == f"42 of 3 states: {' '.join(model.phones)}"
    assert rows["front end"] == "16000 Hz, 100 frames a second"


def test_a_stream_says_what_it_belongs_to(tmp_path):
    stream = Stream(HMM(2, Gaussian(2, features=1)))
    stream.push(torch.zeros(3, 1))
    stream.save(tmp_path / "stream")
    assert told(tmp_path / "stream")["file"].startswith("stream of a HMM, version ")


def test_a_program_of_torch_export_says_its_inputs(tmp_path):
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, tmp_path / "model.pt2")
    rows = told(tmp_path / "model.pt2")
    assert (rows["file"], rows["inputs"], rows["weights"]) == ("torch package, torch.export", "input", "24 bytes")


def test_an_onnx_file_says_its_inputs_and_operators(tmp_path):
    onnx = pytest.importorskip("onnx")
    tensor, made = onnx.TensorProto, onnx.helper
    branch = made.make_graph([made.make_node("Neg", ["x"], ["z"])], "g", [], [])
    nodes = [made.make_node("Relu", ["x"], ["y"]), made.make_node("If", ["c"], ["z"], then_branch=branch)]
    x = made.make_tensor_value_info("x", tensor.FLOAT, ["time", 3])
    weights = [made.make_tensor("w", tensor.FLOAT, [2], [1.0, 2.0])]
    graph = made.make_graph(nodes, "g", [x], [made.make_tensor_value_info("y", tensor.FLOAT, None)], weights)
    onnx.save(made.make_model(graph, opset_imports=[made.make_opsetid("", 20)]), tmp_path / "model.onnx")
    rows = told(tmp_path / "model.onnx")
    assert (rows["file"], rows["opset"], rows["input x"]) == ("ONNX", "ai.onnx 20", "(time, 3) FLOAT")
    assert (rows["operators"], rows["weights"]) == ("Relu 1, If 1, Neg 1", "1 of 8 bytes")


def test_a_table_is_printed_without_json(tmp_path):
    HMM(3, Gaussian(3, features=2)).save(tmp_path / "model")
    result = run("info", tmp_path / "model")
    assert result.exit_code == 0 and "model of semihmm.models: HMM" in result.output


class Trap:
    def __reduce__(self):
        return (open, ("ran", "w"))


def header(text, size=None):
    return struct.pack("<Q", len(text) if size is None else size) + text


def archived(**texts):
    def write(path):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in texts.items():
                archive.writestr(f"a/{name.replace('__', '/').replace('_json', '.json')}", text)

    return write


def noted(key, note):
    return lambda path: path.write_bytes(safetensors.save({"x": torch.zeros(1)}, {key: note}))


HOSTILE = {
    "nothing": (lambda path: path.write_bytes(b""), "no model and no exported one"),
    "text": (lambda path: path.write_text("hello"), "no model and no exported one"),
    "pickle": (lambda path: path.write_bytes(pickle.dumps(Trap())), "is a pickle: opening it can run any program"),
    "torch-save": (lambda path: torch.save(Trap(), path), "is what torch.save wrote: opening it can run any"),
    "archive": (archived(text="hello"), "a zip archive, but no package"),
    "cut-archive": (lambda path: path.write_bytes(b"PK\x03\x04"), "is damaged: File is not a zip file"),
    "archive-bomb": (
        archived(archive_format="pt2", models__model_json=b"0" * (1 << 26) + b"0"),
        "is damaged: models/model.json holds more than 67,108,864 bytes",
    ),
    "deep-archive": (archived(archive_format="pt2", models__model_json="[" * 100_000), "is damaged: maximum recursion"),
    "strange-archive": (archived(archive_format="pt2", models__model_json="[]"), "is damaged: list indices"),
    "huge-header": (lambda path: path.write_bytes(header(b"{}", 1 << 60)), "begins as a safetensors file does"),
    "negative-shape": (
        lambda path: path.write_bytes(header(b'{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,0]}}')),
        "begins as a safetensors file does, but is none",
    ),
    "another's": (noted("format", "pt"), "is a safetensors file, but not one of semihmm's"),
    "deep-note": (noted("semihmm.model", "[" * 100_000), "is damaged: maximum recursion"),
    "no-note": (noted("semihmm.model", "null"), "is damaged"),
    "strange-note": (noted("semihmm.acoustic-model", '{"front_end": 1, "card": 2, "streams": -1}'), "is damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_of_any_other_file_it_says_why_it_is_none_and_runs_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write, reason = HOSTILE[name]
    write(tmp_path / "file")
    result = run("info", tmp_path / "file")
    assert result.exit_code == 2 and result.exception.__class__ is SystemExit
    assert f"info: {tmp_path / 'file'}" in result.output and reason in result.output
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert f"info: {tmp_path / 'none'} cannot be read: No such file" in run("info", tmp_path / "none").output


def test_control_characters_do_not_reach_the_terminal(tmp_path):
    noted("semihmm.other", '{"kind": "\\u001b[31mred"}')(tmp_path / "file")
    result = run("info", tmp_path / "file")
    assert result.exit_code == 0 and "\\x1b[31mred" in result.output and "\x1b[31m" not in result.output


def test_damage_anywhere_is_an_error_of_ours(tmp_path):
    model = HMM(3, Gaussian(3, features=2))
    model.save(tmp_path / "model")
    torch.save(model.state_dict(), tmp_path / "state.pt")
    archived(archive_format="pt2", models__model_json="{}")(tmp_path / "model.pt2")
    draw = random.Random(0)
    for source in ("model", "state.pt", "model.pt2"):
        whole = (tmp_path / source).read_bytes()
        for _ in range(100):
            damaged = bytearray(whole[: draw.choice([len(whole), draw.randrange(1, len(whole))])])
            for _ in range(draw.randrange(4)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
            (tmp_path / "file").write_bytes(damaged)
            with suppress(SemihmmError):
                assert contents(tmp_path / "file")["file"]
