"""tests/engine/test_backends.py: which compiled module is loaded, how that is overruled, what is said without one."""

import os
import platform
import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch

from semihmm.engine import backends as public
from semihmm.engine.backends import INSTRUCTION_SETS, Native, backend_for, load, native, registered, runnable
from semihmm.errors import SemihmmError

backends = sys.modules["semihmm.engine.backends"]
CPU = torch.device("cpu")
TOLD = (
    "import semihmm; from semihmm.engine.backends import backend_for, native; module = native(); "
    "print(semihmm.backends()['native'], '|', module and module.isa())"
)
MODULES = [f"semihmm.engine.backends._native_{isa}" for isa in INSTRUCTION_SETS]
BLOCKED = f"import sys; sys.modules.update(dict.fromkeys({MODULES}))\n"


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a fresh Python, warnings being errors, in which only these variables speak to semihmm."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SEMIHMM_")}
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(
        command, env=inherited | environment, capture_output=True, text=True, timeout=120, check=False
    )


def told(code: str, **environment: str) -> str:
    result = python(code, **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.fixture(scope="module")
def built() -> None:
    """`make test` sets SEMIHMM_EXPECT_NATIVE=1 where C++ can be compiled: a missing module then fails the test."""
    why = told(TOLD)
    if os.environ.get("SEMIHMM_EXPECT_NATIVE") != "1" and not why.startswith("loaded"):
        pytest.skip(f"the native backend is {why.partition('.')[0]}")


def best_by_its_flags() -> str:
    """What the operating system says this CPU runs; PyTorch is not asked."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return "baseline"
    found = Path("/proc/cpuinfo")
    if not found.exists():
        pytest.skip("only Linux says in /proc/cpuinfo what the CPU runs")
    flags = set(next(line for line in found.read_text().splitlines() if line.startswith("flags")).split())
    if flags >= {"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma"}:
        return "avx512"
    return "avx2" if flags >= {"avx2", "fma"} else "baseline"


@pytest.mark.usefixtures("built")
def test_the_best_module_that_this_cpu_runs_is_the_one_in_use():
    best = best_by_its_flags()
    assert told(TOLD) == f"loaded: {best}, on the CPU | {best}"


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_the_environment_names_the_module(isa: str):
    if isa in runnable():
        if isa != runnable()[0] and find_spec(f"semihmm.engine.backends._native_{isa}") is None:
            pytest.skip(f"_native_{isa} is not built: make native ISA=all")
        assert told(TOLD, SEMIHMM_ISA=isa) == f"loaded: {isa}, on the CPU | {isa}"
    else:
        assert f"SEMIHMM_ISA={isa}: this CPU does not run it" in python(TOLD, SEMIHMM_ISA=isa).stderr


def test_torch_in_the_environment_keeps_the_modules_from_being_loaded():
    why = "switched off by SEMIHMM_BACKEND=torch"
    assert told(TOLD, SEMIHMM_BACKEND="torch", SEMIHMM_ISA="baseline") == f"{why} | None"
    code = f"import sys, semihmm; print(set({MODULES}) & set(sys.modules))"
    assert told(code, SEMIHMM_BACKEND="torch") == "set()"
    assert load({"SEMIHMM_BACKEND": "torch"}) == Native(None, why)


@pytest.mark.usefixtures("built")
def test_native_in_the_environment_is_for_calls_that_name_no_backend():
    code = (
        "import torch; from semihmm.engine.backends import backend_for; cpu = torch.device('cpu')\n"
        "print(backend_for(cpu, None), backend_for(cpu, 'torch'), backend_for(torch.device('meta'), None))"
    )
    assert told(code, SEMIHMM_BACKEND="native") == "native torch torch"


def test_without_a_module_pytorch_does_the_arithmetic():
    code = (
        f"{BLOCKED}{TOLD}\nimport torch\nhmm = semihmm.HMM(torch.zeros(3), torch.zeros(3, 3), torch.zeros(4, 3))\n"
        "print(round(semihmm.log_partition(hmm).exp().item()), backend_for(torch.device('cpu'), None))"
    )
    first, second = told(code).splitlines()
    assert first.startswith("not built: no compiled module was found. Reinstall where a C++ compiler")
    assert second == "81 torch"  # 3^4 paths of weight 1


@pytest.mark.parametrize(
    "variable, value, message",
    [
        ("SEMIHMM_BACKEND", "cuda", "SEMIHMM_BACKEND must be one of torch, native, or not be set; got 'cuda'"),
        ("SEMIHMM_ISA", "sse2", "SEMIHMM_ISA must be one of avx512, avx2, baseline, or not be set; got 'sse2'"),
        ("SEMIHMM_BACKEND", "native", "SEMIHMM_BACKEND=native cannot be met: not built"),
        ("SEMIHMM_ISA", "baseline", "SEMIHMM_ISA=baseline cannot be met: not built"),
    ],
)
def test_what_the_environment_asks_in_vain_is_refused(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
):
    for module in MODULES:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SemihmmError, match=message):
        load({variable: value})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
        with pytest.raises(SemihmmError, match=r"SEMIHMM_ISA=avx2: this CPU does not run it, it runs baseline\."):
            load({"SEMIHMM_ISA": "avx2"})


def test_a_failed_first_use_ends_with_the_refusal():
    result = python("import semihmm; semihmm.HMM", SEMIHMM_BACKEND="abacus")
    assert result.returncode == 1
    said = result.stderr.rpartition("\nsemihmm.errors.SemihmmError: ")[2].splitlines()
    assert said[0].startswith("SEMIHMM_BACKEND must be one of") and len(said) <= 2  # a link may be below


@pytest.mark.parametrize(
    "capability, best",
    [
        ("AVX512", "avx512"),
        ("AVX512_BF16", "avx512"),
        ("AVX2", "avx2"),
        ("DEFAULT", "baseline"),
        ("SVE256", "baseline"),
    ],
)
def test_a_cpu_runs_what_is_older_than_its_best(capability: str, best: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert runnable()[0] == best
    assert runnable()[-1] == "baseline"


class Garbage:
    """Finds the modules of some instruction sets in a file that is not a shared library."""

    def __init__(self, file: Path, instruction_sets: tuple[str, ...]) -> None:
        self.file, self.names = file, {f"semihmm.engine.backends._native_{isa}" for isa in instruction_sets}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return spec_from_file_location(name, self.file) if name in self.names else None


def put_garbage(folder: Path, instruction_sets: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "_native.so"
    file.write_bytes(b"not a shared library")
    for module in MODULES:
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Garbage(file, instruction_sets), *sys.meta_path])


def test_a_module_that_cannot_be_imported_says_so_with_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    put_garbage(tmp_path, INSTRUCTION_SETS, monkeypatch)
    with pytest.warns(RuntimeWarning, match=r"cannot be imported: .*_native\.so.*Compile it on this machine") as warned:
        found = load({})
    assert found.module is None
    assert found.why.startswith("broken; ")
    assert len(warned) == len(runnable())  # once each
    for isa in runnable():
        assert f"_native_{isa} cannot be imported: {tmp_path}" in found.why
    with (
        pytest.warns(RuntimeWarning, match="_native_baseline cannot be imported"),
        pytest.raises(SemihmmError, match=r"SEMIHMM_ISA=baseline cannot be met: broken; .*_native_baseline"),
    ):
        load({"SEMIHMM_ISA": "baseline"})


@pytest.mark.usefixtures("built")
@pytest.mark.skipif(len(runnable()) == 1, reason="this CPU has one instruction set")
def test_the_next_best_module_stands_in_for_a_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    best, second, *_ = runnable()
    put_garbage(tmp_path, (best,), monkeypatch)
    with pytest.warns(RuntimeWarning, match=f"_native_{best} cannot be imported"):
        found = load({})
    assert found.module is not None
    assert found.module.isa() == second
    assert found.why.startswith(
        f"loaded: {second}, on the CPU; semihmm.engine.backends._native_{best} cannot be imported"
    )


def test_a_backend_is_refused_by_name_and_reason(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SemihmmError, match=r"backend must be one of torch, native .*got 'cuda'"):
        backend_for(CPU, "cuda")
    monkeypatch.setattr(backends, "_NATIVE", Native(None, "not built: nobody did"))
    assert backend_for(CPU, None) == "torch"
    assert native() is None
    assert public()["native"] == "not built: nobody did"
    with pytest.raises(SemihmmError, match="backend='native' cannot be used: not built: nobody did"):
        backend_for(CPU, "native")
    monkeypatch.setattr(backends, "_NATIVE", Native(ModuleType("_native_baseline"), "loaded: baseline, on the CPU"))
    monkeypatch.setitem(backends._REGISTRY, "native", registered("torch"))
    assert backend_for(CPU, "native") == "native"
    with pytest.raises(SemihmmError, match="'native' runs on the CPU, got tensors on cuda:0; pass backend='torch'"):
        backend_for(torch.device("cuda:0"), "native")
