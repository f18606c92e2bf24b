"""Exercise 3: the best path, by Viterbi's algorithm.

Which states z have the greatest s(z) (as in exercise 2)? Take the maximum where the forward algorithm takes
logsumexp, and remember which i it came from: the backpointer.

    v(0, j)    = initial[j] + emission[0, j]
    back(t, j) = the i with the greatest v(t - 1, i) + transition[i, j]
    v(t, j)    = v(t - 1, back(t, j)) + transition[back(t, j), j] + emission[t, j]

The best path ends in the state with the greatest v(T - 1, j). Before state j at step t it was in state back(t, j). So
it is found from its end, and only then turned round. Of several that are equally good take the lowest index, at the
end and at each backpointer (`torch.max` and `torch.argmax` do so).

Fill in `viterbi`, then run this file.
"""

from torch import Tensor


def viterbi(initial: Tensor, transition: Tensor, emission: Tensor) -> tuple[Tensor, Tensor]:
    """The best states, int64 (T,), and their score s(z); arguments as in exercise 2."""
    raise NotImplementedError("viterbi: max and its indices in place of logsumexp; then back from the last state.")


if __name__ == "__main__":  # checks this file
    import runpy
    import sys
    from pathlib import Path

    sys.argv = ["check.py", __file__]
    runpy.run_path(str(Path(__file__).parents[1] / "check.py"), run_name="__main__")
