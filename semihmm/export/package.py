"""AOTInductor packages: machine code for one kind of machine, which C++ loads with libtorch."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from semihmm._files import atomically
from semihmm.errors import StructureError
from semihmm.export.module import OUTPUTS, Make, Output
from semihmm.export.program import first_line, torch_export
from semihmm.models import HMM, HSMM


def aoti(
    model: HMM | HSMM | Make,
    path: str | PathLike[str],
    outputs: Sequence[Output] = OUTPUTS,
    x: Tensor | None = None,
) -> None:
    """Write the answers of a model to an AOTInductor package (``.pt2``), where the installed PyTorch can.

    Args:
        model, outputs, x: see `torch_export`, whose program is compiled.
        path: the file, which appears when it is whole.

    Raises:
        ShapeError, StructureError: see `torch_export`; or this PyTorch, or its C++ compiler, does not compile the
            program. PyTorch 2.13 does not: its compiler knows no scan over a number of steps that is not known yet.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> aoti(HMM(3, Gaussian(3, features=2)), "model.pt2", ("log_prob",))  # doctest: +SKIP
    """
    from torch._inductor import aoti_compile_and_package  # takes seconds

    program = torch_export(model, x, outputs)
    with atomically(Path(path)) as temporary:
        package = temporary.with_name(f"{temporary.name}.pt2")  # the only name that PyTorch takes
        try:
            with torch.no_grad():
                aoti_compile_and_package(program, package_path=str(package))
            package.replace(temporary)
        except Exception as error:
            raise StructureError(
                f"export: PyTorch {torch.__version__} has no AOTInductor package of this ({first_line(error)}). "
                "Use onnx, or the program itself (torch_export)."
            ) from error
        finally:
            package.unlink(missing_ok=True)
