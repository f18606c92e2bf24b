"""How good labels and synthetic speech are: errors of boundaries, of durations, of spectra and of pitch."""

from semihmm.speech.metrics.boundaries import TOLERANCES, BoundaryErrors, Matches
from semihmm.speech.metrics.durations import DurationErrors, DurationStatistics, duration_statistics
from semihmm.speech.metrics.pitch import PitchErrors, pitch_errors
from semihmm.speech.metrics.resynthesis import at_durations, resynthesis_errors, vocode
from semihmm.speech.metrics.spectra import MelCepstra, mel_cepstra, mel_cepstral_distortion

__all__ = [
    "TOLERANCES",
    "BoundaryErrors",
    "DurationErrors",
    "DurationStatistics",
    "Matches",
    "MelCepstra",
    "PitchErrors",
    "at_durations",
    "duration_statistics",
    "mel_cepstra",
    "mel_cepstral_distortion",
    "pitch_errors",
    "resynthesis_errors",
    "vocode",
]
