"""From the outputs of a network to what was said, and when."""

from semihmm.decoding.alignment import Alignment, Span, align

__all__ = ["Alignment", "Span", "align"]
