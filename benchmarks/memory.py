"""How much memory the engine takes, and whether that is within its limits.

    python benchmarks/memory.py [--smoke] [--out DIR]

Each figure is of a process of its own. ``peak`` is the most that the process ever held in memory (VmHWM on Linux), less
what one held that only imports semihmm and builds the inputs. ``allocated`` is the most that PyTorch's allocator had
handed out at once beyond the inputs, and ``held`` what it had between the total and its gradient; memory that compiled
code takes for itself shows in ``peak`` alone. Float32, two threads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import semihmm
from semihmm import engine
from semihmm.semirings import Log

HERE = Path(__file__).parent
BUDGET = 5_000_000  # bytes, for `checkpoint`
RATIO = 1.3

Work = Callable[[], Iterator[None]]  # pauses once, between the total and its gradient


@dataclass(frozen=True)
class Case:
    """One measurement.

    Args:
        work: what is done.
        build: makes the inputs, of full size or small, and returns what is to be measured.
        peak: limit in bytes; None for no limit.
    """

    work: str
    build: Callable[[bool], Work]
    peak: float | None = None


def weights(*shape: int) -> Tensor:
    """Log-weights that want a gradient."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).requires_grad_()


def differentiated(total: Callable[[], Tensor]) -> Work:
    """A total and the gradient of all that it is made of."""

    def work() -> Iterator[None]:
        value = total().sum()
        yield
        value.backward()

    return work


def long_hmm(small: bool) -> Work:
    """Log-partition and posteriors."""
    steps, states = (50, 4) if small else (20_000, 64)
    hmm = semihmm.HMM(weights(states), weights(states, states), weights(steps, states))
    return differentiated(lambda: semihmm.log_partition(hmm))


def wide_hmm(small: bool) -> Work:
    """The same with many states."""
    steps, states = (20, 10) if small else (2000, 500)
    hmm = semihmm.HMM(weights(states), weights(states, states), weights(steps, states))
    return differentiated(lambda: semihmm.log_partition(hmm))


def hsmm(longest: int) -> Callable[[bool], Work]:
    """Durations up to ``longest``."""

    def build(small: bool) -> Work:
        steps, states, batch = (30, 3, 2) if small else (10_000, 32, 4)
        last = longest // 25 if small else longest
        model = semihmm.HSMM(
            weights(states), weights(states, states), weights(states, last), weights(batch, steps, states)
        )
        return differentiated(lambda: semihmm.log_partition(model))

    return build


def bare(steps: int, checkpoint: int | None = None) -> Callable[[bool], Work]:
    """A chain that has no weights of its own at each step, so that what it takes are its state vectors."""

    def build(small: bool) -> Work:
        length, states, allowed = steps, 64, checkpoint
        if small and steps > 2:
            length, states, allowed = 200, 8, checkpoint and 2500
        chain = engine.Chain((weights(states),), engine.Dense(weights(1, states, states)), length=length)

        def total() -> Tensor:
            return engine.total(engine.plan(chain, Log(), checkpoint=allowed), Log(), chain)

        return differentiated(total)

    return build


CASES = {
    "long": Case("HMM, 20,000 frames, 64 states: log-partition and posteriors", long_hmm, peak=200e6),
    "wide": Case("HMM, 2,000 frames, 500 states: log-partition and all gradients", wide_hmm, peak=2e9),
    "hsmm50": Case("HSMM, D = 50, 10,000 frames, 32 states, batch 4: the same", hsmm(50)),
    "hsmm200": Case("HSMM, D = 200, the rest alike", hsmm(200)),
    "short": Case("chain of 2 steps, 64 states, total and gradient: what a first call takes", bare(2)),
    "free": Case("chain of 100,000 steps", bare(100_000)),
    "budget": Case(f"the same with checkpoint={BUDGET:_}", bare(100_000, BUDGET)),
}


def resident() -> int:
    """The most bytes that this process has had in memory; not what its parent had before it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def allocated(work: Work) -> dict[str, int]:
    """The allocator's peak, and what it held in the pause."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it says on standard error when it starts and stops
    with torch.profiler.profile(profile_memory=True) as profile:
        going = work()
        next(going)
        with torch.profiler.record_function("pause"):
            pass
        next(going, None)
    now = peak = held = 0
    events = profile.profiler.kineto_results.events()
    for event in sorted(events, key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            peak = max(peak, now)
        elif event.name() == "pause":
            held = now
    return {"allocated": peak, "held": held}


def measure(name: str, how: str, small: bool) -> dict[str, int]:
    """In this process: ``build`` alone, ``run``, or ``allocate``."""
    torch.set_num_threads(2)
    work = CASES[name].build(small)
    if how == "allocate":
        return allocated(work)
    if how == "run":
        for _ in work():
            pass
    return {"resident": resident()}


def alone(name: str, how: str, small: bool) -> dict[str, int]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--child", name, how, *(["--smoke"] if small else [])]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, int] = json.loads(found.splitlines()[-1])
    return result


def row(name: str, small: bool) -> dict[str, Any]:
    """One case. A smoke test starts processes for one case only, and looks at the allocator here."""
    found: dict[str, Any] = {"work": CASES[name].work}
    if not small or name == "long":
        found["peak"] = alone(name, "run", small)["resident"] - alone(name, "build", small)["resident"]
    return found | (measure if small else alone)(name, "allocate", small)


def judge(rows: dict[str, dict[str, Any]]) -> None:
    """Add to each row what was wanted and whether it came."""
    for name, found in rows.items():
        limit = CASES[name].peak
        if limit is not None and "peak" in found:
            found["wanted"], found["met"] = f"peak ≤ {limit / 1e6:,.0f} MB", found["peak"] <= limit
    if "peak" in rows["budget"]:
        beyond = rows["budget"]["peak"] - rows["short"]["peak"]
        rows["budget"]["wanted"] = f"peak ≤ {BUDGET / 1e6:,.0f} MB beyond that of 2 steps ({beyond / 1e6:,.1f} MB)"
        rows["budget"]["met"] = beyond <= BUDGET
    least, most = rows["hsmm50"], rows["hsmm200"]
    kinds = [kind for kind in ("peak", "allocated", "held") if kind in least]
    ratios = {kind: most[kind] / least[kind] for kind in kinds}
    most["wanted"] = f"≤ {RATIO} × that of D = 50"
    most["ratios"], most["met"] = ratios, max(ratios.values()) <= RATIO


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = ["| work | peak, MB | allocated, MB | held, MB | wanted | met |", "|---|---:|---:|---:|---|---|"]
    for found in rows.values():
        figures = [f"{found[kind] / 1e6:,.1f}" if kind in found else "–" for kind in ("peak", "allocated", "held")]
        ratios = ", ".join(f"{kind} × {ratio:.2f}" for kind, ratio in found.get("ratios", {}).items())
        met = {True: "met", False: "missed"}.get(found.get("met"), "")
        wanted = found.get("wanted", "") + (f" ({ratios})" if ratios else "")
        lines.append(f"| {found['work']} | {' | '.join(figures)} | {wanted} | {met} |")
    return "\n".join(lines)


def main() -> None:
    """Measure all, print the table; keep it as JSON and as a page."""
    about = (__doc__ or "").strip()
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="small cases; writes nothing")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for the figures")
    parser.add_argument("--child", nargs=2, metavar=("CASE", "HOW"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measure(*args.child, args.smoke)))
        return
    rows = {name: row(name, args.smoke) for name in CASES}
    judge(rows)
    if args.smoke:
        print("Small sizes, not those of the names: limits say nothing here.")
    print(table(rows))
    if args.smoke:  # but nothing may be missing
        assert all(found["allocated"] >= found["held"] > 0 for found in rows.values()), rows
        assert rows["free"]["held"] > rows["budget"]["held"], "checkpoint= saves nothing"
        return
    machine = {"system": f"{platform.system()} {platform.release()}, {platform.machine()}", "cores": os.cpu_count()}
    machine |= {"python": platform.python_version(), "torch": torch.__version__, "threads": 2}
    args.out.mkdir(parents=True, exist_ok=True)
    figures = {"name": "memory", "about": about, "machine": machine, "rows": rows}
    (args.out / "memory.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page = f"# Memory\n\n{about.partition('[--out DIR]')[2].strip()}\n\n{table(rows)}\n"
    (args.out / "memory.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
