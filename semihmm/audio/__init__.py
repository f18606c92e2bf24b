"""Sound files in, tensors out. A leaf: it imports no layer of the library."""

from semihmm.audio.conditioning import condition
from semihmm.audio.formats import audio_suffixes
from semihmm.audio.reading import read_audio, resample

__all__ = ["audio_suffixes", "condition", "read_audio", "resample"]
