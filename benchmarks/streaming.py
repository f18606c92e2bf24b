"""A few frames at a time: what a push of `semihmm.streaming.Stream` takes, beside the nearest that others have.

    python benchmarks/streaming.py [--smoke] [--out DIR]

100 frames a second, 1, 10 or 100 at a time; filtered posteriors, likelihoods and states for good, at most 100 frames
late.
Nobody else keeps a stream: what there is instead is to run the forward recursion over all frames so far again,
of the same potentials, here over the latest 100 or 1,000. Results are compared first.

The goals: 99 of 100 chunks of one frame take 2 ms at most, and all of it takes a 300th of the time that it lasts.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _jax import Remote, RemoteError, stop
from _measure import arguments, show, write

import semihmm
from semihmm.streaming import Stream

FRAMES_PER_SECOND, MAX_DELAY = 100, 100
MOST_MS, LEAST_FACTOR = 2.0, 300.0  # the goals


def dense(states: int) -> semihmm.HMM:
    """Every state after every other."""
    return semihmm.HMM(torch.randn(states), 3 * torch.randn(states, states), torch.zeros(1, states))


def graph(arcs: int) -> semihmm.HMM:
    """Words: a third as many states as arcs, which stay, go on, or begin another word."""
    states = arcs // 3
    every = torch.arange(states)
    source, target = torch.cat([every, every[:-1]]), torch.cat([every, every[1:]])
    rest = arcs - len(source)
    source = torch.cat([source, torch.randint(states, (2 * rest,))])
    target = torch.cat([target, torch.randint(states, (2 * rest,))])
    pairs = torch.unique(source * states + target)[:arcs]
    joined = pairs // states, pairs % states
    return semihmm.HMM(torch.randn(states), 3 * torch.randn(len(pairs)), torch.zeros(1, states), arcs=joined)


def lexicon(arcs: int) -> semihmm.HMM:
    """Words of six states, which stay or go on; seven words may follow each."""
    words = max(arcs // 18, 1)
    state, last = torch.arange(6 * words), torch.arange(words) * 6 + 5
    inside = state[state % 6 < 5]
    follow = (torch.arange(words).unsqueeze(-1) + torch.arange(1, 8)) % words * 6
    source = torch.cat([state, inside, last.repeat_interleave(7)])
    pairs = torch.unique(source * 6 * words + torch.cat([state, inside + 1, follow.flatten()]))
    joined = pairs // (6 * words), pairs % (6 * words)
    return semihmm.HMM(torch.randn(6 * words), 3 * torch.randn(len(pairs)), torch.zeros(1, 6 * words), arcs=joined)


def segments(states: int, longest: int) -> semihmm.HSMM:
    """States that last."""
    duration = torch.randn(states, longest)
    return semihmm.HSMM(torch.randn(states), torch.randn(states, states), duration, torch.zeros(1, states))


def latencies(structure: semihmm.Structure, streams: int, pushes: int, chunk: int = 1) -> list[float]:
    """Milliseconds of each push of so many frames, once all is warm."""
    alone = streams == 1
    stream = Stream(structure, max_delay=MAX_DELAY, streams=None if alone else streams)
    for _ in range(0 if alone else streams):
        stream.join()
    states = structure.potentials["emission"].shape[-1]
    found = []
    for _ in range(pushes):
        x = 3 * torch.randn(*(() if alone else (streams,)), chunk, states)
        start = time.perf_counter()
        stream.push(x)
        found.append(1e3 * (time.perf_counter() - start))
    return found[pushes // 5 :]


def prefix_again(structure: semihmm.HMM, frames: int) -> dict[str, Callable[[], float]]:
    """The posterior of the state at the last of so many frames, from all of them again, by others and by us.

    Returns:
        What measures one such call, in milliseconds.
    """
    emission = 3 * torch.randn(frames, structure.states)
    whole = semihmm.HMM(structure.initial, structure.transition, emission)
    stream = Stream(structure)
    stream.push(emission[:-1])
    expected = stream.push(emission[-1:]).filtered
    assert expected is not None
    calls: dict[str, Callable[[], np.ndarray]] = {
        "semihmm, whole prefix": lambda: semihmm.filtering(whole)[-1].exp().numpy()
    }
    clocks: dict[str, Callable[[], float]] = {}
    try:
        from hmmlearn import _hmmc
    except ImportError:
        pass
    else:
        start, arcs = structure.initial.softmax(-1).double().numpy(), structure.transition.exp().double().numpy()
        scores = emission.double().numpy()

        def hmmlearn() -> np.ndarray:
            _, alpha = _hmmc.forward_log(start, arcs, scores)
            last = alpha[-1] - alpha[-1].max()
            return np.exp(last) / np.exp(last).sum()

        calls["hmmlearn, whole prefix"] = hmmlearn
    try:
        arrays = {"emission": emission, "initial": structure.initial.exp(), "transition": structure.transition.exp()}
        remote = Remote("_jax_hmm:filtered", arrays)
    except (ModuleNotFoundError, RemoteError) as why:
        print(f"without dynamax: {why}")
    else:
        calls["dynamax, whole prefix"] = lambda: remote()["last"]
        clocks["dynamax, whole prefix"] = lambda: 1e3 * remote.time(1)  # without what the pipe costs
    for name, call in calls.items():
        assert np.allclose(call(), expected[0].exp().numpy(), atol=1e-4), f"{name} disagrees"
    return {name: clocks.get(name, lambda call=call: timed(call)) for name, call in calls.items()}


def main() -> None:
    args = arguments(__doc__.splitlines()[0])
    sizes = (8, 60, 4, 6) if args.smoke else (120, 5000, 40, 60)
    structures = {
        f"dense HMM, {sizes[0]} states": dense(sizes[0]),
        f"graph, {sizes[1]} arcs": graph(sizes[1]),
        f"lexicon, {sizes[1]} arcs": lexicon(sizes[1]),
        f"HSMM, {sizes[2]} states, D = {sizes[3]}": segments(*sizes[2:]),
    }
    rows = []
    for name, structure in structures.items():
        for streams, chunk in ((1, 1), (1, 3), (2, 1)) if args.smoke else ((1, 1), (1, 10), (1, 100), (64, 1)):
            pushes = 10 if args.smoke else 500 // chunk + 50 if streams == 1 else 120
            found = np.array(latencies(structure, streams, pushes, chunk))
            rows.append(row(name, streams, found, chunk))
    for frames in (20,) if args.smoke else (100, 1000):
        for name, call in prefix_again(dense(sizes[0]), frames).items():
            found = np.array([call() for _ in range(3 if args.smoke else 50)])
            rows.append(row(f"{name} of {frames} frames, dense", 1, found))
    stop()
    show("A few frames at a time, wall ms, float32, 1 thread", rows)
    write(args, "streaming.json", rows)
    if not args.smoke:
        (args.out / "streaming.md").write_text(page(rows), encoding="utf-8")


def row(work: str, streams: int, found: np.ndarray, chunk: int = 1) -> dict[str, object]:
    """What there is to say of the milliseconds of many pushes."""
    p50, p99 = np.percentile(found, [50, 99]).tolist()
    factor = float(streams * chunk * 1e3 / FRAMES_PER_SECOND / found.mean())
    return {
        "work": work,
        "streams": streams,
        "frames": chunk,
        "p50 ms": p50,
        "p99 ms": p99,
        "max ms": float(found.max()),
        "times real": factor,
    }


def page(rows: list[dict[str, Any]]) -> str:
    """The figures as a page, with the goals that are missed."""
    names = list(rows[0])
    lines = [
        "# A few frames at a time",
        "",
        f"Wall milliseconds of each push of `semihmm.streaming.Stream`, float32, 1 thread, torch {torch.__version__}, "
        f"{processor()}. Filtered posteriors, likelihoods, and states for good, at most {MAX_DELAY} frames late; "
        f"{FRAMES_PER_SECOND} frames a second. Made by `benchmarks/streaming.py`; {os.getloadavg()[0]:.1f} programs "
        f"wanted to run on {os.cpu_count()} cores.",
        "",
        f"| {' | '.join(names)} |",
        f"| --- |{' ---: |' * (len(names) - 1)}",
        *(f"| {' | '.join(f'{x:.2f}' if isinstance(x, float) else str(x) for x in r.values())} |" for r in rows),
        "",
        f"Goals: p99 of a chunk of one frame at most {MOST_MS:g} ms, and at least {LEAST_FACTOR:g} times real time.",
        "",
    ]
    missed = [f"- {what(r)}: {', '.join(short)}" for r in rows if "prefix" not in r["work"] and (short := missing(r))]
    return "\n".join([*lines, *(["Missed:", "", *missed] if missed else ["None is missed."]), ""])


def what(one: Mapping[str, Any]) -> str:
    """Which row it is."""
    return f"{one['work']}, {one['streams']} streams, chunks of {one['frames']}"


def missing(one: Mapping[str, Any]) -> list[str]:
    """The goals that a row does not reach."""
    late = [f"p99 {one['p99 ms']:.2f} ms"] if one["frames"] == 1 and one["p99 ms"] > MOST_MS else []
    return late + ([f"{one['times real']:.0f} times real"] if one["times real"] < LEAST_FACTOR else [])


def processor() -> str:
    """Its name, where the system tells."""
    about = Path("/proc/cpuinfo")
    held = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in held if line.startswith("model name")]
    return names[0] if names else platform.machine()


def timed(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
