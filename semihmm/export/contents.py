"""What a file of a model, or an exported one, holds: told from its header. Nothing in it is built, run or unpickled."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

from semihmm._optional import require
from semihmm.errors import DataError

Rows = dict[str, str]
_MOST = 1 << 26  # bytes of a text inside an archive: an archive of few bytes can hold any number
_FEW = 8  # values that a row spells out
_DAMAGE = (  # what reading any bytes may raise; too deep a nesting is a RuntimeError
    *(OSError, EOFError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error),
)
# The bytes of a number in each field of an ONNX tensor that is not raw.
_NUMBERS = {"float_data": 4, "int32_data": 4, "int64_data": 8, "double_data": 8, "uint64_data": 8}


def contents(path: str | PathLike[str]) -> Rows:
    """Names and values, the kind of file first.

    Args:
        path: what `save` of a model, an acoustic model or a stream wrote, or what `semihmm.export` did.

    Raises:
        DataError: no such file, a damaged one, or one of another kind.
        DependencyError: the file is safetensors or ONNX, and the package that reads it is not installed.

    Example:
        >>> import tempfile
        >>> from semihmm.models import HMM, Gaussian
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     HMM(3, Gaussian(3, features=2)).save(f"{folder}/model")
        ...     rows = contents(f"{folder}/model")
        >>> rows["file"], rows["states"], rows["emission"]
        ('model of semihmm.models: HMM', '3', 'Gaussian(features=2, covariance=diag)')
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            beginning = file.read(9)
    except OSError as error:
        raise DataError(f"info: {path} cannot be read: {error.strerror or error}.") from error
    for is_one, read in _KINDS:
        if is_one(beginning, path):
            try:
                return read(path) | {"size": f"{size:,} bytes"}
            except DataError:
                raise
            except _DAMAGE as error:
                raise DataError(f"info: {path} is damaged: {_short(str(error))}. Save or export it again.") from error
    raise DataError(
        f"info: {path} is no model and no exported one: safetensors, ONNX and torch packages are told from how they "
        f"begin, and this one begins {beginning!r}."
    )


def _safetensors(path: Path) -> Rows:
    safetensors = require("safetensors", extra="models", purpose="Reading safetensors files")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata, slices = file.metadata() or {}, {name: file.get_slice(name) for name in sorted(file.keys())}
            tensors = {name: (part.get_shape(), part.get_dtype()) for name, part in slices.items()}
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(f"info: {path} begins as a safetensors file does, but is none: {error}.") from error
    shapes = {name: shape for name, (shape, _) in tensors.items()}
    counts: Counter[str] = Counter()
    for shape, dtype in tensors.values():
        counts[dtype] += prod(shape)
    held = {"tensors": str(len(tensors)), "numbers": ", ".join(f"{n:,} {dtype}" for dtype, n in sorted(counts.items()))}
    for key, value in metadata.items():
        if key.startswith("semihmm."):
            note = json.loads(value)
            return _NOTES.get(key, _noted)(note, shapes) | held
    raise DataError(
        f"info: {path} is a safetensors file, but not one of semihmm's: its metadata have no key that begins 'semihmm.'"
    )


def _model(note: dict[str, Any], shapes: dict[str, list[int]]) -> Rows:
    config = note["config"]
    rows = {"file": f"model of semihmm.models: {_short(note['model'])}", "states": _value(config["states"])}
    arcs, offsets, allowed = (config.get(name) for name in ("arcs", "offsets", "allowed"))
    if arcs:
        rows["transition"] = f"{len(arcs[0])} arcs"
    elif offsets:
        rows["transition"] = f"offsets {_value(offsets)}"
    elif allowed:
        rows["transition"] = f"{sum(map(sum, allowed))} of {len(allowed) ** 2} arcs"
    parts = {name: _part(value) for name, value in note["parts"].items()}
    unbuilt = [name for name, value in note["parts"].items() if value["config"] is None]
    rows |= parts | {name: _value(config[name]) for name in ("censored", "order") if name in config}
    if unbuilt:
        rows["to load"] = f"pass {', '.join(f'{name}=...' for name in unbuilt)}: the file has its parameters alone"
    return rows


def _acoustic_model(note: dict[str, Any], shapes: dict[str, list[int]]) -> Rows:
    front_end, card, mixtures = note["front_end"], note["card"], range(note["streams"])
    phones, states, _ = shapes["transitions"]
    rows = {"file": f"acoustic model, version {note['version']}", "name": note["name"]}
    rows["phones"] = f"{phones} of {states} states: {' '.join(note['phones'])}"
    if mixtures:
        means = [shapes[f"streams.{number}.mean"] for number in mixtures]
        rows["Gaussians"] = ", ".join(f"{prod(mean[:-1])} of {mean[-1]} features" for mean in means)
    if "network" in note:
        rows["network"] = _pairs(note["network"])
    if "contexts" in shapes:
        rows["contexts"] = "phones between their neighbours"
    if "transform" in shapes:
        rows["transform"] = " × ".join(map(str, shapes["transform"]))
    rows["front end"] = f"{front_end['sample_rate']} Hz, {front_end['frame_rate']} frames a second"
    return rows | {f"card: {name}": _value(value) for name, value in card.items()}


def _stream(note: dict[str, Any], shapes: dict[str, list[int]]) -> Rows:
    return {"file": f"stream of a {note['source']['kind']}, version {note['version']}"} | {
        name: _value(value) for name, value in note["options"].items()
    }


def _runtime(note: dict[str, Any], shapes: dict[str, list[int]]) -> Rows:
    rows = {"file": f"model of the C++ runtime, version {_value(note.pop('version'))}"}
    return rows | {name: _value(_kind(value)) for name, value in note.items()}


def _kind(value: object) -> object:
    """What is described by its kind, and perhaps more."""
    if isinstance(value, dict) and "kind" in value:
        return " ".join([str(value["kind"]), *(_value(more) for name, more in value.items() if name != "kind")])
    return value


def _noted(note: dict[str, Any], shapes: dict[str, list[int]]) -> Rows:
    """Of a kind that says itself what it is."""
    return {"file": "semihmm's"} | {name: _value(value) for name, value in note.items()}


def _onnx(path: Path) -> Rows:
    onnx = require("onnx", extra="export", purpose="Reading ONNX files")
    decoding = require("google.protobuf.message", extra="export", purpose="Reading ONNX files")
    try:
        model = onnx.load(path, load_external_data=False)
    except decoding.DecodeError as error:
        raise DataError(f"info: {path} is no ONNX file, or a damaged one: {error}.") from error
    graph, opsets = model.graph, {x.domain or "ai.onnx": x.version for x in model.opset_import}
    if not graph.node or not opsets:
        raise DataError(f"info: {path} is no ONNX file: it has no graph.")
    operators = Counter(node.op_type for node in _nodes(graph))
    types = onnx.TensorProto.DataType
    rows = {"file": "ONNX", "opset": ", ".join(f"{name} {version}" for name, version in opsets.items())}
    rows["producer"] = f"{model.producer_name} {model.producer_version}".strip()
    for side, values in (("input", graph.input), ("output", graph.output)):
        for value in values:
            tensor = value.type.tensor_type
            sizes = ", ".join(x.dim_param or str(x.dim_value) for x in tensor.shape.dim)
            dtype = types.Name(tensor.elem_type) if tensor.elem_type in types.values() else "?"
            rows[f"{side} {value.name}"] = f"({sizes}) {dtype}"
    weights = graph.initializer
    held = sum(len(x.raw_data) + sum(size * len(getattr(x, name)) for name, size in _NUMBERS.items()) for x in weights)
    rows["operators"] = ", ".join(f"{name} {count}" for name, count in operators.most_common(_FEW))
    rows["weights"] = f"{len(weights)} of {held:,} bytes"
    return rows | {f"note: {entry.key}": entry.value for entry in model.metadata_props}


def _nodes(graph: Any) -> Iterator[Any]:
    """Those of graphs inside graphs too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _archive(path: Path) -> Rows:
    """A package of PyTorch's: a program of `torch.export` or AOTInductor, TorchScript, or a pickle."""
    with zipfile.ZipFile(path) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        if "archive_format" in names:
            return _package(archive, names)
        if "constants.pkl" in names:
            return {"file": "TorchScript", "code": _value(sorted(x for x in names if x.endswith(".py")))}
    if "data.pkl" in names:
        raise DataError(f"info: {path} is what torch.save wrote: {_PICKLE}")
    raise DataError(f"info: {path} is a zip archive, but no package of PyTorch's.")


def _package(archive: zipfile.ZipFile, names: dict[str, str]) -> Rows:
    def text(name: str) -> str:
        with archive.open(names[name]) as file:
            found = file.read(_MOST + 1)
        if len(found) > _MOST:
            raise ValueError(f"{name} holds more than {_MOST:,} bytes")
        return found.decode()

    compiled = sorted(name for name in names if name.startswith("data/aotinductor/"))
    rows = {"file": f"torch package, {'AOTInductor' if compiled else 'torch.export'}"}
    for name in names:
        if name.startswith("models/") and name.endswith(".json"):
            program = json.loads(text(name))
            rows["torch"] = _value(program["torch_version"])
            rows["operators"] = _value(len(program["graph_module"]["graph"]["nodes"]))
            signature = program["graph_module"]["signature"]
            inputs = [x["user_input"]["arg"] for x in signature["input_specs"] if "user_input" in x]
            rows["inputs"] = ", ".join(x["as_tensor"]["name"] for x in inputs)
            rows["outputs"] = str(len(signature["output_specs"]))
    if compiled:
        libraries = [name for name in compiled if name.endswith(".so")]
        rows["compiled"] = f"{', '.join(libraries) or 'no library'}: programs, which run when it is loaded"
    weights = [archive.getinfo(names[name]).file_size for name in names if name.startswith("data/weights/w")]
    return rows | {"weights": f"{sum(weights):,} bytes"}


def _pickle(path: Path) -> Rows:
    raise DataError(f"info: {path} is a pickle: {_PICKLE}")


def _part(part: dict[str, Any]) -> str:
    name = part["class"].rpartition(".")[2]
    return f"{_short(name)}({_pairs({k: v for k, v in (part['config'] or {}).items() if k in _TOLD})})"


def _pairs(config: dict[str, Any]) -> str:
    return ", ".join(f"{name}={_value(value)}" for name, value in config.items() if value is not None)


def _value(value: object) -> str:
    if isinstance(value, dict) and value.keys() == {"class", "config"}:
        return _part(value)
    if isinstance(value, dict):
        return _pairs(value) if len(value) <= _FEW else f"{len(value)} values"
    if isinstance(value, list):
        few = len(value) <= _FEW and not any(isinstance(x, list) for x in value)
        return ", ".join(map(_value, value)) if few else f"{len(value)} values"
    return _short(str(value))


def _short(text: str, most: int = 200) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


_PICKLE = "opening it can run any program, so semihmm does not. Models are safetensors files, which model.save writes."
_TOLD = (  # of what parts are made with; the rest says how they are fitted
    "features",
    "components",
    "covariance",
    "symbols",
    "parts",
    "max_duration",
    "min_duration",
    "order",
)
_NOTES: dict[str, Callable[[dict[str, Any], dict[str, list[int]]], Rows]] = {
    "semihmm.model": _model,
    "semihmm.acoustic-model": _acoustic_model,
    "semihmm.stream": _stream,
    "semihmm.runtime": _runtime,
}
_KINDS: tuple[tuple[Callable[[bytes, Path], bool], Callable[[Path], Rows]], ...] = (
    (lambda beginning, _: beginning[8:] == b"{", _safetensors),
    (lambda beginning, _: beginning.startswith(b"PK\x03\x04"), _archive),
    (lambda beginning, _: beginning[:1] == b"\x80" and beginning[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"), _pickle),
    (lambda beginning, path: beginning[:1] == b"\x08" or path.suffix == ".onnx", _onnx),
)
