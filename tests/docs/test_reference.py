"""The tables and lists of the reference say what the code says."""

import re
from pathlib import Path

import pytest
import torch

import semihmm
from semihmm import semirings
from semihmm.engine.backends import native
from semihmm.errors import SemihmmError
from semihmm.semirings import Semiring
from semihmm.testing import check_semiring

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def table(page: str, column: str) -> list[dict[str, str]]:
    """The rows of the table of a page that has this column."""
    lines = (REFERENCE / page).read_text("utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|") and f"| {column} |" in line)
    names = cells(lines[start])
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append(dict(zip(names, cells(line), strict=True)))
    return found


def cells(line: str) -> list[str]:
    """What a row of a table has."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def numbers(value: float | tuple[float, ...]) -> str:
    return ", ".join(f"{x:g}" for x in (value if isinstance(value, tuple) else (value,)))


FLAGS = table("semiring_table.md", "selective")


def made(row: dict[str, str]) -> Semiring:
    found: Semiring = eval(row["semiring"].strip("`"), vars(semirings))
    return found


@pytest.mark.parametrize("row", FLAGS, ids=lambda row: row["semiring"].strip("`"))
def test_the_table_of_semirings_has_their_flags(row: dict[str, str]) -> None:
    semiring = made(row)
    flags = {"rescaled" if name == "scalable" else name: getattr(semiring, name) for name in
             ("associative", "idempotent", "selective", "additive", "scalable")}  # fmt: skip
    assert {name: row[name] for name in flags} == {name: "yes" if value else "–" for name, value in flags.items()}
    assert (row["zero"], row["one"]) == (numbers(semiring.zero), numbers(semiring.one))
    assert int(row["inputs"]) == semiring.inputs


@pytest.mark.parametrize("row", FLAGS, ids=lambda row: row["semiring"].strip("`"))
def test_the_flags_of_the_table_are_true(row: dict[str, str]) -> None:
    check_semiring(made(row))


@pytest.mark.skipif(native() is None, reason="the native backend is not loaded")
@pytest.mark.parametrize("row", FLAGS, ids=lambda row: row["semiring"].strip("`"))
def test_the_table_of_semirings_says_which_have_kernels(row: dict[str, str]) -> None:
    semiring, hmm = made(row), semihmm.HMM(torch.zeros(2), torch.zeros(2, 2), torch.zeros(3, 2))
    features = [hmm.feature()] * (semiring.inputs - 1)
    try:
        semihmm.total(hmm, semiring, features, backend="native")
        found = "yes"
    except SemihmmError as error:
        assert "no kernel" in str(error)
        found = "–"
    assert row["native"] == found


@pytest.mark.parametrize("column", ["the total is", "selective"])
def test_the_table_of_semirings_has_all_of_them(column: str) -> None:
    named = {re.match(r"`(\w+)", row["semiring"])[1] for row in table("semiring_table.md", column)}  # type: ignore[index]
    assert named == set(semirings.__all__) - {"Semiring"}


def test_each_semiring_has_a_gradient_in_the_table() -> None:
    text = (REFERENCE / "semiring_table.md").read_text("utf-8")
    part = text.partition("## What a gradient means")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([A-Z]\w+)(?:\(\w\))?`", part)) == set(semirings.__all__) - {"Semiring"}
