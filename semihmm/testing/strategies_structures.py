"""Hypothesis strategies for structures, and for ways to compute an answer."""

from collections.abc import Sequence

import torch

from semihmm._optional import require
from semihmm.inference.options import Options
from semihmm.structures import Structure
from semihmm.testing.examples import KINDS, small

require("hypothesis", extra="dev", purpose="semihmm.testing.strategies_structures")  # says how to install a missing one
from hypothesis import strategies as st  # noqa: E402

__all__ = ["options", "structures"]


@st.composite
def structures(
    draw: st.DrawFn,
    kinds: Sequence[str] = tuple(KINDS),
    dtypes: Sequence[torch.dtype] = (torch.float64,),
    steps: int = 4,
    forbidden: bool = True,
) -> Structure:
    """Small structures of every kind: with and without batch axes, ragged, with ``-inf`` among their log-weights.

    Args:
        kinds: which of `semihmm.testing.examples.KINDS`.
        dtypes: of the potentials.
        steps: the most time steps.
        forbidden: whether log-weights of ``-inf`` occur.
    Example:
        >>> from hypothesis import given
        >>> @given(structures())
        ... def has_a_batch_shape(structure):
        ...     assert structure.batch_shape in {(), (1,), (3,), (2, 2)}
        >>> has_a_batch_shape()
    """
    return small(
        draw(st.sampled_from(kinds)),
        draw(st.sampled_from([(), (1,), (3,), (2, 2)])),
        draw(st.integers(1, steps)),
        ragged=draw(st.booleans()),
        dtype=draw(st.sampled_from(dtypes)),
        forbidden=draw(st.sampled_from([0.0, 0.2, 0.6])) if forbidden else 0.0,
        seed=draw(st.integers(0, 2**32)),
    )


def options(associative: bool = True) -> st.SearchStrategy[Options]:
    """Every strategy, with and without checkpointing; only the sequential one where ``associative`` is False.

    Example:
        >>> from hypothesis import given
        >>> @given(options())
        ... def names_a_strategy(options):
        ...     assert options["strategy"] in {"sequential", "associative", "chunked", None}
        >>> names_a_strategy()
    """
    names = ("sequential", "associative", "chunked", None) if associative else ("sequential", None)
    fixed = {"strategy": st.sampled_from(names), "checkpoint": st.sampled_from([None, False, True])}
    return st.fixed_dictionaries(fixed)  # type: ignore[return-value]
