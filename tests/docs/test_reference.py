"""The tables and lists of the reference say what the code says."""

import importlib
import inspect
import json
import math
import re
import unicodedata
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

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


# ---- the bibliography

_NAME = r"(?:(?:van|von|de) )?[A-ZÀ-Ž][a-zà-ž][A-Za-zÀ-ž-]*"
CITATION = re.compile(rf"\b({_NAME})((?:(?:,| and| &|,? et al\.?)(?: {_NAME})?)*)(?:['’]s)?,? \(?((?:19|20)\d\d)\b")
NO_SOURCES = {  # who is thanked for recordings, and a sentence in an example
    ("Ito", "2017"), ("Panayotov", "2014"), ("Park", "2018"), ("Univ", "2003"), ("University", "2003"), ("In", "1984"),
}  # fmt: skip
MONTHS = set("January February March April May June July August September October November December".split())
CODE = [
    *("semihmm/**/*.py", "csrc/**/*.cc", "csrc/**/*.h", "examples/*.py", "benchmarks/*.py"),
    *("docs/**/*.md", "README.md"),
]


def entries() -> dict[str, dict[str, str]]:
    """The BibTeX entries: kind and fields, by key."""
    text = (ROOT / "docs" / "references.bib").read_text("utf-8")
    found = {}
    for kind, key, body in re.findall(r"^@(\w+)\{(\w+),\n(.*?)^\}", text, re.M | re.S):
        found[key] = dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.M), kind=kind)
    return found


def plain(name: str) -> str:
    """A surname without accents, TeX's or Unicode's."""
    name = re.sub(r"""\\[v'"`c^~]\s?|[{}\\]""", "", name)
    name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z]", "", name)


@cache
def by_first_author() -> dict[tuple[str, str], str]:
    return {(plain(x["author"].partition(",")[0]), x["year"]): key for key, x in entries().items()}


def citations(file: Path) -> list[tuple[str, str]]:
    """First author and year of what a file cites, as in "Li & Eisner (2009)" or "(Graves et al. 2006)"."""
    text = re.sub(r"\s+", " ", re.sub(r"\n\s*# ?", "\n", file.read_text("utf-8")))
    return [(first, year) for first, _, year in CITATION.findall(text) if first not in MONTHS]


@cache
def cited() -> dict[str, set[str]]:
    """The files that cite each source."""
    found: dict[str, set[str]] = defaultdict(set)
    for pattern in CODE:
        for file in sorted(ROOT.glob(pattern)):
            for first, year in citations(file):
                if key := by_first_author().get((plain(first), year)):
                    found[key].add(str(file.relative_to(ROOT)))
    return found


def test_each_citation_has_an_entry() -> None:
    missing = {
        (first, year, str(file.relative_to(ROOT)))
        for pattern in CODE
        for file in sorted(ROOT.glob(pattern))
        for first, year in citations(file)
        if (plain(first), year) not in by_first_author() and (first, year) not in NO_SOURCES
    }
    assert missing == set(), "docs/references.bib has no entry of this first author and year"


def test_a_citation_is_read_as_people_write_it() -> None:
    text = "(Kool, van Hoof & Welling 2019), (W-CTC, Cai et al. 2022), Šrámek, Brejová & Vinař 2007. Moore's (1956)"
    found = [(first, year) for first, _, year in CITATION.findall(text)]
    assert found == [("Kool", "2019"), ("Cai", "2022"), ("Šrámek", "2007"), ("Moore", "1956")]


def test_each_entry_is_cited_and_complete() -> None:
    needed = {"article": "journal", "inproceedings": "booktitle", "incollection": "booktitle", "book": "publisher",
              "techreport": "institution", "phdthesis": "school", "misc": "title"}  # fmt: skip
    assert set(entries()) - set(cited()) - to_read_on() == set(), "nothing cites these entries"
    for key, entry in entries().items():
        assert {"author", "title", "year", needed[entry["kind"]]} <= set(entry), key
        assert key[-4:] == entry["year"], key


ROWS = [
    cells(line)
    for line in (REFERENCE / "bibliography.md").read_text("utf-8").splitlines()
    if line.startswith("| {cite:t}")
]


def to_read_on() -> set[str]:
    """The sources of which nothing is in the code."""
    text = (REFERENCE / "bibliography.md").read_text("utf-8")
    return set(re.findall(r"\{cite:t\}`(\w+)`", text.partition("## To read on")[2]))


def test_the_bibliography_has_a_row_for_each_entry() -> None:
    keys = [key for row in ROWS for key in re.findall(r"\{cite:t\}`(\w+)`", row[0])]
    assert sorted([*keys, *to_read_on()]) == sorted(entries())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_an_algorithm_is_cited_where_it_is(row: list[str]) -> None:
    for key in re.findall(r"\{cite:t\}`(\w+)`", row[0]):
        for place in re.findall(r"`([^`]+)`", row[2]):
            assert file_of(place) in cited()[key], f"{place} does not cite {key}; {sorted(cited()[key])} do"


def file_of(place: str) -> str:
    """The file that a public name is defined in; a path is itself."""
    if "/" in place:
        return place
    module, _, name = place.rpartition(".")
    found = inspect.getsourcefile(inspect.unwrap(getattr(importlib.import_module(module), name)))
    assert found is not None
    return str(Path(found).resolve().relative_to(ROOT.resolve()))


# ---- complexity


def measured() -> list[dict[str, Any]]:
    """The rows that `benchmarks/complexity.py` wrote."""
    found = json.loads((ROOT / "benchmarks" / "results" / "complexity.json").read_text("utf-8"))
    return [*found["time"], *found["answers"], *found["memory"]]


def test_nothing_grows_faster_than_its_formula() -> None:
    above = [row for row in measured() if row["exponent"] > row["formula"] + 0.25]
    assert above == [], "benchmarks/results/complexity.json has exponents above those of the formulas"


def test_a_slope_is_that_of_its_values() -> None:
    for row in measured():
        values = row["ms"] if "ms" in row else row["kB"]
        rise = math.log(values[-1] / values[0]) / math.log(row["sizes"][-1] / row["sizes"][0])
        assert abs(rise - row["exponent"]) < 0.5, row


def test_every_structure_has_a_row_in_the_table_of_complexity() -> None:
    named = {name for row in table("complexity.md", "carry $c$") for name in re.findall(r"^`(\w+)", row["structure"])}
    missing = {name for name in semihmm.structures.__all__ if name[0].isupper()} - named
    assert missing == {"Structure", "StepPattern", "Constrained", "Pruned"}, missing  # made by constrain and prune
