"""Sound files in, tensors out. A leaf: it imports no layer of the library."""

from semihmm.audio.conditioning import condition
from semihmm.audio.formats import OTHER, READ
from semihmm.audio.reading import read_audio, resample

__all__ = ["OTHER", "READ", "condition", "read_audio", "resample"]
