"""Sound files in, tensors out. A leaf: it imports no layer of the library."""

from semihmm.audio.reading import read_audio, resample

__all__ = ["read_audio", "resample"]
