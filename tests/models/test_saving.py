"""A model in a file is the same model; any other file is refused; no half of a file is ever seen."""

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

from semihmm.errors import DataError
from semihmm.models import (
    HMM,
    HSMM,
    Emission,
    FullGaussian,
    Gaussian,
    GaussianMixture,
    HigherOrderHMM,
    LinearChainCRF,
    Model,
    Neural,
    SemiMarkovCRF,
    durations,
    emissions,
    load,
)


class Bump(Emission):
    """An emission of a user's own, which says how to make another."""

    def __init__(self, states: int) -> None:
        super().__init__()
        self.states, self.event_shape = states, (1,)
        self.mean = torch.nn.Parameter(torch.randn(states))

    @property
    def config(self) -> dict[str, object]:
        return {"states": self.states}

    def forward(self, x: Tensor) -> Tensor:
        return -((x - self.mean) ** 2)

    def initialise(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        self.mean.data.normal_(generator=generator)


MODELS: dict[str, Callable[[], Model[Any]]] = {
    "dense": lambda: HMM(2, Gaussian(2, 1), transition_pseudo_count=0.5).double(),
    "allowed": lambda: HMM(2, FullGaussian(2, 1), allowed=[[True, True], [False, True]], start=[0]),
    "offsets": lambda: HMM(2, GaussianMixture(2, 1, 3, codebook=[0, 0], pseudo_count=0.1), offsets=(0, 1)),
    "arcs": lambda: HMM(2, Gaussian(2, 1, variance_floor=0.5), arcs=([0, 0, 1], [0, 1, 1])),
    "spherical": lambda: HMM(2, Gaussian(2, 1, covariance="spherical")),
    "tied": lambda: HMM(2, FullGaussian(2, 1, tied=True)),
    "poisson": lambda: HSMM(2, Bump(2), durations.Poisson(2, 9), censored="right"),
    "durations": lambda: HSMM(2, Gaussian(2, 1), durations.Categorical(2, 9, pseudo_count=1.0, min_duration=2)),
    "gamma": lambda: HSMM(2, Gaussian(2, 1), durations.Gamma(2, 9, min_duration=2)),
    "uniform": lambda: HSMM(2, Gaussian(2, 1), durations.Uniform(2, 9, ranges=[(1, 8), (2, 9)])),
}


@pytest.mark.parametrize("kind", MODELS)
def test_what_was_saved_comes_back(kind: str, tmp_path: Path) -> None:
    model, generator = MODELS[kind](), torch.Generator().manual_seed(0)
    x = torch.randn(3, 8, 1, generator=generator)
    model.initialise(x, generator=generator)
    model.save(tmp_path / "model.safetensors")
    again = type(model).load(tmp_path / "model.safetensors")
    assert torch.equal(again.log_prob(x), model.log_prob(x))
    assert again.log_prob(x).dtype == model.log_prob(x).dtype
    assert again.config == model.config
    assert {n: p.config for n, p in again.parts.items()} == {n: p.config for n, p in model.parts.items()}
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in model.parameters()]
    if again.emission.trains_by_em and kind != "poisson":
        assert model.fit(x, initialise=False, iterations=2) == again.fit(x, initialise=False, iterations=2)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


def test_symbols_come_back(tmp_path: Path) -> None:
    model = HMM(2, emissions.Categorical(2, 5, pseudo_count=0.5))
    model.save(str(tmp_path / "m"))
    assert_close(HMM.load(str(tmp_path / "m")).log_prob(torch.arange(5)), model.log_prob(torch.arange(5)))


def test_a_network_is_given_and_gets_its_weights_back(tmp_path: Path) -> None:
    model = HMM(2, Neural(torch.nn.Linear(3, 2)))
    model.save(tmp_path / "m")
    x = torch.randn(4, 3)
    again = HMM.load(tmp_path / "m", emission=Neural(torch.nn.Linear(3, 2)))
    assert torch.equal(again.log_prob(x), model.log_prob(x))
    with pytest.raises(DataError, match=r"Neural, which needs more than its parameters\. Pass one: emission="):
        HMM.load(tmp_path / "m")
    with pytest.raises(DataError, match="cannot be built again"):
        HMM.load(tmp_path / "m", emission=Neural(torch.nn.Linear(4, 2)))
    with pytest.raises(DataError, match="with emission, not duration"):
        HMM.load(tmp_path / "m", emission=Neural(torch.nn.Linear(3, 2)), duration=durations.Poisson(2, 3))


@pytest.mark.parametrize(("kind", "argument"), [(Gaussian, "covariance"), (FullGaussian, "tied")])
def test_a_file_from_before_an_argument_was_there_still_loads(kind: Any, argument: str, tmp_path: Path) -> None:
    model, x = HMM(2, kind(2, 3)), torch.randn(5, 3)
    model.save(tmp_path / "m")
    with safe_open(tmp_path / "m", framework="pt") as file:
        note = json.loads(file.metadata()["semihmm.model"])
    note["parts"]["emission"]["config"].pop(argument)
    save_file(load_file(tmp_path / "m"), tmp_path / "n", {"semihmm.model": json.dumps(note)})
    assert torch.equal(HMM.load(tmp_path / "n").log_prob(x), model.log_prob(x))


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a model")
    (tmp_path / "empty").touch()
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign")
    for name in ("text", "empty", "missing", ""):
        with pytest.raises(DataError, match="cannot be read as a safetensors file"):
            HMM.load(tmp_path / name)
    with pytest.raises(DataError, match="not a semihmm model"):
        HMM.load(tmp_path / "foreign")


class Own(HMM):
    """A model of a user's own."""


@pytest.mark.parametrize(
    "model",
    [
        HMM(2, Gaussian(2, 1)),
        HSMM(2, Gaussian(2, 1), durations.Poisson(2, 5)),
        HigherOrderHMM(2, Gaussian(2, 1)),
        LinearChainCRF(3),
        SemiMarkovCRF(3, max_duration=4),
        Own(2, Gaussian(2, 1)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_whatever_was_saved_comes_back_as_what_it_was(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    again = load(tmp_path / "m", Own)
    assert type(again) is type(model)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(x, model.state_dict()[name]) for name, x in again.state_dict().items())


def test_whatever_was_saved_is_given_the_parts_that_the_file_cannot_build(tmp_path: Path) -> None:
    model, x = HMM(2, Neural(torch.nn.Linear(3, 2))), torch.randn(4, 3)
    model.save(tmp_path / "m")
    again = load(tmp_path / "m", emission=Neural(torch.nn.Linear(3, 2)))
    assert isinstance(again, HMM)
    assert torch.equal(again.log_prob(x), model.log_prob(x))


def test_a_class_that_nobody_passed_is_not_looked_for(tmp_path: Path) -> None:
    Own(2, Gaussian(2, 1)).save(tmp_path / "m")
    with pytest.raises(DataError, match=r"holds a Own, not a HMM or HSMM or .* classes of your own by argument"):
        load(tmp_path / "m")


@pytest.mark.parametrize("path", ["", None, 3, ".", "a\0b"], ids=repr)
def test_a_path_that_is_none_is_refused(path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"cannot be written: .* Pass the path of a file"):
        HMM(2, Gaussian(2, 1)).save(path)


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    HMM(2, Gaussian(2, 1)).save(tmp_path / "m")
    whole = (tmp_path / "m").read_bytes()
    for size in (4, 40, len(whole) - 1):
        (tmp_path / "half").write_bytes(whole[:size])
        with pytest.raises(DataError, match="cannot be read"):
            HMM.load(tmp_path / "half")


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    HMM(2, Gaussian(2, 1)).save(tmp_path / "m")
    with pytest.raises(DataError, match="holds a HMM, not a HSMM"):
        HSMM.load(tmp_path / "m")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda note: note["config"].update(states=3), "cannot be built again"),
        (lambda note: note["config"].update(colour="red"), "cannot be built again"),
        (lambda note: note.pop("config"), "cannot be built again"),
        (lambda note: note["parts"]["emission"].update({"class": "os.system"}), "os.system, which is not imported"),
        (lambda note: note["parts"]["emission"].update({"class": "torch.nn.Linear"}), "which is not imported"),
        (lambda note: note["parts"]["emission"]["config"].update(features="many"), "cannot be built again"),
    ],
)
def test_a_file_that_was_tampered_with_is_refused(
    change: Callable[[dict[str, Any]], object], says: str, tmp_path: Path
) -> None:
    HMM(2, Gaussian(2, 1)).save(tmp_path / "m")
    with safe_open(tmp_path / "m", framework="pt") as file:
        note = json.loads(file.metadata()["semihmm.model"])
    change(note)
    save_file(load_file(tmp_path / "m"), tmp_path / "n", {"semihmm.model": json.dumps(note)})
    with pytest.raises(DataError, match=says):
        HMM.load(tmp_path / "n")
    save_file(load_file(tmp_path / "m"), tmp_path / "n", {"semihmm.model": "{"})
    with pytest.raises(DataError, match="cannot be built again"):
        HMM.load(tmp_path / "n")


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note["parts"]["emission"]["config"].update(features=1_000_000_000),
        lambda note: note["parts"]["emission"]["config"].update(states=1_000_000_000),
        lambda note: note["config"].update(states=1_000_000),
        lambda note: note["config"].update(states=1_000_000_000),
    ],
)
def test_a_file_cannot_ask_for_more_memory_than_it_fills(
    change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    HMM(2, Gaussian(2, 1)).save(tmp_path / "m")
    with safe_open(tmp_path / "m", framework="pt") as file:
        note = json.loads(file.metadata()["semihmm.model"])
    change(note)
    save_file(load_file(tmp_path / "m"), tmp_path / "n", {"semihmm.model": json.dumps(note)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = r"sizes that take a tensor of .* numbers, but holds 12\. It is damaged|emission must have as many, got 2"
    with pytest.raises(DataError, match=refused):
        HMM.load(tmp_path / "n")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("law", [durations.Gamma, durations.Uniform, durations.Geometric])
def test_a_file_cannot_ask_for_a_larger_table_of_durations_than_data_fill(law: Any, tmp_path: Path) -> None:
    HSMM(2, Gaussian(2, 1), duration=law(2, max_duration=9)).save(tmp_path / "m")
    with safe_open(tmp_path / "m", framework="pt") as file:
        note = json.loads(file.metadata()["semihmm.model"])
    for longest in (100_000, 1_000_000_000):
        note["parts"]["duration"]["config"]["max_duration"] = longest
        save_file(load_file(tmp_path / "m"), tmp_path / str(longest), {"semihmm.model": json.dumps(note)})
    assert HSMM.load(tmp_path / "100000").duration.max_duration == 100_000
    with pytest.raises(DataError, match=r"a table of 2,000,000,000 numbers|a tensor of 999,999,999 numbers"):
        HSMM.load(tmp_path / "1000000000")
    own = law(2, max_duration=9)
    assert HSMM.load(tmp_path / "1000000000", duration=own).duration is own


@pytest.mark.parametrize(
    ("given", "message"),
    [((None,), "path must be the name of a file, got None"), (("m", 3), "classes of models .*, got 3. A part?")],
)
def test_what_is_loaded_from_is_a_path_and_classes(given: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(*given)


def test_a_file_is_replaced_in_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = HMM(2, Gaussian(2, 1))
    model.save(tmp_path / "m")
    before = (tmp_path / "m").read_bytes()

    def fails(path: Path, target: Path) -> None:
        assert path.stat().st_size > 0
        raise OSError("the disk went away")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(DataError, match="went away"):
        model.save(tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m"]
