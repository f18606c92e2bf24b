"""The C++ runtime: a stream, its start, its size and its memory, beside loops of eager PyTorch.

    make runtime && python benchmarks/runtime.py [--smoke] [--out DIR]

A dense HMM of 120 states, of log-likelihoods, float32, one thread. The runtime tells what `semihmm.streaming.Stream`
tells: filtered posteriors, log-likelihoods and states for good, at most 50 frames late; here it is called from Python,
through ctypes. The loops of PyTorch take one step of a recursion a frame, as people write it: ``logsumexp`` over a
matrix of sums, or the product of numbers that are rescaled (GEMM), both with and without the step of Viterbi's
recursion that the runtime takes too. Results are compared first. The goals are those of the project: 10 times eager
PyTorch, 20 ms to start, 2 MB stripped, 20 MB of memory.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _measure import arguments, show, write
from streaming import processor

import semihmm
from semihmm import export

ROOT = Path(__file__).parents[1]
CHUNKS, MAX_DELAY, STREAMS = (1, 10, 100), 50, 64
RATIO, START_MS, SIZE_MB, MEMORY_MB = 10.0, 20.0, 2.0, 20.0  # the goals


def binding() -> Any:
    """csrc/runtime/semihmm_runtime.py."""
    spec = importlib.util.spec_from_file_location("semihmm_runtime", ROOT / "csrc/runtime/semihmm_runtime.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["semihmm_runtime"] = module
    spec.loader.exec_module(module)
    return module


class Eager:
    """A recursion in PyTorch, a frame at a time.

    Args:
        gemm: products of numbers in place of ``logsumexp``.
        viterbi: the best path into each state too.
    """

    def __init__(self, hmm: semihmm.HMM, gemm: bool, viterbi: bool) -> None:
        self.hmm, self.gemm, self.viterbi = hmm, gemm, viterbi
        self.numbers = hmm.transition.exp()
        self.before: torch.Tensor | None = None
        self.best: torch.Tensor | None = None
        self.came: list[torch.Tensor] = []

    def push(self, x: torch.Tensor) -> torch.Tensor:
        """Filtered log-posteriors of a chunk."""
        found = []
        for frame in x:
            if self.before is None:
                now = self.hmm.initial + frame
                self.best = now
            elif self.gemm:
                peak = self.before.max()
                now = ((self.before - peak).exp() @ self.numbers).log() + peak + frame
            else:
                now = torch.logsumexp(self.before.unsqueeze(-1) + self.hmm.transition, 0) + frame
            if self.viterbi and self.before is not None:
                assert self.best is not None
                most, came = (self.best.unsqueeze(-1) + self.hmm.transition).max(0)
                self.best = most + frame
                self.came.append(came)
            self.before = now
            found.append(now.log_softmax(-1))
        return torch.stack(found)


def per_frame(push: Callable[[Any], Any], pieces: Sequence[Any], chunk: int) -> float:
    """Microseconds a frame, of the fastest chunk: a busy machine only adds to it."""
    found = []
    for piece in pieces:
        start = time.perf_counter()
        push(piece)
        found.append(time.perf_counter() - start)
    return 1e6 * min(found[len(found) // 5 :]) / chunk


def addressed(x: np.ndarray, chunk: int) -> list[tuple[int, int]]:
    """Chunks of frames as the C interface takes them: where they lie, and how many frames they are."""
    return [(x[at:].ctypes.data, chunk) for at in range(0, len(x) - chunk + 1, chunk)]


def in_place(runtime: Any, stream: Any) -> Callable[[tuple[int, int]], None]:
    """A push without copies of the answers."""
    import ctypes

    update, c = runtime._Update(ctypes.sizeof(runtime._Update)), stream.model.library.c
    where = ctypes.byref(update)

    def push(chunk: tuple[int, int]) -> None:  # it holds the stream, which else would end
        if c.semihmm_stream_push(stream.handle, *chunk, where):
            raise RuntimeError(c.semihmm_last_error())

    return push


def side_by_side(runtime: Any, model: Any, x: np.ndarray, chunk: int, threads: int) -> float:
    """Frames a second of 64 streams, whose chunks some threads push in turn."""
    streams = [model.stream(max_delay=MAX_DELAY) for _ in range(STREAMS)]
    pushes = [in_place(runtime, stream) for stream in streams]

    def work(mine: list[Callable[[np.ndarray], None]]) -> None:
        for piece in addressed(x, chunk):
            for push in mine:
                push(piece)

    workers = [threading.Thread(target=work, args=(pushes[i::threads],)) for i in range(threads)]
    start = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return STREAMS * (len(x) // chunk * chunk) / (time.perf_counter() - start)


def started(program: list[str]) -> float:
    """Milliseconds of a process from its start to its end."""
    start = time.perf_counter()
    subprocess.run(program, stdout=subprocess.DEVNULL, check=True)
    return 1e3 * (time.perf_counter() - start)


def memory_of(program: list[str], x: np.ndarray) -> float:
    """The most megabytes that a process has while it reads numbers; NaN where the system does not tell."""
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(x.tobytes())
    process.stdin.flush()
    time.sleep(0.2)
    status, found = Path(f"/proc/{process.pid}/status"), float("nan")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM"):
            found = int(line.split()[1]) / 1024
    process.stdin.close()
    assert process.wait() == 0
    return found


def stripped(path: Path, folder: Path) -> float:
    """Megabytes of a file without symbols."""
    to = folder / path.name
    subprocess.run(["strip", "-o", str(to), str(path)], check=True)
    return to.stat().st_size / 1e6


def main() -> None:
    args = arguments(__doc__.splitlines()[0])
    built = ROOT / "build" / ("runtime-test" if args.smoke else "runtime")
    if not (built / "libsemihmm.so").exists():
        print("the C++ runtime is not built: make runtime")
        sys.exit(not args.smoke)
    runtime = binding()
    library = runtime.Library(built / "libsemihmm.so")
    states, frames = (6, 60) if args.smoke else (120, 4000)
    logits = [3 * torch.randn(n) for n in ((states,), (states, states))]
    hmm = semihmm.HMM(*(x.log_softmax(-1) for x in logits), torch.zeros(1, states))
    x = 3 * torch.randn(frames, states)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        export.runtime(hmm, folder / "model")
        np.save(folder / "one.npy", x[:1].numpy())
        model = library.open(folder / "model")
        peers = {
            f"eager PyTorch, {'GEMM' if gemm else 'logsumexp'}{', and Viterbi' if viterbi else ''}": (gemm, viterbi)
            for viterbi in (False, True)
            for gemm in (False, True)
        }
        wanted = model.stream().push(x[:50].numpy()).filtered
        for gemm, viterbi in peers.values():
            found = Eager(hmm, gemm, viterbi).push(x[:50])
            assert np.allclose(found.exp(), np.exp(wanted), atol=1e-4), "PyTorch disagrees"
        rows = []
        for chunk in CHUNKS[:2] if args.smoke else CHUNKS:
            ours = per_frame(in_place(runtime, model.stream(max_delay=MAX_DELAY)), addressed(x.numpy(), chunk), chunk)
            rows.append(
                {"one stream": f"the runtime, {library.isa}", "frames": chunk, "us a frame": ours, "times": 1.0}
            )
            stream = semihmm.streaming.Stream(hmm, max_delay=MAX_DELAY)
            calls = {"semihmm.streaming.Stream": stream.push}
            calls |= {name: Eager(hmm, *how).push for name, how in peers.items()}
            for name, push in calls.items():
                took = per_frame(push, x[: max(frames // 4, 2 * chunk)].split(chunk), chunk)
                rows.append({"one stream": name, "frames": chunk, "us a frame": took, "times": took / ours})
        show(f"{states} states, wall time, 1 thread", rows)
        figures: list[dict[str, Any]] = []
        threads = min(os.cpu_count() or 1, 2)
        for chunk in (1, 10):
            rate = side_by_side(runtime, model, x[: frames // 4].numpy(), chunk, threads)
            what = f"{STREAMS} streams on {threads} cores, chunks of {chunk}: times real time, each"
            figures.append({"what": what, "figure": rate / STREAMS / 100, "goal": 1.0})
        program = [str(built / "semihmm-infer"), str(folder / "model")]
        starts = [started([*program, str(folder / "one.npy")]) for _ in range(3 if args.smoke else 30)]
        figures.append({"what": "start to first answer, ms", "figure": min(starts), "goal": START_MS})
        memory = memory_of([*program, "-", "--stream", "--max-delay", str(MAX_DELAY)], x.numpy())
        figures.append({"what": f"memory while {frames} frames stream, MB", "figure": memory, "goal": MEMORY_MB})
        if shutil.which("strip"):
            for name in ("semihmm-infer", "libsemihmm.so"):
                size = stripped((built / name).resolve(), folder)
                figures.append({"what": f"{name} stripped, MB", "figure": size, "goal": SIZE_MB})
        show("The rest", figures)
    least = min(r["times"] for r in rows if "Viterbi" in r["one stream"])
    write(args, "runtime.json", {"streams": rows, "rest": figures, "least": least, "processor": processor()})
    if not args.smoke:
        (args.out / "runtime.md").write_text(page(rows, figures), encoding="utf-8")


def page(rows: list[dict[str, Any]], figures: list[dict[str, Any]]) -> str:
    """The figures as a page."""
    lines = [
        "# The C++ runtime",
        "",
        f"A dense HMM of 120 states, float32, torch {torch.__version__}, {processor()}. Microseconds of wall time a "
        f"frame, of the fastest chunk, 1 thread; how many times the runtime's. Made by `benchmarks/runtime.py`; "
        f"{os.getloadavg()[0]:.1f} programs wanted to run on {os.cpu_count()} cores.",
        "",
    ]
    for table in (rows, figures):
        lines += [f"| {' | '.join(table[0])} |", f"| --- |{' ---: |' * (len(table[0]) - 1)}"]
        lines += [
            f"| {' | '.join(f'{v:.2f}' if isinstance(v, float) else str(v) for v in r.values())} |" for r in table
        ]
        lines.append("")
    missed = [
        f"- {r['times']:.1f} times {r['one stream']}, chunks of {r['frames']}"
        for r in rows
        if "eager" in r["one stream"] and r["times"] < RATIO
    ]
    missed += [
        f"- {r['what']}: {r['figure']:.2f}"
        for r in figures
        if "times real" not in r["what"] and r["figure"] > r["goal"]
    ]
    lines += [f"Goals: {RATIO:g} times eager PyTorch, and those of the table.", ""]
    return "\n".join([*lines, *(["Missed:", "", *missed] if missed else ["None is missed."]), ""])


if __name__ == "__main__":
    main()
