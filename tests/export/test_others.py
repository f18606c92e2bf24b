"""Ways out of Python that are not for everybody: TorchScript, and packages of machine code."""

from pathlib import Path
from typing import Any

import pytest
import torch

from semihmm import export
from semihmm.errors import StructureError
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


def test_a_package_appears_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_(program: torch.export.ExportedProgram, package_path: str) -> None:
        assert program.module()(torch.zeros(2, 4, 2), torch.tensor([4, 3]))[0].shape == (2,)
        Path(package_path).write_text("code")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", compile_)
    export.aoti(HMM(3, Gaussian(3, features=2)), tmp_path / "model.pt2", ("log_prob",))
    assert [file.read_text() for file in tmp_path.iterdir()] == ["code"]


def test_a_pytorch_that_makes_no_package_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_(program: torch.export.ExportedProgram, package_path: str) -> None:
        Path(package_path).write_text("half")
        raise KeyError("s27")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", compile_)
    with pytest.raises(StructureError, match=r"has no AOTInductor package of this \(KeyError: 's27'\)\. Use onnx"):
        export.aoti(HMM(3, Gaussian(3, features=2)), tmp_path / "model.pt2", ("log_prob",))
    assert not list(tmp_path.iterdir())
