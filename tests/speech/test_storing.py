"""Acoustic models in one file."""

import json
import struct
from dataclasses import replace

import pytest
import torch

from semihmm.errors import DataError
from semihmm.speech import Aligner, load_acoustic_model
from semihmm.speech.acoustics.contexts import Contexts
from semihmm.speech.acoustics.edges import EdgeCorrection

pytest.importorskip("safetensors", reason="the models extra is not installed")


@pytest.fixture(scope="module")
def file(tone_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tones.safetensors"
    replace(tone_model, card={"licence": "none", "seconds of phones": {"ɐ": 1.5}}).save(path)
    return path


def test_what_is_loaded_is_what_was_saved(tone_model, file):
    found = load_acoustic_model(file)
    x = torch.randn(9, 39, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.log_likelihood(x), tone_model.log_likelihood(x), atol=1e-3, rtol=1e-5)
    assert (found.phones, found.front_end, found.name) == (tone_model.phones, tone_model.front_end, "tones")
    assert found.card == {"licence": "none", "seconds of phones": {"ɐ": 1.5}}
    torch.testing.assert_close(found.transitions, tone_model.transitions.float())


def test_a_loaded_model_is_saved_as_the_same_bytes(file, tmp_path):
    load_acoustic_model(file).save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == file.read_bytes()


def test_contexts_and_edges_are_kept(tone_model, tmp_path):
    table = torch.arange(12).reshape(4, 1, 3).expand(4, 4, 4, 4, 3).transpose(2, 3).contiguous()
    path = tmp_path / "model"
    replace(tone_model, contexts=Contexts(table.int()), edges=EdgeCorrection.load()).save(path)
    found = load_acoustic_model(path)
    assert torch.equal(found.contexts.table, table.int())
    assert torch.equal(found.edges.hidden, EdgeCorrection.load().hidden)


def test_an_aligner_takes_it(file, tone_lexicon):
    wave = torch.randn(16000, generator=torch.Generator().manual_seed(0)) / 30
    assert [word.label for word in Aligner(load_acoustic_model(file), tone_lexicon)(wave, 16000, "ah see").words] == [
        "ah",
        "see",
    ]


def test_a_file_that_is_cut_short_is_refused_by_name(file, tmp_path):
    content, cut = file.read_bytes(), tmp_path / "cut"
    for length in (0, 4, 100, len(content) // 2, len(content) - 1):
        cut.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"load_acoustic_model: .*cut .*damaged"):
            load_acoustic_model(cut)


def edited(content, edit):
    """The file with its note changed."""
    size = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + size])
    note = json.loads(header["__metadata__"]["semihmm.acoustic-model"])
    edit(note, header)
    header["__metadata__"]["semihmm.acoustic-model"] = json.dumps(note)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda note, _: note.update(version=2), "version 2, and this semihmm reads version 1"),
        (lambda note, _: note.update(phones=["AA"]), "4 phones"),
        (lambda note, _: note.update(silence="XX"), "XX is silence"),
        (lambda note, _: note["front_end"].update(colour=1), "colour"),
        (lambda note, _: note.pop("front_end"), "front_end"),
        (lambda note, _: note.update(streams=9), "streams.3"),
        (lambda note, _: note.update(streams="many"), "damaged"),
        (lambda _, header: header.update({"streams.0.log_weight": header["transitions"]}), "damaged"),
    ],
    ids=["version", "phones", "silence", "unknown", "missing", "streams", "kind", "shape"],
)
def test_parts_that_do_not_fit_are_refused_by_name(file, tmp_path, edit, reason):
    path = tmp_path / "edited"
    path.write_bytes(edited(file.read_bytes(), edit))
    with pytest.raises(DataError, match=rf"(?s)load_acoustic_model: .*edited.*{reason}"):
        load_acoustic_model(path)


def test_another_safetensors_file_is_refused(tmp_path):
    import safetensors.torch

    path = tmp_path / "other"
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(DataError, match=r"AcousticModel\.save did not write it"):
        load_acoustic_model(path)


def test_nothing_is_written_if_it_fails(tone_model, tmp_path):
    with pytest.raises(TypeError):
        replace(tone_model, card={"a set": {1, 2}}).save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
