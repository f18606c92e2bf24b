"""TorchScript, for those who have no other runtime: deprecated upstream, and here."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from semihmm import structures
from semihmm.errors import StructureError
from semihmm.export.module import Answers
from semihmm.export.program import example
from semihmm.models import HMM


def jit(model: HMM, x: Tensor | None = None) -> torch.jit.ScriptModule:
    """The log-likelihoods of a dense HMM in TorchScript: from ``x (B, T, ...)`` and ``lengths (B,)``, ``(B,)`` in nats.

    .. deprecated:: PyTorch gives up TorchScript. Use `onnx`, `torch_export` or, in C++, the runtime.

    Args:
        model: its emission is traced, so it must not look at the numbers in tensors, nor at their sizes.
        x: an example, as for `torch_export`.

    Raises:
        StructureError: another model, or an emission whose trace says something else of other sizes.

    Example:
        >>> import warnings
        >>> from semihmm.models import HMM, Gaussian
        >>> with warnings.catch_warnings(action="ignore"):
        ...     script = jit(HMM(3, Gaussian(3, features=2)))
        >>> script(torch.zeros(4, 9, 2), torch.tensor([9, 8, 2, 1])).shape
        torch.Size([4])
    """
    warnings.warn(
        "export.jit: PyTorch gives up TorchScript. Use export.onnx or export.torch_export.",
        DeprecationWarning,
        stacklevel=2,
    )
    if not isinstance(model, HMM) or model.transition.arcs is not None or model.transition.offsets is not None:
        raise StructureError(
            f"export: jit knows dense HMMs alone, got {type(model).__name__}. Use onnx or torch_export."
        )
    x = example(model) if x is None else x
    x = x[:1, :1].expand(2, 7, *x.shape[2:])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's: this is deprecated
        structure = Answers(model, ("log_prob",)).structure(x, torch.tensor([7, 4]))
        assert isinstance(structure, structures.HMM)
        final = torch.zeros_like(structure.initial) if structure.final is None else structure.final
        recursion = _Recursion(model.emission, structure.initial, structure.transition, final, x)
        script: torch.jit.ScriptModule = torch.jit.script(recursion)
        other, lengths = x[:1, :1].expand(3, 5, *x.shape[2:]), torch.tensor([5, 1, 2])
        wanted = model.log_prob(other, lengths)
        if not torch.allclose(script(other, lengths), wanted, rtol=1e-4, atol=1e-4):
            raise StructureError(
                f"export: a trace of {type(model.emission).__name__} knows no other sizes. Use onnx or torch_export."
            )
    return script


class _Recursion(nn.Module):
    """The forward recursion, as a script may have it."""

    def __init__(self, emission: nn.Module, initial: Tensor, transition: Tensor, final: Tensor, x: Tensor) -> None:
        super().__init__()
        with torch.enable_grad():  # without, an emission may go by blocks of so many frames as there are now
            self.emission: Any = torch.jit.trace(emission, (x,), check_trace=False)
        self.register_buffer("initial", initial.clone())
        self.register_buffer("transition", transition.clone())
        self.register_buffer("final", final.clone())

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        seen = self.emission(x)
        state = self.initial + seen[:, 0]
        for t in range(1, seen.shape[1]):
            moved = torch.logsumexp(state.unsqueeze(-1) + self.transition, -2) + seen[:, t]
            state = torch.where((lengths > t).unsqueeze(-1), moved, state)
        return torch.logsumexp(state + self.final, -1)
