"""Exercise 5: the posterior is a gradient.

If one log-weight w grows a little, each path that uses it weighs more:

    d log Z / d w = (1 / Z) * sum over the paths that use w of exp s(z) = probability that w is used

So the backward pass of exercise 4 is what autograd does to the forward pass:

    d log Z / d emission[t, j]   = probability of state j at step t
    d log Z / d transition[i, j] = expected number of transitions from i to j, over all steps

Take log Z from `semihmm.log_partition(semihmm.HMM(initial, transition, emission))`, or from your exercise 2. Leave
the caller's tensors as they are: differentiate with respect to copies (`x.detach().requires_grad_()`). The same call
made twice must give the same answer. A log-weight of -inf has a gradient of 0; `torch.logsumexp` over nothing but
-inf has NaN, semihmm has not.

Fill in `posteriors`, then run this file.
"""

import torch
from torch import Tensor

import semihmm


def posteriors(initial: Tensor, transition: Tensor, emission: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities of states (T, S), and expected numbers of transitions (S, S) ``[from, to]``."""
    transition, emission = transition.detach().requires_grad_(), emission.detach().requires_grad_()
    log_partition = semihmm.log_partition(semihmm.HMM(initial, transition, emission))
    counts, states = torch.autograd.grad(log_partition, (transition, emission))
    return states, counts


if __name__ == "__main__":  # checks this file
    import runpy
    import sys
    from pathlib import Path

    sys.argv = ["check.py", __file__]
    runpy.run_path(str(Path(__file__).parents[1] / "check.py"), run_name="__main__")
