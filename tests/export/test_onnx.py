"""Exported answers are PyTorch's, in batches and lengths that the export has not seen."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import semihmm
from semihmm import export
from semihmm.errors import DependencyError, SemihmmError, ShapeError, StructureError
from semihmm.models import HMM, HSMM, Gaussian, GaussianMixture, Neural, durations, emissions

ARCS = (torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 2, 2]))


def weights(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


INITIAL, BY_ARC, BY_OFFSET = weights(3), weights(5), weights(3, 2)


def arcs(x: Tensor, lengths: Tensor) -> semihmm.HMM:
    return semihmm.HMM(INITIAL, BY_ARC, x, lengths=lengths, arcs=ARCS)


def banded(x: Tensor, lengths: Tensor) -> semihmm.HMM:
    return semihmm.HMM(INITIAL, BY_OFFSET, x, lengths=lengths, offsets=(0, 1))


def ctc(x: Tensor, lengths: Tensor) -> semihmm.CTC:
    return semihmm.CTC(x.log_softmax(-1), torch.tensor([[1, 2, 2]]).expand(x.shape[0], -1), lengths)


def monotonic(x: Tensor, lengths: Tensor) -> semihmm.MonotonicAlignment:
    return semihmm.MonotonicAlignment(x, lengths)


def gaussian_hmm() -> HMM:
    return HMM(4, Gaussian(4, features=3))


def semi_markov() -> HSMM:
    return HSMM(3, Gaussian(3, features=3), durations.NegativeBinomial(3, max_duration=5))


def network() -> HMM:
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4))
    return HMM(4, Neural(net, event_shape=(3,)))


MODELS: dict[str, Callable[[], Any]] = {
    "dense": gaussian_hmm,
    "mixture": lambda: HMM(2, GaussianMixture(2, features=3, components=2)),
    "network": network,
    "symbols": lambda: HMM(2, emissions.Categorical(2, symbols=3)),
    "segments": semi_markov,
    "arcs": lambda: arcs,
    "banded": lambda: banded,
    "ctc": lambda: ctc,
    "monotonic": lambda: monotonic,
}
# Exports take seconds: of what differs from others in one thing alone, one answer, unless all are asked for.
ALL = bool(os.environ.get("SEMIHMM_EVERY_EXPORT"))
FEW: dict[str, tuple[export.Output, ...]] = {
    "dense": ("viterbi",),
    "ctc": ("log_prob", "posteriors"),
    "network": ("log_prob",),
    "symbols": ("log_prob",),
    "arcs": ("viterbi",),
    "banded": ("log_prob",),
}


class Case(NamedTuple):
    name: str
    session: Any
    answers: export.Answers


@pytest.fixture(scope="module", params=list(MODELS))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    if request.param in ("mixture", "monotonic") and not ALL:
        pytest.skip("an export takes seconds; set SEMIHMM_EVERY_EXPORT=1 for all of them")
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model, path = MODELS[request.param](), tmp_path_factory.mktemp("onnx") / "model.onnx"
    outputs = export.OUTPUTS if ALL else FEW.get(request.param, export.OUTPUTS)
    export.onnx(model, path, outputs, observations(request.param, 1, 1))
    assert [p.name for p in path.parent.iterdir()] == ["model.onnx"]
    return Case(request.param, runtime.InferenceSession(path), export.Answers(model, outputs))


def observations(name: str, batch: int, steps: int) -> Tensor:
    if name == "symbols":
        return torch.arange(batch * steps).reshape(batch, steps) % 3
    return weights(batch, steps, 3)


@pytest.mark.parametrize("lengths", [[1], [9, 9], [23, 1, 4, 11]], ids=["one-step", "all-steps", "ragged"])
def test_an_exported_model_answers_as_the_model(case: Case, lengths: list[int]) -> None:
    x, used = observations(case.name, len(lengths), max(lengths)), torch.tensor(lengths)
    with torch.no_grad():
        wanted = case.answers(x, used)
    found = case.session.run(list(case.answers.names), {"x": x.numpy(), "lengths": used.numpy()})
    for name, a, b in zip(case.answers.names, found, wanted, strict=True):
        tolerance = 0.0 if name == "states" else 1e-4
        torch.testing.assert_close(torch.from_numpy(a), b, atol=tolerance, rtol=0.0)


def test_a_program_answers_as_the_model() -> None:
    torch.manual_seed(0)
    model = semi_markov()
    program = export.torch_export(model, outputs=("log_prob",)).module()
    for shape, lengths in (((2, 2), [1, 2]), ((3, 14), [14, 3, 9])):
        x, used = weights(*shape, 3), torch.tensor(lengths)
        with torch.no_grad():
            (found,) = program(x, used)
            torch.testing.assert_close(found, model.log_prob(x, used))


def test_posteriors_of_a_band_hold_no_square_of_states() -> None:
    states = 7

    def band(x: Tensor, lengths: Tensor) -> semihmm.HMM:
        return semihmm.HMM(weights(states), weights(states, 2), x, lengths=lengths, offsets=(0, 1))

    program = export.torch_export(band, weights(1, 1, states), ("posteriors",))
    values = [
        node.meta.get("val")
        for module in program.graph_module.modules()
        if isinstance(module, torch.fx.GraphModule)
        for node in module.graph.nodes
    ]
    shapes = [tuple(x.shape) for x in values if isinstance(x, Tensor)]
    assert any(states in shape for shape in shapes)
    assert not [shape for shape in shapes if shape.count(states) > 1]


def test_what_is_asked_must_be_an_output() -> None:
    with pytest.raises(SemihmmError, match=r"export: outputs must be some of .*viterbi.* got \('entropy',\)"):
        export.Answers(gaussian_hmm(), ("entropy",))  # type: ignore[arg-type]


def test_a_part_that_takes_inputs_names_itself() -> None:
    driven = HMM(2, semihmm.models.LinearRegression(2, features=1, inputs=1))
    with pytest.raises(StructureError, match=r"export: emission of this HMM is LinearRegression, whose inputs"):
        export.torch_export(driven)


def test_a_part_without_an_export_names_itself() -> None:
    with pytest.raises(StructureError, match=r"export: Gaussian has no export\. Pass an HMM or an HSMM"):
        export.Answers(Gaussian(2, features=2))


def test_a_function_needs_an_example() -> None:
    with pytest.raises(ShapeError, match="export: pass x, an example"):
        export.torch_export(ctc)


def test_a_missing_package_comes_with_its_install_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(DependencyError, match=r"pip install 'semihmm\[export\]'"):
        export.onnx(gaussian_hmm(), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
