"""Measures this machine, for the planner: ``python -m semihmm.engine.calibrate [--quick] [--out FILE] [--show]``.

Every way to scan is timed on maps of every family at several sizes, a total alone and with its gradient, and the rates
of `semihmm.engine.costs` are fitted to that. The table goes into the user's cache, where it is found from then on.
"""

from __future__ import annotations

import argparse
import itertools
import math
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from semihmm._files import atomically
from semihmm.engine.backends import native
from semihmm.engine.chain import Chain
from semihmm.engine.costs import (
    FAMILIES,
    QUESTIONS,
    WAYS,
    Rates,
    Size,
    Table,
    cached,
    counts,
    duration,
    encoded,
    size_of,
    table,
)
from semihmm.engine.maps import Arcs, Axes, Banded, Dense, Diagonal, Form, Grid, Segmental
from semihmm.engine.plan import StrategyName
from semihmm.engine.planner import plan
from semihmm.engine.total import total
from semihmm.semirings import Log

LONGEST = 10  # frames of a segment
# Of batch, steps and states, for each family: soon over, and far enough apart to tell the rates. The first ones alone
# are measured with --quick.
SIZES: dict[str, list[tuple[int, int, int]]] = {
    "dense": [
        *[(1, 8, 3), (8, 64, 4), (1, 512, 4), (8, 64, 64), (1, 64, 2), (1, 128, 16), (8, 128, 16), (1, 1024, 8)],
        *[(1, 16, 8), (32, 32, 4), (1, 1024, 2), (8, 256, 8), (1, 256, 32), (32, 100, 32), (1, 2000, 64), (4, 50, 256)],
    ],
    "dense over time": [
        *[(1, 8, 3), (8, 16, 8), (1, 128, 16), (4, 64, 32), (1, 64, 4), (8, 64, 4), (1, 400, 8), (1, 50, 100)],
    ],
    "diagonal": [
        *[(1, 8, 4), (8, 64, 4), (1, 512, 8), (8, 256, 32), (1, 64, 16), (1, 32, 4), (1, 1000, 100), (32, 100, 8)],
    ],
    "sparse": [
        *[(1, 8, 4), (8, 64, 4), (1, 512, 8), (8, 256, 32), (1, 64, 8), (1, 64, 32), (16, 300, 120), (1, 1000, 4)],
    ],
    "arcs": [
        *[(1, 8, 4), (8, 64, 16), (1, 512, 40), (8, 200, 400), (1, 64, 8), (2, 300, 120), (1, 1000, 16)],
        *[(16, 50, 1000), (1, 100, 700), (8, 500, 60)],
    ],
    "arcs over time": [
        *[(1, 8, 4), (8, 64, 4), (1, 512, 8), (4, 100, 64), (1, 64, 16), (1, 100, 200), (8, 32, 40), (1, 300, 30)],
    ],
    "topology over time": [
        *[(1, 8, 4), (8, 64, 4), (1, 512, 8), (4, 100, 64), (1, 64, 16), (1, 100, 200), (8, 32, 40), (1, 300, 30)],
    ],
    "segmental": [
        *[(1, 16, 2), (8, 64, 2), (1, 256, 8), (4, 128, 16), (1, 64, 4), (1, 400, 2), (8, 200, 32), (1, 128, 1)],
    ],
    "axes": [  # two of them: states are joint ones
        *[(1, 8, 4), (8, 64, 16), (1, 512, 16), (4, 100, 64), (1, 64, 9), (1, 100, 144), (8, 32, 36), (1, 50, 1024)],
    ],
    "grid": [
        *[(1, 12, 4), (4, 40, 8), (1, 200, 32), (4, 100, 32), (1, 40, 8), (1, 100, 4), (4, 400, 200), (16, 60, 20)],
    ],
}
QUICK = 4  # sizes of a family with --quick
ENOUGH = (9.0, 100.0)  # seconds: with --quick, and without
FEWEST = 3  # measurements that rates are fitted to; of fewer, those of the shipped table stay
ENTRIES, PRODUCTS = 3e6, 3e7  # more than these in one scan of the torch backend would take long


@dataclass(frozen=True)
class Measurement:
    """One scan, timed."""

    way: str
    size: Size
    question: str
    seconds: float


def example(kind: str, batch: int, steps: int, states: int) -> Chain:
    """A chain of random log-weights.

    Example:
        >>> example("grid", batch=2, steps=9, states=3).length
        9
    """
    draw = torch.Generator().manual_seed(0)
    normal = partial(torch.randn, generator=draw)
    maps = _map(kind, normal, batch, steps, states)
    return Chain((normal(maps.slots),), maps)


def _map(kind: str, normal: Callable[..., Tensor], batch: int, steps: int, states: int) -> Form:
    if kind == "dense over time":
        return Dense(normal(batch, steps, states, states))
    if kind == "segmental":
        frames = normal(batch, steps, states)
        return Segmental.of(normal(1, states, states), normal(1, LONGEST, states), frames)
    if kind == "grid":
        return Grid.of(((1, 0), (0, 1), (1, 1)), normal(batch, 3, states, max(steps + 2 - states, 1)))
    observed = Diagonal(normal(batch, steps, states))
    if kind == "axes":
        side = max(n for n in range(1, math.isqrt(states) + 1) if states % n == 0)
        return Axes(tuple(normal(1, n, n) for n in (side, states // side))) @ observed
    if kind in ("arcs", "arcs over time", "topology over time"):
        # From 3 to 20 arcs for each state, each as likely as the others.
        count = min(states * (3 + states % 18), states * states)
        order = torch.randperm(states * states, generator=torch.Generator().manual_seed(0))[:count].sort().values
        source, target = order // states, order % states
        if kind == "topology over time":
            source, target = source.expand(steps, -1), target.expand(steps, -1)
        weight = normal(1, 1, count) if kind == "arcs" else normal(batch, steps, count)
        return Arcs(source, target, weight, states) @ observed
    if kind == "sparse":
        return Banded((0, 1, 2), normal(1, states, 3)) @ observed
    return Dense(normal(1, states, states)) @ observed if kind == "dense" else observed


def scan(chain: Chain, way: str, question: str) -> None:
    """What is timed.

    Example:
        >>> scan(example("dense", 1, 5, 2), "torch chunked", "gradient")
    """
    backend, strategy = way.split()
    if question == "gradient":
        chain = chain.rebuild([x.detach().requires_grad_() if x.is_floating_point() else x for x in chain.leaves])
    with torch.set_grad_enabled(question == "gradient"):
        value = total(plan(chain, Log(), cast(StrategyName, strategy), None, backend), Log(), chain)
    if question == "gradient":
        value.sum().backward()


def least(work: Callable[[], None], clock: Callable[[], float], patience: float) -> float:
    """The least time of several runs after one to warm up: whatever else a machine does only adds to it."""
    work()
    runs: list[float] = []
    while len(runs) < 3 or (sum(runs) < patience and len(runs) < 9):
        start = clock()
        work()
        runs.append(clock() - start)
        if len(runs) == 2 and sum(runs) > 4 * patience:
            break
    return min(runs)


def jobs(quick: bool) -> list[tuple[str, tuple[int, int, int], str]]:
    """Family, sizes and way of all that is to be measured, some of each family first.

    Example:
        >>> len(jobs(quick=True)) < len(jobs(quick=False))
        True
    """
    found = []
    for i in range(QUICK if quick else max(map(len, SIZES.values()))):
        for kind in FAMILIES:
            for sizes in SIZES[kind][i : i + 1]:
                size = size_of(example(kind, *sizes), Log())
                for way in WAYS:
                    _, _, entries, products = counts(way, size)
                    small = way.endswith("sequential") or (entries <= ENTRIES and products <= PRODUCTS)
                    if small and (not way.startswith("native") or native() is not None):
                        found.append((kind, sizes, way))
    return found


def measurements(quick: bool, tick: Callable[[str], None]) -> Iterator[Measurement]:
    """Time the jobs, on as many threads as PyTorch is set to, until all are done or there was enough time for it."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter  # one thread: its own time alone
    until = time.perf_counter() + (ENOUGH[0] if quick else ENOUGH[1])
    for kind, sizes, way in jobs(quick):
        if time.perf_counter() > until:
            return
        chain = example(kind, *sizes)
        for question in QUESTIONS:
            taken = least(partial(scan, chain, way, question), clock, 0.005 if quick else 0.05)
            yield Measurement(way, size_of(chain, Log()), question, taken)
        tick(kind)


def fitted(rows: Sequence[Sequence[float]], seconds: Sequence[float]) -> Rates:
    """The rates, none of them negative, with the least squares of relative errors.

    With four rates there are 15 choices of those that are not 0; each is a least-squares problem, and the best one
    without a negative rate is the answer.

    Example:
        >>> rows = [(1.0, 10.0, 5.0, 2.0), (1.0, 20.0, 30.0, 9.0), (1.0, 5.0, 80.0, 1.0), (1.0, 40.0, 3.0, 70.0)]
        >>> [round(x, 6) for x in fitted(rows, [sum(r) for r in rows])]
        [1.0, 1.0, 1.0, 1.0]
    """
    weighted = np.asarray(rows, float) / np.asarray(seconds, float)[:, None]
    scale = np.linalg.norm(weighted, axis=0)
    scale[scale == 0] = 1.0
    weighted = weighted / scale
    best, found = np.inf, np.zeros(4)
    for some in itertools.chain.from_iterable(itertools.combinations(range(4), n) for n in (1, 2, 3, 4)):
        rates = np.linalg.lstsq(weighted[:, some], np.ones(len(weighted)), rcond=None)[0]
        error = float(((weighted[:, some] @ rates - 1) ** 2).sum())
        if error < best and (rates >= 0).all():
            best, found = error, np.zeros(4)
            found[list(some)] = rates / scale[list(some)]
    call, round_, entry, product = (float(f"{x:.4g}") for x in found)
    return call, round_, entry, product


def calibrate(quick: bool = False, origin: str = "measured here", tick: Callable[[str], None] | None = None) -> Table:
    """Measure this machine.

    Args:
        tick: is told after each scan what was measured.
    Returns:
        The table; `save` keeps it.
    """
    groups: dict[tuple[str, str, str], list[Measurement]] = {}
    for one in measurements(quick, tick or (lambda _: None)):
        groups.setdefault((one.way, one.size.family, one.question), []).append(one)
    rates = {
        key: fitted([counts(one.way, one.size) for one in group], [one.seconds for one in group])
        for key, group in groups.items()
        if len(group) >= FEWEST
    }
    ratios = [
        sum(r * n for r, n in zip(rates[key], counts(one.way, one.size), strict=True)) / one.seconds
        for key in rates
        for one in groups[key]
    ]
    module = native()
    about = {
        "origin": origin,
        "machine": f"{platform.machine()}, native {'not built' if module is None else module.isa()}",
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "date": time.strftime("%Y-%m-%d"),
        "fit": f"from {min(ratios):.2f} to {max(ratios):.2f} times what was measured" if ratios else "of nothing",
    }
    return Table(rates, about)


def save(measured: Table, path: Path) -> None:
    """Write a table; the file appears when it is whole.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "costs.json"
        >>> save(semihmm.engine.costs.shipped(), path)
        >>> path.stat().st_size > 1000
        True
    """
    with atomically(path) as partial_:
        partial_.write_text(encoded(measured), encoding="utf-8")


def shown(given: Table) -> str:
    """A table for people, in microseconds."""
    lines = [f"{k}: {v}" for k, v in given.about.items()]
    lines.append(f"{'µs for':46}{'a call':>10}{'a round':>10}{'an entry':>12}{'a product':>12}")
    for key, (call, round_, entry, product) in given.rates.items():
        numbers = f"{1e6 * call:10.1f}{1e6 * round_:10.3f}{1e6 * entry:12.6f}{1e6 * product:12.6f}"
        lines.append(f"{', '.join(key):46}{numbers}")
    return "\n".join(lines)


def _progress(count: int) -> tuple[Any, Callable[[str], None]]:
    """A progress bar where rich is installed and somebody watches; else some lines."""
    if find_spec("rich") is not None and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        bar = Progress(console=Console(stderr=True))
        task = bar.add_task("measuring", total=count)
        return bar, lambda kind: bar.update(task, advance=1, description=f"{kind:16}")
    done = itertools.count(1)

    def tell(kind: str) -> None:
        if (i := next(done)) % max(count // 8, 1) == 0:
            print(f"measured {i} of {count} ({kind})", file=sys.stderr, flush=True)

    return nullcontext(), tell


def main(arguments: Sequence[str] | None = None) -> int:
    """What the command does."""
    parser = argparse.ArgumentParser(prog="python -m semihmm.engine.calibrate", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter measurements")
    parser.add_argument("--out", type=Path, help="the file to write, instead of the one in the user's cache")
    parser.add_argument("--show", action="store_true", help="print the table in use; measure nothing")
    parser.add_argument("--threads", type=int, help="threads to measure with (as many as PyTorch takes by itself)")
    parser.add_argument("--origin", default="measured here", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.show:
        print(shown(table()))
        return 0
    path: Path | None = given.out or cached()
    if path is None:
        print("calibrate: there is no home folder to keep the table in; pass --out FILE.", file=sys.stderr)
        return 2
    if given.threads:
        torch.set_num_threads(given.threads)
    start = time.perf_counter()
    bar, tick = _progress(len(jobs(given.quick)))
    with bar:
        found = calibrate(given.quick, given.origin, tick)
    save(found, path)
    print(f"{len(found.rates)} rows of rates in {duration(time.perf_counter() - start)}, written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
