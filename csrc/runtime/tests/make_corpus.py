"""Makes the files in corpus/: small models of each kind, and what is wrong in one way each."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch

import semihmm
from semihmm import export
from semihmm.models import HMM, HSMM, Gaussian, GaussianMixture, durations, emissions

FOLDER = Path(__file__).parent / "corpus"


def models() -> dict[str, Any]:
    """What `allocations` and `interface` stream, by name."""
    arcs = torch.tensor([[s, (s + d) % 40] for s in range(40) for d in (0, 1)]).T
    return {
        "dense": HMM(3, Gaussian(3, features=2)),
        "mixture": HMM(3, GaussianMixture(3, features=2, components=2, codebook=[0, 0, 1])),
        "full": HMM(2, Gaussian(2, features=2, covariance="full")),
        "symbols": HMM(2, emissions.Categorical(2, symbols=5)),
        "banded": HMM(4, Gaussian(4, features=1), offsets=(0, 1, -3)),
        "arcs": semihmm.HMM(torch.zeros(40), torch.zeros(80), torch.zeros(1, 40), arcs=(arcs[0], arcs[1])),
        "segments": HSMM(2, Gaussian(2, features=2), durations.Poisson(2, max_duration=5)),
        "ctc": semihmm.CTC(torch.zeros(1, 3), torch.tensor([1, 2, 2]), optional=torch.tensor([1, 0, 1]) > 0),
        "alignment": semihmm.MonotonicAlignment(torch.zeros(1, 3)),
    }


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and the numbers of a file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def whole(header: Any, numbers: bytes) -> bytes:
    """The other way."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def broken(good: bytes) -> dict[str, bytes]:
    """The file of a dense model, wrong in one way each."""

    def with_(change: Any) -> bytes:
        header, numbers = parts(good)
        change(header)
        return whole(header, numbers)

    def said(name: str, value: Any) -> bytes:
        header, numbers = parts(good)
        note = json.loads(header["__metadata__"]["semihmm.runtime"])
        note[name] = value
        header["__metadata__"]["semihmm.runtime"] = json.dumps(note)
        return whole(header, numbers)

    header, numbers = parts(good)
    nan, infinite = struct.pack("<f", float("nan")), struct.pack("<f", float("inf"))
    at = header["transition"]["data_offsets"][0]
    return {
        "empty": b"",
        "seven-bytes": good[:7],
        "cut-header": good[:40],
        "cut-numbers": good[:-4],
        "more-numbers": good + b"\0\0\0\0",
        "header-of-2-to-the-63": struct.pack("<Q", 1 << 63) + good[8:],
        "header-of-all-ones": b"\xff" * 8 + good[8:],
        "deep": whole(b"[" * 2_000, b""),
        "no-json": whole(b"{'a': 1}", b""),
        "twice-a-name": whole(b'{"a": 1, "a": 2}', b""),
        "half-a-pair": whole(b'{"__metadata__": {"a": "\\ud800"}}', b""),
        "negative-shape": with_(lambda h: h["initial"].update(shape=[-3])),
        "overflowing-shape": with_(lambda h: h["initial"].update(shape=[1 << 40, 1 << 40])),
        "no-shape": with_(lambda h: h["initial"].pop("shape")),
        "offsets-backwards": with_(lambda h: h["initial"].update(data_offsets=[12, 0])),
        "offsets-outside": with_(lambda h: h["initial"].update(data_offsets=[1 << 40, (1 << 40) + 12])),
        "offsets-overlap": with_(lambda h: h["initial"].update(data_offsets=h["transition"]["data_offsets"], shape=[9])),
        "another-type": with_(lambda h: h["initial"].update(dtype="F64")),
        "another-size": with_(lambda h: h["transition"].update(shape=[1, 9])),
        "no-initial": with_(lambda h: h.update(other=h.pop("initial"))),
        "no-metadata": with_(lambda h: h.pop("__metadata__")),
        "nan": whole(header, numbers[:at] + nan + numbers[at + 4 :]),
        "infinite": whole(header, numbers[:at] + infinite + numbers[at + 4 :]),
        "version-2": said("version", 2),
        "no-kind": said("kind", "crf"),
        "states-of-a-bomb": said("states", 1 << 22),
        "states-too-many": said("states", 1e300),
        "no-emission": said("emission", None),
        "unknown": said("surprise", 1),
        "too-few-names": said("names", ["a"]),
    }


def arcs_of_a_bomb() -> bytes:
    """All arcs into one of many states: a table of them would be as large as their product."""
    states, count = 1 << 14, 4_100
    shapes = {"initial": ([states], "F32"), "transition": ([count], "F32"), "arcs": ([2, count], "I32")}
    note = {"version": 1, "kind": "hmm", "states": states, "transition": {"kind": "arcs"}, "emission": {"kind": "log_likelihoods"}}
    header: dict[str, Any] = {"__metadata__": {"semihmm.runtime": json.dumps(note)}}
    at, numbers = 0, b""
    for name, (shape, dtype) in shapes.items():
        piece = struct.pack(f"<{count}i", *range(count)) + bytes(4 * count) if name == "arcs" else bytes(4 * states)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(piece)]}
        at, numbers = at + len(piece), numbers + piece
    return whole(header, numbers)


if __name__ == "__main__":
    torch.manual_seed(0)
    FOLDER.mkdir(exist_ok=True)
    for name, model in models().items():
        export.runtime(model, FOLDER / f"good-{name}.safetensors", names=["a", "b", "c"] if name == "dense" else None)
    for name, content in broken((FOLDER / "good-dense.safetensors").read_bytes()).items():
        (FOLDER / f"bad-{name}.safetensors").write_bytes(content)
    (FOLDER / "bad-arcs-of-a-bomb.safetensors").write_bytes(arcs_of_a_bomb())
