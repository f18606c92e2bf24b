"""Beam searches in files: what is loaded goes on to the bit, and what is broken is refused."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import semihmm
from semihmm.decoding import BeamSearch, BeamStream, NGram, Vocabulary
from semihmm.engine.backends import native
from semihmm.errors import DataError
from semihmm.streaming import Stream

safetensors = pytest.importorskip("safetensors", reason="the models extra is not installed")
save = pytest.importorskip("safetensors.torch", reason="the models extra is not installed").save

BACKENDS = ["torch", *(["native"] if native() is not None else [])]
LETTERS = Vocabulary(["-", " ", "a", "b"], delimiter=" ")
MODEL = NGram({("<s>",): (-99.0, -0.3), ("</s>",): (-1.1, 0.0), ("<unk>",): (-3.0, 0.0), ("ab",): (-0.9, -0.2)})
KINDS = {
    "plain": {},
    "margin": {"margin": 1.5},
    "hotwords": {"hotwords": {"ab": 2.5, "b a": 1.5}},
    "everything": {"lexicon": ["ab", "a", "b"], "language_model": MODEL, "hotwords": {"a b": 3.0}},
}


def draw(*shape, seed=0):
    return (2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).log_softmax(-1)


def same(a, b):
    for name in ("labels", "frames", "log_prob", "score"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("streams") / "beam.safetensors"


@pytest.mark.parametrize(("one", "other"), list(itertools.product(BACKENDS, BACKENDS)))
@pytest.mark.parametrize("kind", KINDS)
@given(cut=st.integers(0, 20), beam=st.integers(1, 9))
def test_what_is_loaded_goes_on_to_the_bit(path, one, other, kind, cut, beam):
    log_probs, lengths = draw(2, 20, 4, seed=beam), torch.tensor([20, 13])
    saved, loading = (BeamSearch(LETTERS, beam, backend=backend, **KINDS[kind]) for backend in (one, other))
    stream = saved.stream(2)
    stream.push(log_probs[:, :cut], lengths.clamp(max=cut))
    stream.save(path)
    loaded = BeamStream.load(path, loading)
    for item in (stream, loaded):
        item.push(log_probs[:, cut:], (lengths - cut).clamp(min=0))
    if one == other:
        same(loaded.hypotheses(beam, final=True), stream.hypotheses(beam, final=True))
    else:  # backends agree to rounding
        torch.testing.assert_close(loaded.hypotheses(beam).score, stream.hypotheses(beam).score)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_long_search_goes_on_to_the_bit_and_as_often_as_it_is_saved(path, backend):
    log_probs = draw(1, 1200, 4)
    whole = BeamSearch(LETTERS, 12, backend=backend).stream()
    whole.push(log_probs)
    stream = BeamSearch(LETTERS, 12, backend=backend).stream()
    for chunk in log_probs.split(500, dim=1):
        stream.push(chunk)
        stream.save(path)
        stream = BeamStream.load(path, stream.search)
    same(stream.hypotheses(12), whole.hypotheses(12))


@pytest.mark.parametrize("other", [{"beam": 4}, {"margin": 2.0}, {"word_bonus": 0.5}], ids=str)
def test_another_search_is_refused(path, other):
    BeamSearch(LETTERS, 5).stream().save(path)
    with pytest.raises(DataError, match=r"belongs to a BeamSearch, .* differ\. Build it as it was"):
        BeamStream.load(path, BeamSearch(LETTERS, **{"beam": 5, **other}))
    with pytest.raises(DataError, match="search must be a BeamSearch, got 3"):
        BeamStream.load(path, 3)


def test_other_files_and_no_paths_are_refused(path, tmp_path):
    search = BeamSearch(LETTERS)
    Stream(semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(1, 2))).save(path)
    with pytest.raises(DataError, match=r"BeamStream\.load: .* belongs to a HMM"):
        BeamStream.load(path, search)
    for content in (b"", b"no such file"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"BeamStream\.load: .* cannot be read as a safetensors file"):
            BeamStream.load(path, search)
    with pytest.raises(DataError, match=r"BeamStream\.save: .* cannot be written"):
        search.stream().save(tmp_path)


WHOLE = [-(2**63), -2, -1, 0, 1, 3, 7, 10**6, 2**62]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "name", ["sizes", "parents", "tokens", "before", "begun", "nodes", "onsets", "sums", "missing"]
)
def test_a_file_that_was_changed_is_refused_or_goes_on(path, backend, name):
    search = BeamSearch(LETTERS, 4, backend=backend, **KINDS["everything"])
    stream, log_probs = search.stream(2), draw(2, 9, 4)
    stream.push(log_probs)
    stream.save(path)
    with safetensors.safe_open(path, framework="pt") as file:
        note, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    refused = 0
    for place in range(tensors.get(name, torch.zeros(1)).numel()):
        for value in [math.nan, math.inf, -math.inf, 0.0] if name == "sums" else WHOLE:
            changed = {key: x.clone() for key, x in tensors.items()}
            if name == "missing":
                del changed[sorted(changed)[value % 3]]
            else:
                changed[name].view(-1)[place] = value
            path.write_bytes(save(changed, note))
            try:
                loaded = BeamStream.load(path, search)
            except DataError as error:
                assert "holds no beams that can go on" in str(error)
                refused += 1
            else:
                loaded.push(log_probs)
                loaded.hypotheses(4, final=True)
    assert refused
