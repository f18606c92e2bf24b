"""The core runs without any extra, and a missing extra is named with the command that installs it."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from semihmm._optional import require
from semihmm.errors import DependencyError, SemihmmError

# What a machine without the extras would answer: the import system is asked for a blocked package and has none.
BLOCK = """
import sys

class Blocked:
    names = frozenset({names!r})

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in cls.names:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked)
"""

USE_THE_CORE = """
import math
import torch
import semihmm

initial = torch.tensor([0.6, 0.4]).log()
transition = torch.tensor([[0.7, 0.3], [0.2, 0.8]]).log()
hmm = semihmm.HMM(initial, transition, torch.zeros(5, 2))
assert math.isclose(semihmm.log_partition(hmm).item(), 0.0, abs_tol=1e-6)  # nothing observed: the chances sum to 1
"""


USE_A_MODEL = """
x = torch.arange(20.0).unsqueeze(-1)
model = semihmm.models.HMM(2, semihmm.models.Gaussian(2, features=1))
model.fit(x, restarts=2, iterations=2)
path = model.decode(x)
semihmm.log_prob(model(x), path.event)
semihmm.sample(model(x), (2,))
semihmm.models.durations.Poisson(2, 5).update(torch.ones(2, 5))
"""


def core_distributions() -> set[str]:
    """What `pip install semihmm` brings: semihmm, what it requires, what that requires, and so on."""
    found: set[str] = set()
    todo = ["semihmm"]
    while todo:
        name = todo.pop()
        found.add(name)
        for requirement in map(Requirement, metadata.requires(name) or []):
            needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if needed and canonicalize_name(requirement.name) not in found:
                todo.append(canonicalize_name(requirement.name))
    return found


@pytest.fixture(scope="module")
def optional_modules() -> set[str]:
    """Every top-level module installed here that the bare core does not bring: more than the extras name."""
    core = core_distributions()
    owners = metadata.packages_distributions().items()
    return {module for module, names in owners if core.isdisjoint(map(canonicalize_name, names))}


def run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_blocked_modules_cover_the_extras(optional_modules: set[str]) -> None:
    extras = {"gruut", "matplotlib", "pocketsphinx", "praatio", "rich", "safetensors", "soundfile", "soxr", "typer"}
    assert extras <= optional_modules
    assert not {"torch", "numpy", "networkx", "semihmm"} & optional_modules


def test_the_core_runs_with_every_extra_blocked(optional_modules: set[str]) -> None:
    result = run(BLOCK.format(names=sorted(optional_modules)) + USE_THE_CORE)
    assert result.returncode == 0, result.stderr


def test_first_answers_do_not_wait_for_what_pytorch_imports_late() -> None:
    """sympy takes 0.4 s, torch._dynamo a second."""
    program = USE_THE_CORE.replace("import semihmm", "import semihmm.models") + USE_A_MODEL
    result = run(BLOCK.format(names=["sympy"]) + program)
    assert result.returncode == 0, result.stderr


def test_importing_the_core_imports_no_extra(optional_modules: set[str]) -> None:
    result = run("import sys, semihmm; print(*sorted({name.partition('.')[0] for name in sys.modules}))")
    assert result.returncode == 0, result.stderr
    at_start = run("import sys, torch; print(*sorted({name.partition('.')[0] for name in sys.modules}))").stdout.split()
    assert (set(result.stdout.split()) - set(at_start)) & optional_modules == set()


def test_the_command_without_its_extra_says_how_to_install_it(optional_modules: set[str]) -> None:
    start = "from semihmm.cli import app; sys.argv = ['semihmm', '--help']; sys.exit(app())"
    result = run(BLOCK.format(names=sorted(optional_modules)) + start)
    assert result.returncode != 0
    assert "pip install 'semihmm[speech]'" in result.stderr


def test_require_imports_a_module_that_is_there() -> None:
    assert require("xml.dom", extra="speech", purpose="Reading XML") is sys.modules["xml.dom"]


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.part"])
def test_require_names_the_extra_of_a_missing_module(module: str) -> None:
    with pytest.raises(DependencyError) as caught:
        require(module, extra="speech", purpose="Reading audio files")
    assert str(caught.value) == (
        "Reading audio files needs the Python package 'no_such_package', which is not installed. "
        "Install it with:\n    pip install 'semihmm[speech]'"
    )
    assert isinstance(caught.value, ImportError) and isinstance(caught.value, SemihmmError)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raise OSError('libsndfile is missing')", OSError),
        ("import no_such_package", ModuleNotFoundError),  # *its* dependency is missing, which our extra would not mend
        ("from math import no_such_name", ImportError),
    ],
)
def test_require_lets_a_broken_module_raise_its_own_error(
    source: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_package.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(error) as caught:
        require("broken_package", extra="speech", purpose="Reading audio files")
    assert not isinstance(caught.value, SemihmmError)
