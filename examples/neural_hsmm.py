"""A network hears what is going on, a semi-Markov model knows how long it takes: both trained by one gradient.

Run it: ``python examples/neural_hsmm.py`` (``--smoke`` for little data, ``--picture FILE`` for a recording).

A signal is a slow wave, a fast wave or noise, for some 20 to 50 samples each. A sample alone says nothing: all three
have the same mean and variance. A small convolution hears the difference, but flickers. Then it becomes the `Neural`
emission of an `HSMM`, and is trained further together with durations and transitions, as a semi-Markov conditional
random field: the loss is minus the log of how much of the weight of all segmentations agrees with the labels. Look at
how many segments are heard.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import semihmm
from semihmm.models import HSMM, Gaussian, Neural, durations

STEPS, LONGEST = 300, 70


def recordings(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Signals ``(count, T, 1)``, and the kind of each sample ``(count, T)``."""
    law = durations.Gaussian(3, max_duration=LONGEST, min_duration=10)
    with torch.no_grad():
        law.loc.copy_(torch.tensor([50.0, 30.0, 20.0]))
        law.log_scale.copy_(torch.tensor([7.0, 5.0, 4.0]).log())
    kinds = HSMM(3, Gaussian(3, features=1), law, censored="right").sample(STEPS, (count,), generator).states
    periods = torch.tensor([16.0, 8.0])
    wave = 2**0.5 * (2 * torch.pi / periods)[kinds.clamp(max=1)].cumsum(-1).sin()
    clean = torch.where(kinds < 2, wave, torch.randn(count, STEPS, generator=generator))
    return (clean + 0.9 * torch.randn(count, STEPS, generator=generator)).unsqueeze(-1), kinds


class Ear(nn.Module):
    """The log-weight of each kind at each sample, from the 17 samples around it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(1, 16, 9, padding=4), nn.ReLU(), nn.Conv1d(16, 3, 9, padding=4))

    def forward(self, x: Tensor) -> Tensor:
        log_weights: Tensor = self.net(x.mT).mT
        return log_weights


def descend(model: nn.Module, loss: Callable[[], Tensor], rounds: int) -> str:
    """Train on all data at once; says where the loss began and ended."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(rounds):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return f"{losses[0]:.3f} to {losses[-1]:.3f} nats a sample"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="little data")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw a recording and what is heard")
    arguments = parser.parse_args()
    count, rounds = (6, 10) if arguments.smoke else (20, 40)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)  # the network's first weights
    x, kinds = recordings(count, generator)
    test_x, test_kinds = recordings(10, generator)

    ear = Ear()
    report = descend(ear, lambda: nn.functional.cross_entropy(ear(x).flatten(0, 1), kinds.flatten()), 5 * rounds)
    print(f"{count} recordings to learn from, 10 to hear. The network alone: {report}.")
    heard = {"truth": test_kinds, "network": ear(test_x).argmax(-1)}

    model = HSMM(3, Neural(ear, event_shape=(1,)), durations.Gamma(3, max_duration=LONGEST), censored="right")
    known = nn.functional.one_hot(kinds, 3).bool()

    def loss() -> Tensor:
        every = model(x)
        right = semihmm.condition(every, known)
        return (semihmm.log_partition(every) - semihmm.log_partition(right)).mean() / STEPS

    print(f"With durations, both trained on: {descend(model, loss, rounds)}.")
    heard["both"] = model.predict(test_x)

    print(f"\n{'':<10}{'samples right':>15}{'segments heard':>16}")
    for name, path in heard.items():
        changes = int((path.diff() != 0).sum())
        print(f"{name:<10}{float((path == test_kinds).double().mean()):>15.1%}{changes + len(path):>16}")

    print("\nA recording: ~ slow wave, w fast wave, . noise")
    for first in range(0, STEPS, 150):
        print()
        for name, path in heard.items():
            print(f"  {name:<10}" + "".join("~w."[kind] for kind in path[0, first : first + 150].tolist()))
    if arguments.picture:
        picture(arguments.picture, test_x[0].flatten(), {name: path[0] for name, path in heard.items()})


def picture(file: Path, x: Tensor, heard: dict[str, Tensor]) -> None:
    """A recording, and a row of kinds for each who heard it."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    above, below = Figure(figsize=(6, 3.4), layout="constrained").subplots(2, 1, sharex=True, height_ratios=(2, 1))
    above.plot(x, color="0.6", linewidth=0.8)
    above.set(ylabel="signal", xlim=(0, STEPS))
    colours = ListedColormap(["C0", "C1", "C2"])
    below.imshow(torch.stack(list(heard.values())), colours, aspect="auto", interpolation="nearest", vmin=0, vmax=2)
    below.set_yticks(range(len(heard)), list(heard))
    below.set_xlabel("sample")
    handles = [below.plot([], "s", color=f"C{kind}")[0] for kind in range(3)]
    below.figure.legend(
        handles, ["slow wave", "fast wave", "noise"], loc="outside upper center", ncols=3, frameon=False
    )
    above.figure.savefig(file)


if __name__ == "__main__":
    main()
