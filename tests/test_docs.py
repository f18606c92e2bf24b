"""What the documentation shows is what happens: every example runs, every command that it names exists."""

import doctest
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from itertools import dropwhile
from pathlib import Path

import pytest
import torch
from markdown_it import MarkdownIt
from markdown_it.token import Token

import semihmm
from semihmm.engine.backends import native

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
MODULES = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for file in ROOT.glob("semihmm/**/*.py")
    if file.name != "__main__.py"  # importing that one runs the program
)
EXAMPLES = sorted([*ROOT.glob("examples/*.py"), *ROOT.glob("benchmarks/[a-z]*.py")])
EXTRAS = {"deployment/index.md": ("onnx", "onnxscript", "onnxruntime")}  # what a page's examples import, and CI has not
DOCTEST_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Checker(doctest.OutputChecker):
    """An example shows the message of an error. The link below it is a note, which Python 3.10 does not print."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        want, got = (re.sub(r"^See semihmm docs: faq#\S+\n", "", text, flags=re.MULTILINE) for text in (want, got))
        return super().check_output(want, got, optionflags)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[Token]:
    """The fenced code blocks of a page whose info string ends in one of the languages: ```python, ```{code} python."""
    fences = [token for token in MarkdownIt().parse(page.read_text(encoding="utf-8")) if token.type == "fence"]
    return [fence for fence in fences if fence.info.split()[-1:] and fence.info.split()[-1] in languages]


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    plain = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=cwd, env=os.environ | plain, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks of one page share their names; they run in an empty folder that holds only `examples`."""
    for package in EXTRAS.get("/".join(page.parts[-2:]), ()):
        pytest.importorskip(package)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page, "python", "pycon", "py"):
        assert block.map is not None
        first_line = block.map[0] + 1
        if ">>>" in block.content:
            test = doctest.DocTestParser().get_doctest(block.content, names, page.name, str(page), first_line)
            result = doctest.DocTestRunner(Checker(), optionflags=DOCTEST_FLAGS).run(test, clear_globs=False)
            names.update(test.globs)
            assert result.failed == 0, "the captured output shows the failed examples"
        else:
            # The empty lines make a traceback point at the line of the page.
            exec(compile("\n" * first_line + block.content, page, "exec"), names)


OF_NATIVE = [f"semihmm.engine.backends.{name}" for name in ("compiled", "kernels", "ops")]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_show_what_happens(module: str) -> None:
    """`torch`, `semihmm` and what the module's own package exports need no import in a docstring."""
    if module in OF_NATIVE and native() is None:
        pytest.skip("the native backend is not loaded")
    package = importlib.import_module(module.rpartition(".")[0] or module)
    names = {name: getattr(package, name) for name in package.__all__} | {"torch": torch, "semihmm": semihmm}
    runner = doctest.DocTestRunner(Checker(), optionflags=DOCTEST_FLAGS)
    for test in doctest.DocTestFinder().find(importlib.import_module(module), extraglobs=names):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0, "the captured output shows the failed examples"


@pytest.mark.parametrize("example", EXAMPLES, ids=relative)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    drawn = ("--picture", "drawn.svg") if example.parent.name == "examples" and find_spec("matplotlib") else ()
    result = run(sys.executable, example, "--smoke", *drawn, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_example_has_a_card_and_what_its_page_shows() -> None:
    """The card has an alternative text; `docs/pages/thumbnails.py` has drawn the example, and kept what it prints."""
    gallery = ROOT / "docs" / "gallery"
    names = [file.stem for file in sorted(ROOT.glob("examples/*.py"))]
    index = (gallery / "index.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^:::\{example\} (\w+)\n(?::title: .+\n)?:alt: \S.*\S\.$", index, re.MULTILINE)) == names
    pictures = {file.name: file.stat().st_size for file in gallery.glob("thumbnails/*")}
    assert sorted(pictures) == [f"{name}-{theme}.png" for name in names for theme in ("dark", "light")]
    assert max(pictures.values()) <= 40_000, "a picture of the gallery is small"
    assert sorted(file.name for file in gallery.glob("printed/*")) == [f"{name}.txt" for name in names]
    assert all(file.read_text(encoding="utf-8").strip() for file in gallery.glob("printed/*"))


def shell_commands(page: Path) -> Iterator[list[str]]:
    """The words of each command in the shell blocks of a page, up to a pipe, a comment or a redirection."""
    for block in blocks(page, "bash", "sh", "console", "shell"):
        for line in block.content.replace("\\\n", " ").splitlines():
            for command in re.split(r"&&|;|\|", line.removeprefix("$ ")):
                if words := shlex.split(command.partition(">")[0], comments=True):
                    yield words


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_the_commands_that_a_page_names_exist(page: Path) -> None:
    for words in shell_commands(page):
        check_command(words)


def check_command(words: list[str]) -> None:
    """A target of the Makefile, a command and options of `semihmm`, an extra: whether it is there. Others pass."""
    words = list(dropwhile(lambda word: "=" in word, words))
    program = Path(words[0]).name if words else ""
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word and not word.startswith("-")} <= set(targets)
    elif program == "semihmm":
        usage = help_of(*words[1:2])
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert [option for option in sorted(options) if not re.search(rf"{option}\b", usage)] == []
    elif program in ("pip", "uv"):
        named = re.findall(r"(?<=[\w.]\[)[\w,]+(?=\])|(?<=--extra )\w+", " ".join(words))
        known = metadata.metadata("semihmm").get_all("Provides-Extra") or []
        assert {extra for group in named for extra in group.split(",")} <= set(known)


@cache
def help_of(*command: str) -> str:
    """What the installed `semihmm` says about one of its commands."""
    result = run(Path(sys.executable).with_name("semihmm"), *command, "--help")
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout
