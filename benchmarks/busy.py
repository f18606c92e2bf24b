"""What a second thread gains where cores are idle, and what it costs where other processes want them.

    python benchmarks/busy.py [--smoke] [--out DIR]

Posteriors of a few models on one thread and on two, in turns, once on the machine as it is and once with a process on
every core that does nothing but run. Wall-clock milliseconds a call: the median, what 95 of 100 calls stay below, and
the most. Shared machines, data loaders and test runners are busy like that; a thread that waits for another one then
waits for the scheduler. Two threads are to take no more than 1.3 times as long as one thread does at the same time,
and one time slice (4 ms); with idle cores they are to be faster.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from _measure import show

import semihmm

SIZES = ((48, 1500, 1), (160, 900, 1), (64, 500, 8))  # states, steps, sequences
SLICE = 4.0  # milliseconds for which a scheduler lets a process run while others wait
TIMES = 1.3
BURN = "import time\nend = time.monotonic() + {seconds}\nwhile time.monotonic() < end: pass"
LONGEST = 600  # seconds after which a burner ends in any case


@contextmanager
def burners(count: int) -> Iterator[None]:
    """So many processes that run all the time."""
    code = BURN.format(seconds=LONGEST)
    running = [subprocess.Popen([sys.executable, "-S", "-c", code]) for _ in range(count)]
    try:
        time.sleep(0.3 if running else 0.0)
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def posteriors(states: int, steps: int, batch: int) -> Callable[[], object]:
    """A call that asks for all expected counts."""
    g = torch.Generator().manual_seed(0)
    shape = (steps, states) if batch == 1 else (batch, steps, states)
    weights = [torch.randn(size, generator=g).log_softmax(-1) for size in ((states,), (states, states))]
    hmm = semihmm.HMM(*weights, torch.randn(shape, generator=g))
    return lambda: semihmm.expected_counts(hmm)


def times(call: Callable[[], object], repeats: int) -> dict[int, list[float]]:
    """Milliseconds of each call on one thread and on two, in turns."""
    taken: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(repeats + 1):
        for threads, its in taken.items():
            torch.set_num_threads(threads)
            for _ in range(3):  # in a row: what the other number of threads left behind is not to count
                start = time.perf_counter()
                call()
                spent = 1e3 * (time.perf_counter() - start)
            if turn:
                its.append(spent)
    return taken


def row(states: int, steps: int, batch: int, busy: bool, taken: dict[int, list[float]]) -> dict[str, Any]:
    """What was measured of one model, and whether it is as it should be."""
    figures: dict[str, Any] = {"S": states, "T": steps, "B": batch, "cores": "busy" if busy else "idle"}
    for threads, its in taken.items():
        its = sorted(its)
        names = ("ms", "95 of 100 below", "most")
        values = (statistics.median(its), its[min(len(its) - 1, int(0.95 * len(its)))], its[-1])
        figures |= {f"{name}, {threads} thread{'s' * (threads > 1)}": x for name, x in zip(names, values, strict=True)}
    one, two = ([statistics.median(taken[n]), sorted(taken[n])[int(0.95 * len(taken[n]))]] for n in (1, 2))
    met = all(y <= TIMES * x + SLICE for x, y in zip(one, two, strict=True)) if busy else two[0] <= one[0]
    return {**figures, "ratio": two[0] / one[0], "met": met}


def page(rows: list[dict[str, Any]], where: str) -> str:
    """The figures as Markdown."""
    names = list(rows[0])
    lines = [
        "# Busy machines",
        "",
        "Made by `benchmarks/busy.py`.",
        "",
        (__doc__ or "").split("\n\n")[2],
        "",
        where,
        "",
    ]
    lines += ["| " + " | ".join(names) + " |", "|" + " ---: |" * len(names)]
    for found in rows:
        cells = [f"{x:.2f}" if isinstance(x, float) else str(x) for x in found.values()]
        lines.append("| " + " | ".join(cells) + " |")
    note = (
        f"Met on busy cores: the median and what 95 of 100 calls stay below, within {TIMES} times those of one thread"
    )
    return "\n".join(
        [*lines, "", f"{note} and {SLICE:g} ms; on idle cores: the median is below that of one thread.", ""]
    )


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="small cases, once; writes nothing")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder for the figures")
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    where = f"{cores} cores, float32, torch {torch.__version__}, {platform.machine()}, {semihmm.backends()['native']}"
    rows = []
    for busy in (False, True):
        for sizes in ((8, 30, 1), (4, 20, 3)) if args.smoke else SIZES:
            with burners(cores if busy else 0):
                rows.append(row(*sizes, busy, times(posteriors(*sizes), 1 if args.smoke else 100)))
    show(where, rows)
    if args.smoke:
        return
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "busy.json").write_text(
        json.dumps({"where": where, "figures": rows}, indent=1) + "\n", encoding="utf-8"
    )
    (args.out / "busy.md").write_text(page(rows, where), encoding="utf-8")


if __name__ == "__main__":
    main()
