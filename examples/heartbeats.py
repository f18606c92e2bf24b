"""Heartbeats: told apart from one example of each kind, and averaged, at whatever tempo they come.

Run it: ``python examples/heartbeats.py`` (``--smoke`` for fewer beats; ``--picture FILE`` for what it looks like). It
reads two electrocardiograms that dtw-python ships (``pip install dtw-python``): ANSI/AAMI EC13, 3a and 3b, a minute of
ventricular bigeminy each. Every second beat starts in a ventricle; in 3b such beats have two forms, which take turns.

To make it a task, each beat is played at a tempo of its own, and cut out carelessly. Look at how far a plain distance
gets with one labelled beat of each kind, and how far warping does; at the groups that k-means finds without labels; and
at what is left of a beat in a plain mean and in a barycenter.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from semihmm import warping
from semihmm.estimators import KNeighborsTimeSeriesClassifier, TimeSeriesKMeans, TimeSeriesKMedoids

RHYTHM = {"aami3a": ["3a normal", "3a ventricular"], "aami3b": ["3b down", "3b normal", "3b up", "3b normal"]}
BEFORE, AFTER, EVERY = 100, 300, 4  # samples around where a beat gets steep, at 720 Hz, and which of them are kept
SAMPLES = 100


def recording(name: str) -> NDArray[np.float64]:
    """A recording in mV."""
    found = find_spec("dtw")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("The electrocardiograms come with dtw-python: pip install dtw-python")
    return np.loadtxt(Path(found.submodule_search_locations[0]) / "data" / f"{name}.csv")


def beats(seed: int = 0) -> tuple[list[NDArray[np.float64]], NDArray[np.str_]]:
    """Beats at different tempos, and the kind of each, which its place in the rhythm says."""
    random = np.random.default_rng(seed)
    series, kinds = [], []
    for name, rhythm in RHYTHM.items():
        signal = recording(name)
        steep = np.convolve(np.abs(np.diff(np.convolve(signal, np.ones(9) / 9, "same"))), np.ones(61) / 61, "same")
        steep = steep > 0.35 * np.quantile(steep, 0.995)
        at, number = 0, 0
        while steep[at:].any():
            at += int(steep[at:].argmax())
            start = at - BEFORE + random.integers(-60, 61)
            beat = (signal - np.median(signal))[max(start, 0) : start + BEFORE + AFTER : EVERY]
            size = int(random.uniform(0.6, 1.6) * len(beat))
            series.append(np.interp(np.linspace(0, len(beat) - 1, size), np.arange(len(beat)), beat))
            kinds.append(rhythm[number % len(rhythm)])
            at, number = at + 280, number + 1
    return series, np.array(kinds)


def stretched(series: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """All of one length, evenly."""
    return np.stack([np.interp(np.linspace(0, len(x) - 1, SAMPLES), np.arange(len(x)), x) for x in series])


def middle(series: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The one that is nearest to the others: where a barycenter starts well."""
    return TimeSeriesKMedoids(1).fit(series).cluster_centers_[0]


def picture(file: Path, series: list[NDArray[np.float64]], kinds: NDArray[np.str_]) -> None:
    """Two beats and what lies on what; five beats of a kind, and means of all of them."""
    import matplotlib.pyplot as plt

    names = sorted(set(kinds))
    figure, axes = plt.subplots(2, len(names), figsize=(6, 3.4), layout="constrained")
    for (above, below), name in zip(axes.T, names, strict=True):
        some = [x for x, kind in zip(series, kinds, strict=True) if kind == name]
        query, reference = some[0] + 1.2, some[1]
        for i, j in warping.dtw(some[0], reference).path[::10].tolist():
            if i >= 0:
                above.plot([i, j], [query[i], reference[j]], color="0.6", linewidth=0.6)
        above.set(xticks=[], yticks=[])
        below.set(xticks=[], yticks=[])
        above.plot(query, linewidth=1.0)
        above.plot(reference, linewidth=1.0)
        above.set_title(name, fontsize="small")
        below.plot(stretched(some[:5]).T, color="0.6", linewidth=0.6)
        below.plot(stretched(some).mean(0), linewidth=1.2, label="plain mean")
        below.plot(stretched([warping.barycenter(some, init=middle(some)).series.numpy()])[0], label="barycenter")
    figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="fewer beats")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw pairs and barycenters")
    options = parser.parse_args()
    series, kinds = beats()
    names = sorted(set(kinds))
    known = [int((kinds == name).argmax()) for name in names]  # the first beat of each kind
    rest = np.setdiff1d(np.arange(len(series)), known)[:: 5 if options.smoke else 1]
    unseen = [series[k] for k in rest]
    print(
        f"{len(series)} beats, {min(map(len, series))} to {max(map(len, series))} items long; {len(names)} have labels"
    )

    plain = KNeighborsTimeSeriesClassifier(1, window=0).fit(stretched(series)[known], kinds[known])
    warped = KNeighborsTimeSeriesClassifier(1).fit([series[k] for k in known], kinds[known])
    print("\nRight, of the others:")
    print(
        f"  item by item, all stretched to one length  {(plain.predict(stretched(unseen)) == kinds[rest]).mean():.1%}"
    )
    print(f"  warped                                     {(warped.predict(unseen) == kinds[rest]).mean():.1%}")

    found = TimeSeriesKMeans(len(names), size=SAMPLES, n_init=1 if options.smoke else 2, random_state=0).fit(unseen)
    print("\nBeats of each kind in the groups of k-means, which knows no labels:")
    for name in names:
        count = np.bincount(found.labels_[kinds[rest] == name], minlength=len(names))
        print(f"  {name:<15}" + "".join(f"{n:>5}" for n in count))

    print("\nFrom the lowest item to the highest, in mV:  a beat   plain mean   barycenter   soft barycenter")
    for name in names:
        some = [x for x, kind in zip(unseen, kinds[rest], strict=True) if kind == name]
        height = np.median([np.ptp(x) for x in some])
        hard, soft = (
            warping.barycenter(some, init=middle(some)),
            warping.soft_barycenter(some, gamma=0.01, init=middle(some)),
        )
        means = stretched(some).mean(0), hard.series.numpy(), soft.series.numpy()
        print(f"  {name:<43}{height:>6.2f}" + "".join(f"{np.ptp(mean):>13.2f}" for mean in means))
    if options.picture:
        picture(options.picture, series, kinds)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
