"""Means of series under warping, DBA and soft-DTW barycenters, against tslearn.

    python benchmarks/barycenters.py [--smoke] [--only TEXT] [--without PEER ...] [--out DIR]

All start from the plain mean, in float64. DBA takes as many steps in both, and must end at the same series. Soft
barycenters are minima of one function, which both go on towards until they agree: tslearn by L-BFGS, with a tolerance
of 1e-8, semihmm by its own steps, with 1e-4 of the spread. What is compared is the function there, by semihmm's
soft-DTW. tslearn takes one series after the other, or one a thread; both are here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from _case import Case, Contestant, Results
from _compare import main

from semihmm import warping

Call = Callable[[], Results]


def series(count: int, items: int, features: int) -> np.ndarray:
    """Noisy sines, each at a tempo that changes, ``(count, items, features)``."""
    random = np.random.default_rng(items + features)
    time = np.linspace(0, 1, items)[:, None]
    warped = time + 0.1 * random.random((count, 1, features)) * np.sin(math.pi * time)
    wave = np.sin(12 * warped + 0.5 * random.standard_normal((count, 1, features)))
    return np.asarray(wave + 0.1 * random.standard_normal(wave.shape))


def hard(count: int, items: int, features: int, steps: int) -> Case:
    """Steps of DBA."""
    x = series(count, items, features)
    start = x.mean(0)

    def ours() -> Call:
        tensor, init = torch.from_numpy(x), torch.from_numpy(start)
        return lambda: {"series": warping.barycenter(tensor, init=init, max_iter=steps, tol=0.0).series}

    def tslearn(jobs: int | None) -> Call:
        from tslearn.barycenters import dtw_barycenter_averaging

        dtw_barycenter_averaging(x[:2, :5], max_iter=1)  # which compiles it
        given: dict[str, Any] = {"init_barycenter": start, "max_iter": steps, "tol": 0.0, "n_jobs": jobs}
        return lambda: {"series": dtw_barycenter_averaging(x, **given)}

    return Case(
        work="DBA",
        sizes={"series": count, "items": items, "features": features, "steps": steps},
        contestants={
            "semihmm": Contestant(ours, dtype="float64", ours=True),
            "tslearn": Contestant(lambda: tslearn(None), dtype="float64", patience=60.0),
            "tslearn, threads": Contestant(lambda: tslearn(torch.get_num_threads()), dtype="float64", patience=60.0),
        },
        tolerance={"series": 1e-6},
        target=5,
        cost=float(count * items**2 * steps),
        dtype="float64",
    )


def soft(count: int, items: int, features: int, gamma: float) -> Case:
    """The minimum of soft-DTW."""
    x = series(count, items, features)
    tensor = torch.from_numpy(x)

    def ours() -> Call:
        def call() -> Results:
            found = warping.soft_barycenter(tensor, gamma=gamma, init=tensor.mean(0), max_iter=500)
            return {"series": found.series}

        return call

    def tslearn(jobs: int | None) -> Call:
        from tslearn.barycenters import softdtw_barycenter

        softdtw_barycenter(x[:2, :5], max_iter=1)  # which compiles it
        given: dict[str, Any] = {"gamma": gamma, "max_iter": 500, "tol": 1e-8, "init": x.mean(0), "n_jobs": jobs}
        return lambda: {"series": softdtw_barycenter(x, **given)}

    def view(results: Results) -> Results:
        at = torch.as_tensor(results["series"])
        return {"cost": warping.soft_dtw(tensor, at.expand(count, -1, -1), gamma).mean()}

    return Case(
        work="soft-DTW barycenter",
        sizes={"series": count, "items": items, "features": features},
        contestants={
            "semihmm": Contestant(ours, dtype="float64", ours=True),
            "tslearn": Contestant(lambda: tslearn(None), dtype="float64", patience=60.0),
            "tslearn, threads": Contestant(lambda: tslearn(torch.get_num_threads()), dtype="float64", patience=60.0),
        },
        tolerance={"cost": 1e-4},
        target=5,
        view=view,
        cost=float(count * items**2),
        dtype="float64",
    )


def cases(smoke: bool, device: str) -> Iterator[Case]:
    """Small ones first."""
    if smoke:
        os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # peers compile for longer than they compute
    if device != "cpu":
        return
    for size in ((3, 9, 1),) if smoke else ((20, 128, 1), (20, 128, 3), (50, 256, 1)):
        yield hard(*size, steps=3 if smoke else 10)
        yield soft(*size, gamma=1.0)


if __name__ == "__main__":
    main(__doc__, "barycenters", cases)
