"""The occasionally dishonest casino: which rolls were of the loaded die, and what are the dice like?

Run it: ``python examples/casino.py`` (``--smoke`` for fewer rolls, ``--picture FILE`` for the first 300 in colours).

A casino changes between a fair die and a loaded one, which shows a six half of the time (Durbin et al. 1998). With the
dice known, the best path through the 300 rolls that the book prints is the one that it prints below them. With the dice
unknown, EM finds them from rolls alone: look at the table, where more rolls bring them nearer to the truth.
"""

import argparse
from pathlib import Path

import torch

from semihmm import plots
from semihmm.models import HMM
from semihmm.models.emissions import Categorical

ROLLS = Path(__file__).with_name("data") / "casino.txt"


def casino() -> HMM:
    """The book's: the dice change with a chance of 5 %, and back with 10 %."""
    dice = Categorical(2, symbols=6)
    model = HMM(2, dice).double()
    model.initial.update(torch.tensor([1.0, 1.0]))  # a table is set from counts, here in proportion
    model.transition.update(torch.tensor([[0.95, 0.05], [0.10, 0.90]]))
    dice.table.update(torch.tensor([[1, 1, 1, 1, 1, 1], [0.1, 0.1, 0.1, 0.1, 0.1, 0.5]]))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="fewer rolls")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the 300 rolls")
    arguments = parser.parse_args()
    sizes = (300,) if arguments.smoke else (300, 3_000, 30_000)
    generator = torch.Generator().manual_seed(1)

    truth = casino()
    lines = ROLLS.read_text().split()
    faces, printed = "".join(lines[::2]), "".join(lines[1::2])
    x = torch.tensor([int(face) - 1 for face in faces])
    path = "".join("FL"[die] for die in truth.predict(x).tolist())
    loaded = truth.predict_proba(x)[:, 1].tolist()
    tenths = "".join(str(min(int(10 * p), 9)) for p in loaded)
    for first in range(0, 300, 100):
        part = slice(first, first + 100)
        print(f"rolls    {faces[part]}\nViterbi  {path[part]}\nloaded   {tenths[part]}\n")
    assert path == printed
    print("(The last lines are the posterior of the loaded die, in tenths.) The paths are those of the book.\n")
    if arguments.picture:
        picture(arguments.picture, x, truth)

    heads = f"{'fair die, in %':<26}{'loaded die, in %':<26}log L, over truth"
    print(f"{'rolls':>9}{'fair stays':>12}{'loaded stays':>14}   {heads}")
    row("the truth", truth, "")
    for size in sizes:
        seen = x if size == 300 else truth.sample(size, generator=generator).x
        model = HMM(2, Categorical(2, symbols=6)).double()
        model.fit(seen, iterations=1000, restarts=4, generator=generator)
        row(f"{size:,}", model, f"{model.score(seen) - truth.score(seen):+.1f}")


def picture(file: Path, x: torch.Tensor, truth: HMM) -> None:
    """The rolls on the best path, and how probable each die is."""
    from matplotlib.figure import Figure

    above, below = Figure(figsize=(6, 3.4), layout="constrained").subplots(2, 1, sharex=True)
    plots.timeline(x + 1, truth.predict(x), names=["fair", "loaded"], features=["roll"], ax=above)
    plots.posteriors(truth.predict_proba(x), names=["fair", "loaded"], ax=below)
    above.lines[0].set(linestyle="none", marker=".", markersize=3)
    above.set_xlabel("")
    below.set(xlabel="roll", ylabel="posterior")
    above.figure.savefig(file)


def row(name: str, model: HMM, gain: str) -> None:
    """The dice in a line, the one that shows fewer sixes first."""
    dice = model.emission.table().exp()
    order = dice[:, 5].argsort()
    stays = model.transition().exp().diagonal()[order].tolist()
    shares = ["".join(f"{100 * p:4.0f}" for p in die) for die in dice[order].tolist()]
    print(f"{name:>9}{stays[0]:>12.2f}{stays[1]:>14.2f}  {shares[0]}  {shares[1]}{gain:>12}")


if __name__ == "__main__":
    main()
