"""Posteriors as a picture."""

import base64
import zlib

import pytest
import torch

from semihmm.speech.view.posteriorgram import posteriorgram

from .conftest import RATE, SAID, sound


@pytest.fixture(scope="module")
def evidence(aligner):
    return aligner.explain(sound(SAID["good"]).float(), RATE, "ah see")


def test_a_row_has_the_posterior_of_its_phone_wherever_it_is(evidence):
    gram = posteriorgram([(0.0, evidence)], 0.01)
    assert gram.phones == ("pause", "AA", "S", "IY")
    shared = {"pause": [], "AA": [], "S": [], "IY": []}
    for number, node in enumerate(evidence.graph.nodes):
        name = "pause" if node.word == -1 else node.phone
        if node.phone != "*":
            shared[name].append(evidence.posterior[:, number])
    for row, parts in zip(gram.values, shared.values(), strict=True):
        torch.testing.assert_close(row / 255, torch.stack(parts).sum(0).float(), rtol=0, atol=0.5 / 255 + 1e-6)


def test_frames_are_where_they_were_heard(evidence):
    gram = posteriorgram([(0.0, evidence)], 0.01)
    begins = gram.start + gram.shift * torch.arange(gram.values.shape[1] + 1)
    torch.testing.assert_close(begins[1:-1].double(), evidence.boundaries[1:-1], rtol=0, atol=1e-6)


def test_stretches_are_put_side_by_side(evidence):
    alone = posteriorgram([(0.0, evidence)], 0.01)
    both = posteriorgram([(5.0, evidence), (1.002, evidence)], 0.01)
    length = alone.values.shape[1]
    assert both.phones == alone.phones and both.values.shape[1] == 400 + length
    assert both.start == pytest.approx(alone.start + 1.0, abs=0.006)
    assert torch.equal(both.values[:, :length], alone.values) and torch.equal(both.values[:, 400:], alone.values)
    assert not both.values[:, length:400].any()


def test_the_picture_has_the_values(evidence):
    gram = posteriorgram([(0.0, evidence)], 0.01)
    content = gram.content()
    picture = base64.b64decode(content["png"])
    begin = picture.index(b"IDAT") + 4
    size = int.from_bytes(picture[begin - 8 : begin - 4], "big")
    pixels = torch.frombuffer(bytearray(zlib.decompress(picture[begin : begin + size])), dtype=torch.uint8)
    rows = pixels.reshape(len(gram.phones), -1)
    assert torch.equal(rows[:, 2::2], gram.values) and not rows[:, 1::2].any()
    assert content["end"] - content["start"] == pytest.approx(0.01 * gram.values.shape[1])


def test_the_picture_is_one_that_others_read(evidence, tmp_path):
    images = pytest.importorskip("PIL.Image", reason="the speech extra is not installed")
    gram = posteriorgram([(0.0, evidence)], 0.01)
    (tmp_path / "a.png").write_bytes(base64.b64decode(gram.content()["png"]))
    with images.open(tmp_path / "a.png") as image:
        alpha = torch.frombuffer(bytearray(image.getchannel("A").tobytes()), dtype=torch.uint8)
    assert torch.equal(alpha.reshape(gram.values.shape), gram.values)
