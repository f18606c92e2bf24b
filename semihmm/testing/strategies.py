"""Hypothesis strategies for semirings and their values."""

import math

import torch
from torch import Tensor

from semihmm import semirings as sr
from semihmm._optional import require

require("hypothesis", extra="dev", purpose="semihmm.testing.strategies")  # a missing one gets the line that installs it
from hypothesis import strategies as st  # noqa: E402

__all__ = ["log_weights", "semirings", "values"]


def semirings() -> st.SearchStrategy[sr.Semiring]:
    """Every semiring of `semihmm.semirings`, with drawn arguments; pairs of some.

    Example:
        >>> from hypothesis import given
        >>> @given(semirings())
        ... def one_is_not_zero(semiring):
        ...     assert semiring.one != semiring.zero
        >>> one_is_not_zero()
    """
    small, gamma = st.integers(1, 4), st.sampled_from([0.01, 0.5, 1.0, 3.0])
    plain = st.sampled_from([sr.Real(), sr.Log(), sr.Max(), sr.Min(), sr.Bottleneck(), sr.SecondOrderExpectation()])
    parts = st.one_of(
        plain,
        st.builds(sr.TopK, small),
        st.builds(sr.Sample, small),
        st.builds(sr.Expectation, small),
        st.builds(sr.SmoothMax, gamma),
        st.builds(sr.SparseMax, gamma),
    )
    ordered = st.sampled_from([sr.Max(), sr.Min()])
    return st.one_of(
        parts,
        st.sampled_from([sr.Count(), sr.Boolean(), sr.Product(sr.Count(), sr.Count())]),
        st.builds(sr.Product, parts, parts),
        st.builds(sr.Lexicographic, ordered, parts, st.booleans()),
        st.builds(sr.Lexicographic, ordered, st.builds(sr.Lexicographic, ordered, parts, st.just(True)), st.just(True)),
    )


def log_weights(
    *shape: int, dtype: torch.dtype = torch.float64, low: float = -3.0, high: float = 3.0, forbidden: bool = True
) -> st.SearchStrategy[Tensor]:
    """Log-weights: multiples of 1/8 between ``low`` and ``high``, so that ties and exact sums happen; some ``-inf``.

    Args:
        shape: of the tensor; sizes may be 0.
        dtype: floating point.
        low, high: the range, in nats.
        forbidden: whether ``-inf`` occurs.
    Example:
        >>> from hypothesis import given
        >>> @given(log_weights(2, 3))
        ... def none_is_large(x):
        ...     assert x.shape == (2, 3) and x.max() <= 3
        >>> none_is_large()
    """
    number = st.integers(math.ceil(low * 8), math.floor(high * 8)).map(lambda eighths: eighths / 8)
    element = st.one_of(number, number, number, st.just(-math.inf)) if forbidden else number
    count = math.prod(shape)
    return st.lists(element, min_size=count, max_size=count).map(
        lambda numbers: torch.tensor(numbers, dtype=dtype).reshape(shape)
    )


def values(semiring: sr.Semiring, *shape: int, dtype: torch.dtype = torch.float64) -> st.SearchStrategy[Tensor]:
    """Lifted log-weights, with features where the semiring takes some, and with all components.

    Args:
        semiring: whose values.
        shape: of the tensor, components not counted.
        dtype: of the log-weights and features.
    Example:
        >>> from hypothesis import given
        >>> @given(values(sr.Expectation(2), 4))
        ... def components_come_first(x):
        ...     assert x.shape == (3, 4)
        >>> components_come_first()
    """
    features = [log_weights(*shape, dtype=dtype, forbidden=False) for _ in range(semiring.inputs - 1)]
    return st.tuples(log_weights(*shape, dtype=dtype), *features).map(
        lambda drawn: semiring.whole(semiring.lift(*drawn))
    )
