"""What the benchmarks share: cases, contestants, and a clock that takes them in turns.

A benchmark describes its cases and calls `main`. For each case, in one run and on two threads: every contestant is
prepared, called once, and its results are compared with the reference; those that agree are then timed in turns, by
wall clock. The rest stay in the table with the reason. Figures are JSON first; tables and plots are made from them.

A repeat is as many calls in a row as take 10 ms, at least one, for everybody: a short call is timed as by those who
ask again and again, with their data in cache.

Rules that keep a run short, and are stated in each cell that they touch: a call that takes more than 2 s is timed 3
times, one of more than 4 s once (the warm-up itself). A peer's call that would take more than 4 s, judged by its time
on smaller cases of the same work, is not made; the fastest peers are given more, and all are given a quarter once the
script has run for as long as it may. We are always timed.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import _jax
import _page
import _roofline
import numpy as np
import torch

Results = Mapping[str, Any]  # by name: tensors, arrays or numbers
Call = Callable[[], Results]

THREADS = 2
REPEATS = 7
ENOUGH = 10e-3  # seconds that a repeat takes
SLOW, SLOWER = 2.0, 4.0  # seconds a call: timed 3 times; timed once
PATIENCE, LATE = 4.0, 0.25  # seconds that a peer is given; the share of them when time is up
NEAR = 1 / 32  # the least share of the arithmetic that says something of a case


class Unavailable(Exception):
    """A contestant that cannot take part here; the message is what its cell says."""


@dataclass(frozen=True)
class Contestant:
    """One way to do the work.

    Args:
        prepare: does once what is not to be timed (imports, conversion, compilation) and returns what is. It may raise
            `Unavailable`; a missing module is reported as not installed. A call with ``time(number)``, seconds each of
            so many calls, measures itself: `_jax.Remote`.
        dtype: what it computes in.
        ours: whether it is semihmm. A peer is compared with ours of the same dtype, or else with the first of ours.
        tolerance: where it is to be looser than the case's: result name to tolerance. Say why in `note`.
        note: goes into the table's footnotes.
        cost: its own arithmetic, where it is not the case's.
        patience: seconds; a call that would take more is not made. Give more to those that matter most.
    """

    prepare: Callable[[], Call]
    dtype: str = "float32"
    ours: bool = False
    tolerance: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    cost: float | None = None
    patience: float = PATIENCE


@dataclass(frozen=True)
class Floor:
    """The least that the hardware must do: arithmetic, and memory read and written.

    Args:
        flops: additions and multiplications; a fused multiply-add is two.
        bytes: read and written once each.
        what: how they were counted, for the page.
    """

    flops: float = 0.0
    bytes: float = 0.0
    what: str = ""


@dataclass(frozen=True)
class Case:
    """One cell of the table.

    Args:
        work: the row, the same text for all its cells.
        sizes: such as ``{"S": 8, "T": 200, "B": 1}``.
        contestants: by name; the first of ours is the one whose figures count.
        tolerance: by result name, how far an entry may be from the reference's, as a share of the reference's largest
            finite entry: ``max|a - b| <= tol * max|b|``; 0 for what must be equal. Only these names are compared, and
            every contestant must return all of them.
        target: the least ``peer's ms / our ms``, for the peer where it is least.
        targets: other figures for single peers, such as ``{"torch-struct": 100}``.
        limit: the most milliseconds that ours may take, where the figure to reach is not a ratio.
        floor_target: where our time within this multiple of the floor also meets `target`.
        floor: what the hardware must do at least.
        reference: results to agree with, from an independent implementation; None for those of our first contestant.
        view: turns results into what is compared (a path into its score, say).
        cost: arithmetic in any unit, to judge from smaller cases how long a contestant would take.
        dtype: of the case; a contestant says so where its own differs.
        device: ``cpu`` or ``cuda``.
    """

    work: str
    sizes: Mapping[str, int]
    contestants: Mapping[str, Contestant]
    tolerance: Mapping[str, float]
    target: float | None = None
    targets: Mapping[str, float] = field(default_factory=dict)
    limit: float | None = None
    floor_target: float | None = None
    floor: Floor | None = None
    reference: Callable[[], Results] | None = None
    view: Callable[[Results], Results] = lambda results: results
    cost: float | None = None
    dtype: str = "float32"
    device: str = "cpu"

    @property
    def label(self) -> str:
        """The sizes in words."""
        where = "" if self.device == "cpu" else f", {self.device}"
        return ", ".join(f"{name} {size:,}" for name, size in self.sizes.items()) + where


def fits(needed: float, limit: float = 2e9, what: str = "in one tensor") -> None:
    """Refuse what would hold ``limit`` bytes or more.

    Raises:
        Unavailable: it would.
    """
    if needed >= limit:
        raise Unavailable(f"does not fit: {needed / 1e9:.1f} GB {what}, the limit here is {limit / 1e9:.0f} GB")


def synchronised(call: Call, device: str) -> Call:
    """The call, and the wait until the device has done it."""
    if device == "cpu":
        return call

    def wait() -> Results:
        results = call()
        torch.cuda.synchronize()
        return results

    return wait


def main(description: str | None, name: str, cases: Callable[[bool, str], Iterable[Case]]) -> None:
    """Run a benchmark from the command line.

    Args:
        description: the module's docstring.
        name: of the files in the results folder.
        cases: ``cases(smoke, device)``; called for ``cpu`` and, where there is one, ``cuda``. Cases are prepared one
            after the other, so a generator should draw a case's data when it is asked for the case, in an order that
            puts small ones first.
    """
    args = arguments(description)
    use_threads(1 if args.smoke else args.threads)  # smoke tests run side by side
    rows: list[dict[str, Any]] = []
    clock = Clock(args.smoke, set(args.without), time.monotonic() + 60 * args.minutes)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    try:
        # A smoke test measures no rates: its floors are those of a machine that does one operation a nanosecond.
        rates = _roofline.NOMINAL if args.smoke else _roofline.measure(args.threads)
        for device in devices:
            for case in cases(args.smoke, device):
                if args.only and args.only not in f"{case.work}: {case.label}":
                    continue
                rows.append(clock.run(case, rates))
                _page.progress(rows[-1])
    except KeyboardInterrupt:
        print(f"{name}: stopped; the cases that were done are kept")
    finally:
        _jax.stop()
    run = {
        "name": name,
        "about": (description or "").strip(),
        "machine": machine(args.threads),
        "rates": rates,
        "rows": rows,
    }
    _page.print_tables(run)
    if not args.smoke:
        write(args.out, name, run)
    if args.smoke and not rows and not args.only:
        sys.exit(f"{name}: no cases")
    if clock.broken:  # what must not happen: we disagree, or a peer's adapter no longer works
        sys.exit("\n".join(clock.broken))


def arguments(description: str | None) -> argparse.Namespace:
    """What every benchmark can be told."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="small cases, once; writes nothing")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder for the figures")
    parser.add_argument("--only", metavar="TEXT", default="", help="cases whose 'work: sizes' hold this text")
    parser.add_argument("--threads", type=int, default=THREADS, help="threads, and cores, for everybody")
    parser.add_argument("--minutes", type=float, default=8.0, help="after these, peers get a quarter of their time")
    parser.add_argument("--without", metavar="PEER", nargs="*", default=[], help="contestants to leave out, by name")
    return parser.parse_args()


def write(out: Path, name: str, run: Mapping[str, Any]) -> None:
    """The figures as JSON, and the page and the plot made from them."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _page.write(out, run)


class Clock:
    """Runs cases, and remembers how long each contestant took."""

    def __init__(self, smoke: bool, without: set[str], end: float) -> None:
        self.smoke, self.without, self.end = smoke, without, end
        self.seen: dict[tuple[str, str], list[tuple[float, float]]] = {}  # (cost, seconds) by work and contestant
        self.refused: dict[tuple[str, str], tuple[float, str]] = {}  # the least cost that was too much, and why
        self.broken: list[str] = []

    def run(self, case: Case, rates: Mapping[str, Any]) -> dict[str, Any]:
        """One case as a row of the results."""
        torch.manual_seed(0)
        use_memory()
        cells: dict[str, dict[str, Any]] = {}
        calls: dict[str, tuple[Call, float]] = {}
        reference = None if case.reference is None else compared(case, case.reference())
        for name, contestant in case.contestants.items():
            if name in self.without:
                continue
            cells[name] = {"dtype": contestant.dtype, "ours": contestant.ours}
            if contestant.note:
                cells[name]["note"] = contestant.note
            try:
                cost = case.cost if contestant.cost is None else contestant.cost
                if not contestant.ours:
                    self.refuse_if_slow(case.work, name, cost, contestant.patience)
                call = synchronised(contestant.prepare(), case.device)
                first, results = timed_once(call)
                self.remember(case.work, name, cost, first)
                mine = compared(case, results)
                del results
                if reference is None:
                    if not contestant.ours:
                        raise Unavailable("nothing to compare with: semihmm did not run")
                    reference = mine
                cells[name]["error"] = disagreement(mine, reference, {**case.tolerance, **contestant.tolerance})
                calls[name] = (call, first)
            except Unavailable as why:
                cells[name]["reason"] = str(why)
            except ModuleNotFoundError as why:
                cells[name]["reason"] = f"not installed: {why.name}"
            except Exception as why:  # a peer may fail in any way; its cell says how
                cells[name]["reason"] = brief(why)
                if contestant.ours or self.smoke:
                    self.broken.append(f"{case.work}, {case.label}: {name} {cells[name]['reason']}")
        del reference
        gc.collect()
        for name, figures in self.time(calls).items():
            cells[name] |= figures
            if "reason" in figures:
                if self.smoke or cells[name]["ours"]:
                    self.broken.append(f"{case.work}, {case.label}: {name} {figures['reason']}")
                continue
            contestant = case.contestants[name]
            cost = case.cost if contestant.cost is None else contestant.cost
            self.remember(case.work, name, cost, figures["ms"] / 1e3)
        calls.clear()
        gc.collect()
        return judge(case, cells, rates)

    def remember(self, work: str, name: str, cost: float | None, seconds: float) -> None:
        """How long a call took."""
        if cost is not None:
            self.seen.setdefault((work, name), []).append((cost, seconds))

    def refuse_if_slow(self, work: str, name: str, cost: float | None, patience: float) -> None:
        """By proportion to what smaller cases took, the most favourable of them."""
        if cost is None:
            return
        least, why = self.refused.get((work, name), (float("inf"), ""))
        if cost >= least:
            raise Unavailable(why)
        near = [(spent, at) for at, spent in self.seen.get((work, name), []) if at >= NEAR * cost]
        guess = min((spent * max(1.0, cost / at) for spent, at in near), default=0.0)
        late = time.monotonic() > self.end
        limit = patience * (LATE if late else 1)
        if guess > limit:
            why = f"not run: more than {limit:g} s a call, in proportion to smaller cases"
            why += ", and the time for the run was up" if late else ""
            self.refused[work, name] = (cost, why)
            raise Unavailable(why)

    def time(self, calls: Mapping[str, tuple[Call, float]]) -> dict[str, dict[str, Any]]:
        """Milliseconds of each call: the median of several, taken in turns."""
        plan: dict[str, tuple[Call, int, int]] = {}  # call, repeats, calls in each
        taken: dict[str, list[float]] = {}
        failed: dict[str, str] = {}
        for name, (call, first) in calls.items():
            taken[name] = []
            if self.smoke:
                plan[name] = (call, 1, 1)
            elif first > SLOWER:
                taken[name] = [first]
            else:
                # The first call may have been slow for reasons of its own: the second decides how many make a repeat.
                try:
                    second = timed(call, 1) if first < SLOW else first
                except Exception as why:
                    failed[name] = brief(why)
                    continue
                repeats = 3 if second > SLOW else min(25, max(REPEATS, int(0.3 / second)))
                plan[name] = (call, repeats, max(1, int(ENOUGH / second)))
        collecting = gc.isenabled()
        gc.disable()
        try:
            for turn in range(max((repeats for _, repeats, _ in plan.values()), default=0)):
                for name, (call, repeats, number) in plan.items():
                    if turn >= repeats or name in failed:
                        continue
                    try:
                        taken[name].append(timed(call, number))
                    except Exception as why:
                        failed[name] = brief(why)
                gc.collect(0)
        finally:
            if collecting:
                gc.enable()
        figures: dict[str, dict[str, Any]] = {name: {"reason": why} for name, why in failed.items()}
        for name, seconds in taken.items():
            if name in failed:
                continue
            figures[name] = {
                "ms": 1e3 * statistics.median(seconds),
                "least": 1e3 * min(seconds),
                "most": 1e3 * max(seconds),
                "runs": len(seconds),
            }
            if name not in plan:
                figures[name]["once"] = f"timed once, in its first call: it takes more than {SLOWER:.0f} s"
        return figures


def timed_once(call: Call) -> tuple[float, Results]:
    """Seconds and results of the first call."""
    start = time.perf_counter()
    results = call()
    spent = time.perf_counter() - start
    return getattr(call, "seconds", spent), results  # a call that measures itself says so


def timed(call: Call, number: int) -> float:
    """Seconds a call, of ``number`` in a row. A call with a ``time`` of its own is asked for it."""
    measure: Callable[[int], float] | None = getattr(call, "time", None)
    if measure is not None:
        return measure(number)
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


class Disagrees(Exception):
    """Results that are not the reference's."""


def compared(case: Case, results: Results) -> dict[str, np.ndarray]:
    """What the case compares, as arrays; integers stay integers."""
    seen = case.view(results)
    missing = set(case.tolerance) - set(seen)
    if missing:
        raise Disagrees(f"no {', '.join(sorted(missing))} among its results")
    return {name: array(seen[name]) for name in case.tolerance}


def array(x: Any) -> np.ndarray:
    """A tensor, an array, or numbers as an array."""
    return x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


def disagreement(
    mine: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], tolerance: Mapping[str, float]
) -> float:
    """The largest error of all results, as a share of the largest entry.

    Raises:
        Disagrees: a shape differs, or an entry is further off than its tolerance; NaN is.
    """
    worst = 0.0
    for name, expected in reference.items():
        got = mine[name]
        if got.shape != expected.shape:
            raise Disagrees(f"{name} is {got.shape}, the reference's {expected.shape}")
        # In pieces: a float64 copy of all posteriors of a large case would be gigabytes.
        error = scale = 0.0
        for a, b in zip(pieces(got), pieces(expected), strict=True):
            same = a == b  # equal infinities have no difference
            off = np.where(same, 0.0, np.abs(np.subtract(a, b, dtype=np.float64, where=~same, out=np.zeros(a.shape))))
            error = float("nan") if np.isnan(off).any() or error != error else max(error, float(off.max(initial=0.0)))
            scale = max(scale, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
        error /= scale or 1.0
        if not error <= tolerance[name]:
            raise Disagrees(f"{name} is off by {error:.2g}, more than {tolerance[name]:.0e}")
        worst = max(worst, error)
    return worst


def pieces(x: np.ndarray) -> Iterable[np.ndarray]:
    """A flat array, a few megabytes at a time."""
    flat = x.reshape(-1)
    return (flat[i : i + 2**20] for i in range(0, len(flat), 2**20))


def judge(case: Case, cells: dict[str, dict[str, Any]], rates: Mapping[str, Any]) -> dict[str, Any]:
    """The row: every cell, the peer that comes nearest, and whether the figure is met."""
    mine = {name: cell for name, cell in cells.items() if cell["ours"] and "ms" in cell}
    main_one = next(iter(mine.values()), None)
    for cell in cells.values():
        if main_one is not None and not cell["ours"] and "ms" in cell:
            same = next((own for own in mine.values() if own["dtype"] == cell["dtype"]), main_one)
            cell["ratio"] = cell["ms"] / same["ms"]
    ratios = {name: cell["ratio"] for name, cell in cells.items() if "ratio" in cell}
    row: dict[str, Any] = {
        "work": case.work,
        "sizes": dict(case.sizes),
        "label": case.label,
        "dtype": case.dtype,
        "device": case.device,
        "ours": None if main_one is None else main_one["ms"],
        "cells": cells,
        "target": case.target,
        "targets": dict(case.targets),
        "limit": case.limit,
        "tolerance": dict(case.tolerance),
    }
    if case.floor is not None and case.device == "cpu":
        row |= _roofline.floor(case.floor, case.dtype, rates)
        row["floor_target"] = case.floor_target
        if main_one is not None:
            row["multiple"] = main_one["ms"] / row["floor"]
    general = {name: ratio for name, ratio in ratios.items() if name not in case.targets}
    nearest = min(general or ratios, key=ratios.__getitem__, default=None)
    row |= {"nearest": nearest, "ratio": None if nearest is None else ratios[nearest]}
    row["met"] = verdict(row, general, {name: ratio for name, ratio in ratios.items() if name in case.targets})
    return row


def verdict(row: Mapping[str, Any], general: Mapping[str, float], special: Mapping[str, float]) -> bool | None:
    """Whether every figure is met; None where there is nobody to compare with, or no figure."""
    near = row.get("floor_target") is not None and row.get("multiple", float("inf")) <= row["floor_target"]
    checks = [ratio >= row["targets"][name] for name, ratio in special.items()]
    if row["target"] is not None and general:
        checks.append(near or min(general.values()) >= row["target"])
    if row["limit"] is not None:
        checks.append(row["ours"] is not None and row["ours"] <= row["limit"])
    return all(checks) if checks else None


def brief(error: Exception) -> str:
    """What a cell says of an error: its first line, not too long."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    text = text if len(text) <= 160 else text[:157] + "..."
    if isinstance(error, Disagrees):
        return f"disagrees: {text}"
    if isinstance(error, MemoryError) or "allocate memory" in text or "Unable to allocate" in text:
        return "does not fit in this machine's memory"
    return f"failed: {type(error).__name__}: {text}"


def use_memory(share: float = 0.8) -> None:
    """Make what does not fit fail, rather than have the system end the process: a limit on this process's memory."""
    try:
        import resource

        free = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (mapped + int(share * 1024 * int(free.split()[1])), hard))
    except (ImportError, OSError, StopIteration):
        pass  # not Linux: it does without


def use_threads(count: int) -> None:
    """So many threads and cores, for us, for the peers and for the process beside us."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    torch.set_num_threads(count)


def backends() -> dict[str, str]:
    """Which backends of semihmm are loaded, and why."""
    import semihmm

    return semihmm.backends()


def machine(threads: int) -> dict[str, Any]:
    """Where and with what the figures were taken."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    here = {dist.metadata["Name"]: dist.version for dist in metadata.distributions() if dist.metadata["Name"]}
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": model,
        "vector": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": threads,
        "semihmm": backends(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "packages": dict(sorted({**here, **_jax.packages()}.items(), key=lambda item: item[0].lower())),
    }
