"""What a duration law is: how long each state lasts."""

from semihmm.models.part import Law


class Duration(Law):
    """How likely each state is to last 1 to D steps. A new law is a subclass; nothing else need know of it.

    `forward` gives log-probabilities ``(S, D)``; `update` takes the expected number of segments of each state and
    length, ``(S, D)``.

    Attributes:
        states: S.
        max_duration: D.
    """

    states: int
    max_duration: int
