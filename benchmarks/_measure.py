"""What the benchmarks share: a clock, a table, a file."""

import argparse
import json
import platform
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

WHERE = f"CPU ms, float32, 1 thread, torch {torch.__version__}, {platform.machine()}"


def arguments(description):
    """``--smoke`` and ``--out``; one thread and a fixed seed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--smoke", action="store_true", help="small cases, once; writes nothing")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the figures")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return parser.parse_args()


def milliseconds(calls, repeats):
    """The least CPU time of each call, taken in turns after one to warm up: a busy machine only adds to it."""
    least = [float("inf")] * len(calls)
    for turn in range(repeats + 1):
        for i, call in enumerate(calls):
            start = time.process_time()
            call()
            if turn:
                least[i] = min(least[i], 1e3 * (time.process_time() - start))
    return least


def show(title, rows):
    """Print rows as a table."""
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name.replace(" ", "\n", 1), justify="right")
    for row in rows:
        table.add_row(*(f"{x:.2f}" if isinstance(x, float) else str(x) for x in row.values()))
    Console(width=180).print(table)


def write(args, name, figures):
    """Keep the figures, but not those of a smoke test."""
    if not args.smoke:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / name).write_text(json.dumps(figures, indent=1) + "\n")
