"""An animal's walk: resting, foraging and travelling, found in the lengths of its steps and the angles between them.

Run it: ``python examples/animal_movement.py`` (``--smoke`` for a short walk, ``--picture FILE`` for a map).

A collar tells where an animal is each hour, not what it does. Steps are positive (Gamma), turns are angles (von Mises),
and a `Product` of both families is one emission (Morales et al. 2004). EM finds three kinds of hours, and Viterbi's
algorithm says when they were. The walk is simulated, so that we know what the animal did: look at the map, where an x
is an hour that was taken for something else.
"""

import argparse
import math
from pathlib import Path

import torch

from semihmm import plots
from semihmm.models import HMM
from semihmm.models.emissions import Gamma, Product, VonMises

NAMES = ("resting", "foraging", "travelling")


def animal() -> HMM:
    """Short steps to anywhere, middling ones that turn back, long ones straight ahead; each for some hours."""
    step, turn = Gamma(3, features=1), VonMises(3, features=1)
    model = HMM(3, Product([step, turn])).double()
    model.transition.update(torch.tensor([[0.90, 0.08, 0.02], [0.04, 0.90, 0.06], [0.02, 0.10, 0.88]]))
    with torch.no_grad():
        step.log_mean.copy_(torch.tensor([[0.02], [0.20], [1.0]]).log())  # km an hour
        step.log_shape.copy_(torch.tensor([[1.0], [2.0], [6.0]]).log())
        turn.mean.copy_(torch.tensor([[0.0], [math.pi], [0.0]]))
        turn.log_concentration.copy_(torch.tensor([[0.1], [0.8], [8.0]]).log())
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a short walk")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the walk")
    arguments = parser.parse_args()
    hours = 200 if arguments.smoke else 1000
    generator = torch.Generator().manual_seed(2)
    x, did = animal().sample(hours, generator=generator)  # step and turn (T, 2)

    step, turn = Gamma(3, features=1), VonMises(3, features=1)
    model = HMM(3, Product([step, turn])).double()
    fit = model.fit(x, iterations=300, restarts=5, generator=generator)
    order = step.log_mean.flatten().argsort()  # states are found in any order: short steps first
    found = order.argsort()[model.predict(x)]

    print(f"{hours} hours; EM took {fit.iterations} iterations\n")
    print(f"{'':<12}{'km an hour':>12}{'± within':>10}{'turns about':>13}{'how surely':>12}{'hours in a row':>16}")
    mean, shape = step.log_mean.exp()[order].flatten(), step.log_shape.exp()[order].flatten()
    about, surely = turn.mean[order].flatten(), turn.log_concentration.exp()[order].flatten()
    lasts = 1 / (1 - model.transition().exp().diagonal()[order])
    rows = torch.stack([mean, mean / shape.sqrt(), about.rad2deg(), surely, lasts], -1).tolist()
    for name, (km, spread, angle, concentration, row) in zip(NAMES, rows, strict=True):
        print(f"{name:<12}{km:>12.3f}{spread:>10.3f}{angle:>12.0f}°{concentration:>12.2f}{row:>16.1f}")
    print(f"\n{float((found == did).double().mean()):.1%} of the hours are told right:")
    for truth, name in enumerate(NAMES):
        told = found[did == truth].bincount(minlength=3).tolist()
        print(f"  {name:<12}" + ", ".join(f"{count} as {other}" for count, other in zip(told, NAMES, strict=True)))

    heading = x[:, 1].cumsum(0)
    place = torch.stack([x[:, 0] * heading.cos(), x[:, 0] * heading.sin()], -1).cumsum(0)
    print("\nThe walk: r resting, f foraging, . travelling, x what was taken for something else")
    print(chart(place, ["rf."[truth] if truth == told else "x" for truth, told in zip(did, found, strict=True)]))
    if arguments.picture:
        picture(arguments.picture, place, found)


def picture(file: Path, place: torch.Tensor, found: torch.Tensor) -> None:
    """The walk, in the colours of what the animal was taken to do."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6, 3.4), layout="constrained").add_subplot()
    plots.scatter(place, found, names=NAMES, features=["km to the east", "km to the north"], ax=axes)
    axes.plot(*place.T.numpy(), color="0.6", linewidth=0.5, zorder=0)
    axes.figure.savefig(file)


def chart(place: torch.Tensor, letters: list[str], width: int = 100, height: int = 24) -> str:
    """A map of places ``(T, 2)`` in letters; where there are several, the last one in the alphabet."""
    low, high = place.amin(0), place.amax(0)
    cells = ((place - low) / (high - low) * torch.tensor([width - 1, height - 1])).round().long()
    rows = [[" "] * width for _ in range(height)]
    for (column, row), letter in sorted(zip(cells.tolist(), letters, strict=True), key=lambda one: one[1]):
        rows[height - 1 - row][column] = letter
    return "\n".join("".join(row).rstrip() for row in rows)


if __name__ == "__main__":
    main()
