"""AOTInductor packages: machine code for one kind of machine, which C++ loads with libtorch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from semihmm._files import atomically
from semihmm.engine.strategies.operator import as_loops
from semihmm.errors import StructureError
from semihmm.export.module import OUTPUTS, Make, Output
from semihmm.export.program import example, first_line, torch_export
from semihmm.models import HMM, HSMM


def aoti(
    model: HMM | HSMM | Make,
    path: str | PathLike[str],
    outputs: Sequence[Output] = OUTPUTS,
    x: Tensor | None = None,
) -> None:
    """Write the answers of a model to an AOTInductor package (``.pt2``), where the installed PyTorch can; in a minute.

    Args:
        model, outputs, x: see `torch_export`, whose program is compiled.
        path: the file, which appears when it is whole.

    Raises:
        ShapeError, StructureError: see `torch_export`; or this PyTorch, or its C++ compiler, does not compile the
            program, or to something else: PyTorch 2.13 does so with posteriors of a banded model. Each package is tried
            out before it appears.

    Example:
        >>> from semihmm.models import HMM, Gaussian
        >>> aoti(HMM(3, Gaussian(3, features=2)), "model.pt2", ("log_prob",))  # doctest: +SKIP
    """
    from torch._inductor import aoti_compile_and_package  # takes seconds

    with as_loops():
        program = torch_export(model, x, outputs)
    with atomically(Path(path)) as temporary:
        package = temporary.with_name(f"{temporary.name}.pt2")  # the only name that PyTorch takes
        try:
            with torch.no_grad():
                aoti_compile_and_package(program, package_path=str(package))
            _try_out(package, program.module(), example(model) if x is None else x)
            package.replace(temporary)
        except Exception as error:
            raise StructureError(
                f"export: PyTorch {torch.__version__} has no AOTInductor package of this ({first_line(error)}). "
                "Use onnx, or the program itself (torch_export)."
            ) from error
        finally:
            package.unlink(missing_ok=True)


_RUN = """
import sys, torch
run = torch._inductor.aoti_load_package(sys.argv[1])
given = torch.load(sys.argv[2], weights_only=True)
torch.save([run(*each) for each in given], sys.argv[2])
"""


def _try_out(package: Path, program: Callable[..., Sequence[Tensor]], x: Tensor) -> None:
    """Refuses a package that does not answer as its program: in a process of its own, which some packages end."""
    generator = torch.Generator().manual_seed(0)
    given = []
    for lengths in (torch.tensor([5, 4, 1]), torch.tensor([40, 7])):
        one = x[:1, :1].expand(len(lengths), int(lengths.max()), *x.shape[2:])
        noise = torch.randn(one.shape, generator=generator) if x.is_floating_point() else torch.zeros(())
        given.append((one + noise.to(x.dtype), lengths))
    with TemporaryDirectory() as folder:
        file = Path(folder) / "tensors.pt"
        torch.save(given, file)
        done = subprocess.run([sys.executable, "-c", _RUN, package, file], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the package ends its process, code {done.returncode} {done.stderr[-500:]}")
        for each, found in zip(given, torch.load(file, weights_only=True), strict=True):
            with torch.no_grad():
                torch.testing.assert_close(list(found), list(program(*each)), atol=1e-4, rtol=1e-4, equal_nan=True)
