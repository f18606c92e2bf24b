"""Models outside of Python: programs of `torch.export`, ONNX files, and files of the C++ runtime."""

from semihmm.export.front_end import front_end
from semihmm.export.module import OUTPUTS, Answers, Output
from semihmm.export.network import network
from semihmm.export.onnx import OPSET, onnx
from semihmm.export.program import torch_export
from semihmm.export.runtime import RUNTIME, runtime

__all__ = [
    "OPSET",
    "OUTPUTS",
    "RUNTIME",
    "Answers",
    "Output",
    "front_end",
    "network",
    "onnx",
    "runtime",
    "torch_export",
]
