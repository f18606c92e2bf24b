"""Dynamic time warping and soft-DTW against the libraries that people would pick instead.

    python benchmarks/warping.py [--smoke] [--only TEXT] [--without PEER ...] [--out DIR]

Everything is timed from the two series: the costs are part of the work. A cell costs the squared Euclidean distance of
its items, and every step counts once (``symmetric1``), which is what dtaidistance, tslearn and librosa compute by
themselves and dtw-python when asked; those that give the root of the sum are squared before they are compared. Peers
compute in float64, except in soft-DTW. A path agrees if it is one, and costs what the best one costs. In the batch,
which is 64 pairs of 500 x 500, peers take one pair after the other, as they must; semihmm takes 8 at a time, whose
costs stay in cache. All pairs of series, the nearest ones and searches in a long one are those of `semihmm.warping`,
beside functions for the same.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from _case import Case, Contestant, Floor, Results
from _compare import main
from _jax import Remote
from torch import Tensor

import semihmm
from semihmm import warping
from semihmm.semirings import Max, SmoothMax

TOGETHER = 8  # pairs whose costs are held at once: 8 MB where both have 500 items
GAMMA = 1.0

Call = Callable[[], Results]
Make = Callable[[], Call]


def series(batch: int, items: int, features: int, device: str) -> tuple[Tensor, Tensor]:
    """Noisy sines at different speeds, ``(B, N, F)``; float32."""
    g = torch.Generator().manual_seed(items + features)
    time = torch.linspace(0, 1, items).unsqueeze(-1)
    phase, speed = torch.rand(2, batch, 1, features, generator=g) * 3
    warped = time + 0.1 * (math.pi * time).sin()
    noise = 0.2 * torch.randn(2, batch, items, features, generator=g)
    x, y = torch.sin(12 * speed * time + phase) + noise[0], torch.sin(12 * speed * warped + phase) + noise[1]
    return x.to(device), y.to(device)


# The best path


def ours(x: Tensor, y: Tensor, path: bool) -> Call:
    """By semihmm, in the dtype of the series."""

    def align(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
        dtw = semihmm.DTW(semihmm.squared_distances(x, y), "symmetric1")
        if not path:
            return -semihmm.total(dtw, Max()), None
        best = semihmm.viterbi(dtw)
        return -best.score, best.event

    def call() -> Results:
        if len(x) == 1:  # a pair needs no batch axis
            distance, event = align(x[0], y[0])
            return {"distance": distance.unsqueeze(0), "paths": None if event is None else [event]}
        parts = [align(*few) for few in zip(x.split(TOGETHER), y.split(TOGETHER), strict=True)]
        paths = [event for _, events in parts if events is not None for event in events]
        return {"distance": torch.cat([distance for distance, _ in parts]), "paths": paths}

    return call


def one_by_one(align: Callable[[Any, Any], tuple[float, Any]], x: Tensor, y: Tensor) -> Call:
    """A peer that takes a pair of float64 arrays ``(N, F)``, or ``(N,)`` of one feature."""
    arrays = [a.double().squeeze(-1).cpu().numpy() for a in (x, y)]
    pairs = [tuple(map(np.ascontiguousarray, pair)) for pair in zip(*arrays, strict=True)]
    align(*(a[:5] for a in pairs[0]))  # numba compiles in a first call

    def call() -> Results:
        found = [align(*pair) for pair in pairs]
        return {"distance": np.array([distance for distance, _ in found]), "paths": [path for _, path in found]}

    return call


def dtaidistance(x: Tensor, y: Tensor, path: bool) -> Call:
    """Its C functions."""
    from dtaidistance import dtw, dtw_ndim

    def align(a: np.ndarray, b: np.ndarray) -> tuple[float, Any]:
        if path:
            steps, distance = dtw.warping_path_fast(a, b, include_distance=True)
            return distance**2, steps
        return (dtw.distance_fast if a.ndim == 1 else dtw_ndim.distance_fast)(a, b) ** 2, None

    return one_by_one(align, x, y)


def tslearn(x: Tensor, y: Tensor, path: bool) -> Call:
    """Its numba functions."""
    from tslearn.metrics import dtw, dtw_path

    def align(a: np.ndarray, b: np.ndarray) -> tuple[float, Any]:
        if path:
            steps, distance = dtw_path(a, b)
            return distance**2, steps
        return dtw(a, b) ** 2, None

    return one_by_one(align, x, y)


def dtw_python(x: Tensor, y: Tensor, path: bool) -> Call:
    """Costs by SciPy, steps in C."""
    from dtw import dtw

    def align(a: np.ndarray, b: np.ndarray) -> tuple[float, Any]:
        found = dtw(a, b, dist_method="sqeuclidean", step_pattern="symmetric1", distance_only=not path)
        return found.distance, np.stack([found.index1, found.index2], -1) if path else None

    return one_by_one(align, x, y)


def librosa(x: Tensor, y: Tensor, path: bool) -> Call:
    """Costs by SciPy, steps by numba."""
    from librosa.sequence import dtw

    def align(a: np.ndarray, b: np.ndarray) -> tuple[float, Any]:
        found = dtw(a.T, b.T, metric="sqeuclidean", backtrack=path)
        return (found[0][-1, -1], found[1][::-1]) if path else (found[-1, -1], None)

    return one_by_one(align, x, y)


def along(paths: Any, x: Tensor, y: Tensor) -> np.ndarray:
    """What each path costs, in float64; NaN for what is no path from corner to corner."""
    costs = []
    for path, a, b in zip(paths, x.double().cpu(), y.double().cpu(), strict=True):
        steps = path.cpu() if isinstance(path, Tensor) else torch.from_numpy(np.array(path, dtype=np.int64))
        steps = steps[steps[:, 0] >= 0]
        moved = steps.diff(dim=0)
        fine = ((moved >= 0) & (moved <= 1)).all() and (moved.sum(-1) > 0).all()
        fine = fine and steps[0].tolist() == [0, 0] and steps[-1].tolist() == [len(a) - 1, len(b) - 1]
        costs.append((a[steps[:, 0]] - b[steps[:, 1]]).square().sum().item() if fine else math.nan)
    return np.array(costs)


def best_path(x: Tensor, y: Tensor, path: bool, device: str) -> Case:
    """One size, with or without the path."""
    batch, items, features = x.shape
    peers = {"dtaidistance": dtaidistance, "tslearn": tslearn, "dtw-python": dtw_python, "librosa": librosa}

    def view(results: Results) -> Results:
        return {**results, "along": along(results["paths"], x, y)} if path else results

    cells = batch * items**2
    return Case(
        work="DTW distance and path" if path else "DTW distance",
        sizes={"N": items, "M": items, "features": features, "B": batch},
        contestants={
            "semihmm": Contestant(lambda: ours(x, y, path), ours=True),
            "semihmm float64": Contestant(lambda: ours(x.double(), y.double(), path), ours=True, dtype="float64"),
            **{name: Contestant(lambda peer=peer: peer(x, y, path), dtype="float64") for name, peer in peers.items()},  # type: ignore[misc]
        },
        tolerance={"distance": 1e-4, "along": 1e-4} if path else {"distance": 1e-4},
        target=3,
        floor=Floor(
            flops=cells * (3 * features + 3),
            bytes=4 * 2 * batch * items * features,
            what="a difference, a square, a sum for each feature; two minima, a sum for each cell; costs not stored",
        ),
        view=view,
        cost=float(cells),
        device=device,
    )


# soft-DTW


def softened(x: Tensor, y: Tensor, distances: Callable[[Tensor, Tensor], Tensor]) -> Call:
    """The distances of all pairs, and the gradient of their sum in ``x``."""

    def call() -> Results:
        moving = x.detach().requires_grad_()
        value = distances(moving, y)
        value.sum().backward()
        return {"distance": value, "gradient": moving.grad}

    return call


def ours_softened(x: Tensor, y: Tensor) -> Call:
    """The total in a soft maximum."""

    def distances(x: Tensor, y: Tensor) -> Tensor:
        return -semihmm.total(semihmm.DTW(semihmm.squared_distances(x, y), "symmetric1"), SmoothMax(GAMMA))

    return softened(x, y, distances)


def pysdtw(x: Tensor, y: Tensor) -> Call:
    """Its CPU path, numba in parallel; on a GPU, its CUDA kernels."""
    from pysdtw import SoftDTW

    return softened(x, y, SoftDTW(gamma=GAMMA, use_cuda=x.is_cuda))


def tslearn_softened(x: Tensor, y: Tensor) -> Call:
    """Its loss for PyTorch, which computes in numba."""
    from tslearn.metrics import SoftDTWLossPyTorch

    return softened(x, y, SoftDTWLossPyTorch(gamma=GAMMA))


def soft(x: Tensor, y: Tensor, device: str) -> Case:
    """One size of soft-DTW."""
    batch, items, features = x.shape
    peers: dict[str, Make] = {
        "pysdtw": lambda: pysdtw(x, y),
        "tslearn": lambda: tslearn_softened(x.cpu(), y.cpu()),
        "ott": lambda: Remote("_jax_warping:soft_dtw", {"x": x.cpu(), "y": y.cpu()}, gamma=GAMMA),
    }
    return Case(
        work="soft-DTW + gradient",
        sizes={"N": items, "M": items, "features": features, "B": batch},
        contestants={
            "semihmm": Contestant(lambda: ours_softened(x, y), ours=True),
            **{name: Contestant(make) for name, make in peers.items()},
        },
        # Of float32 against float32: a sum of 400 soft minima, and shares that depend on differences of such sums.
        tolerance={"distance": 1e-4, "gradient": 2e-3},
        target=5,
        floor=Floor(
            flops=batch * items**2 * (3 * features + 8 + 8),
            bytes=4 * batch * (3 * items * features + 2 * items**2),
            what="each way three exponentials, counted as one operation each, and five more; cells kept and read once",
        ),
        cost=float(batch * items**2),
        device=device,
    )


# All pairs of many series, the nearest, and stretches of a long one


def normed(count: int, items: int) -> np.ndarray:
    """Series of mean 0 and variance 1, ``(count, items)`` in float64: random walks, which bounds tell apart."""
    walks = np.random.default_rng(items).standard_normal((count, items)).cumsum(1)
    return (walks - walks.mean(1, keepdims=True)) / walks.std(1, keepdims=True)


def pairwise(count: int, items: int, window: int | None) -> Case:
    """The distances of all pairs, each once."""
    x = normed(count, items)

    def ours(dtype: torch.dtype) -> Call:
        series = torch.from_numpy(x).to(dtype)
        return lambda: {"distance": warping.cdist(series, window=window)}

    def theirs() -> Call:
        from dtaidistance import dtw

        width = None if window is None else window + 1  # it counts the cell itself
        return lambda: {"distance": dtw.distance_matrix_fast(x, window=width, parallel=True, use_mp=False)}

    def tslearn() -> Call:
        from tslearn.metrics import cdist_dtw

        given = {} if window is None else {"global_constraint": "sakoe_chiba", "sakoe_chiba_radius": window}
        return lambda: {"distance": cdist_dtw(x, n_jobs=torch.get_num_threads(), **given)}

    cells = count * (count - 1) / 2 * items * min(items, items if window is None else 2 * window + 1)
    return Case(
        work="all pairs of series" if window is None else "all pairs of series, in a window",
        sizes={"series": count, "items": items, **({} if window is None else {"window": window})},
        contestants={
            "semihmm float64": Contestant(lambda: ours(torch.float64), ours=True, dtype="float64"),
            "semihmm": Contestant(lambda: ours(torch.float32), ours=True),
            "dtaidistance": Contestant(theirs, dtype="float64", patience=60.0),
            "tslearn": Contestant(tslearn, dtype="float64", patience=60.0),
        },
        tolerance={"distance": 1e-4},
        target=3,
        floor=Floor(
            flops=6 * cells, bytes=8 * count**2, what="a difference, a product, two minima, two sums for each cell"
        ),
        cost=cells,
    )


def neighbours(count: int, queries: int, items: int, window: int) -> Case:
    """The nearest of many series to each of some."""
    x = normed(count + queries, items)

    def ours(search: bool) -> Call:
        query, series = (torch.from_numpy(part) for part in (x[count:], x[:count]))
        if search:
            return lambda: {"distance": warping.nearest(query, series, window=window).distance[:, 0]}
        return lambda: {"distance": warping.cdist(query, series, window=window).amin(-1)}

    def tslearn() -> Call:
        from tslearn.metrics import cdist_dtw

        given = {"global_constraint": "sakoe_chiba", "sakoe_chiba_radius": window, "n_jobs": torch.get_num_threads()}
        return lambda: {"distance": cdist_dtw(x[count:], x[:count], **given).min(1)}

    def theirs() -> Call:
        from dtaidistance import dtw

        def call() -> Results:
            found = []
            for query in x[count:]:
                best = math.inf
                for series in x[:count]:
                    if dtw.lb_keogh(query, series, window=window + 1, use_c=True) < best:
                        best = min(best, dtw.distance_fast(query, series, window=window + 1, max_dist=best))
                found.append(best)
            return {"distance": np.array(found)}

        return call

    return Case(
        work="the nearest series",
        sizes={"series": count, "queries": queries, "items": items, "window": window},
        contestants={
            "semihmm": Contestant(lambda: ours(True), dtype="float64", ours=True),
            "semihmm, all pairs": Contestant(lambda: ours(False), dtype="float64", ours=True),
            "dtaidistance": Contestant(theirs, dtype="float64", patience=60.0, note="LB_Keogh and max_dist, in a loop"),
            "tslearn": Contestant(tslearn, dtype="float64", patience=60.0),
        },
        tolerance={"distance": 1e-6},
        target=3,
        cost=float(count * queries * items * (2 * window + 1)),
        dtype="float64",
    )


def stretches(items: int, query: int, k: int) -> Case:
    """The nearest stretches of a long series."""
    long = np.random.default_rng(0).standard_normal(items).cumsum() / 10
    short = long[items // 3 : items // 3 + query] + np.random.default_rng(1).standard_normal(query) / 20

    def ours() -> Call:
        x, y = torch.from_numpy(short), torch.from_numpy(long)
        return lambda: {"first": warping.search(x, y, k).distance[0]}

    def dtaidistance() -> Call:
        from dtaidistance.subsequence.dtw import subsequence_alignment

        def call() -> Results:
            found = subsequence_alignment(short, long, penalty=0, use_c=True)
            return {"first": next(iter(found.kbest_matches(k, overlap=0))).distance}

        return call

    def tslearn() -> Call:
        from tslearn.metrics import dtw_subsequence_path

        return lambda: {"first": dtw_subsequence_path(short, long)[1]}

    return Case(
        work="the nearest stretches of a series",
        sizes={"items": items, "query": query, "k": k},
        contestants={
            "semihmm": Contestant(ours, dtype="float64", ours=True),
            "dtaidistance": Contestant(dtaidistance, dtype="float64", patience=60.0),
            "tslearn": Contestant(tslearn, dtype="float64", patience=60.0, note="the nearest one alone"),
        },
        tolerance={"first": 1e-6},
        target=3,
        cost=float(items * query),
        dtype="float64",
    )


def cases(smoke: bool, device: str) -> Iterator[Case]:
    """Small ones first."""
    if smoke:
        os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # peers compile for longer than they compute
    pairs = [(1, 12, 1), (9, 7, 2)] if smoke else [(1, 500, 1), (1, 500, 13), (1, 2000, 1), (1, 2000, 13)]
    pairs += [] if smoke else [(64, 500, 1), (64, 500, 13)]
    for size in pairs:
        x, y = series(*size, device)
        for path in (False, True):
            yield best_path(x, y, path, device)
    for features in (1, 13):
        yield soft(*series(*((3, 9) if smoke else (16, 200)), features, device), device)
    if device == "cpu":
        yield pairwise(*((4, 9, None) if smoke else (500, 128, None)))
        yield pairwise(*((4, 9, 3) if smoke else (500, 128, 12)))
        yield neighbours(*((5, 2, 9, 3) if smoke else (2000, 20, 128, 12)))
        for items in (40,) if smoke else (100_000, 1_000_000):
            yield stretches(items, 5 if smoke else 100, 2 if smoke else 10)


if __name__ == "__main__":
    main(__doc__, "warping", cases)
