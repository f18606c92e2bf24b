"""Sensors that drop out: what did they not say?

Run it: ``python examples/missing_sensors.py`` (``--smoke`` for a short recording, ``--picture FILE`` for a part
of it with its gaps).

Six sensors of a machine that idles, works or labours; each falls silent now and then, so that few steps are complete.
An HMM with full covariances is fitted to what is there, and fills the gaps in: by what is expected given all that was
seen, at that step and at others, or by a draw from it. Look at the table. The expectation is nearest to what the
sensors would have said, in units of each one's spread. But it is too sure: sensors seem to agree more than they do.
Draws are further off and look like the data, so take those where what is filled in goes into statistics.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from semihmm.models import HMM, Gaussian

LEVEL = torch.tensor([[0.0, 0, 0, 0, 0, 0], [2.0, 1, 3, 0, 1, -1], [3.0, 3, 3, 2, -1, -2]]).double()
SWAY = torch.tensor([[0.3, 0.3, 0, 0.3, 0, 0], [1.0, 0.8, 0.5, 0, 0.9, -0.7], [1.5, 0, 1.2, 1, -1, 0]]).double()


def recording(steps: int, generator: torch.Generator) -> Tensor:
    """In each state the sensors have levels of their own, and sway together."""
    machine = HMM(3, Gaussian(3, features=6)).double()
    machine.transition.update(torch.tensor([[0.97, 0.03, 0.00], [0.02, 0.94, 0.04], [0.01, 0.07, 0.92]]))
    states = machine.sample(steps, generator=generator).states
    common = torch.randn(steps, 1, generator=generator, dtype=torch.float64)
    return LEVEL[states] + common * SWAY[states] + 0.4 * torch.randn(steps, 6, generator=generator).double()


def silent(steps: int, generator: torch.Generator) -> Tensor:
    """Each sensor stops about every thirty steps, for about twelve."""
    outage = HMM(2, Gaussian(2, features=1)).double()
    outage.transition.update(torch.tensor([[1 - 1 / 30, 1 / 30], [1 / 12, 1 - 1 / 12]]))
    return outage.sample(steps, (6,), generator=generator).states.T == 1


def carried(x: Tensor) -> Tensor:
    """The last value of each sensor, kept until the next; its first one before that."""
    steps = torch.arange(len(x)).unsqueeze(-1).expand_as(x)
    latest = torch.where(x.isnan(), -1, steps).cummax(0).values
    first = torch.where(x.isnan(), len(x), steps).amin(0)
    return x.gather(0, torch.where(latest < 0, first, latest))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a short recording")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw three sensors and their gaps")
    arguments = parser.parse_args()
    steps, restarts = (300, 1) if arguments.smoke else (4_000, 4)
    generator = torch.Generator().manual_seed(0)
    truth, gaps = recording(steps, generator), silent(steps, generator)
    x = torch.where(gaps, torch.nan, truth)
    values, lines = gaps.double().mean(), gaps.any(-1).double().mean()
    print(f"{steps:,} steps: {values:.0%} of all values are missing, at least one in {lines:.0%} of the steps\n")

    model = HMM(3, Gaussian(3, features=6, covariance="full"), initial_pseudo_count=1.0).double()
    model.fit(x, restarts=restarts, generator=generator)
    filled = {
        "the sensor's mean": torch.where(gaps, x.nanmean(0), x),
        "its last value": carried(x),
        "HMM, expected": model.impute(x),
        "HMM, drawn": model.impute(x, method="sample", generator=generator),
    }
    spread = truth.std(0)
    print(f"{'filled in by':<20}{'error':>8}{'spread':>9}{'correlation of sensors 1 and 3':>34}")
    print(f"{'(nothing missing)':<20}{'':>8}{1:>9.2f}{correlation(truth):>34.2f}")
    for name, found in filled.items():
        error = ((found - truth) / spread)[gaps].square().mean().sqrt()
        share = (found.std(0) / spread).mean()
        print(f"{name:<20}{error:>8.2f}{share:>9.2f}{correlation(found):>34.2f}")
    if arguments.picture:
        picture(arguments.picture, x, truth, {name: filled[name] for name in ("HMM, drawn", "HMM, expected")})


def picture(file: Path, x: Tensor, truth: Tensor, filled: dict[str, Tensor], steps: int = 120) -> None:
    """Three sensors: what they said, what they would have said (dots), and what the gaps were filled in by."""
    from matplotlib.figure import Figure

    rows = Figure(figsize=(6, 3.4), layout="constrained").subplots(3, 1, sharex=True)
    for sensor, axes in enumerate(rows):
        gap = x[:steps, sensor].isnan()
        beside = gap.clone()  # a line begins at the value before the gap and ends at the one after it
        beside[1:] |= gap[:-1]
        beside[:-1] |= gap[1:]
        axes.plot(x[:steps, sensor], color="0.6", linewidth=1.0)
        axes.plot(torch.where(gap, truth[:steps, sensor], torch.nan), ".", color="0.6", markersize=3, label="truth")
        for name, values in filled.items():
            axes.plot(torch.where(beside, values[:steps, sensor], torch.nan), linewidth=1.2, label=name)
        axes.set_ylabel(f"sensor {sensor + 1}")
    rows[0].figure.legend(*rows[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    rows[-1].set_xlabel("step")
    rows[0].figure.savefig(file)


def correlation(x: Tensor) -> float:
    return float(torch.corrcoef(x[:, [0, 2]].T)[0, 1])


if __name__ == "__main__":
    main()
