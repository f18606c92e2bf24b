"""Tables on the terminal, pages in Markdown and plots, all made from the figures of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]


def by_work(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows with the same work, in their order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["work"], []).append(row)
    return found


def contestants(rows: Sequence[Row]) -> list[str]:
    """The names in these rows, in the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row["cells"]))


def number(x: float) -> str:
    """Three digits, or all of those before the point."""
    if x != x or abs(x) >= 100:
        return f"{x:,.0f}"
    return f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}" if abs(x) >= 1 else f"{x:.3g}"


def reasons(rows: Sequence[Row]) -> dict[str, str]:
    """What keeps contestants out of cells, and what is to be said of times: a letter for each text."""
    texts = []
    for row in rows:
        for cell in row["cells"].values():
            texts += [cell[key] for key in ("reason", "once") if key in cell]
    return {text: letter(i) for i, text in enumerate(dict.fromkeys(texts))}


def letter(i: int) -> str:
    """Letters from a to z, then aa, ab, ..."""
    return (letter(i // 26 - 1) if i >= 26 else "") + chr(ord("a") + i % 26)


def entry(cell: Mapping[str, Any] | None, marks: Mapping[str, str]) -> str:
    """Milliseconds, or why there are none."""
    if cell is None:
        return ""
    if "reason" in cell:
        return f"– ({marks[cell['reason']]})"
    text = number(cell["ms"])
    return f"{text} ({marks[cell['once']]})" if "once" in cell else text


def target(row: Row) -> str:
    """The figures to reach."""
    parts = [] if row["target"] is None else [f"ratio ≥ {row['target']:g}"]
    if row.get("floor_target") is not None and parts:
        parts[0] += f", or at most {row['floor_target']:g} times the floor"
    parts += [] if row["limit"] is None else [f"ours ≤ {row['limit']:g} ms"]
    return "; ".join([*parts, *(f"≥ {ratio:g} against {name}" for name, ratio in row["targets"].items())])


def met(row: Row) -> str:
    """In one word."""
    if row["ours"] is None:
        return "failed"
    return {True: "yes", False: "**no**", None: "–"}[row["met"]]


def columns(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Head and body of the table of one work."""
    marks, names = reasons(rows), contestants(rows)
    floors = any("floor" in row for row in rows)
    judged = any(target(row) for row in rows)
    head = ["sizes", *names, "nearest", "ratio"]
    head += ["met"] if judged else []
    head += ["floor", "× floor"] if floors else []
    body = []
    for row in rows:
        line = [row["label"], *(entry(row["cells"].get(name), marks) for name in names)]
        line += [row["nearest"] or "–", "–" if row["ratio"] is None else number(row["ratio"])]
        line += [met(row)] if judged else []
        if floors:
            line += [f"{number(row['floor'])} {row['bound']}" if "floor" in row else "–"]
            line += [number(row["multiple"]) if "multiple" in row else "–"]
        body.append(line)
    return head, body


def progress(row: Row) -> None:
    """One line a case, while the run goes on."""
    ours = "failed" if row["ours"] is None else f"{number(row['ours'])} ms"
    nearest = "nobody to compare with" if row["nearest"] is None else f"{row['nearest']}: × {number(row['ratio'])}"
    floor = f"; floor × {number(row['multiple'])}" if "multiple" in row else ""
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"{row['work']}, {row['label']}: {ours}; {nearest}{floor}"
    )


def print_tables(run: Mapping[str, Any]) -> None:
    """All works of a run, on the terminal."""
    console = Console(width=200, highlight=False)
    for work, rows in by_work(run["rows"]).items():
        head, body = columns(rows)
        goal = target(rows[0])
        table = Table(title=f"{work} (ms, {rows[0]['dtype']}{'; to reach: ' + goal if goal else ''})")
        for i, name in enumerate(head):
            table.add_column(name, justify="right" if i else "left")
        for line in body:
            table.add_row(*(text.replace("**", "") for text in line))
        console.print(table)
        for text, mark in reasons(rows).items():
            console.print(f"({mark}) {text}", markup=False)


def markdown_table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """The first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def slug(text: str) -> str:
    """A file name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def section(work: str, rows: Sequence[Row], name: str) -> str:
    """The table of one work, with its notes and its plot."""
    head, body = columns(rows)
    parts = [f"## {work}\n", markdown_table(head, body)]
    goal = target(rows[0])
    notes = [
        f"Milliseconds, {rows[0]['dtype']}. The ratio is the nearest peer's time to ours, both in its dtype."
        + (f" To reach: {goal}." if goal else "")
    ]
    notes += [f"({mark}) {text}." for text, mark in reasons(rows).items()]
    for who in contestants(rows):
        found = [row["cells"][who] for row in rows if who in row["cells"]]
        dtypes = {cell["dtype"] for cell in found} - {rows[0]["dtype"]}
        notes += [f"{who} computes in {', '.join(sorted(dtypes))}."] if dtypes else []
        notes += dict.fromkeys(f"{who}: {cell['note']}." for cell in found if "note" in cell)
    notes += dict.fromkeys(f"Floor: {row['floor_what']}." for row in rows if row.get("floor_what"))
    runs = sorted({cell["runs"] for row in rows for cell in row["cells"].values() if "runs" in cell})
    if runs:
        spread = f"{runs[0]} to {runs[-1]}" if len(runs) > 1 else str(runs[0])
        notes.append(f"Each time is the median of {spread} runs; the JSON says of how many, and their range.")
    errors = ", ".join(f"{key} {limit:g}" for key, limit in rows[0]["tolerance"].items())
    notes.append(f"Results agree; the largest error allowed, as a share of the largest entry: {errors}.")
    parts.append("\n".join(f"- {note}" for note in notes) + "\n")
    parts.append(f"![{work}: milliseconds of each contestant]({name}-{slug(work)}.svg)\n")
    return "\n".join(parts)


def about_machine(run: Mapping[str, Any]) -> str:
    """Where, when, with what."""
    m, rates = run["machine"], run["rates"]
    threads = str(rates["threads"])
    peak = " and ".join(f"{number(by[threads])} {dtype}" for dtype, by in rates["gflops"].items())
    largest = max(rates["copy"][threads], key=int)
    gpu = f", {m['gpu']}" if m["gpu"] else ""
    return (
        f"{m['date']}; {m['processor']} ({m['vector']}), {m['cores']} cores{gpu}, {m['system']}; Python {m['python']}, "
        f"torch {m['packages'].get('torch', '?')}; {m['threads']} threads; load {m['load']} at the end. Measured in "
        f"this run, {threads} threads: {peak} Gflop/s of multiply-adds, {number(rates['copy'][threads][largest])} GB/s "
        f"of copying out of cache. Backends of semihmm: {'; '.join(f'{k}, {v}' for k, v in m['semihmm'].items())}.\n"
    )


def write(out: Path, run: Mapping[str, Any]) -> None:
    """``NAME.md`` and its plots."""
    name = run["name"]
    parts = [f"# {name}\n", about_machine(run), run["about"] + "\n"]
    for work, rows in by_work(run["rows"]).items():
        parts.append(section(work, rows, name))
        plot(out / f"{name}-{slug(work)}.svg", work, rows)
    (out / f"{name}.md").write_text("\n".join(parts), encoding="utf-8")


def plot(path: Path, title: str, rows: Sequence[Row]) -> None:
    """Milliseconds of each contestant in each case, on a logarithmic scale; the floor as a line."""
    from matplotlib.figure import Figure

    names = contestants(rows)
    height = 1.2 + len(rows) * max(0.28, 0.055 * (len(names) + 1))
    figure = Figure(figsize=(8.5, height), layout="constrained")
    axes = figure.subplots()
    step = 0.8 / max(1, len(names) - 1)
    for i, name in enumerate(names):
        points = [(row["cells"][name]["ms"], y) for y, row in enumerate(rows) if "ms" in row["cells"].get(name, {})]
        ours = any(row["cells"].get(name, {}).get("ours") for row in rows)
        if points:
            xs, ys = zip(*points, strict=True)
            style: dict[str, Any] = {"marker": "D", "s": 34, "zorder": 3} if ours else {"marker": "o", "s": 20}
            color = ("#2f6db3", "#6aa9e9")[min(1, i)] if ours else f"C{1 + i % 9}"
            axes.scatter(xs, [y + (i * step - 0.4) * 0.7 for y in ys], label=name, color=color, **style)
    floors = [(row["floor"], y) for y, row in enumerate(rows) if "floor" in row]
    if floors:
        xs, ys = zip(*floors, strict=True)
        axes.vlines(xs, [y - 0.4 for y in ys], [y + 0.4 for y in ys], color="#33383f", lw=1.2, label="hardware floor")
    axes.set_yticks(range(len(rows)), [row["label"] for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlabel("milliseconds, less is better")
    axes.set_title(title, fontsize=10)
    axes.grid(axis="x", which="major", alpha=0.3)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "semihmm", "svg.fonttype": "path"}):
        figure.savefig(path, metadata={"Date": None})
