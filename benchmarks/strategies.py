"""Which strategy is fastest where: what the planner's rule comes from.

Times the log-partition, without and with its gradient, by CPU seconds of one thread (steadier than the clock
on a shared machine). All three answers are compared before they are timed.
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
from semihmm.engine.planner import STRATEGIES

CASES = [(b, t, s) for s in (2, 4, 8, 16, 32) for t in (16, 64, 256, 1024) for b in (1, 8) if b * t * s**3 <= 2**22]


def seconds(call, repeats):
    """The median CPU time of a call, after one to warm up."""
    call()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return sorted(taken)[len(taken) // 2]


def measure(batch, steps, states, repeats):
    """Milliseconds of each strategy on one size, forward and with gradient."""
    draw = torch.Generator().manual_seed(0)
    potentials = [
        torch.randn(*shape, generator=draw) for shape in ((states,), (states, states), (batch, steps, states))
    ]

    def forward(strategy):
        with torch.no_grad():
            return semihmm.log_partition(semihmm.HMM(*potentials), strategy=strategy, validate=False)

    def backward(strategy):
        given = [x.clone().requires_grad_() for x in potentials]
        semihmm.log_partition(semihmm.HMM(*given), strategy=strategy, validate=False).sum().backward()
        return given[1].grad

    row = {"batch": batch, "steps": steps, "states": states, "work": batch * states**3}
    for name, call in (("forward", forward), ("gradient", backward)):
        expected = call("sequential")
        for strategy in STRATEGIES:
            torch.testing.assert_close(call(strategy), expected, rtol=1e-3, atol=1e-3)
            row[f"{name} {strategy}"] = 1e3 * seconds(lambda call=call, strategy=strategy: call(strategy), repeats)
    planned = semihmm.engine.plan(semihmm.HMM(*potentials).chain(), semihmm.semirings.Log()).strategy
    row["planned"] = planned
    best = min(row[f"gradient {s}"] for s in STRATEGIES)
    row["planned / best"] = row[f"gradient {planned}"] / best
    return row


def main():
    """Print the table; write it as JSON too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one small case, once")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    cases = CASES[:2] if args.smoke else CASES
    rows = [measure(*case, repeats=1 if args.smoke else 3) for case in cases]
    table = Table(title=f"CPU ms, float32, 1 thread, torch {torch.__version__}, {platform.machine()}")
    for name in rows[0]:
        table.add_column(name.replace(" ", "\n", 1), justify="right")
    for row in rows:
        table.add_row(*(f"{x:.2f}" if isinstance(x, float) else str(x) for x in row.values()))
    Console(width=180).print(table)
    if not args.smoke:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "strategies.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
