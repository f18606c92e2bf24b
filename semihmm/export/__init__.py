"""Models outside of Python: programs of `torch.export`, ONNX files, and files of the C++ runtime."""

from semihmm.export.module import OUTPUTS, Answers, Output
from semihmm.export.onnx import OPSET, onnx, onnx_step
from semihmm.export.program import torch_export
from semihmm.export.runtime import RUNTIME, runtime
from semihmm.export.step import STEP_OUTPUTS, Step, StepOutput

__all__ = [
    "OPSET",
    "OUTPUTS",
    "RUNTIME",
    "STEP_OUTPUTS",
    "Answers",
    "Output",
    "Step",
    "StepOutput",
    "onnx",
    "onnx_step",
    "runtime",
    "torch_export",
]
