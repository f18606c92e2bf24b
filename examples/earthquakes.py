"""Major earthquakes: how many kinds of years were there?

Run it: ``python examples/earthquakes.py`` (``--smoke`` for fewer restarts, ``--picture FILE`` for colours).

The counts of 1900 to 2006 (Zucchini & MacDonald 2009) vary too much for one Poisson rate, and busy years come in rows.
HMMs with 1 to 4 states that begin where they are in the long run, as the book has them, are fitted by EM and compared:
the figures are the book's, AIC takes three, BIC can hardly tell two from three. Look at the
last picture: the busy forties, a quiet end of the century, and under each year the state that it was in.
"""

import argparse
import csv
from pathlib import Path

import torch

from semihmm import plots
from semihmm.models import HMM
from semihmm.models.emissions import Poisson

COUNTS = Path(__file__).with_name("data") / "earthquakes.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="fewer restarts")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the counts and their states")
    arguments = parser.parse_args()
    restarts = 2 if arguments.smoke else 10
    generator = torch.Generator().manual_seed(0)

    with COUNTS.open() as file:
        rows = [(int(row["year"]), int(row["earthquakes"])) for row in csv.DictReader(file)]
    years = [year for year, _ in rows]
    x = torch.tensor([[count] for _, count in rows])  # (T, 1): one sequence with one feature

    print("states   -log L      AIC      BIC   rates a year")
    models = {}
    for states in range(1, 5):
        emission = Poisson(states, features=1)
        model = HMM(states, emission, start="stationary").double()
        fit = model.fit(x, iterations=1000, tolerance=1e-7, restarts=restarts, generator=generator)
        rates = emission.log_rate.exp().flatten().tolist()
        aic, bic = model.aic(x), model.bic(x)  # of states ** 2 parameters: rates and transitions
        listed = ", ".join(f"{rate:.1f}" for rate in sorted(rates))
        print(f"{states:>6}{-fit.objective:>9.2f}{aic:>9.1f}{bic:>9.1f}   {listed}")
        models[states] = aic, model, rates

    _, model, rates = min(models.values(), key=lambda one: one[0])
    rank = sorted(range(len(rates)), key=rates.__getitem__)  # the quiet state first
    move = model.transition().exp()[rank][:, rank].tolist()
    print("\nFrom one year to the next:")
    for name, row in zip("abcd", move, strict=False):
        print(f"  {name}  " + "  ".join(f"{chance:.2f}" for chance in row))

    names = {state: "abcd"[place] for place, state in enumerate(rank)}
    best = "".join(names[state] for state in model.predict(x).tolist())
    chance = model.predict_proba(x).max(-1).values.tolist()
    sure = "".join(letter if p > 0.9 else "." for letter, p in zip(best, chance, strict=True))
    bars = "".join(" ▁▂▃▄▅▆▇█"[round(8 * count / 41)] for _, count in rows)
    print("\nThe counts, the best path, and the years whose state is sure (90 %):")
    for first in range(0, len(years), 54):
        part = slice(first, first + 54)
        decades = "".join("|" if year % 10 == 0 else " " for year in years[part])
        print(f"\n  {years[first]}  {bars[part]}\n        {best[part]}\n        {sure[part]}\n        {decades}")
    if arguments.picture:
        place = torch.tensor(rank).argsort()
        picture(arguments.picture, x.flatten(), place[model.predict(x)], sorted(rates), years)


def picture(file: Path, counts: torch.Tensor, states: torch.Tensor, rates: list[float], years: list[int]) -> None:
    """The counts, on the state of each year and with its rate."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6, 3.4), layout="constrained").add_subplot()
    names = [f"{rate:.0f} a year" for rate in rates]
    plots.timeline(counts, states, names=names, features=["major earthquakes"], ax=axes)
    axes.step(range(len(years)), torch.tensor(rates)[states], where="mid", linewidth=2)
    axes.set_xticks(range(0, len(years), 20), years[::20])
    axes.set_xlabel("year")
    axes.figure.savefig(file)


if __name__ == "__main__":
    main()
