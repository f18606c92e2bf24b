"""Who does the arithmetic: the registry of backends (see `Backend`). One is chosen here and nowhere else.

``native`` is compiled once per instruction set. The best module that this CPU runs is loaded when semihmm is imported.
Two environment variables are read then: ``SEMIHMM_BACKEND`` (torch or native) names the backend of the calls that name
none, and torch keeps native from being loaded; ``SEMIHMM_ISA`` (baseline, avx2 or avx512) names the module.
"""

import os
import warnings
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import torch

from semihmm.engine.backends.protocol import Backend
from semihmm.errors import SemihmmError

__all__ = ["Backend", "backend_for", "backends", "native", "register", "registered", "unregister"]

NAMES = ("torch", "native")
INSTRUCTION_SETS = ("avx512", "avx2", "baseline")  # best first; on Arm, baseline has NEON
DEFAULT = "native"  # who works where neither the caller nor SEMIHMM_BACKEND says, if it is loaded and can
NOT_BUILT = (
    "not built: no compiled module was found. Reinstall where a C++ compiler and Python's headers are: pip install "
    "--force-reinstall --no-deps --no-cache-dir --no-binary semihmm semihmm (in a checkout: make native)"
)


class Native(NamedTuple):
    """The native backend as it was found: its module, or None, and the reason."""

    module: ModuleType | None
    why: str


def runnable() -> tuple[str, ...]:
    """The instruction sets that this CPU runs, best first. PyTorch draws the lines where CMakeLists.txt does."""
    capability = torch.backends.cpu.get_cpu_capability()
    best = next((isa for isa in INSTRUCTION_SETS if capability.lower().startswith(isa)), "baseline")
    return INSTRUCTION_SETS[INSTRUCTION_SETS.index(best) :]


def load(environment: Mapping[str, str]) -> Native:
    """Import the module that the environment asks for, or else the best one that is there and runs."""
    backend, isa = environment.get("SEMIHMM_BACKEND", ""), environment.get("SEMIHMM_ISA", "")
    if backend not in ("", *NAMES):
        raise SemihmmError(
            f"SEMIHMM_BACKEND must be one of {', '.join(NAMES)}, or not be set; got {backend!r}.", see="backend"
        )
    if isa not in ("", *INSTRUCTION_SETS):
        raise SemihmmError(
            f"SEMIHMM_ISA must be one of {', '.join(INSTRUCTION_SETS)}, or not be set; got {isa!r}.", see="backend"
        )
    if backend == "torch":
        return Native(None, "switched off by SEMIHMM_BACKEND=torch")
    if isa and isa not in runnable():
        raise SemihmmError(
            f"SEMIHMM_ISA={isa}: this CPU does not run it, it runs {', '.join(runnable())}.", see="backend"
        )
    found = _best((isa,) if isa else runnable())
    if found.module is None and (isa or backend):
        requested = f"SEMIHMM_ISA={isa}" if isa else "SEMIHMM_BACKEND=native"
        raise SemihmmError(f"{requested} cannot be met: {found.why}")
    return found


def _best(instruction_sets: tuple[str, ...]) -> Native:
    broken = []
    for isa in instruction_sets:
        name = f"{__name__}._native_{isa}"
        try:
            module = import_module(name)
        except Exception as error:  # whatever a module that was compiled for another machine raises
            if not (isinstance(error, ModuleNotFoundError) and error.name == name):
                broken.append(f"{name} cannot be imported: {error}")
                warnings.warn(f"semihmm: {broken[-1]}. Compile it on this machine.", RuntimeWarning, stacklevel=2)
        else:
            alone = [] if module.has_helpers() else ["on one thread, as the OpenMP of PyTorch was not found"]
            return Native(module, "; ".join([f"loaded: {isa}, on the CPU", *alone, *broken]))
    return Native(None, "; ".join(["broken", *broken]) if broken else NOT_BUILT)


_NATIVE = load(os.environ)


def _use_one_thread() -> None:
    """In a forked child: it has none of its parent's threads, for which PyTorch's operations would wait for ever."""
    if _NATIVE.module is not None and _NATIVE.module.have_helped():
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread)
_DEFAULT = os.environ.get("SEMIHMM_BACKEND") or DEFAULT


def native() -> ModuleType | None:
    """The compiled module in use, None where there is none; `backends` says why.

    Example:
        >>> module = native()
        >>> module is None or module.isa() in {"baseline", "avx2", "avx512"}
        True
    """
    return _NATIVE.module


def backends() -> dict[str, str]:
    """The backends that are loaded, and why each one is or is not.

    Example:
        >>> backends()["torch"]
        'loaded: every semiring, every map, every device'
        >>> list(backends())
        ['torch', 'native']
    """
    others = {name: "registered by this program" for name in _REGISTRY if name not in NAMES}
    return {"torch": "loaded: every semiring, every map, every device", "native": _NATIVE.why, **others}


_REGISTRY: dict[str, Backend] = {}


def register(backend: Backend) -> None:
    """Let callers name a backend: ``backend="its name"``.

    Raises:
        SemihmmError: the name is taken.

    Example:
        >>> register(registered("torch"))
        Traceback (most recent call last):
            ...
        semihmm.errors.SemihmmError: there is a backend 'torch' already.
    """
    if backend.name in _REGISTRY:
        raise SemihmmError(f"there is a backend {backend.name!r} already.")
    _REGISTRY[backend.name] = backend


def unregister(name: str) -> None:
    """Forget a backend that `register` was given.

    Example:
        >>> unregister("abacus")
        Traceback (most recent call last):
            ...
        semihmm.errors.SemihmmError: there is no backend 'abacus' to unregister.
    """
    if name in NAMES or name not in _REGISTRY:
        raise SemihmmError(f"there is no backend {name!r} to unregister.")
    del _REGISTRY[name]


def registered(name: str) -> Backend:
    """The backend of that name.

    Example:
        >>> registered("torch").name
        'torch'
    """
    return _REGISTRY[name]


def backend_for(device: torch.device, name: str | None) -> str:
    """The name of the backend that a call runs on: the one named, or the fastest one for the device.

    Raises:
        SemihmmError: a name that does not exist, is not loaded, or does not run on this device.

    Example:
        >>> backend_for(torch.device("cpu"), "torch")
        'torch'
    """
    if name is not None and not isinstance(name, str):
        raise SemihmmError(f"backend must be a name or None, got {type(name).__name__}.", see="backend")
    if name == "native" and _NATIVE.module is None:
        raise SemihmmError(f"backend='native' cannot be used: {_NATIVE.why}", see="backend")
    if name is not None and name not in _REGISTRY:
        raise SemihmmError(
            f"backend must be one of {', '.join(backends())} (None: the fastest), got {name!r}.", see="backend"
        )
    if name == "native" and device.type != "cpu":
        raise SemihmmError(
            f"backend='native' runs on the CPU, got tensors on {device}; pass backend='torch' there.", see="backend"
        )
    if name is not None:
        return name
    return "native" if _DEFAULT == "native" and _NATIVE.module is not None and device.type == "cpu" else "torch"
