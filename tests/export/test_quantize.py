"""Networks in fewer bits say nearly what they said; all else in a file stays as it was."""

from pathlib import Path
from typing import Any

import pytest
import torch

from semihmm import export
from semihmm.errors import SemihmmError, StructureError
from semihmm.models import HMM, Neural


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 5))
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export.onnx(HMM(5, Neural(net, event_shape=(20,))), path, ("log_prob",))
    return path


def answers(path: Path) -> torch.Tensor:
    runtime = pytest.importorskip("onnxruntime")
    x = torch.randn(2, 30, 20, generator=torch.Generator().manual_seed(1))
    fed = {"x": x.numpy(), "lengths": torch.tensor([30, 7]).numpy()}
    return torch.from_numpy(runtime.InferenceSession(path).run(None, fed)[0])


def weights(path: Path) -> dict[str, Any]:
    onnx = pytest.importorskip("onnx")
    return {x.name: onnx.numpy_helper.to_array(x) for x in onnx.load(path).graph.initializer}


@pytest.mark.parametrize(("to", "stored"), [("fp16", "float16"), ("int8", "int8")])
def test_a_network_in_fewer_bits_says_nearly_the_same(
    written: Path, tmp_path: Path, to: export.Precision, stored: str
) -> None:
    export.quantize(written, tmp_path / "small.onnx", to)
    torch.testing.assert_close(answers(tmp_path / "small.onnx"), answers(written), rtol=1e-2, atol=0.0)
    before, after = weights(written), weights(tmp_path / "small.onnx")
    assert {str(x.dtype) for n, x in after.items() if n not in before and x.size >= 64 * 5} == {stored}
    assert all((after[n] == x).all() for n, x in before.items() if n in after)
    assert [x.shape for n, x in before.items() if n in after and x.shape[-2:] == (5, 5)]  # the transitions


def test_the_recursion_keeps_its_bits(tmp_path: Path) -> None:
    with pytest.raises(
        SemihmmError, match=r"to must be one of .*fp16.*int8.*got 'bf16'\. The recursion over time is not"
    ):
        export.quantize("model.onnx", tmp_path / "small.onnx", "bf16")  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_recursion_in_16_bits_is_refused(dtype: torch.dtype) -> None:
    model = HMM(5, Neural(torch.nn.Linear(20, 5), event_shape=(20,))).to(dtype)
    with pytest.raises(StructureError, match=r"the recursion over time would be in .*float16, .* Pass model\.float"):
        export.torch_export(model)


def test_a_file_without_a_network_stays_as_it_is(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    form = onnx.helper.make_tensor_value_info("x", 1, [2])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Abs", ["x"], ["y"])], "g", [form], [form])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "model.onnx")
    with pytest.raises(StructureError, match="has no network whose weights could have fewer bits"):
        export.quantize(tmp_path / "model.onnx", tmp_path / "small.onnx", "fp16")
