"""Regimes of returns: calm and stormy markets, told apart although single days are wild in both.

Run it: ``python examples/regime_switching.py`` (``--smoke`` for few days, ``--picture FILE`` for the last year
in colours).

Daily returns have heavy tails even in calm times. A hidden Markov model with Gaussian states takes each wild day for a
change of the market; with Student's t it takes it for a wild day. Returns are simulated, so that the true regimes are
known: look at how often each model changes its mind, and at the year of days in the end.
"""

import argparse
from pathlib import Path

import torch

from semihmm.models import HMM, Gaussian
from semihmm.models.emissions import StudentT

YEAR = 250  # trading days


def market() -> HMM:
    """Months of calm with a drift upwards, weeks of storm with one downwards; returns in %."""
    returns = StudentT(2, features=1)
    model = HMM(2, returns).double()
    model.initial.update(torch.tensor([1.0, 0.0]))
    model.transition.update(torch.tensor([[119.0, 1.0], [1.0, 39.0]]))
    with torch.no_grad():
        returns.location.copy_(torch.tensor([[0.06], [-0.10]]))
        returns.log_scale.copy_(torch.tensor([[0.5], [1.5]]).log())
        returns.log_freedom.copy_(torch.tensor([[3.0], [4.0]]).log())
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="few days")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the last year")
    arguments = parser.parse_args()
    years = 4 if arguments.smoke else 16
    generator = torch.Generator().manual_seed(4)
    x, regimes = market().sample(years * YEAR, generator=generator)
    past, x, regimes = x[: -2 * YEAR], x[-2 * YEAR :], regimes[-2 * YEAR :]  # the last two years are held out

    gaussian, student = HMM(2, Gaussian(2, features=1)).double(), HMM(2, StudentT(2, features=1)).double()
    print(f"{len(past)} days to learn from, {len(x)} held out\n")
    print(f"{'':<12}{'held-out log L':>15}{'changes':>9}{'days right':>12}   a storm lasts   σ in calm and in storm")
    paths = {"truth": regimes}
    for name, model in {"truth": market(), "Gaussian": gaussian, "Student's t": student}.items():
        if name != "truth":
            model.fit(past, iterations=300, restarts=3, generator=generator)
        spread = spreads(model)
        order = spread.argsort()  # states are found in any order: calm first
        rank = order.argsort()
        path = paths.setdefault(name, rank[model.predict(x)])
        stay = model.transition().exp().diagonal()[order].tolist()
        print(
            f"{name:<12}{model.score(x):>15.1f}{int((path.diff() != 0).sum()):>9}"
            f"{float((path == regimes).double().mean()):>12.1%}{1 / (1 - stay[1]):>11.0f} days"
            f"{'':>6}" + ", ".join(f"{value:.2f} %" for value in spread[order].tolist())
        )

    print("\nThe last year, a letter a day: . calm, S storm, * a day of more than 3 %")
    for first in range(len(x) - YEAR, len(x), 125):
        part = slice(first, first + 125)
        print(f"\n  {'returns':<12}" + "".join("*" if abs(r) > 3 else " " for r in x[part].flatten().tolist()))
        for name, path in paths.items():
            print(f"  {name:<12}" + "".join(".S"[state] for state in path[part].tolist()))
    if arguments.picture:
        picture(arguments.picture, x[-YEAR:], {name: path[-YEAR:] for name, path in paths.items()})


def picture(file: Path, x: torch.Tensor, paths: dict[str, torch.Tensor]) -> None:
    """Returns, and the storms that there were and that were found."""
    from matplotlib.figure import Figure

    above, below = Figure(figsize=(6, 3.4), layout="constrained").subplots(2, 1, sharex=True, height_ratios=(2, 1))
    above.bar(range(len(x)), x.flatten(), width=1.0)
    above.set_ylabel("return, in %")
    below.imshow(torch.stack(list(paths.values())), aspect="auto", interpolation="nearest", vmin=0, vmax=1)
    below.set_yticks(range(len(paths)), list(paths))
    below.set_xlabel("trading day")
    above.figure.savefig(file)


def spreads(model: HMM) -> torch.Tensor:
    """The standard deviation of each state; of Student's t, where it has none, its scale."""
    emission = model.emission
    if isinstance(emission, Gaussian):
        return emission.log_variance.detach().exp().sqrt().flatten()
    scale, freedom = emission.log_scale.detach().exp().flatten(), emission.log_freedom.detach().exp().flatten()
    return scale * torch.where(freedom > 2, freedom / (freedom - 2), 1.0).sqrt()


if __name__ == "__main__":
    main()
