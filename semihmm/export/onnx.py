"""ONNX files, whose scans over time are ONNX's own `Scan`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from semihmm._files import atomically
from semihmm._optional import require
from semihmm.errors import StructureError
from semihmm.export.module import OUTPUTS, Answers, Make, Output
from semihmm.export.program import torch_export
from semihmm.models import HMM, HSMM

OPSET = 20  # of the files' operators


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
    for package in ("onnx", "onnxscript"):
        require(package, extra="export", purpose="Writing ONNX files")
    checker = require("onnx.checker", extra="export", purpose="Writing ONNX files")
    program, names = torch_export(model, x, outputs), Answers(model, outputs).names
    with warnings.catch_warnings(), torch.no_grad():  # PyTorch would differentiate scans, and cannot here
        warnings.simplefilter("ignore")  # PyTorch's, about its own future
        try:
            written = torch.onnx.export(
                program,
                input_names=["x", "lengths"],
                output_names=names,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            part = type(model.emission).__name__ if isinstance(model, HMM | HSMM) else "the function that was passed"
            raise StructureError(
                f"export: {part} has no ONNX export: {str(error.__cause__).splitlines()[0]} Have the program "
                "(torch_export), or pass a function from (x, lengths) to a structure whose x is the log-likelihoods."
            ) from error
    assert written is not None
    for node in written.model.graph.all_nodes():
        node.metadata_props.clear()  # where in Python each one comes from: most of the file
    with atomically(Path(path)) as temporary:
        written.save(temporary, external_data=False)
        checker.check_model(str(temporary), full_check=True)
