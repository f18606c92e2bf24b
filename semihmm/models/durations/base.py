"""What a duration law is: how long each state lasts."""

from semihmm.errors import ShapeError
from semihmm.models.part import Law


class Duration(Law):
    """How likely each state is to last 1 to D steps. A new law is a subclass; nothing else need know of it.

    `forward` gives log-probabilities ``(S, D)``; `update` takes the expected number of segments of each state and
    length, ``(S, D)``.

    Attributes:
        states: S.
        max_duration: D.
        min_duration: the least number of steps; shorter segments have log-probability ``-inf``.
    """

    states: int
    max_duration: int
    min_duration: int = 1


def check_support(law: str, max_duration: int, min_duration: int) -> None:
    """Refuse a range of lengths that holds none."""
    if not 1 <= min_duration <= max_duration:
        raise ShapeError(
            f"{law}: a segment lasts min_duration to max_duration steps, so 1 <= min_duration <= max_duration, got "
            f"{min_duration} and {max_duration}."
        )
