"""Models outside of Python: programs of `torch.export`, and ONNX files."""

from semihmm.export.module import OUTPUTS, Answers, Output
from semihmm.export.onnx import OPSET, onnx
from semihmm.export.program import torch_export

__all__ = ["OPSET", "OUTPUTS", "Answers", "Output", "onnx", "torch_export"]
