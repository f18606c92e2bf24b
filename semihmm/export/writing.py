"""A model in a file of any kind, and that file as a side of a comparison."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from semihmm._files import atomically
from semihmm.errors import SemihmmError, StructureError
from semihmm.export.comparing import Side, in_onnx, in_program, in_runtime
from semihmm.export.module import OUTPUTS, Make
from semihmm.export.onnx import onnx
from semihmm.export.package import aoti
from semihmm.export.program import torch_export
from semihmm.export.quantize import quantize
from semihmm.export.runtime import runtime
from semihmm.models import HMM, HSMM

Model = HMM | HSMM | Make


def written(
    model: Model,
    path: Path,
    to: str,
    precision: str | None = None,
    x: Tensor | None = None,
    features: dict[str, Any] | None = None,
) -> Callable[[], Side]:
    """Write all answers of a model to a file.

    Args:
        path: the file, which appears when it is whole.
        to: ``"onnx"``, ``"runtime"``, ``"aoti"`` or ``"torch"``.
        precision: of onnx, ``"int8"`` or ``"fp16"``, as `quantize` takes them; None for numbers as they are.
        x: an example, as for `torch_export`.
        features: of the runtime, what makes frames of samples, as `front_end` gives it.

    Returns:
        Loads the file, to be asked as `compare` asks.

    Raises:
        SemihmmError: another kind of file; a precision where there is none to choose.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> written(HMM(3, Gaussian(3, features=2)), Path("model.tflite"), "tflite")
        Traceback (most recent call last):
        ...
        semihmm.errors.SemihmmError: export: a file is one of onnx, runtime, aoti, torch; got 'tflite'.
    """
    if to not in _KINDS:
        raise SemihmmError(f"export: a file is one of {', '.join(_KINDS)}; got {to!r}.")
    if precision is not None and to != "onnx":
        raise SemihmmError(f"export: onnx files alone are quantised, got {to!r} with {precision!r}. Leave one out.")
    write, run = _KINDS[to]
    if to == "runtime":
        write = partial(_runtime, features=features)
    with TemporaryDirectory() as folder, _quiet():
        whole = path if precision is None else Path(folder) / "model.onnx"
        write(model, whole, x)
        if precision is not None:
            try:
                quantize(whole, path, precision)  # type: ignore[arg-type]
            except StructureError as error:
                raise StructureError(str(error).replace(str(whole), "the model")) from error
    return partial(run, path)


def _package(model: Model, path: Path, x: Tensor | None) -> None:
    aoti(model, path, OUTPUTS, x)


def _run_package(path: Path) -> Side:
    return in_program(torch._inductor.aoti_load_package(str(path)))


def _onnx(model: Model, path: Path, x: Tensor | None) -> None:
    onnx(model, path, OUTPUTS, x)


def _program(model: Model, path: Path, x: Tensor | None) -> None:
    program = torch_export(model, x, OUTPUTS)
    with atomically(path) as temporary:
        torch.export.save(program, temporary)


def _run_program(path: Path) -> Side:
    return in_program(torch.export.load(path).module())


def _runtime(model: Model, path: Path, x: Tensor | None, features: dict[str, Any] | None = None) -> None:
    runtime(model, path, features=features)  # type: ignore[arg-type]  # which says what it takes


@contextmanager
def _quiet() -> Iterator[None]:
    """What PyTorch says of its own future, and of packages that it could use, is nothing to a reader of tables."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


_KINDS: dict[str, tuple[Callable[[Model, Path, Tensor | None], None], Callable[[Path], Side]]] = {
    "onnx": (_onnx, in_onnx),
    "runtime": (_runtime, in_runtime),
    "aoti": (_package, _run_package),
    "torch": (_program, _run_program),
}
