"""Models outside of Python: programs of `torch.export`, ONNX files, and files of the C++ runtime."""

from semihmm.export.front_end import front_end
from semihmm.export.module import OUTPUTS, Answers, Output
from semihmm.export.network import network
from semihmm.export.onnx import OPSET, onnx, onnx_step
from semihmm.export.package import aoti
from semihmm.export.program import torch_export
from semihmm.export.quantize import PRECISIONS, Precision, quantize
from semihmm.export.runtime import RUNTIME, runtime
from semihmm.export.script import jit
from semihmm.export.step import STEP_OUTPUTS, Step, StepOutput

__all__ = [
    "OPSET",
    "OUTPUTS",
    "PRECISIONS",
    "RUNTIME",
    "STEP_OUTPUTS",
    "Answers",
    "Output",
    "Precision",
    "Step",
    "StepOutput",
    "aoti",
    "front_end",
    "jit",
    "network",
    "onnx",
    "onnx_step",
    "quantize",
    "runtime",
    "torch_export",
]
