"""Front ends as the runtime runs them: what makes frames of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from semihmm.errors import StructureError


def front_end(
    settings: Any,
    *,
    mean: Sequence[float] | None = None,
    offset: float | None = 0.0,
    prior: Sequence[float] | None = None,
) -> dict[str, Any]:
    """A `semihmm.speech.FrontEnd` as a model file has it, ``"features": {"kind": "mfcc", ...}``: see `runtime`.

    A whole recording loses the mean of its own cepstra, if ``settings`` say so. A stream cannot know it yet: what
    follows is for streams, as `semihmm.speech.LiveFrontEnd` has it.

    Args:
        settings: a `semihmm.speech.FrontEnd`.
        mean: ``(cepstra,)`` to subtract, the recording's, if it is known; None for a running mean.
        offset: of the samples, likewise.
        prior: ``(cepstra,)`` that the running mean begins with; None for the first frame.

    Raises:
        StructureError: another front end, which the runtime does not have.

    Example:
        >>> from semihmm.speech import FrontEnd
        >>> front_end(FrontEnd(filters=25))["filters"]
        25
    """
    if type(settings).__name__ != "FrontEnd" or not is_dataclass(settings) or isinstance(settings, type):
        raise StructureError(
            f"export: the runtime has one front end, semihmm.speech.FrontEnd, got {type(settings).__name__}. Pass such "
            "a one, or make frames elsewhere and give the runtime those.",
            see="no-export",
        )
    described = {"kind": "mfcc", **asdict(settings)}
    if described["columns"] is None:
        del described["columns"]
    stream = {"mean": mean, "offset": offset, "prior": prior}
    numbers = {name: _plain(value) for name, value in stream.items() if value is not None}
    return {**described, "stream": numbers}


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, int | float) else [float(one) for one in value]
