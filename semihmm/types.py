"""Names for units, so that a signature says what a number measures. Counts of frames or samples are plain ``int``."""

from typing import TypeAlias

__all__ = ["Hertz", "Seconds"]

Seconds: TypeAlias = float
"""A duration or a point in time, in seconds."""

Hertz: TypeAlias = float
"""A frequency, such as a sample rate, in 1/s."""
