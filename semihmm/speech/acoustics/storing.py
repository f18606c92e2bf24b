"""Acoustic models in one file: safetensors, with all that is no tensor as JSON in its metadata. Never pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from semihmm._files import atomically
from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.models import GaussianMixture

_KEY = "semihmm.acoustic-model"
_VERSION = 1


def write(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, object]) -> None:
    """Write tensors and a note; the file appears when it is whole, and is the same for the same content."""
    safetensors = require("safetensors.torch", extra="models", purpose="Saving an acoustic model")
    text = json.dumps({"version": _VERSION, **note}, ensure_ascii=False, sort_keys=True)
    content: bytes = safetensors.save({name: x.contiguous() for name, x in tensors.items()}, {_KEY: text})
    with atomically(path) as partial:
        partial.write_bytes(content)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write` wrote.

    Raises:
        DataError: no such file, a damaged one, one of another kind, or one of a later version.
    """
    safetensors = require("safetensors", extra="models", purpose="Loading an acoustic model")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        note = json.loads(text or "null")
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise DataError(
            f"load_acoustic_model: {path} cannot be read as an acoustic model ({error}). It is damaged, or a file of "
            f"another kind: only AcousticModel.save writes such files. Sphinx models are folders."
        ) from error
    if not isinstance(note, dict):
        raise DataError(f"load_acoustic_model: {path} is a safetensors file, but AcousticModel.save did not write it.")
    if note.get("version") != _VERSION:
        raise DataError(
            f"load_acoustic_model: {path} is of version {note.get('version')!r}, and this semihmm reads version "
            f"{_VERSION}. Install a newer one, or train the model again."
        )
    return tensors, note


def mixture_tensors(emission: GaussianMixture, prefix: str) -> dict[str, Tensor]:
    """A stream's parameters by name, in float32."""
    parts = {"mean": emission.mean, "log_variance": emission.log_variance, "log_weight": emission.weights()}
    found = {f"{prefix}.{name}": x.detach().float() for name, x in parts.items()}
    return found | {f"{prefix}.codebook": emission.codebook.int()}


def mixture_of(tensors: Mapping[str, Tensor], prefix: str) -> GaussianMixture:
    """The stream of which these are the parameters.

    Raises:
        ValueError: they do not fit each other.
        KeyError: one is missing.
    """
    mean, log_variance, log_weight = (tensors[f"{prefix}.{name}"] for name in ("mean", "log_variance", "log_weight"))
    codebook = tensors[f"{prefix}.codebook"].long()
    books, components, features = mean.shape
    if log_variance.shape != mean.shape or log_weight.shape != (len(codebook), components):
        raise ValueError(f"{prefix}: mean {tuple(mean.shape)}, log_weight {tuple(log_weight.shape)}")
    if not (mean.isfinite().all() and log_variance.isfinite().all() and log_weight.logsumexp(1).isfinite().all()):
        raise ValueError(f"{prefix} holds NaN, infinities, or a state without Gaussians")
    if not ((codebook >= 0) & (codebook < books)).all():
        raise ValueError(f"{prefix}: a codebook that does not exist")
    emission = GaussianMixture(len(codebook), features, components, codebook).double().requires_grad_(False)
    emission.mean.copy_(mean)
    emission.log_variance.copy_(log_variance)
    emission.weights.logits.copy_(log_weight)
    return emission


def tuples(value: object) -> object:
    """JSON's lists as tuples, all the way down."""
    return tuple(map(tuples, value)) if isinstance(value, list) else value
