"""A small random structure of every kind: what the laws are tried on."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from semihmm.automata import at_most
from semihmm.errors import StructureError
from semihmm.structures import (
    CTC,
    DTW,
    HMM,
    HSMM,
    RNNT,
    EditDistance,
    FactorialHMM,
    Lattice,
    MonotonicAlignment,
    Pruned,
    Structure,
    constrain,
)


@dataclass
class Source:
    """Where a kind gets its potentials from. Log-weights are multiples of 1/8, so that ties and exact sums happen."""

    batch: tuple[int, ...]
    steps: int
    ragged: bool
    dtype: torch.dtype
    forbidden: float
    generator: torch.Generator

    def weights(self, *shape: int, shared: bool = False) -> Tensor:
        """Log-weights between -2 and 2; some ``-inf``."""
        size = shape if shared else (*self.batch, *shape)
        drawn = torch.randint(-16, 17, size, generator=self.generator).to(self.dtype) / 8
        return torch.where(torch.rand(size, generator=self.generator) < self.forbidden, -math.inf, drawn)

    def numbers(self, low: int, high: int, *shape: int) -> Tensor:
        """Integers from ``low`` to ``high``."""
        return torch.randint(low, high + 1, (*self.batch, *shape), generator=self.generator)

    def lengths(self, longest: int, least: int = 1) -> Tensor | None:
        """One for each sequence; None unless ragged."""
        return self.numbers(least, longest) if self.ragged else None


Kind = Callable[[Source], Structure]


def _hmm(s: Source) -> Structure:
    return HMM(
        s.weights(2, shared=True), s.weights(2, 2, shared=True), s.weights(s.steps, 2), lengths=s.lengths(s.steps)
    )


def _hmm_varying(s: Source) -> Structure:
    arcs = s.weights(s.steps - 1, 2, 2)
    return HMM(s.weights(2), arcs, s.weights(s.steps, 2), s.weights(2, shared=True), s.lengths(s.steps))


def _hmm_arcs(s: Source) -> Structure:
    arcs = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([1, 2, 1, 0, 2])
    return HMM(s.weights(3), s.weights(5), s.weights(s.steps, 3), lengths=s.lengths(s.steps), arcs=arcs)


def _hmm_banded(s: Source) -> Structure:
    weight = s.weights(s.steps - 1, 3, 2)
    return HMM(s.weights(3), weight, s.weights(s.steps, 3), s.weights(3), s.lengths(s.steps), offsets=(0, 1))


def _factorial(s: Source) -> Structure:
    return FactorialHMM(
        s.weights(2, 2), s.weights(2, 2, 2), s.weights(s.steps, 2, 2), s.weights(2, 2, shared=True), s.lengths(s.steps)
    )


def _factorial_coupled(s: Source) -> Structure:
    moves = s.weights(s.steps - 1, 2, 4, 2)
    return FactorialHMM(s.weights(2, 2, shared=True), moves, s.weights(s.steps, 2, 2), lengths=s.lengths(s.steps))


def _hmm_tied(s: Source) -> Structure:
    column = torch.tensor([1, 0, 1])
    return HMM(s.weights(3), s.weights(3, 3), s.weights(s.steps, 3), None, s.lengths(s.steps), emission_index=column)


def _hmm_constrained(s: Source) -> Structure:
    return constrain(_hmm(s), at_most(2, 1))


def _hmm_pruned(s: Source) -> Structure:
    """At each time but the first, one state may be missing."""
    kept = torch.rand((*s.batch, s.steps, 3), generator=s.generator)
    kept[..., 0, :] += 1
    return Pruned.keeping(_hmm_tied(s), kept > kept.amin(-1, keepdim=True).clamp(max=0.5))


def _hsmm(s: Source) -> Structure:
    return HSMM(
        s.weights(2, shared=True), s.weights(2, 2), s.weights(2, 3), s.weights(s.steps, 2), lengths=s.lengths(s.steps)
    )


def _hsmm_varying(s: Source) -> Structure:
    arcs, segment = s.weights(s.steps - 1, 2, 2), s.weights(s.steps, 2, 2)
    given: dict[str, Any] = {"emission": s.weights(s.steps, 2), "segment": segment, "final": s.weights(2)}
    return HSMM(s.weights(2), arcs, s.weights(s.steps, 2, 2), lengths=s.lengths(s.steps), **given)


def _hsmm_arcs(s: Source) -> Structure:
    arcs, weight = (torch.tensor([0, 0, 1, 2]), torch.tensor([1, 2, 1, 0])), s.weights(s.steps - 1, 4)
    given: dict[str, Any] = {"lengths": s.lengths(s.steps), "arcs": arcs}
    return HSMM(s.weights(3), weight, s.weights(3, 2), s.weights(s.steps, 3), **given)


def _hsmm_banded(s: Source) -> Structure:
    given: dict[str, Any] = {"final": s.weights(3), "lengths": s.lengths(s.steps), "offsets": (0, 1)}
    return HSMM(s.weights(3), s.weights(3, 2), s.weights(3, 2), s.weights(s.steps, 3), **given)


def _ctc(s: Source) -> Structure:
    lengths = s.lengths(s.steps, 0), s.lengths(2, 0)
    return CTC(s.weights(s.steps, 3), s.numbers(1, 2, 2), *lengths)


def _ctc_optional(s: Source) -> Structure:
    optional = torch.tensor([False, True, False]).expand(*s.batch, 3)
    return CTC(s.weights(s.steps, 4), s.numbers(1, 3, 3), s.lengths(s.steps), s.lengths(3), optional=optional)


def _monotonic(s: Source) -> Structure:
    return MonotonicAlignment(s.weights(s.steps, 2), s.lengths(s.steps), s.lengths(2))


def _dtw(s: Source) -> Structure:
    return DTW(-s.weights(3, s.steps), query_lengths=s.lengths(3), reference_lengths=s.lengths(s.steps))


def _dtw_open(s: Source) -> Structure:
    lengths: dict[str, Any] = {"query_lengths": s.lengths(3), "reference_lengths": s.lengths(s.steps)}
    return DTW(-s.weights(3, s.steps), "symmetricP1", window=2, open_begin=True, open_end=True, **lengths)


def _rnnt(s: Source) -> Structure:
    return RNNT(s.weights(s.steps, 3), s.weights(s.steps, 2), s.lengths(s.steps), s.lengths(2, 0))


def _edit(s: Source) -> Structure:
    costs = -s.weights(2, s.steps), -s.weights(2, shared=True), -s.weights(s.steps)
    return EditDistance(*costs, s.lengths(2, 0), s.lengths(s.steps, 0))


def _lattice(s: Source) -> Structure:
    """A row of nodes, with two arcs to the next and one that leaves it out."""
    arcs = [(i, i + 1) for i in range(s.steps)] * 2 + [(i, i + 2) for i in range(s.steps - 1)]
    source, target = torch.tensor(arcs).unbind(-1)
    return Lattice(source, target, s.weights(len(arcs)))


KINDS: dict[str, Kind] = {
    "HMM": _hmm,
    "HMM varying": _hmm_varying,
    "HMM arcs": _hmm_arcs,
    "HMM banded": _hmm_banded,
    "FactorialHMM": _factorial,
    "FactorialHMM coupled": _factorial_coupled,
    "HMM tied": _hmm_tied,
    "HMM constrained": _hmm_constrained,
    "HMM pruned": _hmm_pruned,
    "HSMM": _hsmm,
    "HSMM varying": _hsmm_varying,
    "HSMM arcs": _hsmm_arcs,
    "HSMM banded": _hsmm_banded,
    "CTC": _ctc,
    "CTC optional": _ctc_optional,
    "MonotonicAlignment": _monotonic,
    "DTW": _dtw,
    "DTW open": _dtw_open,
    "RNNT": _rnnt,
    "EditDistance": _edit,
    "Lattice": _lattice,
}


def small(
    kind: str,
    batch: tuple[int, ...] = (),
    steps: int = 4,
    *,
    ragged: bool = False,
    dtype: torch.dtype = torch.float64,
    forbidden: float = 0.0,
    seed: int = 0,
) -> Structure:
    """A random structure that is small enough to list its paths.

    Args:
        kind: one of `KINDS`.
        batch: its batch shape.
        steps: how many time steps, at least 1.
        ragged: whether sequences have lengths of their own.
        forbidden: how likely a log-weight is ``-inf``.
    Example:
        >>> small("HMM", (2,), steps=3).batch_shape
        torch.Size([2])
    """
    if kind not in KINDS:
        raise StructureError(f"small: kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    return KINDS[kind](Source(batch, steps, ragged, dtype, forbidden, torch.Generator().manual_seed(seed)))
