"""torchaudio's `forced_align` beside a PyTorch without CUDA.

For x86-64 Linux torchaudio is published for CUDA alone: its library, CPU kernels included, will not load without three
CUDA libraries. Where they are missing, empty ones stand in for them; nothing on the CPU's way calls them. pip would
also bring another PyTorch along, so torchaudio goes into a folder of its own, without what it depends on.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

VERSION = "2.11.0"  # uses PyTorch's stable ABI, so it goes with later ones
FOLDER = Path(__file__).parents[1] / "build" / "benchmarks" / "torchaudio"
STANDING_IN = {
    "libcudart.so.13": "__cudaGetKernel __cudaLaunchKernel __cudaPopCallConfiguration __cudaPushCallConfiguration "
    "__cudaRegisterFatBinary __cudaRegisterFatBinaryEnd __cudaRegisterFunction __cudaRegisterVar "
    "__cudaUnregisterFatBinary cudaGetLastError cudaMemcpyAsync cudaMemset cudaSetDevice",
    "libc10_cuda.so": "torch_c10_cuda_check_msg torch_c10_cuda_free_error_msg",
    "libtorch_cuda.so": "aoti_torch_get_current_cuda_stream torch_cuda_stream_synchronize "
    "torch_get_cuda_stream_from_pool torch_set_current_cuda_stream",
}


@cache
def forced_align() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """The function, of an installed torchaudio or else of one in a folder of our own, made by a full run.

    Raises:
        ModuleNotFoundError: there is none, and this is a smoke test; or it cannot be installed or loaded.
    """
    try:
        return _load()
    except (ModuleNotFoundError, OSError):
        pass
    if not (FOLDER / "torchaudio").exists():
        if "--smoke" in sys.argv:
            raise ModuleNotFoundError("torchaudio", name="torchaudio (by the full run)")
        print(f"Installing torchaudio into {FOLDER.name} (once) ...", flush=True)
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        _run(*install, "--target", FOLDER, f"torchaudio=={VERSION}")
    sys.path.append(str(FOLDER))
    try:
        return _load()
    except OSError as missing:
        if torch.version.cuda is not None or not sys.platform.startswith("linux"):
            raise ModuleNotFoundError(str(missing), name=f"torchaudio ({missing})") from missing
    for library, names in STANDING_IN.items():
        source = "".join(f"void *{name}(void) {{ return 0; }}\n" for name in names.split())
        (FOLDER / "empty.c").write_text(source)
        link = f"-Wl,-soname,{library},--default-symver"
        _run(os.environ.get("CC", "cc"), "-shared", "-fPIC", FOLDER / "empty.c", link, "-o", FOLDER / library)
        ctypes.CDLL(str(FOLDER / library), mode=ctypes.RTLD_GLOBAL)
    return _load()


def _load() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]:
        del sys.modules[name]  # what an import that failed has left
    importlib.invalidate_caches()
    return importlib.import_module("torchaudio.functional").forced_align  # type: ignore[no-any-return]


def _run(*command: str | Path) -> None:
    try:
        subprocess.run(command, check=True)
    except (subprocess.CalledProcessError, OSError) as why:
        raise ModuleNotFoundError("torchaudio", name=f"torchaudio (cannot be made: {why})") from why
