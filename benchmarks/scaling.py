"""What twice the length costs, in time and in memory: forward, gradient and decoding of every structure.

Time is CPU seconds of one thread, the median of several runs; memory is what autograd keeps for the gradient. Time is
to be linear: twice the steps in at most 2.3 times the time. What an HSMM's gradient keeps is to grow with the number of
steps and with the longest duration, not with their product.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import semihmm


def draw(*shape):
    """Log-weights that want a gradient."""
    return torch.randn(*shape, requires_grad=True)


def structures(steps):
    """One structure of each kind, ``steps`` long."""
    targets = torch.arange(1, 21)
    hmm = (draw(16), draw(16, 16), draw(4, steps, 16))
    yield "HMM", semihmm.HMM(*hmm)
    yield "HMM, banded", semihmm.HMM(draw(16), draw(16, 2), draw(4, steps, 16), offsets=(0, 1))
    yield "HSMM, D 20", semihmm.HSMM(draw(8), draw(8, 8), draw(8, 20), draw(4, steps, 8))
    yield "CTC", semihmm.CTC(draw(4, steps, 32), targets.expand(4, -1))
    yield "DTW, 64 rows", semihmm.DTW(torch.rand(4, 64, steps, requires_grad=True))


def seconds(call, repeats):
    """The median CPU time of a call, after one to warm up."""
    call()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return sorted(taken)[len(taken) // 2]


def kept(structure, checkpoint=None):
    """Bytes that autograd holds on to between the total and its gradient."""
    storages = {}

    def remember(x):
        storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda x: x):
        total = semihmm.log_partition(structure, validate=False, checkpoint=checkpoint)
    total.sum().backward()
    return sum(storages.values())


def questions(structure):
    """Each question by name, as a call."""
    return {
        "log_partition": torch.no_grad()(lambda: semihmm.log_partition(structure, validate=False)),
        "and gradient": lambda: semihmm.log_partition(structure, validate=False).sum().backward(),
        "viterbi": lambda: semihmm.viterbi(structure, validate=False),
        "entropy": torch.no_grad()(lambda: semihmm.entropy(structure, validate=False)),
    }


def times(steps, repeats):
    """Rows of milliseconds at ``steps`` and twice as many."""
    for (name, once), (_, twice) in zip(structures(steps), structures(2 * steps), strict=True):
        for question, call in questions(once).items():
            a, b = seconds(call, repeats), seconds(questions(twice)[question], repeats)
            row = {"structure": name, "question": question, "steps": steps, "ms": 1e3 * a, "ms at twice": 1e3 * b}
            yield {**row, "ratio": b / a}


def memory(steps):
    """Rows of kilobytes kept for the gradient of an HSMM, by longest duration."""
    for longest in (50, 100, 200):
        for checkpoint in (None, True):
            hsmm = semihmm.HSMM(draw(8), draw(8, 8), draw(8, longest), draw(4, steps, 8))
            yield {"D": longest, "steps": steps, "checkpoint": str(checkpoint), "kB kept": kept(hsmm, checkpoint) / 1e3}


def show(title, rows):
    """Print rows as a table."""
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(f"{x:.2f}" if isinstance(x, float) else str(x) for x in row.values()))
    Console(width=120).print(table)


def main():
    """Print the tables; write them as JSON too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="short sequences, once")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = list(times(*((32, 1) if args.smoke else (500, 5))))
    bytes_kept = list(memory(64 if args.smoke else 2000))
    show(f"CPU ms, float32, 1 thread, torch {torch.__version__}, {platform.machine()}", rows)
    show("kept for the gradient of an HSMM, B 4, S 8, float32", bytes_kept)
    if not args.smoke:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "scaling.json").write_text(json.dumps({"time": rows, "memory": bytes_kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
