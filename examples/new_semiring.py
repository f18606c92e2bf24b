"""A semiring of your own: log-partitions at many temperatures, and from them every Rényi entropy, in one pass.

Run it: ``python examples/new_semiring.py`` (``--smoke`` for a small chain, ``--picture FILE`` for the entropies
as a curve).

A semiring is a frozen dataclass that says what zero and one are, and how to lift, multiply and add. Nothing in it
knows what an HMM is; in return every structure, strategy and gradient of the library works with it.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import semihmm
from semihmm.semirings import Log, Semiring
from semihmm.testing import check_semiring


@dataclass(frozen=True)
class Annealed(Semiring):
    """``log sum over paths of exp(beta * score)`` for several ``beta`` at once: values are ``(len(betas), ...)``.

    At ``beta = 1`` it is the log-partition, at 0 the log of the number of paths; divided by a large ``beta`` it
    approaches the best score.
    """

    betas: tuple[float, ...]

    @property
    def zero(self) -> tuple[float, ...]:
        """No path, at any temperature."""
        return (-math.inf,) * len(self.betas)

    @property
    def one(self) -> tuple[float, ...]:
        """The empty path, of score 0."""
        return (0.0,) * len(self.betas)

    def lift(self, log_weight: Tensor, *features: Tensor) -> Tensor:
        """``beta * log_weight``, and ``-inf`` where that would be ``0 * -inf``."""
        finite = torch.where(log_weight == -math.inf, 0.0, log_weight)
        return torch.stack([torch.where(log_weight == -math.inf, -math.inf, beta * finite) for beta in self.betas])

    def lower(self, value: Tensor) -> Tensor:
        """The value itself."""
        return value

    def times(self, a: Tensor, b: Tensor) -> Tensor:
        """``a + b``; `align` lets vectors of different rank broadcast although the temperatures come first."""
        a, b = self.align(a, b)
        return a + b

    def sum(self, x: Tensor, dim: int) -> Tensor:
        """``log sum exp``; `Log` does it with a gradient of 0, not NaN, at ``-inf``."""
        return Log().sum(x, dim)


def renyi_entropies(hmm: semihmm.HMM, orders: tuple[float, ...]) -> Tensor:
    """``H_a = (log Z(a) - a log Z(1)) / (1 - a)`` of the posterior over paths, in nats, for each order ``a != 1``."""
    curve = semihmm.total(hmm, Annealed((1.0, *orders)))
    order = torch.tensor(orders, dtype=curve.dtype).reshape(-1, *(1,) * (curve.dim() - 1))
    return (curve[1:] - order * curve[0]) / (1 - order)


def main() -> None:
    """Checks the laws, then asks an HMM."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a small chain")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw Rényi entropies of many orders")
    arguments = parser.parse_args()
    states, steps = (3, 5) if arguments.smoke else (8, 200)

    check_semiring(Annealed((0.0, 0.5, 1.0, 4.0)))
    print("The laws hold on every sample tried.")

    generator = torch.Generator().manual_seed(0)
    initial, transition, emission = (
        torch.randn(shape, generator=generator, dtype=torch.float64).log_softmax(-1)
        for shape in ((states,), (states, states), (steps, states))
    )
    transition[0, 1] = -math.inf  # some paths do not exist
    hmm = semihmm.HMM(initial, transition, emission)

    log_count, log_partition, cold = semihmm.total(hmm, Annealed((0.0, 1.0, 1e4)))
    torch.testing.assert_close(log_partition, semihmm.log_partition(hmm))
    torch.testing.assert_close(cold / 1e4, semihmm.viterbi(hmm).score, rtol=0, atol=float(log_count) / 1e4)
    print(f"{steps} steps of {states} states: exp({log_count:.2f}) paths, log-partition {log_partition:.3f} nats")

    orders = (0.0, 0.5, 0.999, 2.0, 10.0)
    entropies = renyi_entropies(hmm, orders)
    for order, entropy in zip(orders, entropies, strict=True):
        print(f"  Rényi entropy of order {order:>5}: {entropy:8.3f} nats")
        if order > 0:  # the library's own takes two passes for each order
            torch.testing.assert_close(entropy, semihmm.renyi_entropy(hmm, order))
    assert (entropies.diff() <= 0).all(), "Rényi entropies fall with their order"
    if arguments.picture:
        picture(arguments.picture, hmm)


def picture(file: Path, hmm: semihmm.HMM) -> None:
    """Entropies of sixty orders, in one pass, from the log of the number of paths down."""
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6, 3.4), layout="constrained").add_subplot()
    orders = torch.logspace(-2, 2, 60).tolist()
    axes.semilogx(orders, renyi_entropies(hmm, tuple(orders)), linewidth=2)
    axes.axhline(float(semihmm.log_count(hmm)), color="0.6", linewidth=1.0)
    axes.text(orders[-1], float(semihmm.log_count(hmm)), "log of the number of paths", ha="right", va="bottom")
    axes.plot(1.0, float(semihmm.entropy(hmm)), "o", label="Shannon's entropy, semihmm.entropy")
    axes.set(xlabel="order", ylabel="Rényi entropy of the paths (nats)", ylim=(0, 1.15 * float(semihmm.log_count(hmm))))
    axes.legend(frameon=False, loc="lower left")
    axes.figure.savefig(file)


if __name__ == "__main__":
    main()
