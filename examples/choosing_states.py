"""How many states? Seven fits, compared by what they pay for their parameters and by data that they have not seen.

Run it: ``python examples/choosing_states.py`` (``--smoke`` for little data and few sizes).

The likelihood of the data that a model was fitted to rises with every state, so it cannot say how many there should
be. BIC takes log(T) / 2 nats off for each free number; held-out data need no such rule. Look at the two columns with
a star: both stop at the four states that made the data, though two of those have nearly the same mean.
"""

import argparse
import math

import torch

from semihmm.models import HMM, Gaussian


def truth() -> HMM:
    """Four states that last 20 steps; the second and third are told apart by their spread."""
    emission = Gaussian(4, features=1)
    model = HMM(4, emission).double()
    model.transition.update(torch.full((4, 4), 1.0) + 56 * torch.eye(4))
    with torch.no_grad():
        emission.mean.copy_(torch.tensor([[-4.0], [0.0], [0.5], [4.0]]))
        emission.log_variance.copy_(torch.tensor([[1.0], [0.1], [4.0], [1.0]]).log())
    return model


def parameters(model: HMM) -> int:
    """Free numbers: of each row of probabilities all but one, and all of the emission."""
    tables = (model.initial, model.transition)
    rows = sum(table.logits.numel() - table.groups for table in tables)
    return rows + sum(parameter.numel() for parameter in model.emission.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="little data, few sizes")
    smoke = parser.parse_args().smoke
    steps, sizes, restarts = (1_000, range(2, 6), 2) if smoke else (2_000, range(2, 9), 5)
    generator = torch.Generator().manual_seed(0)
    x, _ = truth().sample(steps, generator=generator)
    unseen, _ = truth().sample(steps, (5,), generator=generator)

    print(f"{steps} steps of four states\n")
    print(f"{'states':>6}{'free':>7}{'log L':>11}{'BIC':>10}{'unseen, nats a step':>22}")
    rows = []
    for states in sizes:
        # One sequence says nothing of where others begin: with a pseudo-count they may begin anywhere.
        model = HMM(states, Gaussian(states, features=1), initial_pseudo_count=1.0).double()
        model.fit(x, iterations=300, restarts=restarts, generator=generator)
        free, log_likelihood = parameters(model), model.score(x)
        bic = free * math.log(steps) - 2 * log_likelihood
        rows.append((states, free, log_likelihood, bic, model.score(unseen) / unseen.numel()))
    cheapest, likeliest = min(row[3] for row in rows), max(row[4] for row in rows)
    for states, free, log_likelihood, bic, held_out in rows:
        stars = "* "[bic > cheapest], "* "[held_out < likeliest]
        print(f"{states:>6}{free:>7}{log_likelihood:>11.1f}{bic:>10.1f}{stars[0]}{held_out:>20.4f}{stars[1]}")
    print(f"\n(the truth itself gives the unseen steps {truth().score(unseen) / unseen.numel():.4f} nats)")


if __name__ == "__main__":
    main()
