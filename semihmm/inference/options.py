"""What every question takes besides its structure."""

from __future__ import annotations

from typing import Literal, TypedDict

from semihmm.engine.plan import StrategyName


class Options(TypedDict, total=False):
    """What every question takes besides its structure.

    strategy: ``"sequential"``, ``"associative"``, ``"chunked"``; None or ``"auto"`` for the planner's choice.
    checkpoint: True for sqrt(T) memory at one more forward pass, or a number of bytes.
    backend: ``"torch"``; None for the fastest.
    validate: whether to look for NaN and infinite weights first, at the cost of one pass (True).
    """

    strategy: StrategyName | Literal["auto"] | None
    checkpoint: bool | int | None
    backend: str | None
    validate: bool
