"""Models outside of Python: programs of `torch.export`, and ONNX files."""

from semihmm.export.module import OUTPUTS, Answers, Output
from semihmm.export.onnx import OPSET, onnx, onnx_step
from semihmm.export.package import aoti
from semihmm.export.program import torch_export
from semihmm.export.quantize import PRECISIONS, Precision, quantize
from semihmm.export.script import jit
from semihmm.export.step import STEP_OUTPUTS, Step, StepOutput

__all__ = [
    "OPSET",
    "OUTPUTS",
    "PRECISIONS",
    "STEP_OUTPUTS",
    "Answers",
    "Output",
    "Precision",
    "Step",
    "StepOutput",
    "aoti",
    "jit",
    "onnx",
    "onnx_step",
    "quantize",
    "torch_export",
]
