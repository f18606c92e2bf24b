"""Are the planner's estimates true? Estimated by measured time, and what was planned by the best.

Each way to scan is timed on sizes that no table was fitted to, by CPU seconds of one thread (steadier than the clock on
a shared machine), and compared with what the table in use says: that of ``python -m semihmm.engine.calibrate``, or the
one that ships with semihmm. ``native`` may use one thread only, as the shipped table did.
"""

from functools import partial

import torch
from _measure import WHERE, arguments, milliseconds, show, write

from semihmm.engine import plan
from semihmm.engine.backends import native
from semihmm.engine.calibrate import ENTRIES, PRODUCTS, example, scan
from semihmm.engine.costs import QUESTIONS, WAYS, cheapest, counts, seconds, size_of, table
from semihmm.semirings import Count, Log

FACTOR = 3.0  # within which an estimate should be
CASES = [
    ("dense", 2, 100, 6),
    ("dense", 4, 300, 24),
    ("dense", 16, 200, 10),
    ("dense", 1, 700, 48),
    ("dense", 4, 40, 128),
    ("dense over time", 4, 100, 12),
    ("diagonal", 4, 200, 20),
    ("sparse", 4, 150, 50),
    ("arcs", 1, 200, 400),
    ("arcs", 8, 150, 300),
    ("arcs", 2, 100, 50),
    ("arcs over time", 2, 100, 80),
    ("topology over time", 2, 100, 80),
    ("segmental", 2, 150, 12),
    ("grid", 4, 120, 50),
    ("axes", 2, 150, 81),
]


def measure(kind, batch, steps, states, repeats):
    """A row for each question: estimated / measured for each way that is not too large, and planned / best."""
    chain = example(kind, batch, steps, states)
    size = size_of(chain, Log())
    ways = []
    for way in WAYS:
        _, _, entries, products = counts(way, size)
        small = way.endswith("sequential") or (entries <= ENTRIES and products <= PRODUCTS)
        if small and (native() is not None or not way.startswith("native")):
            ways.append(way)
    rows = []
    for question in QUESTIONS:
        calls = {way: partial(scan, chain, way, question) for way in ways}  # each by itself: hot, as in a loop
        taken = [milliseconds([call], repeats * (4 if "native" in way else 1))[0] for way, call in calls.items()]
        by_way = dict(zip(ways, taken, strict=True))
        row = {"map": kind, "batch": batch, "steps": chain.length, "states": states, "question": question}
        for way in WAYS:
            row[f"{way.replace(' ', '-')} ms"] = by_way.get(way, float("nan"))
            ratio = 1e3 * seconds(table(), way, size, question) / by_way[way] if way in by_way else float("nan")
            row[f"estimated/ {way.replace(' ', '-')}"] = ratio
        best = cheapest(table(), ways, size)[0]
        row["all planned/best"] = by_way[best] / min(taken)
        among = {way: time for way, time in by_way.items() if way.startswith("torch")}
        planned = plan(chain, Count())  # no kernel for it: the choice among the torch backend's strategies
        chosen = f"{planned.backend} {planned.strategy}"
        row["torch planned/best"] = among[chosen] / min(among.values()) if chosen in among else float("nan")
        rows.append(row)
    return rows


def main():
    """Print the table; keep it as JSON too."""
    args = arguments(__doc__)
    cases = [("dense", 2, 12, 3), ("grid", 1, 12, 4)] if args.smoke else CASES
    rows = [row for case in cases for row in measure(*case, repeats=1 if args.smoke else 5)]
    show(f"{WHERE}; {table().where}", rows)
    ratios = torch.tensor([v for row in rows for k, v in row.items() if k.startswith("estimated/")])
    ratios = ratios[~ratios.isnan()]
    within = ((ratios <= FACTOR) & (ratios >= 1 / FACTOR)).float().mean()
    print(f"estimated / measured: from {ratios.min():.2f} to {ratios.max():.2f}; {within:.0%} within {FACTOR:g} times")
    for name in ("all planned/best", "torch planned/best"):
        regret = torch.tensor([row[name] for row in rows])
        regret = regret[~regret.isnan()]
        print(f"{name}: mean {regret.mean():.3f}, at most {regret.max():.2f}")
    rows = [{name: None if value != value else value for name, value in row.items()} for row in rows]  # JSON has no NaN
    write(args, "planner.json", {"where": WHERE, "table": dict(table().about), "rows": rows})


if __name__ == "__main__":
    main()
