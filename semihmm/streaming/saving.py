"""Streams in files: safetensors, with what they belong to as JSON in the metadata. Never pickle."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semihmm._files import atomically
from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.streaming.source import Modelled, Source, Template

_KEY = "semihmm.stream"
VERSION = 2


def write(
    path: str | os.PathLike[str],
    source: dict[str, str],
    options: dict[str, Any],
    tensors: dict[str, Tensor],
    who: str = "Stream",
) -> None:
    """Write the state of a stream; the file appears when it is whole.

    Args:
        path: of the file.
        source: what the stream belongs to, `described`.
        options: what it was made with.
        tensors: what it knows.
        who: whose `save` this is.

    Raises:
        DataError: a path that cannot be written.
    """
    safetensors = require("safetensors.torch", extra="models", purpose="Saving a stream")
    note = json.dumps({"version": VERSION, "source": source, "options": options})
    content: bytes = safetensors.save(
        {n: x.detach().cpu().contiguous().clone() for n, x in tensors.items()}, {_KEY: note}
    )
    try:
        with atomically(Path(path)) as partial:
            partial.write_bytes(content)
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"{who}.save: {path!r} cannot be written: {error}. Pass the path of a file.") from error


def read(path: str | os.PathLike[str], who: str = "Stream") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `write` wrote: ``version``, ``source``, ``options``; tensors.

    Raises:
        DataError: no such file, or another kind of file, or one of a later version.
    """
    safetensors = require("safetensors", extra="models", purpose="Loading a stream")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            note = json.loads((file.metadata() or {}).get(_KEY, "null"))
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (OSError, TypeError, ValueError, RecursionError, safetensors.SafetensorError) as error:
        raise DataError(f"{who}.load: {path} cannot be read as a safetensors file: {error}") from error
    if not isinstance(note, dict) or note.get("version") != VERSION:
        found = "another version" if isinstance(note, dict) else "no stream"
        raise DataError(f"{who}.load: {path} holds {found}; only {who}.save of version {VERSION} writes what it reads.")
    return note, tensors


def check_source(path: str | os.PathLike[str], held: object, given: dict[str, str], who: str = "Stream") -> None:
    """Refuse a source that is not the one that a stream belongs to.

    Raises:
        DataError: what differs.
    """
    if held == given:
        return
    parts = held if isinstance(held, dict) else {}
    unlike = sorted(n for n in parts.keys() | given.keys() if parts.get(n) != given.get(n))
    raise DataError(
        f"{who}.load: {path} belongs to a {parts.get('kind')}, and the {given['kind']} that was given is not the "
        f"same: {', '.join(unlike)} differ. Build it as it was when the stream was saved."
    )


def described(source: Source) -> dict[str, str]:
    """What a stream belongs to: its kind, and a digest of each of its tensors."""
    if isinstance(source, Template):
        whole = source.whole
        fields = {n: x for n, x in whole.__dict__.items() if n not in source.arriving}
        return {"kind": type(whole).__name__, **{n: digest(x) for n, x in sorted(fields.items())}}
    assert isinstance(source, Modelled)
    model = source.model
    state = model.state_dict() if isinstance(model, nn.Module) else {}
    kind = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__qualname__", "function")
    return {"kind": kind, **{n: digest(x) for n, x in sorted(state.items())}}


def digest(x: object) -> str:
    """A tensor, or what holds tensors, in few letters."""
    if isinstance(x, tuple | list):
        return " ".join(map(digest, x))
    if not isinstance(x, Tensor):
        return repr(x)
    content = (
        x.detach().cpu().contiguous().view(-1).view(torch.uint8) if x.numel() else torch.zeros(0, dtype=torch.uint8)
    )
    return f"{x.dtype} {tuple(x.shape)} {hashlib.sha256(content.numpy().tobytes()).hexdigest()[:16]}"
