"""What a benchmark's script calls: `main` runs its cases and writes the figures.

For each case, in one run and on two threads: every contestant is prepared, called once, and its results are compared
with the reference; those that agree are then timed in turns, by wall clock (`_clock`). The rest stay in the table with
the reason. Figures are JSON first; tables and plots are made from them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import _jax
import _page
import _roofline
import torch
from _case import Case
from _clock import Clock

THREADS = 2


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
    kernels = os.environ.get("SEMIHMM_ISA", "")  # figures of other kernels than this CPU's best stand beside those
    name = "-".join(filter(None, (name, kernels)))
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
                if kernels:
                    case = replace(case, work=f"{case.work}, {kernels} kernels")
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
