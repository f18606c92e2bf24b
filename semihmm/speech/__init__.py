"""Speech: aligning recordings with their transcripts, and measuring how well.

Needs ``pip install 'semihmm[speech]'``.
"""

from semihmm.speech.acoustic import AcousticModel, load_acoustic_model, load_dictionary
from semihmm.speech.align import Aligner, Evidence
from semihmm.speech.corpus import Corpus, Recording, find_recordings
from semihmm.speech.evaluate import TOLERANCES, BoundaryErrors, Evaluation, compare, evaluate
from semihmm.speech.graph import AlignmentGraph, build_graph
from semihmm.speech.intervals import Interval, Tiers
from semihmm.speech.labels import read_labels
from semihmm.speech.mfcc import FrontEnd
from semihmm.speech.pronunciation import Lexicon, Pronunciation
from semihmm.speech.results import Alignment, Alternative
from semihmm.speech.textgrid import read_textgrid, save_textgrid
from semihmm.speech.transcript import words_of

__all__ = [
    "TOLERANCES",
    "AcousticModel",
    "Aligner",
    "Alignment",
    "AlignmentGraph",
    "Alternative",
    "BoundaryErrors",
    "Corpus",
    "Evaluation",
    "Evidence",
    "FrontEnd",
    "Interval",
    "Lexicon",
    "Pronunciation",
    "Recording",
    "Tiers",
    "build_graph",
    "compare",
    "evaluate",
    "find_recordings",
    "load_acoustic_model",
    "load_dictionary",
    "read_labels",
    "read_textgrid",
    "save_textgrid",
    "words_of",
]
