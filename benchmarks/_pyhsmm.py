"""pyhsmm's messages, compiled from its own source.

pyhsmm 0.1.7 (2017) cannot be installed any more: its setup fetches Eigen from a place that is gone, and importing it
takes a NumPy and a SciPy of its own time. Its messages need neither. Where the headers of Eigen 3 are installed
(Debian: libeigen3-dev; elsewhere name their folder in EIGEN3_INCLUDE), a full run gets the source, compiles the C++
that passes messages backwards, with the flags of pyhsmm's setup, and takes the NumPy that passes them forwards and adds
them up into posteriors from its files as they are.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.special import logsumexp

FOLDER = Path(__file__).parents[1] / "build" / "benchmarks" / "pyhsmm"
LIBRARY = "hsmm_messages_interface" + sysconfig.get_config_var("EXT_SUFFIX")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
RESULTS = ("log_partition", "posterior", "transition", "duration")
FLAGS = ("-O3", "-std=c++11", "-DNDEBUG", "-w", "-DHMM_TEMPS_ON_HEAP", "-shared", "-fPIC")


def messages(
    initial: np.ndarray,
    transition: np.ndarray,
    duration: np.ndarray,
    emission: np.ndarray,
    posteriors: bool,
    counts: bool = False,
) -> Callable[[], dict[str, np.ndarray]]:
    """Log-partitions, maybe with posteriors, of each sequence ``(B, T, S)``; from log-weights, float64.

    With ``counts``, also how often each transition and each duration is expected. It counts durations only where none
    is the longest, in T operations a step; here they are counted from its messages, in D.

    Raises:
        ModuleNotFoundError: it is not there, and this is a smoke test; or it cannot be compiled.
    """
    backwards, theirs = _library(), _functions()
    steps, states = emission.shape[1:]
    longest = duration.shape[1]
    lasting = np.ascontiguousarray(duration.T)
    never, chances = np.full_like(lasting, -np.inf), np.maximum(np.exp(transition), 1e-50)  # as its HSMMStatesEigen
    model = SimpleNamespace(T=steps, num_states=states, trunc=longest, aDl=lasting)
    reach = {name: getattr(theirs, name) for name in ("reverse_cumulative_obs_potentials", "reverse_dur_potentials")}

    def one(seen: np.ndarray) -> tuple[Any, ...]:
        after, at = backwards.messages_backwards_log(
            chances, seen, lasting, never, np.empty_like(seen), np.empty_like(seen), 0, longest
        )
        total = logsumexp(initial + at[0])
        if not posteriors:
            return (total,)
        model.aBl = seen
        before, begun, _ = theirs.hsmm_messages_forwards_log(
            lambda t: transition,
            initial,
            *(lambda t, f=f: f(model, t) for f in reach.values()),
            None,
            np.empty_like(seen),
            np.empty_like(seen),
        )
        states_seen = theirs._expected_states(model, before, after, begun, at, total)
        if not counts:
            return total, states_seen
        moves = theirs._expected_transitions(model, before, at, lambda t: transition, total)
        return total, states_seen, moves, expected_durations(lasting, seen, begun, after, total)

    def call() -> dict[str, np.ndarray]:
        found = zip(*map(one, emission), strict=True)
        return {name: np.stack(values) for name, values in zip(RESULTS, found, strict=False)}

    return call


def expected_durations(
    lasting: np.ndarray, seen: np.ndarray, begun: np.ndarray, after: np.ndarray, total: float
) -> np.ndarray:
    """How often a segment of each state lasts each number of steps, ``(S, D)``."""
    steps, summed = len(seen), np.concatenate([np.zeros_like(seen[:1]), seen.cumsum(0)])
    found = [
        np.exp(law + begun[: steps - d] + after[d:] + summed[d + 1 :] - summed[: steps - d] - total).sum(0)
        for d, law in enumerate(lasting)
    ]
    return np.stack(found, -1)


@cache
def _library() -> Any:
    if not (FOLDER / LIBRARY).exists():
        if "--smoke" in sys.argv:
            raise ModuleNotFoundError("pyhsmm", name="pyhsmm (compiled by the full run, where Eigen is installed)")
        _compile()
    spec = importlib.util.spec_from_file_location("hsmm_messages_interface", FOLDER / LIBRARY)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _functions() -> SimpleNamespace:
    """What is wanted of its Python, with what it wants itself."""
    names: dict[str, Any] = {"np": np, "na": np.newaxis, "logsumexp": logsumexp}
    wanted = {"rcumsum", "hsmm_messages_forwards_log", "_expected_states", "_expected_transitions"}
    wanted |= {"reverse_cumulative_obs_potentials", "reverse_dur_potentials"}
    for file in ("general.py", "hsmm_states.py"):
        tree = ast.parse((FOLDER / file).read_text())
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "HSMMStatesPython"]
        for node in [*tree.body, *(node for found in classes for node in found.body)]:
            if isinstance(node, ast.FunctionDef) and node.name in wanted:
                exec(compile(ast.Module([node], []), file, "exec"), names)
    return SimpleNamespace(**{name: names[name] for name in wanted})


def _compile() -> None:
    eigen = [os.environ.get("EIGEN3_INCLUDE", ""), "/usr/include/eigen3", "/usr/local/include/eigen3"]
    found = next((path for path in eigen if path and (Path(path) / "Eigen" / "Core").exists()), None)
    if found is None:
        raise ModuleNotFoundError("Eigen", name="pyhsmm (compiling it takes the headers of Eigen 3)")
    print(f"Compiling pyhsmm's messages into {FOLDER.name} (once) ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        # Fails when its setup asks for Eigen, but leaves the source behind.
        get = (*PIP, "download", "--quiet", "--no-deps", "--no-build-isolation", "--no-clean", "pyhsmm==0.1.7")
        subprocess.run(get, cwd=folder, env={**os.environ, "TMPDIR": folder}, capture_output=True, check=False)
        source = next(Path(folder).glob("pip-*/*/pyhsmm/internals/hsmm_messages_interface.pyx"), None)
        if source is None:
            raise ModuleNotFoundError("pyhsmm", name="pyhsmm (no source)")
        tools, made = Path(folder) / "tools", Path(folder) / "interface.cpp"
        FOLDER.mkdir(parents=True, exist_ok=True)
        compiler = os.environ.get("CXX", "c++")
        headers = [sysconfig.get_path("include"), np.get_include(), source.parent, found]
        commands = [
            (*PIP, "install", "--quiet", "--target", tools, "cython==3.3.1"),
            (sys.executable, "-m", "cython", "--cplus", "-3", source, "-o", made),
            (compiler, *FLAGS, *(f"-I{header}" for header in headers), made, "-o", FOLDER / LIBRARY),
        ]
        for command in commands:
            try:
                environment = {**os.environ, "PYTHONPATH": str(tools)}
                subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
            except (subprocess.CalledProcessError, OSError) as why:
                text = (getattr(why, "stderr", None) or str(why).encode()).decode().strip().splitlines()
                raise ModuleNotFoundError("pyhsmm", name=f"pyhsmm (does not compile: {text[-1]})") from why
        for file in (source.with_name("hsmm_states.py"), source.parents[1] / "util" / "general.py"):
            (FOLDER / file.name).write_bytes(file.read_bytes())
