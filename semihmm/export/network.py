"""Emission networks as the runtime runs them: a list of layers, each of which hears a few rows around its own."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from semihmm.errors import ShapeError, StructureError

_STEPS = (1009, 1013)  # of two examples: more than a row hears, and the sizes of nothing else
_RUNS = (
    "Linear, Conv1d, ReLU, LeakyReLU, GELU, SiLU, Tanh, Sigmoid, LayerNorm, BatchNorm1d, Dropout, LogSoftmax, sums of "
    "a layer's input and output, and constants of each feature that are added or multiplied"
)
_ACTIVATIONS = {"relu", "silu", "tanh", "sigmoid"}
_SAME = {"dropout", "feature_dropout", "to", "contiguous", "clone", "alias", "detach", "_to_copy"}
_AXES = {"t", "mT", "transpose", "permute", "unsqueeze", "squeeze", "select"}

Layer = Mapping[str, Any]  # its kind, its options, and tensors


@dataclass(frozen=True)
class _Rows:
    """What a node of the graph holds: axes named T, F and, of size 1, "", and the layers that made it of the input."""

    axes: tuple[str, ...]
    width: int  # of F
    layers: tuple[Layer, ...] = ()
    padding: Layer | None = None  # of the convolution to come

    def then(self, kind: str, **options: Any) -> _Rows:
        return replace(self, layers=(*self.layers, {"kind": kind, **options}))


class _CannotError(Exception):
    """A layer that has no place in a list of layers; says why."""


def network(
    net: nn.Module, features: int | None = None, dtype: torch.dtype = torch.float32
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A network as a model file has it, ``"emission": {"kind": "network", ...}``, and its tensors: see `runtime`.

    Any module will do that is made of layers which the runtime runs, however it is written: it is traced by
    `torch.export`, in evaluation mode. Batch normalisation and other constants are folded into the layer before.

    Args:
        net: from ``(1, T, features)`` to ``(1, T', states)``, or from ``(T, features)`` to ``(T', states)``.
        features: how many numbers a row has; None for those that the first Linear or Conv1d takes.
        dtype: of the weights in the file: float32 or float16. Sums are float32.

    Raises:
        ShapeError: no ``features``, where they are needed.
        StructureError: a layer that the runtime does not run, by name, and what to use instead.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Linear(13, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
        >>> described, tensors = network(net)
        >>> [layer["kind"] for layer in described["layers"]], described["inputs"]
        (['convolution', 'relu', 'convolution'], 13)
        >>> tensors["0.weight"].shape
        torch.Size([32, 13, 1])
    """
    net = copy.deepcopy(net).cpu().float().eval()
    features = _features(net) if features is None else features
    x = torch.zeros(1, _STEPS[0], features)
    batch = () if not _takes(net, x) and _takes(net, x[0]) else (1,)
    found, again = (_layers(net, torch.zeros(*batch, steps, features), dtype) for steps in _STEPS)
    if found[0] != again[0] or any(not x.equal(again[1][name]) for name, x in found[1].items()):
        raise StructureError(
            f"export: {type(net).__name__} computes with the number of rows, which a stream does not know. Use "
            "semihmm.export.onnx, or give the runtime its log-likelihoods.",
            see="no-export",
        )
    return {"kind": "network", "inputs": features, "layers": found[0]}, found[1]


@torch.no_grad()
def _takes(net: nn.Module, x: Tensor) -> bool:
    try:
        net(x)
    except Exception:
        return False
    return True


def _layers(net: nn.Module, x: Tensor, dtype: torch.dtype) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """The layers that make what the network returns for ``x``, and their tensors."""
    rows = _traced(net, x)
    if rows.axes[-2:] != ("T", "F") or rows.padding:
        raise StructureError(
            f"export: the network returns axes {rows.axes}, where T is time and F are its outputs; the runtime needs "
            "(..., T, F). Does its last step transpose them?",
            see="no-export",
        )
    tensors: dict[str, Tensor] = {}
    return _described(_folded(rows.layers), tensors, dtype, count()), tensors


def _features(net: nn.Module) -> int:
    for module in net.modules():
        if isinstance(module, nn.Linear):
            return module.in_features
        if isinstance(module, nn.Conv1d):
            return module.in_channels
    raise ShapeError("export: pass features, how many numbers a row has: the network has no Linear or Conv1d.")


def _traced(net: nn.Module, x: Tensor) -> _Rows:
    """The rows that the network returns for ``x``."""
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's, about modules that are refused below
            program = torch.export.export(net, (x,), strict=False)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        raise StructureError(
            f"export: PyTorch cannot trace {type(net).__name__} ({type(error).__name__}: {reason}). Does it look at "
            f"the numbers in tensors? The runtime runs {_RUNS}.",
            see="no-export",
        ) from error
    signature = program.graph_signature
    given = signature.inputs_to_parameters | signature.inputs_to_buffers
    constants: dict[str, Tensor] = {**program.state_dict, **program.constants}
    given |= signature.inputs_to_lifted_tensor_constants
    values: dict[Node, Any] = {}

    def value(x: Any) -> Any:
        return values[x] if isinstance(x, Node) else [value(one) for one in x] if isinstance(x, list | tuple) else x

    for node in program.graph.nodes:
        if node.op == "placeholder":
            name = given.get(node.name)
            values[node] = _Rows(("", "T", "F")[-x.ndim :], x.shape[-1]) if name is None else constants[name].detach()
        elif node.op == "output":
            found = value(node.args[0])
            if len(found) == 1 and isinstance(found[0], _Rows):
                return found[0]
            raise StructureError("export: the network should return one tensor, of its input.", see="no-export")
        else:
            try:
                values[node] = _step(node, value(node.args), {key: value(x) for key, x in node.kwargs.items()})
            except _CannotError as error:
                raise StructureError(
                    f"export: {_place(node)} {error}, and the runtime does not run that. It runs {_RUNS}. Use "
                    "semihmm.export.onnx, or run the network elsewhere and give the runtime its log-likelihoods.",
                    see="no-export",
                ) from error
    raise AssertionError("a graph ends with its output")


def _place(node: Node) -> str:
    stack = list(node.meta.get("nn_module_stack", {}).values())
    path, kind = stack[-1] if stack else ("", "")
    kind = kind if isinstance(kind, str) else kind.__name__
    return f"the network's layer {path!r} ({kind.split('.')[-1]})" if path else "the network itself"


def _step(node: Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What a node of the graph makes of values."""
    name = getattr(node.target, "__name__", str(node.target)).split(".")[0]
    streams = [x for x in args if isinstance(x, _Rows)]
    if name == "_assert_tensor_metadata":
        return None
    if not streams:
        if any(isinstance(x, _Rows) for part in args if isinstance(part, list) for x in part):
            raise _CannotError(f"has {name} of several tensors")
        return node.target(*args, **kwargs)  # type: ignore[operator]
    x = streams[0]
    if x.padding and name != "conv1d":
        raise _CannotError(f"has {name} after padding")
    if name.endswith("_"):
        _check_alone(node, name)
        name = name[:-1]
    if name in _SAME:
        if name.endswith("dropout") and args[2]:
            raise _CannotError("has a dropout that never rests")
        return x
    if name in _AXES:
        return _turned(name, x, *args[1:])
    if name in _ACTIVATIONS:
        return x.then(name)
    known: dict[str, Callable[..., _Rows]] = {
        "linear": _linear, "conv1d": _convolution, "pad": _pad, "layer_norm": _layer_norm, "batch_norm": _batch_norm,
        "log_softmax": _log_softmax, "leaky_relu": lambda x, slope=0.01: x.then("leaky_relu", slope=float(slope)),
        "gelu": lambda x, approximate="none": x.then("gelu" if approximate == "none" else "gelu_tanh"),
        "add": _add, "sub": _sub, "mul": _mul, "div": _div,
    }  # fmt: skip
    if name not in known:
        raise _CannotError(f"has {name}")
    return known[name](*args, **kwargs)


def _check_alone(node: Node, name: str) -> None:
    """Refuses to change in place what is read again."""
    before = node.args[0]
    while isinstance(before, Node) and before.op == "call_function":
        if len(before.users) > 1:
            raise _CannotError(f"has {name}, which changes what is used again,")
        before = before.args[0]


def _turned(name: str, x: _Rows, *args: Any) -> _Rows:
    axes = list(x.axes)
    match name, args:
        case (("t" | "mT"), ()):
            axes[-2:] = axes[:-3:-1]
        case "transpose", (first, second):
            axes[first], axes[second] = axes[second], axes[first]
        case "permute", (order,):
            axes = [axes[i] for i in order]
        case "unsqueeze", (at,):
            axes.insert(at % (len(axes) + 1), "")
        case ("squeeze", (at,)) | ("select", (at, 0)) if isinstance(at, int) and not axes[at]:
            del axes[at]
        case _:
            raise _CannotError(f"has {name}{args} of axes {x.axes}")
    return replace(x, axes=tuple(axes))


def _needs(x: _Rows, axes: tuple[str, ...], what: str) -> None:
    if x.axes[-len(axes) :] != axes:
        raise _CannotError(f"has {what} over other axes than features")


def _linear(x: _Rows, weight: Tensor, bias: Tensor | None = None) -> _Rows:
    _needs(x, ("F",), "a Linear")
    return replace(x, width=len(weight)).then("convolution", weight=weight[:, :, None], bias=bias)


def _convolution(
    x: _Rows,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] | str = (0,),
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> _Rows:
    _needs(x, ("F", "T"), "a Conv1d")
    beyond = dilation[0] * (weight.shape[2] - 1)
    if isinstance(padding, str):
        before = beyond // 2 if padding == "same" else 0
        after = beyond - before if padding == "same" else 0
    else:
        before = after = padding[0]
    mode = "zeros"
    if earlier := x.padding:
        if earlier["mode"] != mode and before + after:
            raise _CannotError("pads twice, with zeros and with other rows")
        before, after, mode = before + earlier["before"], after + earlier["after"], earlier["mode"]
    if groups > 1:
        dense = weight.new_zeros(len(weight), groups * weight.shape[1], weight.shape[2])
        for part, rows in zip(weight.chunk(groups), zip(dense.chunk(groups), range(groups), strict=True), strict=True):
            rows[0][:, rows[1] * part.shape[1] : (rows[1] + 1) * part.shape[1]] = part
        weight = dense
    options = {"stride": stride[0], "dilation": dilation[0], "before": before, "after": after, "padding": mode}
    return replace(x, width=len(weight), padding=None).then("convolution", weight=weight, bias=bias, **options)


def _pad(x: _Rows, sizes: Sequence[int], mode: str = "constant", value: float | None = None) -> _Rows:
    _needs(x, ("F", "T"), "padding")
    if len(sizes) != 2 or min(sizes) < 0 or mode not in {"constant", "replicate"} or value:
        raise _CannotError(f"pads by {list(sizes)} in the mode {mode!r}, value {value}")
    return replace(x, padding={"before": sizes[0], "after": sizes[1], "mode": "zeros" if mode == "constant" else mode})


def _layer_norm(
    x: _Rows,
    shape: Sequence[int],
    scale: Tensor | None = None,
    shift: Tensor | None = None,
    epsilon: float = 1e-5,
    *_: Any,
) -> _Rows:
    _needs(x, ("F",), "a LayerNorm")
    if len(shape) > 1:
        raise _CannotError("has a LayerNorm over other axes than features")
    return x.then("layer_norm", epsilon=epsilon, scale=scale, shift=shift)


def _batch_norm(
    x: _Rows, scale: Tensor | None, shift: Tensor | None, mean: Tensor | None, variance: Tensor | None, *rest: Any
) -> _Rows:
    training, _, epsilon = rest[:3]
    if len(x.axes) < 2 or x.axes[1] != "F" or training or mean is None or variance is None:
        raise _CannotError("has a BatchNorm over other axes than features, or without means of its own")
    factor = (variance.double() + epsilon).rsqrt() * (1.0 if scale is None else scale.double())
    return x.then("affine", scale=factor, shift=-mean.double() * factor + (0.0 if shift is None else shift.double()))


def _log_softmax(x: _Rows, axis: int, dtype: object = None) -> _Rows:
    if x.axes[axis] != "F":
        raise _CannotError("has a LogSoftmax over other axes than features")
    return x.then("log_softmax")


def _constant(x: _Rows, value: Any) -> Tensor:
    """A number, or one for each feature, in double."""
    found = torch.as_tensor(value, dtype=torch.float64)
    axes = x.axes[-found.ndim :] if found.ndim else ()
    if found.ndim > len(x.axes) or any(size > 1 and axis != "F" for size, axis in zip(found.shape, axes, strict=True)):
        raise _CannotError(f"has a constant {tuple(found.shape)} that is not one number for each feature")
    return found.flatten().expand(x.width)


def _add(x: Any, y: Any, alpha: float = 1) -> _Rows:
    if not (isinstance(x, _Rows) and isinstance(y, _Rows)):
        rows, constant = (x, y) if isinstance(x, _Rows) else (y, x)
        factor = alpha if rows is x else 1
        if rows is y and alpha != 1:
            raise _CannotError("has a sum with a factor")
        return rows.then("affine", scale=None, shift=factor * _constant(rows, constant))
    short, long = sorted((x, y), key=lambda rows: len(rows.layers))
    shared = len(short.layers)
    if alpha != 1 or x.axes != y.axes or any(a is not b for a, b in zip(short.layers, long.layers, strict=False)):
        raise _CannotError("adds two tensors neither of which is made of the other alone")
    return replace(long, layers=(*short.layers, {"kind": "residual", "layers": long.layers[shared:]}))


def _sub(x: Any, y: Any, alpha: float = 1) -> _Rows:
    if not isinstance(x, _Rows) or isinstance(y, _Rows):
        raise _CannotError("has a difference of which the second is no constant")
    return x.then("affine", scale=None, shift=-alpha * _constant(x, y))


def _mul(x: Any, y: Any) -> _Rows:
    if isinstance(x, _Rows) and isinstance(y, _Rows):
        raise _CannotError("multiplies two tensors that are made of the input")
    rows, constant = (x, y) if isinstance(x, _Rows) else (y, x)
    return rows.then("affine", scale=_constant(rows, constant), shift=None)


def _div(x: Any, y: Any) -> _Rows:
    if not isinstance(x, _Rows) or isinstance(y, _Rows):
        raise _CannotError("divides by what is made of the input")
    return x.then("affine", scale=1 / _constant(x, y), shift=None)


def _folded(layers: Sequence[Layer]) -> list[Layer]:
    """The same layers, without what multiplies and adds to a convolution or its like, which can do that itself."""
    found: list[Layer] = []
    for layer in layers:
        before: Layer = found[-1] if found else {"kind": ""}
        if layer["kind"] == "residual":
            found.append({**layer, "layers": _folded(layer["layers"])})
        elif layer["kind"] != "affine" or before["kind"] not in {"affine", "convolution"}:
            found.append(layer)
        else:
            name, shift = ("scale", "shift") if before["kind"] == "affine" else ("weight", "bias")
            scaled, moved = before[name], before[shift]
            if layer["scale"] is not None:
                factor = layer["scale"] if name == "scale" else layer["scale"][:, None, None]
                scaled = factor if scaled is None else factor * scaled.double()
                moved = None if moved is None else layer["scale"] * moved.double()
            if layer["shift"] is not None:
                moved = layer["shift"] if moved is None else layer["shift"] + moved.double()
            found[-1] = {**before, name: scaled, shift: moved}
    return found


def _described(
    layers: Sequence[Layer], tensors: dict[str, Tensor], dtype: torch.dtype, numbers: Iterator[int]
) -> list[dict[str, Any]]:
    """Layers without their tensors, which get names by their order."""
    found: list[dict[str, Any]] = []
    for layer in layers:
        options: dict[str, Any] = {}
        number = next(numbers)
        for key, value in layer.items():
            if key == "layers":
                options[key] = _described(value, tensors, dtype, numbers)
            elif isinstance(value, Tensor):
                options[key] = f"{number}.{key}"
                tensors[options[key]] = value.to(dtype).contiguous()
            elif value is not None:
                options[key] = value
        found.append(options)
    return found
