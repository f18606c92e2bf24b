"""A small acoustic model that knows tones, in memory and as Sphinx-3 files."""

import dataclasses
import gc
import math
import struct

import numpy as np
import pytest
import torch

from semihmm.speech import AcousticModel, Contexts, FrontEnd, Lexicon
from semihmm.speech.acoustics.mfcc import with_differences
from semihmm.speech.acoustics.model import tied_mixture

RATE = 16000
TONES = {"SIL": None, "AA": 400.0, "IY": 900.0, "S": 2500.0}
WORDS = {"ah": (("AA",),), "ahee": (("AA", "IY"),), "eesah": (("IY", "S", "AA"), ("IY", "AA")), "see": (("S", "IY"),)}


def tone(frequency, seconds, start=0.0):
    """A sine, or near silence, as if it had begun at time 0: pieces join without a click of their own."""
    count = round(seconds * RATE)
    generator = torch.Generator().manual_seed(round(start * 1000) + 1)
    hiss = torch.randn(count, generator=generator, dtype=torch.float64) / 2000
    if frequency is None:
        return hiss
    time = torch.arange(count, dtype=torch.float64) / RATE + start
    return hiss + torch.sin(2 * math.pi * frequency * time) / 3


def spoken(*pieces):
    """``(phone, seconds)`` one after the other, and where each begins."""
    waves, starts, now = [], [], 0.0
    for phone, seconds in pieces:
        starts.append(now)
        waves.append(tone(TONES[phone], seconds, now))
        now += seconds
    return torch.cat(waves), starts


@pytest.fixture(scope="session")
def tone_model():
    """Each phone is a tone, each of its three states the same Gaussian."""
    front_end = FrontEnd(filters=25, lower_edge=130, upper_edge=6800, transform="dct", mean_normalisation=False)
    means = [front_end.cepstrum(tone(frequency, 0.5)).mean(0, keepdim=True) for frequency in TONES.values()]
    still = torch.stack([with_differences(mean.expand(9, -1))[4] for mean in means])
    streams = tuple(
        tied_mixture(part[:, None], torch.full((4, 1, 13), variance), torch.zeros(4, 3, 1))
        for part, variance in zip(still.split(13, dim=1), (4.0, 40.0, 40.0), strict=True)
    )
    stay = torch.tensor([[0.5, 0.5, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0.5, 0.5]]).log()
    return AcousticModel(tuple(TONES), streams, stay.expand(4, -1, -1), front_end, name="tones")


@pytest.fixture(scope="session")
def tone_model_in_context(tone_model):
    """IY has states of its own behind S, 12 to 14, which sound the same."""
    table = tone_model.plain.reshape(1, 4, 1, 3).expand(4, 4, 4, 4, 3).clone()
    table[:, 3, 2] = torch.tensor([12, 13, 14])
    streams = tuple(
        tied_mixture(stream.mean[[0, 1, 2, 3, 2]], stream.log_variance[[0, 1, 2, 3, 2]].exp(), torch.zeros(5, 3, 1))
        for stream in tone_model.streams
    )
    return dataclasses.replace(tone_model, contexts=Contexts(table), streams=streams, name="tones in context")


@pytest.fixture(scope="session")
def tone_lexicon():
    return Lexicon(WORDS, guess=lambda word: ("AA",) * len(word))


def parameter_file(*words, order="<", checksum=True):
    """Sphinx-3 binary: a text header, a byte-order mark, 32-bit words, and their rotating sum."""
    packed = b"".join(struct.pack(order + ("I" if isinstance(word, int) else "f"), word) for word in words)
    total = 0
    for (value,) in struct.iter_unpack(order + "I", packed):
        total = (((total << 20) | (total >> 12)) + value) % 2**32
    header = f"s3\nversion 1.0\nchksum0 {'yes' if checksum else 'no'}\n      endhdr\n".encode()
    mark = struct.pack(order + "I", 0x11223344)
    return header + mark + packed + (struct.pack(order + "I", total) if checksum else b"")


def binary_definition(phones, senones, total):
    """An mdef in its binary form: two triphones after the base phones, and a tree that nobody needs."""
    description = b"two lines\nof text\0\0\0"
    base = len(phones)
    sizes = struct.pack("<10i", base, base + 2, 3, 3 * base, total, base, base + 2, 3, 2, 0)
    names = b"".join(phone.encode() + b"\0" for phone in phones)
    names += b"\0" * (-len(names) % 4)
    tree = struct.pack("<hhi", 0, 1, 2) * 2
    members = b"".join(
        struct.pack("<ii4b", index, base - 1 - index, phone.startswith("+") or phone == "SIL", 0, 0, 0)
        for index, phone in enumerate(phones)
    )
    members += struct.pack("<ii4b", base, 0, 1, 0, 1, 1) + struct.pack("<ii4b", base + 1, 1, 1, 1, 0, 0)
    rows = [*senones, [3 * base, 1, 2], [3 * base + 1, 4, 5]]
    sequences = struct.pack("<i", 3 * len(rows)) + b"".join(struct.pack("<3H", *row) for row in rows)
    return b"BMDF" + struct.pack("<2i", 1, len(description)) + description + sizes + names + tree + members + sequences


def text_definition(phones, senones, total):
    lines = ["# a comment", "0.3", f"{len(phones)} n_base", "2 n_tri", f"{4 * len(phones) + 4} n_state_map"]
    lines += [f"{total} n_tied_state", f"{3 * len(phones)} n_tied_ci_state", f"{len(phones)} n_tied_tmat", "#"]
    for index, (phone, row) in enumerate(zip(phones, senones, strict=True)):
        states = " ".join(map(str, row))
        kind = "filler" if phone.startswith("+") or phone == "SIL" else "n/a"
        lines.append(f"{phone} - - - {kind} {len(phones) - 1 - index} {states} N")
    lines.append(f"{phones[0]} {phones[1]} {phones[1]} b n/a 0 {3 * len(phones)} 1 2 N")
    lines.append(f"{phones[1]} {phones[0]} {phones[0]} b n/a 1 {3 * len(phones) + 1} 4 5 N")
    return ("\n".join(lines) + "\n").encode()


def sendump(weights, padding, clusters=0):
    """8-bit weights ``(streams, components, senones)`` under a header of length-prefixed lines."""
    streams, components, senones = weights.shape
    lines = [b"title\0", b"header\0", f"cluster_count {clusters}".encode() + b"\0"]
    lines.append(f"feature_count {streams}".encode() + b"\0")
    head = b"".join(struct.pack("<i", len(line)) + line for line in lines) + struct.pack("<i", 0)
    padded = np.pad(weights, ((0, 0), (0, 0), (0, padding)))
    return head + struct.pack("<2i", components, senones + padding) + padded.astype(np.uint8).tobytes()


@pytest.fixture(scope="session")
def held_tensors():
    """Calling it counts the tensors that are held, those that share memory as one."""

    def count():
        gc.collect()
        alive = (item for item in gc.get_objects() if type(item) is torch.Tensor and item.layout is torch.strided)
        return len({item.untyped_storage().data_ptr() for item in alive})

    return count
