"""Model files of the C++ runtime: safetensors, with what their tensors mean as JSON (docs/deployment/runtime.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semihmm import structures
from semihmm._files import atomically
from semihmm._optional import require
from semihmm.errors import DataError, StructureError
from semihmm.export.module import checked_laws
from semihmm.export.network import network as network_of
from semihmm.models import HMM, HSMM, Gaussian, GaussianMixture
from semihmm.models.emissions import Categorical, Emission, Neural
from semihmm.structures import CTC, MonotonicAlignment, Structure

RUNTIME = 1  # the version of the files
_KEY = "semihmm.runtime"
Described = dict[str, Any]
Tensors = dict[str, Tensor]


def runtime(
    model: HMM | HSMM | Structure,
    path: str | PathLike[str],
    *,
    names: Sequence[str] | None = None,
    network: torch.nn.Module | None = None,
    features: Described | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a model to a file that the C++ runtime loads, without Python near: see `docs/deployment/runtime.md`.

    Args:
        model: an `HMM` or an `HSMM` of `semihmm.models` with an emission of `Gaussian`, `GaussianMixture`,
            `Categorical` or `Neural`. Or a structure of one sequence, `semihmm.HMM`, `HSMM`, `CTC` or
            `MonotonicAlignment`, whose emission does not count: the runtime is then given log-likelihoods.
        path: the file, which appears when it is whole. Its numbers are float32.
        names: of the states, for whoever reads them.
        network: what makes the log-likelihoods of a structure, as `network` takes it.
        features: what makes frames of samples, as `front_end` returns it.
        dtype: of a network's weights in the file: float32 or float16.

    Raises:
        DataError: a path that cannot be written; numbers that float32 does not hold.
        DependencyError: safetensors is not installed.
        StructureError: a part that the runtime does not have.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> runtime(HMM(3, Gaussian(3, features=2)), f"{folder}/model.safetensors")
        >>> runtime(semihmm.CTC(torch.zeros(1, 4), torch.tensor([1, 2])), f"{folder}/text.safetensors")
    """
    safetensors = require("safetensors.torch", extra="models", purpose="Writing a model file")
    with torch.no_grad():
        described, tensors = _model(model, dtype) if isinstance(model, HMM | HSMM) else _structure(model)
    if network is not None:
        described, tensors = _with_network(described, tensors, network, None, dtype)
    if features is not None:
        described["features"] = features
    if names is not None:
        count = described["states"]
        if len(names) != count or not all(isinstance(name, str) for name in names):
            raise DataError(f"export: names must be {count} strings, one for each state, got {names!r}.")
        described["names"] = list(names)
    stored = {name: _stored(name, x) for name, x in tensors.items()}
    content: bytes = safetensors.save(stored, {_KEY: json.dumps({"version": RUNTIME, **described})})
    try:
        with atomically(Path(path)) as partial:
            partial.write_bytes(content)
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"export: {path!r} cannot be written: {error}. Pass the path of a file.") from error


def _with_network(
    described: Described, tensors: Tensors, net: torch.nn.Module, features: int | None, dtype: torch.dtype
) -> tuple[Described, Tensors]:
    emission, weights = network_of(net, features, dtype)
    return {**described, "emission": emission}, {**tensors, **{f"emission.{n}": x for n, x in weights.items()}}


def _model(model: HMM | HSMM, dtype: torch.dtype) -> tuple[Described, Tensors]:
    laws = checked_laws(model)
    if type(model.emission) is Neural:
        form = model.structure(torch.zeros(2, model.states, dtype=next(model.parameters()).dtype), laws=laws)
        return _with_network(*_structure(form), model.emission.net, model.emission.event_shape[-1], dtype)
    kind = next((k for k in _EMISSIONS if type(model.emission) is k), None)
    if kind is None:
        raise StructureError(
            f"export: {type(model.emission).__name__} is no emission that the runtime has: "
            f"{', '.join(k.__name__ for k in _EMISSIONS)}. Export model.structure(torch.zeros(1, {model.states})) "
            "instead, and give the runtime log-likelihoods; export.onnx has every emission.",
            see="no-export",
        )
    form = model.structure(torch.zeros(2, model.states, dtype=model.emission.dtype), laws=laws)
    described, tensors = _structure(form)
    emission, more = _EMISSIONS[kind](model.emission)
    return {**described, "emission": emission}, {**tensors, **{f"emission.{n}": x for n, x in more.items()}}


def _structure(structure: Structure) -> tuple[Described, Tensors]:
    """What a structure says beside its emission."""
    name = type(structure).__name__
    if not isinstance(structure, structures.HMM | structures.HSMM | CTC | MonotonicAlignment):
        raise StructureError(
            f"export: the runtime has no {name}. Pass an HMM, an HSMM, a CTC or a MonotonicAlignment, or a model of "
            "semihmm.models; export.onnx has every structure.",
            see="no-export",
        )
    if structure.batch_shape:
        raise StructureError(
            f"export: the runtime has models of one sequence, and this {name} is a batch of "
            f"{tuple(structure.batch_shape)}. Pass structure[0].",
            see="no-export",
        )
    if isinstance(structure, CTC):
        return _ctc(structure)
    emission = {"kind": "log_likelihoods"}
    if isinstance(structure, MonotonicAlignment):
        return {"kind": "alignment", "states": structure.emission.shape[-1], "emission": emission}, {}
    steady = {"transition": 2 if structure.arcs is None else 1, "duration": 2, "segment": 0}
    varying = [n for n, axes in steady.items() if structure.ranks.get(n, axes) > axes]
    if varying:
        raise StructureError(
            f"export: {varying[0]} of this {name} differs from step to step, which the runtime does not have. Make it "
            "the same at all steps, or use export.onnx.",
            see="no-export",
        )
    tensors: Tensors = {"initial": structure.initial, "transition": structure.transition}
    moves: Described = {"kind": "dense"}
    if structure.offsets is not None:
        moves = {"kind": "banded", "offsets": list(structure.offsets)}
    elif structure.arcs is not None:
        moves, tensors["arcs"] = {"kind": "arcs"}, torch.stack(structure.arcs)
    if structure.final is not None:
        tensors["final"] = structure.final
    described: Described = {"kind": name.lower(), "states": structure.states, "transition": moves, "emission": emission}
    if isinstance(structure, structures.HSMM):
        if structure.censored not in ("none", "right"):
            raise StructureError(
                f"export: the runtime has segments that begin with the sequence, and this HSMM is "
                f"censored={structure.censored!r}. Pass one with 'none' or 'right', or use export.onnx.",
                see="no-export",
            )
        tensors["duration"] = structure.duration
        return {**described, "censored": structure.censored}, tensors
    if structure.emission_index is not None:
        described["columns"] = structure.emission.shape[-1]
        tensors["columns"] = structure.emission_index
    return described, tensors


def _ctc(ctc: CTC) -> tuple[Described, Tensors]:
    used = ctc.targets.shape[-1] if ctc.target_lengths is None else int(ctc.target_lengths)
    if not used:
        raise StructureError(
            "export: the runtime has texts of at least one token, and this CTC has no targets.", see="no-export"
        )
    tensors: Tensors = {"targets": ctc.targets[:used]}
    if ctc.optional is not None:
        tensors["optional"] = ctc.optional[:used]
    columns, emission = ctc.emission.shape[-1], {"kind": "log_likelihoods"}
    described = {"kind": "ctc", "states": 2 * used + 1, "columns": columns, "blank": ctc.blank, "emission": emission}
    return described, tensors


# ---- emissions


def _gaussian(emission: Any) -> tuple[Described, Tensors]:
    return {"kind": "gaussian", "covariance": emission.kind}, _gaussians(emission)


def _mixture(emission: Any) -> tuple[Described, Tensors]:
    tensors = {**_gaussians(emission), "log_weight": emission.weights()}
    if not emission.apart:
        tensors["codebook"] = emission.codebook
    return {"kind": "mixture", "covariance": emission.kind}, tensors


def _gaussians(emission: Any) -> Tensors:
    name = emission.spread.parameter
    return {"mean": emission.mean, name: getattr(emission, name)}


def _categorical(emission: Any) -> tuple[Described, Tensors]:
    return {"kind": "categorical"}, {"log_prob": emission.table()}


_EMISSIONS: dict[type[Emission], Callable[[Any], tuple[Described, Tensors]]] = {
    Gaussian: _gaussian,
    GaussianMixture: _mixture,
    Categorical: _categorical,
}


def _stored(name: str, x: Tensor) -> Tensor:
    """Numbers as float32, which must hold them, and indices as int32."""
    if x.dtype == torch.bool:
        return x.to(torch.uint8).contiguous()
    if not x.is_floating_point():
        return x.to(torch.int32).contiguous()
    found = x.detach().to(x.dtype if x.dtype == torch.float16 else torch.float32).contiguous().clone()
    bad = found.isnan() | (found == torch.inf) | (found.isinf() != x.isinf())
    if bad.any():
        raise DataError(
            f"export: {name} holds {float(x[bad][0])}, which the runtime cannot take: numbers must be finite float32, "
            "or -inf for what is forbidden."
        )
    return found
