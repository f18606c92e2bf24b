"""Make the pages from the figures: one for each benchmark, and ``README.md`` with all of them in one table.

    python benchmarks/report.py [--out DIR]

Reads what the benchmarks wrote into the results folder; times nothing. With ``--smoke`` it writes elsewhere.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import _page
from _page import Row, number

START = "<!-- the documentation includes what follows -->"
MACHINE, FIGURES = "<!-- the machine -->", "<!-- figures -->"  # where its parts begin
INTRODUCTION = f"""# Benchmarks

Made by `benchmarks/report.py` from the JSON files beside it; `make bench` measures and writes all of them anew. Each
benchmark has a page with every contestant's times: {{pages}}.

{START}

"""
NO_FIGURES = "No figures yet: `make bench` takes them.\n"
STATES_OF_ROOFLINE, TIMES_FLOOR = 64, 3.0  # from so many states on, ours is to be within so many times the floor


def main() -> None:
    """All pages of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="write into a folder that is removed again")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder with the figures")
    args = parser.parse_args()
    runs = load(args.out)
    if not args.smoke:
        write(args.out, runs, memory(args.out))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), [*runs, EXAMPLE], memory(args.out))
        page = (Path(folder) / "README.md").read_text(encoding="utf-8")
        assert "| a work | S 64 | 1.00 | a peer | 4.00 | 4.00 |" in page, page
        assert (Path(folder) / "example-a-work.svg").stat().st_size > 1000


def load(folder: Path) -> list[dict[str, Any]]:
    """The runs of benchmarks that compare; other files have their own form."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return [run for run in found if isinstance(run, dict) and {"name", "rates", "rows"} <= set(run)]


def memory(folder: Path) -> str:
    """The page that `memory.py` writes, as a section; nothing where it is not there."""
    page = folder / "memory.md"
    return "\n#" + page.read_text(encoding="utf-8") if page.is_file() else ""


def write(out: Path, runs: Sequence[Mapping[str, Any]], other: str) -> None:
    """Each run's page, and the one about all."""
    for run in runs:
        _page.write(out, run)
    rows = [row for run in runs for row in run["rows"]]
    pages = ", ".join(f"[{run['name']}]({run['name']}.md)" for run in runs) or "none yet"
    parts = [INTRODUCTION.format(pages=pages)]
    if not rows:
        parts.append(NO_FIGURES)
    else:
        parts += [summary(runs), f"\n{MACHINE}\n\n", about(runs), f"\n{FIGURES}\n", verdicts(rows), table(rows), other]
        parts.append("\n## Pictures\n\n![The nearest peer's time, as a multiple of ours, in every cell](ratios.svg)\n")
        overview(out / "ratios.svg", rows)
        for run in runs:
            for work in _page.by_work(run["rows"]):
                picture = f"{run['name']}-{_page.slug(work)}.svg"
                parts.append(f"\n![{work}: milliseconds of each contestant]({picture})\n")
    (out / "README.md").write_text("".join(parts), encoding="utf-8")


def about(runs: Sequence[Mapping[str, Any]]) -> str:
    """The machine, once where all runs had the same."""
    texts = [f"**{run['name']}**: {_page.about_machine(run)}" for run in runs]
    versions: dict[str, str] = {}
    for run in runs:
        versions |= run["machine"]["packages"]
    named = [f"{name} {version}" for name, version in versions.items() if _plain(name) in PEERS]
    return "\n".join(texts) + f"\nVersions: {', '.join(named)}; the JSON has those of every package.\n"


PEERS = {
    "chadhmm", "ctc-segmentation", "dtaidistance", "dtw-python", "dynamax", "gaussian-hsmm", "hmmlearn", "jax",
    "librosa", "numpy", "optax", "ott-jax", "pomegranate", "pyhsmm", "pysdtw", "pytorch-crf", "semihmm", "torch",
    "torch-struct", "torchaudio", "tslearn",
}  # fmt: skip


def _plain(name: str) -> str:
    return name.partition(" ")[0].lower().replace("_", "-")


FIRST = ("hmm", "hsmm", "crf", "ctc", "warping", "fitting", "questions", "decoding", "sparse", "pruning", "composition")


def summary(runs: Sequence[Mapping[str, Any]]) -> str:
    """Each work by the cell whose ratio is in the middle, and the range of all; what is asked for most is first."""
    head = ["work", "sizes", "semihmm, ms", "nearest peer", "its ms", "ratio", "ratios of all cells"]
    body = []
    for run in sorted(runs, key=lambda run: FIRST.index(run["name"]) if run["name"] in FIRST else len(FIRST)):
        for work, cells in _page.by_work(run["rows"]).items():
            compared = sorted((row for row in cells if row["ratio"] is not None), key=lambda row: float(row["ratio"]))
            if not compared:
                continue
            middle = compared[(len(compared) - 1) // 2]
            least, greatest = number(compared[0]["ratio"]), number(compared[-1]["ratio"])
            times = [number(middle["ours"]), middle["nearest"], number(middle["cells"][middle["nearest"]]["ms"])]
            span = least if least == greatest else f"{least} to {greatest}"
            body.append([work, middle["label"], *times, number(middle["ratio"]), f"{span} ({len(compared)})"])
    return "## Summary\n\n" + _page.markdown_table(head, body)


def verdicts(rows: Sequence[Row]) -> str:
    """How many cells of each work are met, and how near the floor they are."""
    head = [
        "work",
        "to reach",
        "cells",
        "met",
        "least ratio",
        f"S ≥ {STATES_OF_ROOFLINE}: within {TIMES_FLOOR:g} × floor",
    ]
    body = []
    for work, cells in _page.by_work(rows).items():
        judged = [row["met"] for row in cells if row["met"] is not None]
        ratios = [row["ratio"] for row in cells if row["ratio"] is not None]
        large = [
            row["multiple"] for row in cells if row["sizes"].get("S", 0) >= STATES_OF_ROOFLINE and "multiple" in row
        ]
        near = sum(multiple <= TIMES_FLOOR for multiple in large)
        body.append(
            [
                work,
                _page.target(cells[0]) or "–",
                str(len(cells)),
                f"{sum(judged)} of {len(judged)}" if judged else "–",
                number(min(ratios)) if ratios else "–",
                f"{near} of {len(large)}" if large else "–",
            ]
        )
    return "\n## Figures reached\n\n" + _page.markdown_table(head, body)


def table(rows: Sequence[Row]) -> str:
    """Every cell: ours, the nearest peer, the ratio, and the floor."""
    head = ["work", "sizes", "semihmm, ms", "nearest peer", "its ms", "ratio", "met", "floor, ms", "× floor"]
    body = []
    for row in rows:
        peer = row["cells"].get(row["nearest"] or "")
        body.append(
            [
                row["work"],
                row["label"],
                "–" if row["ours"] is None else number(row["ours"]),
                row["nearest"] or "–",
                "–" if peer is None else number(peer["ms"]),
                "–" if row["ratio"] is None else number(row["ratio"]),
                _page.met(row),
                number(row["floor"]) if "floor" in row else "–",
                number(row["multiple"]) if "multiple" in row else "–",
            ]
        )
    return (
        "\n## All cells\n\n"
        + _page.markdown_table(head, body)
        + "\nThe nearest peer is the one whose time is the least multiple of ours. A peer that computes only in "
        "float64 is compared with semihmm in float64, so its time over the ratio may not be the first column's.\n"
    )


def overview(path: Path, rows: Sequence[Row]) -> None:
    """One point a cell: the ratio to the nearest peer; a tick where it is to be."""
    import matplotlib
    from matplotlib.figure import Figure

    works = _page.by_work(rows)
    figure = Figure(figsize=(8.5, 0.8 + 0.34 * len(works)), layout="constrained")
    axes = figure.subplots()
    for y, cells in enumerate(works.values()):
        points = [(row["ratio"], row["met"]) for row in cells if row["ratio"] is not None]
        for reached, color in ((False, "#d9772b"), (True, "#2f6db3"), (None, "#a9b0ba")):
            xs = [ratio for ratio, met in points if met is reached]
            axes.scatter(xs, [y] * len(xs), s=22, color=color, alpha=0.8, zorder=3)
        if cells[0]["target"] is not None:
            axes.vlines(cells[0]["target"], y - 0.35, y + 0.35, color="#33383f", lw=1.4)
    axes.axvline(1.0, color="#a9b0ba", lw=0.8)
    axes.set_yticks(range(len(works)), list(works), fontsize=8)
    axes.set_ylim(len(works) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlabel("nearest peer's time / ours; line: to reach; blue: met")
    axes.grid(axis="x", which="major", alpha=0.3)
    with matplotlib.rc_context({"svg.hashsalt": "semihmm", "svg.fonttype": "path"}):
        figure.savefig(path, metadata={"Date": None})


EXAMPLE: dict[str, Any] = {  # for the smoke test
    "name": "example",
    "about": "An example.",
    "machine": {
        "date": "never", "processor": "none", "vector": "none", "cores": 1, "threads": 1, "gpu": None, "system": "none",
        "python": "3", "load": 0.0, "packages": {"torch": "2"}, "semihmm": {"torch": "loaded"},
    },
    "rates": {"threads": 1, "gflops": {"float32": {"1": 1.0}}, "copy": {"1": {"1": 1.0}}},
    "rows": [
        {
            "work": "a work", "sizes": {"S": 64}, "label": "S 64", "dtype": "float32", "device": "cpu", "ours": 1.0,
            "cells": {
                "semihmm": {"dtype": "float32", "ours": True, "ms": 1.0, "runs": 7},
                "a peer": {"dtype": "float32", "ours": False, "ms": 4.0, "runs": 7, "ratio": 4.0},
                "another": {"dtype": "float64", "ours": False, "reason": "not installed: another"},
            },
            "target": 3, "targets": {}, "limit": None, "tolerance": {"x": 1e-5}, "nearest": "a peer", "ratio": 4.0,
            "met": True, "floor": 0.5, "bound": "memory", "floor_what": "bytes", "multiple": 2.0, "floor_target": None,
        }
    ],
}  # fmt: skip


if __name__ == "__main__":
    main()
