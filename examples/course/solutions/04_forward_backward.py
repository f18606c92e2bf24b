"""Exercise 4: the posterior of each state at each step, by forward-backward.

How probable is it that the path is in state j at step t? Paths weigh exp s(z) / Z each, so this is the sum over those
that are there, divided by Z. What comes before step t is in a(t, j) of exercise 2. What comes after is

    b(T - 1, i) = 0
    b(t, i)     = logsumexp over j of (transition[i, j] + emission[t + 1, j] + b(t + 1, j))

    p(t, j)     = exp(a(t, j) + b(t, j) - log Z)

The emission of step t is in a(t, j) already, so b(t, j) begins with the one after it. At each step p sums to 1.

Fill in `posterior`, then run this file.
"""

import torch
from torch import Tensor


def posterior(initial: Tensor, transition: Tensor, emission: Tensor) -> Tensor:
    """Probabilities (T, S); arguments as in exercise 2."""
    forward = [initial + emission[0]]
    for step in emission[1:]:
        forward.append((forward[-1].unsqueeze(-1) + transition).logsumexp(0) + step)
    backward = [torch.zeros_like(initial)]
    for step in reversed(emission[1:]):
        backward.append((transition + step + backward[-1]).logsumexp(1))
    joint = torch.stack(forward) + torch.stack(backward[::-1])
    return (joint - forward[-1].logsumexp(0)).exp()


if __name__ == "__main__":  # checks this file
    import runpy
    import sys
    from pathlib import Path

    sys.argv = ["check.py", __file__]
    runpy.run_path(str(Path(__file__).parents[1] / "check.py"), run_name="__main__")
