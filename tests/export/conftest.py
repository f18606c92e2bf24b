"""The C++ runtime, built once for the tests that ask it."""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "csrc" / "runtime"
BUILD = ROOT / "build" / "runtime-test"


@pytest.fixture(scope="session")
def tools() -> Callable[..., Any]:
    """Runs cmake, ctest or another program of this environment, or else of the system; it must succeed."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
    if not all(shutil.which(tool, path=environment["PATH"]) for tool in ("cmake", "ctest", "ninja")):
        pytest.skip("the C++ runtime needs cmake and ninja")
    if not shutil.which(os.environ.get("CXX", "c++")):
        pytest.skip("the C++ runtime needs a C++ compiler")

    def run(*words: object, cwd: Path | None = None) -> None:
        command = [shutil.which(str(words[0]), path=environment["PATH"]), *map(str, words[1:])]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)  # type: ignore[arg-type]
        assert done.returncode == 0, done.stdout + done.stderr

    return run


@pytest.fixture(scope="session")
def built(tools: Callable[..., Any]) -> Path:
    """The folder that the runtime is built in, for one instruction set and in little time."""
    isa = "avx2" if torch.backends.cpu.get_cpu_capability().startswith("AVX") else "baseline"
    BUILD.parent.mkdir(exist_ok=True)
    with open(BUILD.parent / "runtime-test.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other workers of pytest want it too
        tools("cmake", "-S", SOURCES, "-B", BUILD, "-G", "Ninja", f"-DSEMIHMM_ISAS={isa}", "-DSEMIHMM_OPTIMISE=-O1")
        tools("cmake", "--build", BUILD)
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
