"""ONNX files, whose scans over time are ONNX's own `Scan`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from semihmm._files import atomically
from semihmm._optional import require
from semihmm.errors import StructureError
from semihmm.export.module import OUTPUTS, Answers, Make, Output
from semihmm.export.program import example, exported, torch_export
from semihmm.export.step import LAG, Step, StepOutput
from semihmm.models import HMM, HSMM

OPSET = 20  # of the files' operators
NETWORK = "network/"  # how names of nodes begin that modules of torch.nn are made of


def onnx(
    model: HMM | HSMM | Make,
    path: str | PathLike[str],
    outputs: Sequence[Output] = OUTPUTS,
    x: Tensor | None = None,
) -> None:
    """Write the answers of a model to an ONNX file: one file, checked, for every batch and number of steps.

    Its inputs are ``x (B, T, ...)`` and ``lengths (B,)``, int64; its outputs are named as in `Answers.names`.

    Args:
        model: see `Answers`.
        path: the file, which appears when it is whole.
        outputs: see `Answers`.
        x: an example, as for `torch_export`.

    Raises:
        DependencyError: onnx or onnxscript is not installed.
        ShapeError, StructureError: see `torch_export`.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> onnx(HMM(3, Gaussian(3, features=2)), "model.onnx", ("log_prob", "viterbi"))  # doctest: +SKIP
    """
    program = torch_export(model, x, outputs)
    _write(model, program, ("x", "lengths"), Answers(model, outputs).names, path)


def onnx_step(
    model: HMM | HSMM | Make,
    path: str | PathLike[str],
    outputs: Sequence[StepOutput] = ("log_prob", "filtered"),
    lag: int = LAG,
    x: Tensor | None = None,
) -> None:
    """Write the answers to a stream, as its frames come, to an ONNX file, whose carry is input and output.

    Its inputs are ``x (B, T, ...)``, ``lengths (B,)``, int64, and the carry by name, zeros for streams that begin; its
    outputs are the answers, and the next carry as ``next_`` and the name: see `Step`.

    Args:
        model: see `Step`.
        path: the file, which appears when it is whole.
        outputs, lag: see `Step`.
        x: an example, as for `torch_export`.

    Raises:
        DependencyError: onnx or onnxscript is not installed.
        ShapeError, StructureError: see `torch_export` and `Step`.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> model = HMM(3, Gaussian(3, features=2))
        >>> onnx_step(model, "step.onnx", ("filtered", "viterbi"), lag=30)  # doctest: +SKIP
    """
    x = example(model) if x is None else x
    step = Step(model, outputs, lag, x)
    carry = step.begin(3)
    program = exported(model, lambda x, lengths: step, x, tuple(carry.values()))
    _write(model, program, ("x", "lengths", *carry), step.names, path)


def _write(
    model: HMM | HSMM | Make,
    program: ExportedProgram,
    inputs: Sequence[str],
    names: Sequence[str],
    path: str | PathLike[str],
) -> None:
    """A program to a file, checked."""
    for package in ("onnx", "onnxscript"):
        require(package, extra="export", purpose="Writing ONNX files")
    checker = require("onnx.checker", extra="export", purpose="Writing ONNX files")
    with warnings.catch_warnings(), torch.no_grad():  # PyTorch would differentiate scans, and cannot here
        warnings.simplefilter("ignore")  # PyTorch's, about its own future
        try:
            written = torch.onnx.export(
                program,
                input_names=inputs,
                output_names=names,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            part = type(model.emission).__name__ if isinstance(model, HMM | HSMM) else "the function that was passed"
            raise StructureError(
                f"export: {part} has no ONNX export: {str(error.__cause__).splitlines()[0]} Have the program "
                "(torch_export), or pass a function from (x, lengths) to a structure whose x is the log-likelihoods.",
                see="no-export",
            ) from error
    assert written is not None
    for node in written.model.graph.all_nodes():
        if "'torch.nn.modules." in node.metadata_props.get("pkg.torch.onnx.class_hierarchy", ""):
            node.name = f"{NETWORK}{node.name}"
        node.metadata_props.clear()  # where in Python each one comes from: most of the file
    with atomically(Path(path)) as temporary:
        written.save(temporary, external_data=False)
        checker.check_model(str(temporary), full_check=True)
