"""Training: EM and gradient ascent on the same data, for an HMM and for a model with durations.

Run it: ``python examples/train_hmm.py`` (``--smoke`` for little data, ``--picture FILE`` for how fits went).

The data come from a semi-Markov model: two of its three states have the same mean and differ in how long they last, so
an HMM, whose states last geometrically long, can hardly tell them apart.
"""

import argparse
import time
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch

from semihmm.models import HMM, HSMM, Gaussian, Model, durations


def generating_model() -> HSMM:
    """Two noisy states around 0, one brief and one long, and a third around 3 between them."""
    emission, law = Gaussian(3, features=1), durations.Poisson(3, max_duration=40)
    model = HSMM(3, emission, law, censored="right").double()
    with torch.no_grad():
        emission.mean.copy_(torch.tensor([[0.0], [0.0], [3.0]]))
        law.log_rate.copy_(torch.tensor([3.0, 25.0, 8.0]).log())
        model.transition.update(torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="little data, few iterations")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the log-likelihood as it rises")
    arguments = parser.parse_args()
    sequences, steps, iterations, restarts = (3, 80, 5, 1) if arguments.smoke else (12, 300, 60, 2)

    generator = torch.Generator().manual_seed(0)
    truth = generating_model()
    x, states = truth.sample(steps, (sequences,), generator)
    test_x, _ = truth.sample(steps, (sequences,), generator)

    def hmm() -> Model[Any]:
        return HMM(3, Gaussian(3, features=1)).double()

    def hsmm() -> Model[Any]:
        law = durations.Poisson(3, max_duration=40)
        return HSMM(3, Gaussian(3, features=1), law, censored="right").double()

    def row(name: str, method: str, model: Model[Any], *numbers: str) -> None:
        ends = f"{model.score(x) / x.numel():.4f}", f"{model.score(test_x) / x.numel():.4f}"
        right = f"{agreement(model.predict(x), states):.1%}"
        print(f"{name:<8}{method:<10}" + "".join(f"{number:>11}" for number in (*numbers, *ends, right)))

    print(f"{sequences} sequences of {steps} steps; log-likelihoods in nats per step\n")
    heads = ("iterations", "seconds", "start", "end", "held out", "states")
    print(f"{'model':<8}{'method':<10}" + "".join(f"{head:>11}" for head in heads))
    histories = {}
    adam = partial(torch.optim.Adam, lr=0.1)
    methods: tuple[Literal["em", "gradient"], ...] = ("em", "gradient")
    for (name, make), method in product({"HMM": hmm, "HSMM": hsmm}.items(), methods):
        model = make()
        began = time.perf_counter()
        fit = model.fit(x, method=method, iterations=iterations, restarts=restarts, optimizer=adam, generator=generator)
        spent = time.perf_counter() - began
        assert fit.objective > fit.history[0], "a fit climbs"
        histories[f"{name}, {method}"] = [value / x.numel() for value in fit.history]
        row(name, method, model, str(fit.iterations), f"{spent:.1f}", f"{fit.history[0] / x.numel():.4f}")
    row("truth", "", truth, "", "", "")
    if arguments.picture:
        picture(arguments.picture, histories, float(truth.score(x)) / x.numel())


def picture(file: Path, histories: dict[str, list[float]], truth: float) -> None:
    """The log-likelihood after each iteration, and that of the model that made the data."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6, 3.4), layout="constrained").add_subplot()
    for number, (name, history) in enumerate(histories.items()):
        colour, dashes = f"C{number // 2}", ("solid", "dashed")[number % 2]
        axes.plot(history, color=colour, linestyle=dashes, linewidth=1.8, label=name)
    axes.axhline(truth, color="0.6", linewidth=1.0, label="the truth")
    axes.set(xlabel="iteration", ylabel="log-likelihood (nats a step)", ylim=(truth - 0.4, truth + 0.05))
    axes.legend(frameon=False)
    axes.figure.savefig(file)


def agreement(found: torch.Tensor, true: torch.Tensor) -> float:
    """The share of steps in the right state, for the best naming of the states (they are found in any order)."""
    names = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
    return float((names[:, found] == true).double().flatten(1).mean(-1).max())


if __name__ == "__main__":
    main()
