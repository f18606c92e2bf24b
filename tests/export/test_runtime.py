"""The C++ runtime answers as semihmm does, at once and streamed, and refuses what is no model."""

import json
import subprocess
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
SOURCES = Path(__file__).parents[2] / "csrc" / "runtime"


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
        pairs.add(tuple(torch.randint(states, (2,), generator=g).tolist()))
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


def tied_mixture() -> Case:
    return of_model(HMM(3, GaussianMixture(3, 3, components=4, codebook=[0, 0, 1], covariance="tied")), 3)


def segments(**more: Any) -> Case:
    return of_model(HSMM(4, Gaussian(4, features=3), durations.NegativeBinomial(4, max_duration=9), **more), 3)


CASES: dict[str, Callable[[], Case]] = {
    "dense": gaussian,
    "spherical": lambda: gaussian(covariance="spherical"),
    "full": lambda: gaussian(covariance="full"),
    "tied": lambda: gaussian(covariance="tied"),
    "mixture": lambda: of_model(HMM(5, GaussianMixture(5, features=3, components=4)), 3),
    "codebook": tied_mixture,
    "symbols": lambda: of_model(HMM(4, emissions.Categorical(4, symbols=6)), 1),
    "final": lambda: of_model(HMM(4, Gaussian(4, features=3), final=[2, 3]), 3),
    "left-to-right": lambda: of_model(HMM(6, Gaussian(6, features=3), offsets=(0, 1, 2), start=[0]), 3),
    "few-arcs": lambda: of_model(HMM(3, Gaussian(3, features=3), arcs=([0, 0, 1, 2], [0, 1, 2, 0])), 3),
    "many-states": lambda: of_structure(lambda x: semihmm.HMM(log_weights(120), log_weights(120, 120), x), 120),
    "arcs": lambda: of_structure(
        lambda x: semihmm.HMM(log_weights(80), log_weights(200), x, log_weights(80), arcs=ARCS), 80
    ),
    "columns": lambda: of_structure(
        lambda x: semihmm.HMM(log_weights(4), log_weights(4, 4), x, emission_index=INDEX), 3
    ),
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
        wide = structure.holding(**{name: x.double() for name, x in structure.potentials.items()})
        posterior = getattr(semihmm.marginals(wide), structure.observed)
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


WAYS = {"agreed": ([5, 1, 0, 17], 0), "at-most-12": ([5, 1, 0, 17], 12), "frame-by-frame": ([1], 12)}


@pytest.mark.parametrize(("chunks", "max_delay"), list(WAYS.values()), ids=list(WAYS))
def test_a_stream_is_that_of_semihmm(case: Case, loaded: Any, chunks: list[int], max_delay: int) -> None:
    lookahead = 4
    source = case.model if isinstance(case.model, semihmm.Structure) else case.model.double().float()
    theirs = Stream(source, lookahead=lookahead, max_delay=max_delay or None)
    ours, columns = loaded.stream(lookahead, max_delay), loaded.columns
    for steps in (40, 9):  # a stream begins anew when it has ended
        x = observations(case, steps)
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


# ---- what the emissions take


def test_missing_features_are_left_out(library: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = HMM(3, GaussianMixture(3, features=2, components=2)), weights(9, 2)
    x[2, 1] = x[5] = torch.nan
    export.runtime(model, tmp_path / "model")
    with torch.no_grad():
        assert library.open(tmp_path / "model").log_prob(x) == pytest.approx(
            float(model.log_prob(x).double()), rel=1e-6
        )


def test_what_an_emission_cannot_take_is_refused(library: Any, tmp_path: Path) -> None:
    refused: list[tuple[Any, list[list[float]], str]] = [
        (HMM(2, Gaussian(2, features=2)), [[0, 0], [0, np.inf]], "frame 1 is infinite in feature 1"),
        (HMM(2, Gaussian(2, features=2, covariance="full")), [[0, np.nan]], "frame 0 has some of its features"),
        (HMM(2, emissions.Categorical(2, symbols=3)), [[0], [3]], "frame 1 is the symbol 3.0+: they must be .* 0 to 2"),
        (
            semihmm.MonotonicAlignment(torch.zeros(1, 2)),
            [[0, np.nan]],
            "frame 0 has the log-likelihood .?nan in column 1",
        ),
    ]
    for model, x, words in refused:
        export.runtime(model, tmp_path / "model")
        with pytest.raises(library.Failure, match=words) as caught:
            library.open(tmp_path / "model").log_prob(x)
        assert caught.value.status == 5


def test_an_impossible_sequence_has_no_path(library: Any, tmp_path: Path) -> None:
    export.runtime(semihmm.MonotonicAlignment(torch.zeros(1, 3)), tmp_path / "model")
    model = library.open(tmp_path / "model")
    posterior, value = model.posteriors(np.zeros((2, 3)))
    assert value == model.log_prob(np.zeros((2, 3))) == -np.inf
    assert not posterior.any()
    best = model.viterbi(np.zeros((2, 3)))
    assert best.score == -np.inf
    assert best.states.tolist() == [-1, -1]


# ---- what is no export, and no model


def varying() -> semihmm.HMM:
    return semihmm.HMM(torch.zeros(2), torch.zeros(4, 2, 2), torch.zeros(5, 2))


@pytest.mark.parametrize(
    ("make", "words"),
    {
        "inputs": (
            lambda: HMM(2, LinearRegression(2, features=1, inputs=1)),
            "emission of this HMM is LinearRegression",
        ),
        "emission": (
            lambda: HMM(2, emissions.Poisson(2, features=1)),
            r"Poisson is no emission .*model\.structure\(torch",
        ),
        "structure": (lambda: semihmm.DTW(torch.zeros(2, 2)), "the runtime has no DTW. Pass an HMM"),
        "batch": (
            lambda: semihmm.HMM(torch.zeros(3, 2), torch.zeros(2, 2), torch.zeros(3, 4, 2)),
            r"a batch of \(3,\)",
        ),
        "steps": (varying, "transition of this HMM differs from step to step"),
        "censored": (lambda: segments(censored="both").model, "censored='both'. Pass one with"),
        "no-text": (
            lambda: semihmm.CTC(torch.zeros(2, 2), torch.zeros(0, dtype=torch.int64)),
            "this CTC has no targets",
        ),
    }.values(),
    ids=["inputs", "emission", "structure", "batch", "steps", "censored", "no-text"],
)
def test_what_has_no_export_names_itself(make: Callable[[], Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(StructureError, match=words):
        export.runtime(make(), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_numbers_must_fit(tmp_path: Path) -> None:
    large = semihmm.HMM(torch.tensor([1e300, 0.0], dtype=torch.float64), torch.zeros(2, 2), torch.zeros(1, 2))
    with pytest.raises(DataError, match="export: initial holds 1e\\+300"):
        export.runtime(large, tmp_path / "model")
    with pytest.raises(DataError, match="export: names must be 2 strings"):
        export.runtime(HMM(2, Gaussian(2, features=1)), tmp_path / "model", names=["a"])


CORPUS = sorted((SOURCES / "tests" / "corpus").glob("bad-*"))
SAYS = {
    "empty": "it has 0 bytes",
    "cut-header": "It is cut short",
    "more-numbers": "4 bytes at its end are of no tensor",
    "header-of-all-ones": "more than any model's",
    "deep": "expected less depth at byte",
    "negative-shape": r"initial\.shape must be a list of whole numbers",
    "overflowing-shape": r"initial\.shape must be of numbers that the file can hold",
    "offsets-overlap": "of none or of two",
    "another-size": r"tensor transition must be \(3, 3\), got \(1, 9\)",
    "nan": "number 0 of tensor transition is .?nan, and must be finite or -inf",
    "version-2": "version 2.* this library reads version 1",
    "states-of-a-bomb": r"tensor initial must be \(4194304,\)",
    "arcs-of-a-bomb": "would take more than 67108864 numbers",
    "unknown": "surprise is nothing that this version knows",
}


@pytest.mark.parametrize("path", CORPUS, ids=[path.stem.removeprefix("bad-") for path in CORPUS])
def test_a_damaged_file_is_refused(library: Any, path: Path) -> None:
    name = path.stem.removeprefix("bad-")
    with pytest.raises(library.Failure, match=f"semihmm: .*{SAYS.get(name, 'the model file')}") as caught:
        library.open(path)
    assert caught.value.status == (4 if name == "version-2" else 3)


def test_a_file_that_is_cut_anywhere_is_refused(library: Any) -> None:
    content = (SOURCES / "tests" / "corpus" / "good-dense.safetensors").read_bytes()
    assert library.read(content).info.states == 3
    for length in range(len(content)):
        with pytest.raises(library.Failure, match="semihmm: the model file"):
            library.read(content[:length])


# ---- C, and the command line


def test_ctest_passes(built: Path, tools: Callable[..., Any]) -> None:
    tools("ctest", "--output-on-failure", cwd=built)


def lines(built: Path, *words: str, status: int = 0, **more: Any) -> list[Any]:
    done = subprocess.run([str(built / "semihmm-infer"), *words], capture_output=True, check=False, **more)
    assert done.returncode == status, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()] if not status else [done.stderr.decode()]


def test_semihmm_infer_prints_json_lines(built: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = HMM(2, Gaussian(2, features=2)), weights(23, 2)
    export.runtime(model, tmp_path / "model", names=["low", 'h"igh'])
    np.save(tmp_path / "x.npy", x.numpy())
    file, given = str(tmp_path / "model"), str(tmp_path / "x.npy")
    states = model.predict(x).tolist()
    with torch.no_grad():
        value = pytest.approx(float(model.log_prob(x).double()), rel=1e-6)
    (whole,) = lines(built, file, given, "--posteriors")
    assert (whole["frames"], whole["states"], whole["log_likelihood"]) == (23, states, value)
    assert whole["names"] == [("low", 'h"igh')[state] for state in states]
    assert np.allclose(whole["posteriors"], model.predict_proba(x), atol=1e-5)
    *updates, end = lines(built, file, given, "--stream", "--chunk", "5", "--lookahead", "2")
    assert [one["frames"] for one in updates] == [5, 10, 15, 20, 23]
    assert [s for one in (*updates, end) for s in one["states"]] == states
    assert end["log_likelihood"] == value
    assert lines(built, file, "-", input=x.numpy().tobytes())[0]["states"] == states
    np.save(tmp_path / "wide.npy", x.double().numpy())
    (words,) = lines(built, file, str(tmp_path / "wide.npy"), status=1)
    assert "must be a .npy file of float32 numbers (T, 2) in C order, got header" in words
    assert "--chunk takes" in lines(built, file, given, "--chunk", "x", status=1)[0]


def test_a_program_finds_the_package(built: Path, tools: Callable[..., Any], tmp_path: Path) -> None:
    """By `find_package`; pkg-config's file says the same."""
    tools("cmake", "--install", built, "--prefix", tmp_path / "to")
    (described,) = (tmp_path / "to").rglob("semihmm.pc")
    prefix = described.read_text().splitlines()[0].removeprefix("prefix=${pcfiledir}/")
    assert (described.parent / prefix / "include" / "semihmm.h").is_file()
    (tmp_path / "main.c").write_text(
        "#include <semihmm.h>\nint main(void) { return semihmm_version() - SEMIHMM_VERSION; }\n"
    )
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.19)\nproject(user LANGUAGES C CXX)\nfind_package(semihmm 1 REQUIRED)\n"
        "add_executable(a main.c)\ntarget_link_libraries(a semihmm::shared)\n"
        "add_executable(b main.c)\ntarget_link_libraries(b semihmm::static)\n"
    )
    tools("cmake", "-S", tmp_path, "-B", tmp_path / "b", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={tmp_path / 'to'}")
    tools("cmake", "--build", tmp_path / "b")
    for program in ("a", "b"):
        tools(tmp_path / "b" / program)
