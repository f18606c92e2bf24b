"""Exercise 1: how many paths are there?

A path of T steps is in one of S states at each step. It may begin in state i where ``first[i]`` is True, and go from
state i to state j where ``allowed[i, j]`` is True.

There are up to S^T paths, too many to list. But a path that is in state j at step t was in some state i at step t -
1:

    n(0, j) = 1 if first[j] else 0
    n(t, j) = sum over i of n(t - 1, i) * (1 if allowed[i, j] else 0)
    number of paths = sum over j of n(T - 1, j)

T steps are joined by T - 1 transitions. The numbers grow fast: int64 counts exactly up to 2^63, float64 up to 2^53.

Fill in `count_paths`, then run this file.
"""

from torch import Tensor


def count_paths(first: Tensor, allowed: Tensor, steps: int) -> int:
    """The number of paths of ``steps`` steps; ``first`` is bool (S,), ``allowed`` bool (S, S) ``[from, to]``."""
    raise NotImplementedError("count_paths: T - 1 times, the ways to each state become the ways to the next one.")


if __name__ == "__main__":  # checks this file
    import runpy
    import sys
    from pathlib import Path

    sys.argv = ["check.py", __file__]
    runpy.run_path(str(Path(__file__).parents[1] / "check.py"), run_name="__main__")
