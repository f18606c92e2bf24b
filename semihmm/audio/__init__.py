"""Sound files in, tensors out. A leaf: it imports no layer of the library."""

from semihmm.audio.reading import audio_suffixes, read_audio, resample

__all__ = ["audio_suffixes", "read_audio", "resample"]
