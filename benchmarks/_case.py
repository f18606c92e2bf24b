"""What a benchmark describes: cases, who takes part in them, what they must agree on and what is to be reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Results = Mapping[str, Any]  # by name: tensors, arrays or numbers
Call = Callable[[], Results]

PATIENCE = 4.0  # seconds that a call of a peer may take


class Unavailable(Exception):
    """A contestant that cannot take part here; the message is what its cell says."""


@dataclass(frozen=True)
class Contestant:
    """One way to do the work.

    Args:
        prepare: does once what is not to be timed (imports, conversion, compilation) and returns what is. It may raise
            `Unavailable`; a missing module is reported as not installed. A call with ``time(number)``, seconds each of
            so many calls, measures itself: `_jax.Remote`.
        dtype: what it computes in.
        ours: whether it is semihmm. A peer is compared with ours of the same dtype, or else with the first of ours.
        tolerance: where it is to be looser than the case's: result name to tolerance. Say why in `note`.
        note: goes into the table's footnotes.
        cost: its own arithmetic, where it is not the case's.
        patience: seconds; a call that would take more is not made. Give more to those that matter most.
    """

    prepare: Callable[[], Call]
    dtype: str = "float32"
    ours: bool = False
    tolerance: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    cost: float | None = None
    patience: float = PATIENCE


@dataclass(frozen=True)
class Floor:
    """The least that the hardware must do: arithmetic, and memory read and written.

    Args:
        flops: additions and multiplications; a fused multiply-add is two.
        wide_flops: those of them that are in float64 whatever the case's type, at half the rate.
        bytes: read and written once each.
        what: how they were counted, for the page.
    """

    flops: float = 0.0
    wide_flops: float = 0.0
    bytes: float = 0.0
    what: str = ""


@dataclass(frozen=True)
class Case:
    """One cell of the table.

    Args:
        work: the row, the same text for all its cells.
        sizes: such as ``{"S": 8, "T": 200, "B": 1}``.
        contestants: by name; the first of ours is the one whose figures count.
        tolerance: by result name, how far an entry may be from the reference's, as a share of the reference's largest
            finite entry: ``max|a - b| <= tol * max|b|``; 0 for what must be equal. Only these names are compared, and
            every contestant must return all of them.
        target: the least ``peer's ms / our ms``, for the peer where it is least.
        targets: other figures for single peers, such as ``{"torch-struct": 100}``.
        limit: the most milliseconds that ours may take, where the figure to reach is not a ratio.
        floor_target: where our time within this multiple of the floor also meets `target`.
        floor: what the hardware must do at least.
        reference: results to agree with, from an independent implementation; None for those of our first contestant.
        view: turns results into what is compared (a path into its score, say).
        cost: arithmetic in any unit, to judge from smaller cases how long a contestant would take.
        dtype: of the case; a contestant says so where its own differs.
        device: ``cpu`` or ``cuda``.
    """

    work: str
    sizes: Mapping[str, int]
    contestants: Mapping[str, Contestant]
    tolerance: Mapping[str, float]
    target: float | None = None
    targets: Mapping[str, float] = field(default_factory=dict)
    limit: float | None = None
    floor_target: float | None = None
    floor: Floor | None = None
    reference: Callable[[], Results] | None = None
    view: Callable[[Results], Results] = lambda results: results
    cost: float | None = None
    dtype: str = "float32"
    device: str = "cpu"

    @property
    def label(self) -> str:
        """The sizes in words."""
        where = "" if self.device == "cpu" else f", {self.device}"
        return ", ".join(f"{name} {size:,}" for name, size in self.sizes.items()) + where


def fits(needed: float, limit: float = 2e9, what: str = "in one tensor") -> None:
    """Refuse what would hold ``limit`` bytes or more.

    Raises:
        Unavailable: it would.
    """
    if needed >= limit:
        raise Unavailable(f"does not fit: {needed / 1e9:.1f} GB {what}, the limit here is {limit / 1e9:.0f} GB")
