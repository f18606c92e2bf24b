"""Solutions of exercises hold: a tutorial's cells run in one process, then the Python inside its ``{dropdown}``s."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest
import torch

matplotlib.use("Agg")
ROOT = Path(__file__).parents[2]
CELL = re.compile(r"^```\{code-cell\}.*?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DROPDOWN = re.compile(r"^(````|:::+)\{dropdown\}.*?\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python3?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEAD = re.compile(r"\A(---\n.*?^---\n|(:\w+:.*\n)+)", re.MULTILINE | re.DOTALL)  # a cell's metadata


def solutions(page: Path) -> list[str]:
    return [code for _, dropdown in DROPDOWN.findall(page.read_text("utf-8")) for code in PYTHON.findall(dropdown)]


PAGES = [page for page in sorted(ROOT.glob("docs/tutorials/*.md")) if solutions(page)]


@pytest.fixture(autouse=True)
def _what_cells_set() -> Iterator[None]:
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    with matplotlib.rc_context():
        yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_tutorial_solves_is_solved(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(page.parent)  # where notebooks run
    names: dict[str, object] = {"__name__": "__main__"}
    cells = [HEAD.sub("", cell) for cell in CELL.findall(page.read_text("utf-8"))]
    assert cells
    for code in [re.sub(r"^%.*$", "", cell, flags=re.MULTILINE) for cell in cells] + solutions(page):
        exec(compile(ast.parse(code), page, "exec"), names)
    plt = names.get("plt")
    if plt is not None:
        plt.close("all")  # type: ignore[attr-defined]
