"""What this machine can do at most, measured in the run that uses it: fused multiply-adds, and bytes copied.

The multiply-add rate is that of a matrix product which stays in cache, the best of several: no dense kernel of this
machine's BLAS is faster. The copy rate depends on how much is copied, so it is measured from 32 KB, which the first
cache holds, to 256 MB, which none does; bytes read and bytes written both count.

    python benchmarks/_roofline.py
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from _case import Floor

SIZES = [32 * 2**10, 256 * 2**10, 2 * 2**20, 16 * 2**20, 256 * 2**20]  # bytes read; as many are written
NOMINAL: dict[str, Any] = {  # for smoke tests: one operation, one byte a nanosecond
    "threads": 1,
    "gflops": {"float32": {"1": 1.0}, "float64": {"1": 1.0}},
    "copy": {"1": {str(2 * size): 1.0 for size in SIZES}},
}


def measure(threads: int) -> dict[str, Any]:
    """``gflops`` by dtype and number of threads; ``copy`` in GB/s by number of threads and bytes moved."""
    rates: dict[str, Any] = {"threads": threads, "gflops": {"float32": {}, "float64": {}}, "copy": {}}
    before = torch.get_num_threads()
    for count in sorted({1, threads}):
        torch.set_num_threads(count)
        for name, dtype in (("float32", torch.float32), ("float64", torch.float64)):
            rates["gflops"][name][str(count)] = multiply_adds(dtype)
        rates["copy"][str(count)] = {str(2 * size): copies(size) for size in SIZES}
    torch.set_num_threads(before)
    return rates


def multiply_adds(dtype: torch.dtype) -> float:
    """Gigaflops of a matrix product, the best of several sizes: two operations for each multiply-add."""
    best = 0.0
    for size in (256, 512, 1024):
        a, b = torch.rand(2, size, size, dtype=dtype)
        out = torch.empty_like(a)
        seconds = fastest(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), 0.15)  # type: ignore[misc]
        best = max(best, 2 * size**3 / seconds / 1e9)
    return best


def copies(size: int) -> float:
    """Gigabytes moved a second: read and written."""
    source = torch.zeros(size // 4)
    target = torch.empty_like(source)
    return 2 * size / fastest(lambda: target.copy_(source), 0.15) / 1e9


def fastest(call: Callable[[], object], budget: float) -> float:
    """Seconds a call, the least of what the budget allows."""
    call()
    start = time.perf_counter()
    call()
    number = max(1, int(1e-4 / (time.perf_counter() - start)))
    least, end = float("inf"), time.perf_counter() + budget
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(number):
            call()
        least = min(least, (time.perf_counter() - start) / number)
    return least


def floor(work: Floor, dtype: str, rates: Mapping[str, Any]) -> dict[str, Any]:
    """Milliseconds that the hardware needs at least, with all threads, and which of the two it is waiting for.

    Bytes are charged at the best copy rate among sizes as large as they are or larger: small cases live in cache.
    """
    threads = str(rates["threads"])
    gflops = {kind: rate[threads] for kind, rate in rates["gflops"].items()}
    arithmetic = (work.flops - work.wide_flops) / gflops[dtype] / 1e6
    if work.wide_flops:
        arithmetic += work.wide_flops / gflops["float64"] / 1e6
    speeds = [speed for size, speed in rates["copy"][threads].items() if int(size) >= work.bytes]
    moving = work.bytes / max(speeds or [rates["copy"][threads][max(rates["copy"][threads], key=int)]]) / 1e6
    bound = "arithmetic" if arithmetic >= moving else "memory"
    return {"floor": max(arithmetic, moving), "bound": bound, "floor_what": work.what}


if __name__ == "__main__":
    import json

    print(json.dumps(measure(2), indent=1))
