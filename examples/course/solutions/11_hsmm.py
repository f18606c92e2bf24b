"""Exercise 11: segments that last.

In an HMM the time spent in a state has a geometric distribution, whatever the data say. A semi-Markov model gives
each state a distribution of durations. A path is now a list of *segments* that tile the T steps: a state i for d
steps, then another segment, and so on. Its log-weight is the sum of

    initial[i]          of the state of the first segment,
    transition[i, j]    from each segment's state to that of the next one,
    duration[i, d - 1]  of each segment of d steps, 1 <= d <= D,
    emission[t, i]      of each step, in the state of its segment.

Let a(t, j) be the logsumexp over all paths of the first t steps whose last segment is in j and ends there:

    enter(0, j) = initial[j]
    enter(t, j) = logsumexp over i of (a(t, i) + transition[i, j])                                     for t >= 1
    a(t, j) = logsumexp over d from 1 to min(D, t) of
              (enter(t - d, j) + duration[j, d - 1] + emission[t - d, j] + ... + emission[t - 1, j])
    log Z = logsumexp over j of a(T, j)

Sums of emissions over a segment are differences of sums from the start (`torch.cumsum`; emissions are finite here);
that makes S D work of each step, not S D^2.

Fill in `log_partition`, then run this file.
"""

import torch
from torch import Tensor


def log_partition(initial: Tensor, transition: Tensor, duration: Tensor, emission: Tensor) -> Tensor:
    """The log-partition; ``initial`` (S,), ``transition`` (S, S), ``duration`` (S, D), ``emission`` (T, S)."""
    steps, longest = len(emission), duration.shape[-1]
    until = torch.nn.functional.pad(emission.cumsum(0), (0, 0, 1, 0))
    enter, ends = [initial], []
    for t in range(1, steps + 1):
        segments = [enter[t - d] + duration[:, d - 1] + until[t] - until[t - d] for d in range(1, min(longest, t) + 1)]
        ends.append(torch.stack(segments).logsumexp(0))
        enter.append((ends[-1].unsqueeze(-1) + transition).logsumexp(0))
    return ends[-1].logsumexp(0)


if __name__ == "__main__":  # checks this file
    import runpy
    import sys
    from pathlib import Path

    sys.argv = ["check.py", __file__]
    runpy.run_path(str(Path(__file__).parents[1] / "check.py"), run_name="__main__")
