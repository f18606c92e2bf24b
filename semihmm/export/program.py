"""Programs of `torch.export`: what ONNX files, AOTInductor packages and ExecuTorch are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from semihmm.errors import SemihmmError, ShapeError, StructureError
from semihmm.export.module import FEWEST, OUTPUTS, Answers, Make, Output
from semihmm.models import HMM, HSMM


def torch_export(
    model: HMM | HSMM | Make, x: Tensor | None = None, outputs: Sequence[Output] = OUTPUTS
) -> ExportedProgram:
    """The answers of a model as a program of tensors, for every batch and number of steps from 2 on.

    Its scans over time are operators; nothing is written out for the example. It takes ``x (B, T, ...)`` and
    ``lengths (B,)``, int64, and gives what `Answers` says.

    Args:
        model: see `Answers`. It is exported as it is now.
        x: an example, for its dtype and all but its first two sizes; None where the emission says them.
        outputs: see `Answers`.

    Raises:
        ShapeError: no example, where one is needed; an example of less than two axes.
        StructureError: a part that has no export, or that PyTorch cannot export.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> program = torch_export(HMM(3, Gaussian(3, features=2)), outputs=("log_prob",))
        >>> program.module()(torch.zeros(7, 20, 2), torch.full((7,), 20))[0].shape
        torch.Size([7])
    """
    x = example(model) if x is None else x
    if x.ndim < 2:
        raise ShapeError(f"export: x is an example (B, T, ...), got {tuple(x.shape)}.")

    def answers(x: Tensor, lengths: Tensor) -> nn.Module:
        longest = getattr(Answers(model, outputs).eval().structure(x, lengths), "longest", FEWEST)
        return Answers(model, outputs, max(longest, FEWEST))

    return exported(model, answers, x)


def exported(
    model: HMM | HSMM | Make, made: Callable[[Tensor, Tensor], nn.Module], x: Tensor, carry: Sequence[Tensor] = ()
) -> ExportedProgram:
    """A module as a program, for every batch and number of steps from 2 on.

    Args:
        model: what it is of, for errors.
        made: makes the module, given observations ``(3, 5, ...)`` and lengths.
        x: an example of observations, for its dtype and all but its first two sizes.
        carry: what the module takes behind those, for 3 sequences.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> model = HMM(3, Gaussian(3, features=2))
        >>> program = exported(model, lambda x, lengths: Answers(model, ("log_prob",)), torch.zeros(1, 1, 2))
        >>> program.module()(torch.zeros(2, 7, 2), torch.tensor([7, 1]))[0].shape
        torch.Size([2])
    """
    x = x[:1, :1].expand(3, 5, *x.shape[2:]).clone()  # no two sizes are alike, nor like 1
    lengths, batch, time = torch.tensor([5, 4, 3]), Dim("batch", min=2), Dim("time", min=2)
    try:
        with torch.no_grad():
            dynamic = ({0: batch, 1: time}, {0: batch}, *([tuple({0: batch} for _ in carry)] if carry else []))
            return export(made(x, lengths).eval(), (x, lengths, *carry), dynamic_shapes=dynamic)
    except SemihmmError:
        raise
    except Exception as error:
        part = f"{type(model).__name__} with {type(model.emission).__name__}" if isinstance(model, HMM | HSMM) else "it"
        raise StructureError(
            f"export: PyTorch cannot export {part} ({first_line(error)}). Does a part look at the numbers in tensors, "
            "or at their sizes? Pass a function from (x, lengths) to a structure, whose emission comes from operations "
            "that torch.export takes."
        ) from error


def example(model: HMM | HSMM | Make) -> Tensor:
    """Observations that the emission of a model may meet.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> example(HMM(3, Gaussian(3, features=2))).shape
        torch.Size([1, 1, 2])
    """
    if not isinstance(model, HMM | HSMM) or None in model.emission.event_shape:
        raise ShapeError("export: pass x, an example of observations (B, T, ...), whose sizes the model does not say.")
    event = [size for size in model.emission.event_shape if size is not None]
    dtype = next(model.parameters()).dtype if event else torch.int64
    return torch.zeros(1, 1, *event, dtype=dtype) + torch.as_tensor(model.emission.filler, dtype=dtype)


def first_line(error: Exception) -> str:
    """What an error is about.

    Example:
        >>> first_line(KeyError("s27"))
        "KeyError: 's27'"
    """
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no reason given'}"
