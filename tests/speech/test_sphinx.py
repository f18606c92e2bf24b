"""Readers of Sphinx-3 files, on files that the tests write byte by byte."""

import math
import random

import numpy as np
import pytest
import torch

from semihmm.errors import DataError
from semihmm.speech import load_acoustic_model, load_dictionary
from semihmm.speech.acoustics.sphinx import (
    ModelDefinition,
    read_feature_parameters,
    read_gaussians,
    read_mixture_weights,
    read_model_definition,
    read_parameters,
    read_sendump,
    read_transitions,
)

from .conftest import binary_definition, parameter_file, sendump, text_definition

PHONES = ("SIL", "AA", "+NSN+")
SENONES = [[6, 7, 8], [0, 1, 2], [3, 4, 5]]


@pytest.fixture
def write(tmp_path):
    def write(content, name="file"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("checksum", [True, False])
def test_parameters_are_read_in_either_byte_order(write, order, checksum):
    fields, words = read_parameters(write(parameter_file(1, 2.5, 3, order=order, checksum=checksum)))
    assert fields["version"] == "1.0"
    assert words[[0, 2]].tolist() == [1, 3]
    assert words[1:2].view(np.float32).tolist() == [2.5]


def test_a_flipped_bit_is_noticed(write):
    content = bytearray(parameter_file(1, 2.5, 3))
    content[-9] ^= 1
    with pytest.raises(DataError, match="checksum"):
        read_parameters(write(bytes(content)))


@pytest.mark.parametrize("content", [b"", b"RIFF....", b"s3\nversion 1.0\n", b"s3\nendhdr\n", b"s3\nendhdr\nabcdefgh"])
def test_other_files_are_refused_by_name(write, content):
    path = write(content)
    with pytest.raises(DataError, match="read_parameters") as caught:
        read_parameters(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*means"):
        read_gaussians(tmp_path / "means")


def test_gaussians_of_streams_of_different_widths(write):
    values = [float(i) for i in range(2 * 3 * (2 + 1))]  # codebook, stream, component, feature
    wide, narrow = read_gaussians(write(parameter_file(2, 2, 3, 2, 1, len(values), *values)))
    assert wide.tolist() == [[[0, 1], [2, 3], [4, 5]], [[9, 10], [11, 12], [13, 14]]]
    assert narrow.tolist() == [[[6], [7], [8]], [[15], [16], [17]]]


def test_a_file_cut_short_is_refused(write):
    with pytest.raises(DataError, match=r"announces \[1, 1, 2, 2\], so 4 numbers, but 3 follow"):
        read_gaussians(write(parameter_file(1, 1, 2, 2, 4, 0.0, 1.0, 2.0)))


def test_mixture_weights_are_normalised_and_floored(write):
    weights = read_mixture_weights(write(parameter_file(2, 1, 2, 4, 1.0, 3.0, 5.0, 0.0)))
    assert weights.shape == (1, 2, 2)
    torch.testing.assert_close(weights.exp().sum(-1), torch.ones(1, 2))
    torch.testing.assert_close(weights[0, 0].exp(), torch.tensor([0.25, 0.75]))
    assert weights[0, 1, 1] == pytest.approx(math.log(1e-7), rel=1e-5)


def test_a_sendump_is_minus_the_log_weight_in_steps_of_a_tenth(write):
    steps = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    weights = read_sendump(write(sendump(steps, padding=2)), senones=5)
    assert weights.shape == (2, 5, 3)
    assert weights[1, 4, 2] == pytest.approx(-29 * 1024 * math.log(1.0001), rel=1e-5)


def test_bad_sendumps_are_refused(write):
    steps = np.zeros((1, 2, 3), dtype=np.uint8)
    with pytest.raises(DataError, match="clustered"):
        read_sendump(write(sendump(steps, 0, clusters=16)), senones=3)
    with pytest.raises(DataError, match="should hold 1 x 2 x at least 4"):
        read_sendump(write(sendump(steps, 0)), senones=4)
    with pytest.raises(DataError, match="should hold"):
        read_sendump(write(sendump(steps, 0)[:-1]), senones=3)
    with pytest.raises(DataError, match="ends inside its header"):
        read_sendump(write(sendump(steps, 0)[:12]), senones=3)
    with pytest.raises(DataError, match="not a little-endian"):
        read_sendump(write(b"\xff\xff\xff\xff" + b"abcd"), senones=3)


def test_transitions_are_counts_made_probabilities(write):
    counts = [3.0, 1.0, 0.0, 0.0, 4.0, 12.0]
    transitions = read_transitions(write(parameter_file(1, 2, 3, 6, *counts)))
    assert transitions.exp().tolist() == [[[0.75, 0.25, 0.0], [0.0, 0.25, 0.75]]]


@pytest.mark.parametrize("form", [binary_definition, text_definition])
def test_a_model_definition_is_read_in_either_form(write, form):
    definition = read_model_definition(write(form(PHONES, SENONES, 11)))
    assert definition.phones == PHONES
    assert definition.senones.tolist() == SENONES
    assert definition.transitions.tolist() == [2, 1, 0]
    assert definition.total_senones == 11
    assert definition.fillers.tolist() == [True, False, True]
    assert definition.triphones.tolist() == [[1, 1, 0, 1], [1, 0, 1, 0]]
    assert definition.triphone_senones.tolist() == [[9, 1, 2], [10, 4, 5]]


def test_a_triphone_that_is_lacking_is_the_nearest_there_is():
    """Inside, begin, end, single; SIL, AA, IY, a noise; the triphones below, numbered from 100, and no others."""
    inside, begin, end, single = range(4)
    silence, a, i, noise = range(4)
    triphones = [
        (inside, a, i, a),
        (end, a, i, a),
        (begin, silence, i, a),
        (begin, silence, a, silence),
        (end, i, a, silence),
    ]
    senones = torch.arange(4)[:, None]
    definition = ModelDefinition(
        ("SIL", "AA", "IY", "+N+"),
        senones,
        torch.arange(4),
        105,
        torch.tensor([True, False, False, True]),
        torch.tensor(triphones),
        100 + torch.arange(5)[:, None],
    )
    found = definition.in_context()[..., 0]
    assert found.shape == (4, 4, 4, 4)
    rows = {
        (inside, a, i, a): 100,
        (end, a, i, a): 101,
        (begin, a, i, a): 100,  # another position, the first that there is
        (single, a, i, a): 100,
        (begin, silence, i, a): 102,
        (begin, noise, i, a): 102,  # a noise is heard as silence
        (begin, i, i, a): 102,  # and so is another word
        (inside, i, i, a): i,  # but not the same
        (single, i, a, i): 103,
        (end, i, a, i): 104,
        (end, i, a, noise): 104,
        (inside, a, silence, a): silence,
        (single, a, noise, a): noise,
    }
    assert {key: int(found[key]) for key in rows} == rows


@pytest.mark.parametrize(
    "content", [b"", b"BMDF", b"BMDF\0\0\0\1....", b"\xff\xfe", b"0.3\n2 n_base\nSIL - - - n/a 0 1 N"]
)
def test_other_definitions_are_refused(write, content):
    with pytest.raises(DataError, match="read_model_definition"):
        read_model_definition(write(content))


def test_feature_parameters_are_names_and_values(write):
    assert read_feature_parameters(write(b"-nfilt 25\n-feat 1s_c_d_dd\n")) == {"nfilt": "25", "feat": "1s_c_d_dd"}


def model_files(folder, transitions=None):
    """A whole model of three phones, two components, three streams of 13."""
    phones, sizes = len(PHONES), [13, 13, 13]
    count = phones * 2 * 39
    generator = np.random.default_rng(0)
    means = [float(x) for x in generator.normal(size=count)]
    variances = [0.0, *[1.0] * (count - 1)]
    row = [0.5, 0.5, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 0.5, 0.5]
    rows = [float(x) for x in (transitions or row) * phones]
    (folder / "mdef").write_bytes(text_definition(PHONES, SENONES, 11))
    (folder / "means").write_bytes(parameter_file(phones, 3, 2, *sizes, count, *means))
    (folder / "variances").write_bytes(parameter_file(phones, 3, 2, *sizes, count, *variances))
    (folder / "transition_matrices").write_bytes(parameter_file(phones, 3, 4, len(rows), *rows))
    (folder / "feat.params").write_bytes(b"-feat 1s_c_d_dd\n-nfilt 25\n")
    (folder / "sendump").write_bytes(sendump(np.full((3, 2, 11), 7, dtype=np.uint8), padding=1))
    return folder


def test_a_model_is_its_files_put_together(tmp_path):
    model = load_acoustic_model(model_files(tmp_path))
    assert model.phones == PHONES
    assert model.states == 3
    assert model.front_end.filters == 25
    assert [tuple(stream.mean.shape) for stream in model.streams] == [(3, 2, 13)] * 3
    assert [stream.states for stream in model.streams] == [9] * 3
    assert model.streams[0].log_variance.exp().min().item() == pytest.approx(1e-4)  # floored
    x = torch.randn(5, 39, generator=torch.Generator().manual_seed(0))
    before = model.log_likelihood(x)
    (tmp_path / "mixture_weights").write_bytes(parameter_file(11, 3, 2, 66, *[0.5] * 66))
    after = load_acoustic_model(tmp_path).log_likelihood(x)
    torch.testing.assert_close(after, before)  # equal weights are equal weights in either file


@pytest.mark.parametrize("form", [binary_definition, text_definition])
def test_a_model_with_contexts_has_columns_for_their_states(tmp_path, form):
    """A state is a row of weights and the phone whose Gaussians it weighs; the first nine are without context."""
    (model_files(tmp_path) / "mdef").write_bytes(form(PHONES, SENONES, 11))
    weights = np.random.default_rng(1).integers(1, 60, (3, 2, 11))
    (tmp_path / "sendump").write_bytes(sendump(weights, padding=1))
    alone, model = load_acoustic_model(tmp_path), load_acoustic_model(tmp_path, contexts=True)
    x = torch.randn(5, 39, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.log_likelihood(x), alone.log_likelihood(x))
    table = model.contexts.table
    assert table[1, 1, 1, 1].tolist() == [3, 4, 5]
    assert table[1, 1, 0, 1].tolist() == [11, 9, 10]  # rows 9, 1 and 2, of which 1 and 2 are SIL's only here
    assert table[0, 0, 1, 0].tolist() == [14, 12, 13]
    found = model.log_likelihood(x, columns=torch.tensor([11, 9, 14]))
    steps = torch.from_numpy(weights) * 1024 * -math.log(1.0001)
    expected = []
    for phone, row in ((0, 9), (0, 1), (1, 10)):
        of_streams = []
        for stream, block, log_weights in zip(model.streams, x.double().split(13, dim=1), steps, strict=True):
            own = log_weights[:, row].log_softmax(0)
            gaussians = torch.distributions.Normal(stream.mean[phone], stream.log_variance[phone].exp().sqrt())
            of_streams.append((gaussians.log_prob(block[:, None]).sum(-1) + own).logsumexp(-1))
        expected.append(sum(of_streams))
    torch.testing.assert_close(found, torch.stack(expected, 1).float(), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("form", [binary_definition, text_definition])
@pytest.mark.parametrize("name", ["mdef", "means", "transition_matrices", "sendump", "mixture_weights"])
def test_a_damaged_model_is_read_or_refused_by_name(tmp_path, name, form):
    """A byte changed, taken out or put in, somewhere, without a checksum to notice it; or the file cut off."""
    (model_files(tmp_path) / "mdef").write_bytes(form(PHONES, SENONES, 11))
    if name == "mixture_weights":
        (tmp_path / name).write_bytes(parameter_file(11, 3, 2, 66, *[0.5] * 66))
    whole = (tmp_path / name).read_bytes().replace(b"chksum0 yes", b"chksum0  no")
    draw, refused = random.Random(name), 0
    for _ in range(60):
        at, byte = draw.randrange(len(whole) if name == "mdef" else 120), bytes([draw.randrange(256)])
        damaged = draw.choice([whole[:at] + byte + whole[at + 1 :], whole[:at] + whole[at + 1 :], whole[:at]])
        (tmp_path / name).write_bytes(damaged)
        try:
            load_acoustic_model(tmp_path, contexts=True)
        except DataError as error:
            refused += 1
            assert str(tmp_path) in str(error)
    assert refused > 20


def test_a_phone_left_half_way_is_refused(tmp_path):
    with pytest.raises(DataError, match="left from its last state"):
        load_acoustic_model(model_files(tmp_path, [0.5, 0.4, 0, 0.1, 0, 0.5, 0.5, 0, 0, 0, 0.5, 0.5]))


def test_a_model_that_is_not_phonetically_tied_is_refused(tmp_path):
    folder = model_files(tmp_path)
    values = [1.0] * (2 * 39)
    (folder / "means").write_bytes(parameter_file(1, 3, 2, 13, 13, 13, len(values), *values))
    with pytest.raises(DataError, match="1 sets of Gaussians for 3 phones"):
        load_acoustic_model(folder)


def test_the_us_english_model_and_dictionary_are_what_their_authors_say():
    pytest.importorskip("pocketsphinx", reason="the speech extra is not installed")
    model = load_acoustic_model()
    assert len(model.phones) == 42
    assert model.states == 3
    assert model.silence in model.phones
    assert [tuple(stream.mean.shape) for stream in model.streams] == [(42, 128, 13)] * 3
    torch.testing.assert_close(model.transitions.exp().sum(-1), torch.ones(42, 3))
    assert (model.front_end.filters, model.front_end.lifter, model.front_end.noise_removal) == (25, 22, True)
    dictionary = load_dictionary()
    assert {phone for variants in dictionary.values() for phones in variants for phone in phones} < set(model.phones)
