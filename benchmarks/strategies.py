"""Which of the torch backend's strategies is fastest where, and whether the planner knows.

Times the log-partition, without and with its gradient, by CPU seconds of one thread (steadier than the clock
on a shared machine). All three answers are compared before they are timed.
"""

from functools import partial

import torch
from _measure import WHERE, arguments, milliseconds, show, write

import semihmm
from semihmm.engine.strategies import STRATEGIES

CASES = [(b, t, s) for s in (2, 4, 8, 16, 32) for t in (16, 64, 256, 1024) for b in (1, 8) if b * t * s**3 <= 2**22]


def measure(batch, steps, states, repeats):
    """Milliseconds of each strategy on one size, forward and with gradient."""
    draw = torch.Generator().manual_seed(0)
    potentials = [
        torch.randn(*shape, generator=draw) for shape in ((states,), (states, states), (batch, steps, states))
    ]

    def forward(strategy):
        with torch.no_grad():
            return semihmm.log_partition(semihmm.HMM(*potentials), strategy=strategy, backend="torch", validate=False)

    def backward(strategy):
        given = [x.clone().requires_grad_() for x in potentials]
        semihmm.log_partition(semihmm.HMM(*given), strategy=strategy, backend="torch", validate=False).sum().backward()
        return given[1].grad

    row = {"batch": batch, "steps": steps, "states": states, "work": batch * states**3}
    for name, call in (("forward", forward), ("gradient", backward)):
        expected = call("sequential")
        for strategy in STRATEGIES:
            torch.testing.assert_close(call(strategy), expected, rtol=1e-3, atol=1e-3)
        taken = milliseconds([partial(call, strategy) for strategy in STRATEGIES], repeats)
        row |= {f"{name} {strategy}": least for strategy, least in zip(STRATEGIES, taken, strict=True)}
    planned = semihmm.engine.plan(semihmm.HMM(*potentials).chain(), semihmm.semirings.Log(), backend="torch").strategy
    row["planned"] = planned
    best = min(row[f"gradient {s}"] for s in STRATEGIES)
    row["planned / best"] = row[f"gradient {planned}"] / best
    return row


def main():
    """Print the table; keep it as JSON too."""
    args = arguments(__doc__)
    rows = [measure(*case, repeats=1 if args.smoke else 3) for case in (CASES[:2] if args.smoke else CASES)]
    show(WHERE, rows)
    write(args, "strategies.json", rows)


if __name__ == "__main__":
    main()
