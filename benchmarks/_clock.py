"""The clock: takes contestants in turns, once their results agree, and judges what it measured.

A repeat is as many calls in a row as take 10 ms, at least one, for everybody: a short call is timed as by those who
ask again and again, with their data in cache.

Rules that keep a run short, and are stated in each cell that they touch: a call that takes more than 2 s is timed 3
times, one of more than 4 s once (the warm-up itself). A peer's call that would take more than 4 s, judged by its time
on smaller cases of the same work, is not made; the fastest peers are given more, and all are given a quarter once the
script has run for as long as it may. We are always timed.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import _roofline
import torch
from _agreement import Disagrees, compared, disagreement
from _case import Call, Case, Results, Unavailable

REPEATS = 7
ENOUGH = 10e-3  # seconds that a repeat takes
SLOW, SLOWER = 2.0, 4.0  # seconds a call: timed 3 times; timed once
LATE = 0.25  # the share of their patience that peers get when time is up
NEAR = 1 / 32  # the least share of the arithmetic that says something of a case


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
                # The first calls may be slow for reasons of their own: the ones after decide how many make a repeat.
                try:
                    second = first
                    for _ in range(2 if first < SLOW else 0):
                        second = timed(call, max(1, int(ENOUGH / second)))
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


def synchronised(call: Call, device: str) -> Call:
    """The call, and the wait until the device has done it."""
    if device == "cpu":
        return call

    def wait() -> Results:
        results = call()
        torch.cuda.synchronize()
        return results

    return wait


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
