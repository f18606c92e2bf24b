"""Smaller ONNX files: networks in 16 or 8 bits, and the recursion over time in 32, as it was."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal, get_args

from semihmm._files import atomically
from semihmm._optional import require
from semihmm.errors import SemihmmError, StructureError
from semihmm.export.onnx import NETWORK

Precision = Literal["fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def quantize(source: str | PathLike[str], path: str | PathLike[str], to: Precision) -> None:
    """Write an ONNX file of `onnx` or `onnx_step` again, with the weights of its networks in fewer bits.

    Laws, log-likelihoods and the recursion stay as they are: sums of thousands of steps have no 16 bits to spare.

    Args:
        source: a file of which some nodes are a network's, a module of `torch.nn` inside of the model.
        path: the file, which appears when it is whole; it may be the same.
        to: ``"fp16"``: weights are stored in 16 bits and multiplied in 32. ``"int8"``: products of matrices are of 8
            bits, of which those of each column of weights are scaled by themselves, and those that a network meets by
            what is in the chunk; sums are of 32.

    Raises:
        DependencyError: onnx is not installed; for int8, onnxruntime.
        SemihmmError: another precision.
        StructureError: a file without a network.

    Example:
        >>> quantize("model.onnx", "small.onnx", "int8")  # doctest: +SKIP
    """
    if to not in PRECISIONS:
        raise SemihmmError(
            f"export: to must be one of {PRECISIONS}, got {to!r}. The recursion over time is not made smaller: in "
            "16 bits a step loses more than what tells paths apart."
        )
    onnx = require("onnx", extra="export", purpose="Reading ONNX files")
    model = onnx.load(fspath(source))
    nodes = [node for node in model.graph.node if node.name.startswith(NETWORK)]
    if not nodes:
        raise StructureError(
            f"export: {fspath(source)} has no network whose weights could have fewer bits; the tables of the laws "
            "are not made smaller. Have the file as it is."
        )
    with atomically(Path(path)) as temporary:
        if to == "fp16":
            _halve(onnx, model, {id(node) for node in nodes})
            onnx.save(model, fspath(temporary))
        else:
            _to_bytes(model, [node.name for node in nodes], fspath(temporary))
        onnx.checker.check_model(fspath(temporary), full_check=True)


def _halve(onnx: Any, model: Any, network: set[int]) -> None:
    """Weights in 16 bits, and an operator behind each that makes 32 of them."""
    graph = model.graph
    others = {name for node in graph.node if id(node) not in network for name in _read(node)}
    read = {name for node in graph.node if id(node) in network for name in _read(node)}
    casts = []
    for tensor in graph.initializer:
        if tensor.name not in read - others or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        name, weight = tensor.name, onnx.numpy_helper.to_array(tensor)
        if not abs(weight).max(initial=0) < 65504:
            raise StructureError(f"export: weights {name} of the network do not fit into 16 bits. Use int8.")
        tensor.CopyFrom(onnx.numpy_helper.from_array(weight.astype("float16"), f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], f"{NETWORK}{name}", to=1))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *rest])


def _read(node: Any) -> set[str]:
    """All that a node reads, in its own graphs, too."""
    inner = [x for attribute in node.attribute if attribute.HasField("g") for x in attribute.g.node]
    return set(node.input).union(*map(_read, inner))


def _to_bytes(model: Any, names: list[str], path: str) -> None:
    """Products of matrices in 8 bits."""
    runtime = require("onnxruntime.quantization", extra="export", purpose="Quantising to int8")
    runtime.quantize_dynamic(
        model, path, nodes_to_quantize=names, per_channel=True, weight_type=runtime.QuantType.QInt8
    )
