"""Peers of another environment: dynamax, ott and optax need jax. They run in a process of their own.

The environment is made under ``build/benchmarks`` from ``peers-jax.txt`` when a benchmark first needs it; a smoke test
uses it where it is and makes none. The process stays, so that its calls can be timed in turns with everyone else's,
inside it and without what the pipe costs. Arrays go through files; commands and figures are one JSON line each.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "peers-jax.txt"
ENVIRONMENT = HERE.parent / "build" / "benchmarks" / "jax"


class RemoteError(Exception):
    """What went wrong in the other process."""


class Remote:
    """A function prepared in the other process; calling it returns its results.

    Args:
        function: ``"module:name"`` of a file beside this one, such as ``"_jax_hmm:posteriors"``. It gets jax arrays and
            plain options by name, and returns the function to be timed: without arguments, from arrays to a dict of
            arrays. It is run once while it is prepared, so that compilation is not timed.
        arrays: tensors or arrays by name.
        options: numbers and texts by name.

    Example: ``Contestant(lambda: Remote("_jax_hmm:posteriors", {"x": x}, parallel=True))``
    """

    def __init__(self, function: str, arrays: Mapping[str, Any], **options: Any) -> None:
        process = _process()
        with process.files(arrays) as files:
            answer = process.ask(do="prepare", function=function, arrays=files, options=options)
        self.number: int = answer["number"]
        self.seconds = 0.0  # of the latest call

    def __call__(self) -> dict[str, np.ndarray]:
        process = _process()
        with tempfile.TemporaryDirectory(dir=process.folder) as folder:
            answer = process.ask(do="call", number=self.number, folder=folder)
            self.seconds = answer["seconds"]
            return {name: np.load(Path(folder) / f"{name}.npy") for name in answer["names"]}

    def time(self, repeats: int) -> float:
        """Seconds a call, of so many in a row, measured there."""
        return float(_process().ask(do="time", number=self.number, repeats=repeats)["seconds"])

    def __del__(self) -> None:
        if hasattr(self, "number") and _started and _started[0].process.poll() is None:
            with contextlib.suppress(RemoteError, OSError, ValueError):
                _started[0].ask(do="drop", number=self.number)


class Process:
    """The other Python, waiting for commands."""

    def __init__(self, python: Path) -> None:
        self.folder = tempfile.mkdtemp(prefix="semihmm-bench-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self.process = subprocess.Popen(
            [python, "-u", HERE / "_jax_worker.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with contextlib.suppress(ImportError, AttributeError):  # our own limit is not meant for it
            import resource

            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.prlimit(self.process.pid, resource.RLIMIT_AS, (hard, hard))

    def ask(self, **command: Any) -> dict[str, Any]:
        """One command, one answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):  # it is gone
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise RemoteError(f"the jax process ended, status {self.process.wait()}: out of memory?")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RemoteError(answer["error"])
        return answer

    @contextlib.contextmanager
    def files(self, arrays: Mapping[str, Any]) -> Any:
        """The arrays as files, for as long as they are read."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            paths = {}
            for name, value in arrays.items():
                paths[name] = str(Path(folder) / f"{name}.npy")
                np.save(paths[name], value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value))
            yield paths

    def end(self) -> None:
        """Close the pipe, which ends it."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended by itself, and what it was told last cannot be sent
            self.process.stdin.close()
        self.process.wait(timeout=30)
        shutil.rmtree(self.folder, ignore_errors=True)


_started: list[Process] = []


def _process() -> Process:
    if not _started:
        _started.append(Process(_python()))
    return _started[0]


def stop() -> None:
    """End the process, if there is one."""
    while _started:
        _started.pop().end()


@cache
def _python() -> Path:
    """The interpreter of the environment, which is made when it is not there.

    Raises:
        ModuleNotFoundError: it is not there, and this is a smoke test; or it cannot be made.
    """
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "requirements.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    if "--smoke" in sys.argv:
        raise ModuleNotFoundError("the jax environment", name="jax (made by the full run)")
    print(f"Making {ENVIRONMENT.relative_to(HERE.parent)} from {REQUIREMENTS.name} (once) ...", flush=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS]
        subprocess.run(install, check=True)
    except (subprocess.CalledProcessError, OSError) as why:
        raise ModuleNotFoundError(f"the jax environment: {why}", name="jax (its environment cannot be made)") from why
    stamp.write_text(wanted)
    return python


def packages() -> dict[str, str]:
    """Versions in the other environment, as pinned; none where it was not used."""
    if not (ENVIRONMENT / "requirements.sha256").exists():
        return {}
    lines = [line.partition("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines()]
    return {f"{name} (jax)": version for name, _, version in (line.partition("==") for line in lines if "==" in line)}
