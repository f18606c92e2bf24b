"""Exercise 10: the M-step of EM.

An HMM with S states says one of V symbols at each step. Nobody saw its states. EM takes turns: the E-step computes
posteriors under the present parameters, the M-step takes them as if they were counts:

    initial[i]       = expected number of sequences that begin in i            / number of sequences
    transition[i, j] = expected number of transitions from i to j              / that of all transitions from i
    emission[i, v]   = expected number of steps in i at which v was seen       / that of all steps in i

No step lowers the likelihood of the data (Baum et al. 1970). The checker does the E-step, by `semihmm.marginals`, and
looks at the likelihood after each of your M-steps.

Sequences may be of different lengths. Behind the end of a sequence its posteriors are 0, and its observations may be
anything from 0 to V - 1. A state that nobody was in has no counts: leave its rows uniform, not 0 / 0.

Fill in `m_step`, then run this file.
"""

from torch import Tensor


def m_step(observed: Tensor, symbols: int, states: Tensor, transitions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The probabilities ``initial`` (S,), ``transition`` (S, S) ``[from, to]``, ``emission`` (S, V).

    Args:
        observed: symbols from 0 to V - 1, int64 (B, T).
        symbols: V.
        states: the posterior of each state at each step (B, T, S).
        transitions: the expected number of transitions in each sequence (B, S, S).
    """
    raise NotImplementedError("m_step: expected counts, divided by their sums.")


if __name__ == "__main__":  # checks this file
    import runpy
    import sys
    from pathlib import Path

    sys.argv = ["check.py", __file__]
    runpy.run_path(str(Path(__file__).parents[1] / "check.py"), run_name="__main__")
