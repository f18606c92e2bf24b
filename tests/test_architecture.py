"""What the folders promise: imports run one way, public names are explained, no file depends on one machine."""

import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import semihmm

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(".".join(init.relative_to(ROOT).parts[:-1]) for init in ROOT.glob("semihmm/**/__init__.py"))
# An application works on recordings and devices, so its names are shown at work in the documentation instead.
APPLICATIONS = ("semihmm.cli", "semihmm.speech", "semihmm.tts", "semihmm.export")
WITH_EXAMPLES = [package for package in PACKAGES if not package.startswith(APPLICATIONS)]

# Written so that these lines do not match themselves.
UNWANTED = {
    "a registry host": re.compile(
        r"\b(p[y]pi\.org|p[y]thonhosted\.org|download\.p[y]torch\.org|registry\.n[p]mjs\.org)"
    ),
    "a package address": re.compile(r"--(extra-)?i[n]dex-url|--find-l[i]nks|https?://\S+\.w[h]l\b"),
    "a path of one machine": re.compile(r"(?<![\w.~)}])/(w[o]rk|r[o]ot|h[o]me|U[s]ers|opt/(p[y]pi|w[h]eels))/"),
}


def public_names(packages: list[str]) -> list[tuple[str, str]]:
    return [
        (package, name) for package in packages for name in getattr(importlib.import_module(package), "__all__", [])
    ]


def explained(value: object) -> bool:
    """Whether a value can carry a docstring of its own: numbers, strings and type aliases cannot."""
    return inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)


def test_imports_run_downward_only() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_folder_of_modules_is_a_package() -> None:
    """Without `__init__.py`, import-linter would not see it, and nothing below would either."""
    assert sorted({module.parent for module in ROOT.glob("semihmm/**/*.py")}) == sorted(
        init.parent for init in ROOT.glob("semihmm/**/__init__.py")
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_spells_out_what_is_public(package: str) -> None:
    module = importlib.import_module(package)
    assert isinstance(module.__doc__, str) and isinstance(module.__all__, list)
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize(("package", "name"), public_names(PACKAGES))
def test_a_public_name_has_a_docstring(package: str, name: str) -> None:
    value = getattr(importlib.import_module(package), name)
    written = (value.__doc__ or "").strip().removeprefix(f"{name}(")  # what a dataclass writes by itself does not count
    assert not explained(value) or (written and written == value.__doc__.strip())


@pytest.mark.parametrize(("package", "name"), public_names(WITH_EXAMPLES))
def test_a_public_name_has_a_runnable_example(package: str, name: str) -> None:
    value = getattr(importlib.import_module(package), name)
    abstract = inspect.isabstract(value) or (inspect.isclass(value) and issubclass(value, Exception))
    if explained(value) and not abstract:  # nobody makes one of an abstract class; its subclasses have the examples
        assert ">>>" in (inspect.getdoc(value) or "")


def test_the_version_is_the_one_in_pyproject() -> None:
    declared = re.search(r'^version = "(.+?)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared is not None and semihmm.__version__ == declared[1]


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    found = [f"{file}:{number}: {what}" for file, number, line in lines() for what in unwanted(line)]
    assert found == []


@pytest.mark.parametrize(
    "line",
    ["see https://p" + "ypi.org/project/x", "--index" + "-url https://x", "cat /ro" + "ot/x", 'open("/wo' + 'rk/x")'],
)
def test_an_address_or_a_path_of_one_machine_is_noticed(line: str) -> None:
    assert unwanted(line) != []


@pytest.mark.parametrize("line", ["https://example.org/work/x", "at work/home/x", "the root/leaf path", "../work/x"])
def test_a_harmless_line_is_not_noticed(line: str) -> None:
    assert unwanted(line) == []


def unwanted(line: str) -> list[str]:
    return [what for what, pattern in UNWANTED.items() if pattern.search(line)]


def lines() -> Iterator[tuple[str, int, str]]:
    """Every line of every text file that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    for name in listing.rstrip("\0").split("\0"):
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):  # a recording or a picture; deleted but still in the index
            continue
        yield from ((name, number, line) for number, line in enumerate(text.splitlines(), 1))
