"""How many states? Seven fits, compared by what they pay for their parameters and by data that they have not seen.

Run it: ``python examples/choosing_states.py`` (``--smoke`` for little data and few sizes, ``--picture FILE``
for both columns as curves).

The likelihood of the data that a model was fitted to rises with every state, so it cannot say how many there should
be. BIC takes log(T) / 2 nats off for each free number; held-out data need no such rule. Look at the two columns with
a star: both stop at the four states that made the data, though two of those have nearly the same mean.
"""

import argparse
from pathlib import Path

import torch

from semihmm import plots
from semihmm.models import HMM, Gaussian, Selection, select


def truth() -> HMM:
    """Four states that last 20 steps; the second and third are told apart by their spread."""
    emission = Gaussian(4, features=1)
    model = HMM(4, emission).double()
    model.transition.update(torch.full((4, 4), 1.0) + 56 * torch.eye(4))
    with torch.no_grad():
        emission.mean.copy_(torch.tensor([[-4.0], [0.0], [0.5], [4.0]]))
        emission.log_variance.copy_(torch.tensor([[1.0], [0.1], [4.0], [1.0]]).log())
    return model


def made(states: int) -> HMM:
    """One sequence says nothing of where others begin: with a pseudo-count they may begin anywhere."""
    return HMM(states, Gaussian(states, features=1), initial_pseudo_count=1.0).double()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="little data, few sizes")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw what BIC and unseen data say")
    arguments = parser.parse_args()
    steps, sizes, restarts = (1_000, range(2, 6), 2) if arguments.smoke else (2_000, range(2, 9), 5)
    generator = torch.Generator().manual_seed(0)
    x, _ = truth().sample(steps, generator=generator)
    unseen, _ = truth().sample(steps, (5,), generator=generator)

    found = select(sizes, made, x, criterion="bic", restarts=restarts, iterations=300, generator=generator)
    held_out = {states: model.score(unseen) / unseen.numel() for states, model in found.models.items()}
    likeliest = max(held_out, key=held_out.__getitem__)

    print(f"{steps} steps of four states\n")
    print(f"{'states':>6}{'free':>7}{'log L':>11}{'BIC':>10}{'unseen, nats a step':>22}")
    for states, model in found.models.items():
        stars = "* "[states != found.chosen], "* "[states != likeliest]
        row = f"{states:>6}{model.free_parameters:>7}{model.score(x):>11.1f}{found.values[states]:>10.1f}{stars[0]}"
        print(f"{row}{held_out[states]:>20.4f}{stars[1]}")
    print(f"\n{found.why}")
    print(f"(the truth itself gives the unseen steps {truth().score(unseen) / unseen.numel():.4f} nats)")
    if arguments.picture:
        picture(arguments.picture, found, held_out, likeliest)


def picture(file: Path, found: Selection[HMM], held_out: dict[int, float], likeliest: int) -> None:
    """BIC is best where it is least, the likelihood of unseen data where it is highest."""
    from matplotlib.figure import Figure

    left, right = Figure(figsize=(6, 3.4), layout="constrained").subplots(1, 2)
    plots.selection(found, criterion="BIC", ax=left)
    plots.selection(held_out, likeliest, criterion="log-likelihood of unseen steps (nats)", ax=right)
    left.figure.savefig(file)


if __name__ == "__main__":
    main()
