"""Exercise 2: the forward algorithm.

Now each path has a weight. The log-weight of states z(0), ..., z(T-1) is

    s(z) = initial[z(0)] + sum over t >= 1 of transition[z(t-1), z(t)] + sum over t >= 0 of emission[t, z(t)]

and the log-partition is log Z = log of the sum over all z of exp s(z). It is exercise 1 again, with other operations:
where numbers were multiplied, log-weights are added; where numbers were added, logs are added by logsumexp.

    a(0, j) = initial[j] + emission[0, j]
    a(t, j) = logsumexp over i of (a(t - 1, i) + transition[i, j]), + emission[t, j]
    log Z   = logsumexp over j of a(T - 1, j)

Stay in logs: the weight of a path of 3000 steps is too small for float64. A log-weight of -inf forbids; where all
paths are forbidden, log Z is -inf.

Fill in `log_partition`, then run this file.
"""

from torch import Tensor


def log_partition(initial: Tensor, transition: Tensor, emission: Tensor) -> Tensor:
    """The log-partition; ``initial`` is (S,), ``transition`` (S, S) ``[from, to]``, ``emission`` (T, S)."""
    forward = initial + emission[0]
    for step in emission[1:]:
        forward = (forward.unsqueeze(-1) + transition).logsumexp(0) + step
    return forward.logsumexp(0)


if __name__ == "__main__":  # checks this file
    import runpy
    import sys
    from pathlib import Path

    sys.argv = ["check.py", __file__]
    runpy.run_path(str(Path(__file__).parents[1] / "check.py"), run_name="__main__")
