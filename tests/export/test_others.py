"""Ways out of Python that are not for everybody: TorchScript, and packages of machine code."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from semihmm import export
from semihmm.errors import StructureError
from semihmm.export.package import _RUN
from semihmm.models import HMM, HSMM, Gaussian, Neural, durations


@pytest.mark.parametrize("emission", [Gaussian(3, features=2), Neural(torch.nn.Linear(2, 3), event_shape=(2,))])
def test_a_script_answers_as_the_model(emission: Any) -> None:
    torch.manual_seed(0)
    model = HMM(3, emission, final=[0, 2])
    with pytest.warns(DeprecationWarning, match=r"gives up TorchScript\. Use export\.onnx or export\.torch_export"):
        script = export.jit(model)
    for lengths in ([9, 1, 4], [2]):
        x = torch.randn(len(lengths), max(lengths), 2)
        with torch.no_grad():
            found, wanted = script(x, torch.tensor(lengths)), model.log_prob(x, torch.tensor(lengths))
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_script_is_of_a_dense_hmm_alone() -> None:
    model = HSMM(3, Gaussian(3, features=2), durations.NegativeBinomial(3, max_duration=5))
    with pytest.raises(StructureError, match=r"jit knows dense HMMs alone, got HSMM\. Use onnx or torch_export"):
        export.jit(model)  # type: ignore[arg-type]
    with pytest.raises(StructureError, match="jit knows dense HMMs alone"):
        export.jit(HMM(3, Gaussian(3, features=2), offsets=(0, 1)))


@pytest.mark.skipif("SEMIHMM_EVERY_EXPORT" not in os.environ, reason="a minute of a compiler: SEMIHMM_EVERY_EXPORT=1")
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # of PyTorch to itself
@pytest.mark.parametrize("offsets", [None, (0, 1)])
def test_a_package_answers_as_the_model(offsets: tuple[int, ...] | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = HMM(3, Gaussian(3, features=2), offsets=offsets)
    outputs: tuple[Any, ...] = ("log_prob", "viterbi") if offsets else export.OUTPUTS
    export.aoti(model, tmp_path / "model.pt2", outputs)
    package = torch._inductor.aoti_load_package(str(tmp_path / "model.pt2"))
    for lengths in (torch.tensor([9, 1, 4]), torch.tensor([1000, 30])):
        x = torch.randn(len(lengths), int(lengths.max()), 2)
        with torch.no_grad():
            wanted = export.Answers(model, outputs)(x, lengths)
        torch.testing.assert_close(list(package(x, lengths)), list(wanted), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("ends", "code"), [("", "1"), ("os._exit(3)", "3")])
def test_a_package_that_does_not_run_is_refused(
    ends: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_(program: torch.export.ExportedProgram, package_path: str) -> None:
        assert program.module()(torch.zeros(2, 4, 2), torch.tensor([4, 3]))[0].shape == (2,)
        Path(package_path).write_text("no package")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", compile_)
    monkeypatch.setattr("semihmm.export.package._RUN", f"import os, sys\n{ends or _RUN}")
    with pytest.raises(StructureError, match=rf"the package ends its process, code {code}"):
        export.aoti(HMM(3, Gaussian(3, features=2)), tmp_path / "model.pt2", ("log_prob",))
    assert not list(tmp_path.iterdir())


def test_a_package_that_answers_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = "import sys, torch; torch.save([[torch.zeros(3)], [torch.zeros(2)]], sys.argv[2])"
    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", lambda program, package_path: None)
    monkeypatch.setattr("semihmm.export.package._RUN", answers)
    with pytest.raises(StructureError, match="Tensor-likes are not close"):
        export.aoti(HMM(3, Gaussian(3, features=2)), tmp_path / "model.pt2", ("log_prob",))
    assert not list(tmp_path.iterdir())


def test_a_pytorch_that_makes_no_package_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_(program: torch.export.ExportedProgram, package_path: str) -> None:
        Path(package_path).write_text("half")
        raise KeyError("s27")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", compile_)
    with pytest.raises(StructureError, match=r"has no AOTInductor package of this \(KeyError: 's27'\)\. Use onnx"):
        export.aoti(HMM(3, Gaussian(3, features=2)), tmp_path / "model.pt2", ("log_prob",))
    assert not list(tmp_path.iterdir())
