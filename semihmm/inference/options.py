"""What every question takes besides its structure."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Literal, TypedDict

from semihmm.engine.plan import StrategyName
from semihmm.errors import SemihmmError, StructureError
from semihmm.structures import Structure
from semihmm.structures.base import refuse_misnamed


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


def check_options(options: Options) -> None:
    """Refuse what is no option: Python takes any name that a question hands on.

    Raises:
        TypeError: a name that no question knows, with the nearest one.

    Example:
        >>> check_options({"stratgy": "chunked"})
        Traceback (most recent call last):
        TypeError: a question takes strategy, checkpoint, backend, validate; there is no stratgy. Did you mean strategy?
    """
    for name, value in options.items():
        if name == "validate" and value is not None and not isinstance(value, bool):
            raise SemihmmError(f"a question's validate must be True or False, got {value!r}.")
        if name not in Options.__annotations__:
            known = list(Options.__annotations__)
            near = get_close_matches(name, known, 1)
            raise TypeError(
                f"a question takes {', '.join(known)}; there is no {name}."
                + (f" Did you mean {near[0]}?" if near else "")
            )


def check_structures(*structures: object) -> None:
    """Refuse what no question can be asked of.

    Example:
        >>> check_structures(torch.zeros(2))
        Traceback (most recent call last):
        semihmm.errors.StructureError: a question is asked of a structure, such as HMM or CTC, got Tensor. ...
    """
    for structure in structures:
        if not isinstance(structure, Structure):
            raise StructureError(
                f"a question is asked of a structure, such as HMM or CTC, got {type(structure).__name__}. A model? Ask "
                "model(x, lengths).",
                see="not-a-structure",
            )
        if getattr(structure, "observed", None) not in structure.ranks:
            refuse_misnamed(structure)
