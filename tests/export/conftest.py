"""The C++ runtime, built once for the tests that ask it."""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "csrc" / "runtime"
BUILD = ROOT / "build" / "runtime-test"


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder that the runtime is built in, for one instruction set and in little time."""
    search = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    cmake, ninja = (shutil.which(tool, path=search) for tool in ("cmake", "ninja"))
    if cmake is None or ninja is None or not shutil.which(os.environ.get("CXX", "c++")):
        pytest.skip("the C++ runtime needs cmake, ninja and a C++ compiler")
    isa = "avx2" if torch.backends.cpu.get_cpu_capability().startswith("AVX") else "baseline"
    BUILD.parent.mkdir(exist_ok=True)
    with open(BUILD.parent / "runtime-test.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other workers of pytest want it too
        options = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", f"-DSEMIHMM_ISAS={isa}", "-DSEMIHMM_OPTIMISE=-O1"]
        for command in ([cmake, "-S", str(SOURCES), "-B", str(BUILD), *options], [cmake, "--build", str(BUILD)]):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    return BUILD


@pytest.fixture(scope="session")
def library(built: Path) -> Any:
    """The shared library, by csrc/runtime/semihmm_runtime.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("semihmm_runtime", SOURCES / "semihmm_runtime.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["semihmm_runtime"] = module
    spec.loader.exec_module(module)
    return module.Library(built / "libsemihmm.so")
