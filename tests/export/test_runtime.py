"""The C++ runtime answers as semihmm does, at once and streamed, and refuses what is no model."""

import fcntl
import importlib.util
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import semihmm
from semihmm import export
from semihmm.errors import DataError, StructureError
from semihmm.models import HMM, HSMM, Gaussian, GaussianMixture, LinearRegression, durations, emissions
from semihmm.streaming import Stream

pytest.importorskip("safetensors")
ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "csrc" / "runtime"
BUILD = ROOT / "build" / "runtime-test"


def binding() -> Any:
    """csrc/runtime/semihmm_runtime.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("semihmm_runtime", SOURCES / "semihmm_runtime.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["semihmm_runtime"] = module
    spec.loader.exec_module(module)
    return module


RUNTIME = binding()


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder that the runtime is built in, for one instruction set and in little time."""
    tools = [shutil.which(x, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}") for x in ("cmake", "ninja")]
    if None in tools or not shutil.which(os.environ.get("CXX", "c++")):
        pytest.skip("the C++ runtime needs cmake, ninja and a C++ compiler")
    cmake, ninja = (str(x) for x in tools)
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
    return RUNTIME.Library(built / "libsemihmm.so")


# ---- the same answers


def weights(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def log_weights(*shape: int) -> Tensor:
    return (2 * weights(*shape)).log_softmax(-1)


def random_arcs(states: int, count: int) -> tuple[Tensor, Tensor]:
    """Each state to itself and the next one, and some others."""
    g = torch.Generator().manual_seed(0)
    pairs = {(s, s) for s in range(states)} | {(s, (s + 1) % states) for s in range(states)}
    while len(pairs) < count:
        pairs.add(tuple(torch.randint(states, (2,), generator=g).tolist()))  # type: ignore[arg-type]
    source, target = torch.tensor(sorted(pairs)).T
    return source, target


class Case(NamedTuple):
    """What is exported, and the structure that it makes of observations."""

    model: Any
    structure: Callable[[Tensor], semihmm.Structure]
    inputs: int


def of_model(model: Any, inputs: int) -> Case:
    return Case(model, model, inputs)


def of_structure(make: Callable[[Tensor], Any], columns: int) -> Case:
    return Case(make(torch.zeros(2, columns)), make, columns)


ARCS = random_arcs(80, 200)
INDEX = torch.tensor([0, 1, 0, 2])


def gaussian(**more: Any) -> Case:
    return of_model(HMM(5, Gaussian(5, features=3, **more)), 3)


def segments(**more: Any) -> Case:
    return of_model(HSMM(4, Gaussian(4, features=3), durations.NegativeBinomial(4, max_duration=9), **more), 3)


CASES: dict[str, Callable[[], Case]] = {
    "dense": gaussian,
    "spherical": lambda: gaussian(covariance="spherical"),
    "full": lambda: gaussian(covariance="full"),
    "tied": lambda: gaussian(covariance="tied"),
    "mixture": lambda: of_model(HMM(5, GaussianMixture(5, features=3, components=4)), 3),
    "codebook": lambda: of_model(HMM(3, GaussianMixture(3, features=3, components=4, codebook=[0, 0, 1], covariance="tied")), 3),
    "symbols": lambda: of_model(HMM(4, emissions.Categorical(4, symbols=6)), 1),
    "final": lambda: of_model(HMM(4, Gaussian(4, features=3), final=[2, 3]), 3),
    "left-to-right": lambda: of_model(HMM(6, Gaussian(6, features=3), offsets=(0, 1, 2), start=[0]), 3),
    "few-arcs": lambda: of_model(HMM(3, Gaussian(3, features=3), arcs=([0, 0, 1, 2], [0, 1, 2, 0])), 3),
    "many-states": lambda: of_structure(lambda x: semihmm.HMM(log_weights(120), log_weights(120, 120), x), 120),
    "arcs": lambda: of_structure(lambda x: semihmm.HMM(log_weights(80), log_weights(200), x, log_weights(80), arcs=ARCS), 80),
    "columns": lambda: of_structure(lambda x: semihmm.HMM(log_weights(4), log_weights(4, 4), x, emission_index=INDEX), 3),
    "segments": segments,
    "segments-to-the-end": lambda: segments(censored="none"),
    "segments-final": lambda: segments(final=[1, 3]),
    "segments-of-arcs": lambda: segments(arcs=([0, 1, 2, 3, 0], [1, 2, 3, 0, 2])),
    "ctc": lambda: of_structure(lambda x: semihmm.CTC(x.log_softmax(-1), torch.tensor([1, 2, 2, 3])), 5),
    "ctc-optional": lambda: of_structure(
        lambda x: semihmm.CTC(x, torch.tensor([1, 4, 1, 3, 4]), optional=torch.tensor([0, 1, 0, 0, 1]) > 0, blank=2), 5
    ),
    "alignment": lambda: of_structure(semihmm.MonotonicAlignment, 4),
}


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    torch.manual_seed(len(request.param))
    return CASES[request.param]()


@pytest.fixture(scope="module")
def loaded(case: Case, library: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("runtime") / "model.safetensors"
    export.runtime(case.model, path)
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]
    return library.open(path)


def observations(case: Case, steps: int) -> Tensor:
    if case.inputs == 1:
        return torch.arange(steps) * 7 % 11 % 6
    x = 2 * weights(steps, case.inputs)
    return x.log_softmax(-1) if isinstance(case.model, semihmm.CTC) else x


def states_of(structure: Any, states: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What semihmm calls the states that the runtime tells: of a CTC, tokens."""
    return columns[states] if isinstance(structure, semihmm.CTC) else states


LENGTHS = (9, 40, 301)


@pytest.mark.parametrize("steps", LENGTHS)
def test_a_runtime_answers_as_the_model(case: Case, loaded: Any, steps: int) -> None:
    x = observations(case, steps)
    structure: Any = case.structure(x)
    with torch.no_grad():
        value = float(semihmm.log_partition(structure).double())
        best = semihmm.viterbi(structure)
        posterior = getattr(semihmm.marginals(structure), structure.observed)
    found, again = loaded.posteriors(x)
    assert loaded.log_prob(x) == pytest.approx(value, rel=1e-6)
    assert again == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(found, posterior.numpy(), atol=2e-5)
    path = loaded.viterbi(x)
    assert path.score == pytest.approx(float(best.score), rel=1e-6)
    np.testing.assert_array_equal(states_of(structure, path.states, loaded.columns), best.states.numpy())
    if isinstance(structure, semihmm.HSMM):
        begins = best.event[best.event[:, 0] >= 0, 1]
        np.testing.assert_array_equal(np.flatnonzero(path.begins), begins.numpy())


CHUNKS = {"frames": [1], "chunks": [5, 1, 0, 17]}


@pytest.mark.parametrize("max_delay", [0, 12], ids=["agreed", "at-most-12"])
@pytest.mark.parametrize("chunks", list(CHUNKS.values()), ids=list(CHUNKS))
def test_a_stream_is_that_of_semihmm(case: Case, loaded: Any, chunks: list[int], max_delay: int) -> None:
    x = observations(case, 60)
    lookahead = 0 if loaded.info.max_duration > 1 else 4
    source = case.model if isinstance(case.model, semihmm.Structure) else case.model.double().float()
    theirs = Stream(source, lookahead=lookahead, max_delay=max_delay or None)
    ours, columns = loaded.stream(lookahead, max_delay), loaded.columns
    for sequence in range(2):  # a stream begins anew when it has ended
        at = number = 0
        while at < len(x):
            count = chunks[number % len(chunks)]
            chunk, number, at = x[at : at + count], number + 1, at + count
            if not len(chunk) and at == 0:
                continue
            wanted, found = theirs.push(chunk), ours.push(chunk)
            assert wanted.filtered is not None and wanted.log_likelihood is not None
            np.testing.assert_allclose(np.exp(found.filtered), wanted.filtered.exp().numpy(), atol=1e-5)
            np.testing.assert_allclose(found.log_likelihood, wanted.log_likelihood.numpy(), rtol=1e-6, atol=1e-5)
            if lookahead:
                assert wanted.smoothed is not None and found.smoothed is not None
                np.testing.assert_allclose(np.exp(found.smoothed), wanted.smoothed.exp().numpy(), atol=1e-5)
            np.testing.assert_array_equal(states_of(case.model, found.states, columns), wanted.committed.states.numpy())
            np.testing.assert_array_equal(found.forced, wanted.committed.forced.numpy())
            assert found.first == int(wanted.committed.first)
        end, last = theirs.finish(), ours.finish()
        assert last.log_likelihood == pytest.approx(float(end.log_likelihood), rel=1e-6)
        assert last.score == pytest.approx(float(end.score), rel=1e-6)
        np.testing.assert_array_equal(states_of(case.model, last.states, columns), end.committed.states.numpy())
        assert last.first == int(end.committed.first)
        if lookahead:
            assert end.smoothed is not None
            np.testing.assert_allclose(np.exp(last.smoothed), end.smoothed.exp().numpy(), atol=1e-5)
