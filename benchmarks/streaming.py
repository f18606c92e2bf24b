"""A few frames at a time: what a push of `semihmm.streaming.Stream` takes, beside the nearest that others have.

    python benchmarks/streaming.py [--smoke] [--out DIR]

100 frames a second, 1, 10 or 100 at a time; filtered posteriors, likelihoods and states for good, at most 100 frames
late.
Nobody else keeps a stream: what there is instead is to run the forward-backward recursion over all frames so far again,
of the same potentials, here over the latest 100 or 1,000. Results are compared first.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from _measure import arguments, show, write

import semihmm
from semihmm.streaming import Stream

FRAMES_PER_SECOND, MAX_DELAY = 100, 100


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


def prefix_again(structure: semihmm.HMM, frames: int) -> dict[str, Callable[[], np.ndarray]]:
    """The posterior of the state at the last of so many frames, from all of them again, by others and by us."""
    emission = 3 * torch.randn(frames, structure.states)
    whole = semihmm.HMM(structure.initial, structure.transition, emission)
    stream = Stream(structure)
    stream.push(emission[:-1])
    expected = stream.push(emission[-1:]).filtered
    assert expected is not None
    contestants = {"semihmm, whole prefix": lambda: semihmm.filtering(whole)[-1].exp().numpy()}
    try:
        from hmmlearn import _hmmc
    except ImportError:
        pass
    else:
        start, arcs = structure.initial.softmax(-1).double().numpy(), structure.transition.exp().double().numpy()
        scores = emission.double().numpy()
        scale = structure.initial.logsumexp(-1)
        assert bool(scale.isfinite())

        def hmmlearn() -> np.ndarray:
            _, alpha = _hmmc.forward_log(start, arcs, scores)
            last = alpha[-1] - alpha[-1].max()
            return np.exp(last) / np.exp(last).sum()

        contestants["hmmlearn, whole prefix"] = hmmlearn
    for name, call in contestants.items():
        assert np.allclose(call(), expected[0].exp().numpy(), atol=1e-4), f"{name} disagrees"
    return contestants


def main() -> None:
    args = arguments(__doc__.splitlines()[0])
    sizes = (8, 60, 4, 6) if args.smoke else (120, 5000, 40, 60)
    structures = {
        f"dense HMM, {sizes[0]} states": dense(sizes[0]),
        f"graph, {sizes[1]} arcs": graph(sizes[1]),
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
            found = np.array([timed(call) for _ in range(3 if args.smoke else 50)])
            rows.append(row(f"{name} of {frames} frames, dense", 1, found))
    show("A few frames at a time, wall ms, float32, 1 thread", rows)
    write(args, "streaming.json", rows)


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


def timed(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
