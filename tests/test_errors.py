"""tests/test_errors.py: an error says where the documentation is about it, and its message stays what it was."""

import ast
import copy
import inspect
import pickle
import re
import sys
import traceback
from pathlib import Path

import pytest

from semihmm import errors
from semihmm.errors import DataError, DependencyError, SemihmmError, ShapeError

ROOT = Path(__file__).parents[1]
CLASSES = [getattr(errors, name) for name in errors.__all__]
FAQ = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", CLASSES)
def test_the_faq_has_an_anchor_for_each_class(kind: type[SemihmmError]) -> None:
    assert "anchor" in vars(kind)
    page, anchor = kind("Mine: count must be 1.").see.split("#")
    assert page == "faq"
    assert f"\n({anchor})=\n" in FAQ
    assert f"`{kind.__name__}`" in FAQ.partition(f"\n({anchor})=\n")[2].splitlines()[0]  # the heading behind the anchor


def links() -> dict[str, list[str]]:
    """What `see=` says in the package, and where."""
    found: dict[str, list[str]] = {}
    for file in sorted((ROOT / "semihmm").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for keyword in node.keywords if isinstance(node, ast.Call) else ():
                if keyword.arg == "see" and isinstance(keyword.value, ast.Constant):
                    found.setdefault(keyword.value.value, []).append(f"{file}:{node.lineno}")
    return found


def test_each_link_that_a_message_ends_with_is_there() -> None:
    found = links()
    assert len(found) > 20
    assert {anchor: at for anchor, at in found.items() if f"\n({anchor})=\n" not in FAQ} == {}


def test_no_anchor_is_there_twice_or_for_nothing() -> None:
    anchors = re.findall(r"^\(([\w-]+)\)=$", FAQ, re.MULTILINE)
    assert sorted(anchors) == sorted(set(anchors))
    spoken = {*links(), *(kind.anchor for kind in CLASSES)}
    messages = FAQ.partition("\n## Error messages\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\(([\w-]+)\)=$", messages, re.MULTILINE)) == spoken


def test_the_link_is_no_part_of_the_message() -> None:
    error = ShapeError("HMM: lengths must be 3.", see="lengths")
    assert str(error) == "HMM: lengths must be 3." and error.args == (str(error),)
    assert error.see == "faq#lengths" and ShapeError("HMM").see == "faq#shape-error"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no notes")
def test_a_traceback_ends_with_the_link() -> None:
    printed = traceback.format_exception_only(DataError("read_audio: there is no file x.wav.", see="reading-audio"))
    assert printed == [
        "semihmm.errors.DataError: read_audio: there is no file x.wav.\n",
        "See semihmm docs: faq#reading-audio\n",
    ]


@pytest.mark.parametrize("kind", CLASSES)
def test_a_copy_has_the_same_link_once(kind: type[SemihmmError]) -> None:
    """Processes that share work send errors to one another."""
    error = kind("Mine: no.", see="lengths")
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is kind and str(other) == "Mine: no." and other.see == "faq#lengths"
        assert getattr(other, "__notes__", None) == getattr(error, "__notes__", None)


def test_what_is_missing_is_an_import_error_too() -> None:
    assert issubclass(DependencyError, ImportError)
    assert all(issubclass(kind, ValueError) and inspect.getdoc(kind) for kind in CLASSES)
