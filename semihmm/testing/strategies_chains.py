"""Hypothesis strategies for random chains."""

from collections.abc import Sequence

import torch

from semihmm._optional import require
from semihmm.testing.chains import ChainCase

require("hypothesis", extra="dev", purpose="semihmm.testing.strategies_chains")  # says how to install a missing one
from hypothesis import strategies as st  # noqa: E402

__all__ = ["cases"]


def cases(
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.float64), steps: Sequence[int] = (0, 1, 2, 3, 5, 9, 33)
) -> st.SearchStrategy[ChainCase]:
    """What `semihmm.testing.random_chain` makes a chain of: with and without batch axes, lengths, blocks, ``-inf``.

    Args:
        dtypes: of the log-weights.
        steps: numbers of time steps.
    Example:
        >>> from hypothesis import given
        >>> @given(cases(steps=(0, 4)))
        ... def totals_have_the_batch_shape(case):
        ...     chain = random_chain("banded", case)
        ...     assert total_of(chain, semihmm.semirings.Log()).shape == case.batch
        >>> totals_have_the_batch_shape()
    """
    return st.builds(
        ChainCase,
        seed=st.integers(0, 2**32),
        batch=st.sampled_from([(), (1,), (3,), (2, 3)]),
        steps=st.sampled_from(steps),
        dtype=st.sampled_from(dtypes),
        ragged=st.booleans(),
        forbidden=st.sampled_from([0.0, 0.0, 0.2, 0.5]),
        blocks=st.sampled_from([None, None, 0, 2, 3, 100]),
    )
