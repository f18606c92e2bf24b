"""Each public name is in the reference, and on at least one page that says what it is for."""

import importlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FOLDERS = ("start", "tutorials", "recipes", "guides", "speech", "deployment")
NOT_FOR_USERS = {  # modules with `__all__` whose names nobody but semihmm imports
    "semihmm.cli": "a program; each of its commands is on a page of its own",
    "semihmm.engine.strategies": "what the torch backend is made of; callers name a strategy",
}

Name = tuple[str, str]  # the module that exports it, and the name


def public_modules() -> list[str]:
    """Every module with an `__all__`."""
    files = [file for file in ROOT.glob("semihmm/**/*.py") if re.search(r"^__all__\b", file.read_text("utf-8"), re.M)]
    named = (".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files)
    return sorted(set(named) - set(NOT_FOR_USERS))


def exported(module: str) -> dict[str, object]:
    """Its public names, without the modules among them: those have names of their own."""
    found = importlib.import_module(module)
    names = {name: getattr(found, name) for name in found.__all__}
    return {name: value for name, value in names.items() if not isinstance(value, ModuleType)}


@cache
def public() -> dict[Name, object]:
    """All public names. What two modules export is one object, and needs to be said once."""
    return {(module, name): value for module in public_modules() for name, value in exported(module).items()}


def same(value: object) -> list[Name]:
    """Each module that exports it, and under which name. Constants are told apart by name."""
    kind = type(value).__module__ == "builtins" and not callable(value)
    return [key for key, other in public().items() if other is value and not kind]


# ---- the reference

DIRECTIVE = re.compile(r"^\.\. (\w+):: *(\S+)$((?:\n[ \t]+\S.*|\n[ \t]*)*)", re.M)


def documented() -> set[Name]:
    """What the directives of docs/reference document, as ``(module, name)``."""
    found: set[Name] = set()
    for page in sorted(DOCS.glob("reference/*.md")):
        current = "semihmm"
        for kind, argument, rest in DIRECTIVE.findall(page.read_text("utf-8")):
            if kind in ("currentmodule", "module", "automodule"):
                current = argument
            if kind == "automodule":
                found |= {(argument, name) for name in members(argument, rest)}
            elif kind in ("autoclass", "autofunction", "autodata", "autoexception", "data"):
                module, _, name = argument.rpartition(".")
                found.add((module or current, name))
    return found


def members(module: str, options: str) -> set[str]:
    """The names that `automodule` documents."""
    if ":no-members:" in options:
        return set()
    left_out = re.search(r":exclude-members:([^:]*)", options)
    without = {name.strip() for name in left_out[1].split(",")} if left_out else set()
    return {name for name in exported(module) if name not in without}


@pytest.mark.parametrize("module", public_modules())
def test_each_public_name_is_in_the_reference(module: str) -> None:
    there = documented()
    missing = [
        name
        for name, value in exported(module).items()
        if (module, name) not in there and not there.intersection(same(value))
    ]
    assert missing == [], f"docs/reference has no directive for these names of {module}"


def test_the_reference_documents_what_exists() -> None:
    for module, name in sorted(documented()):
        assert hasattr(importlib.import_module(module), name), f"docs/reference: {module} has no {name}"


# ---- the pages


@cache
def code() -> str:
    """All code of the pages: blocks, and words in backticks."""
    parts: list[str] = []
    for folder in FOLDERS:
        for page in sorted(DOCS.glob(f"{folder}/*.md")):
            parts += code_of(page.read_text("utf-8"))
    return "\n".join(parts)


def code_of(text: str) -> Iterator[str]:
    """The code of one page."""
    for token in MarkdownIt().enable("table").parse(text):
        if token.type in ("fence", "code_block"):
            yield token.content
        for child in token.children or ():
            if child.type == "code_inline":
                yield child.content


@cache
def words() -> Counter[str]:
    return Counter(re.findall(r"\w+", code()))


@cache
def qualified() -> dict[str, set[str]]:
    """For each name, what stands before its dot, and the modules that it is imported from."""
    found: dict[str, set[str]] = defaultdict(set)
    for owner, name in re.findall(r"\b(\w+)(?=\.(\w+))", code()):
        found[name].add(owner)
    for module, names in re.findall(r"from (semihmm[\w.]*) import (\([^)]*\)|[^\n]*)", code()):
        for name in re.findall(r"\w+", names):
            found[name].add(module.rpartition(".")[2])
    return found


def on_a_page(module: str, name: str, value: object) -> bool:
    """Whether a page has it in its code. A name that stands for several things counts with its module alone."""
    keys = same(value) or [(module, name)]
    others = {id(other) for (_, called), other in public().items() if called == name}
    if len(others) == 1:
        return words()[name] > 0
    return any(owner.rpartition(".")[2] in qualified()[called] for owner, called in keys)


@pytest.mark.parametrize("module", public_modules())
def test_each_public_name_is_on_a_page(module: str) -> None:
    missing = [name for name, value in exported(module).items() if not on_a_page(module, name, value)]
    assert missing == [], f"no page in docs/{{{','.join(FOLDERS)}}} has these names of {module} in its code"
