"""Speech: aligning recordings with their transcripts, and measuring how well.

Needs ``pip install 'semihmm[speech]'``.
"""

from semihmm.speech.acoustics.contexts import Contexts
from semihmm.speech.acoustics.loading import load_acoustic_model, load_dictionary
from semihmm.speech.acoustics.mfcc import FrontEnd
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.alignment.align import Aligner, Evidence
from semihmm.speech.alignment.durations import Durations
from semihmm.speech.alignment.graph import AlignmentGraph, build_graph
from semihmm.speech.alignment.match import Calibration
from semihmm.speech.alignment.pronunciation import (
    LANGUAGES,
    Lexicon,
    Pronunciation,
    dictionary_lines,
    load_lexicon,
    unknown_words,
)
from semihmm.speech.corpora.corpus import Corpus, Recording, find_recordings
from semihmm.speech.corpora.librispeech import librispeech_speaker, read_librispeech_table
from semihmm.speech.corpora.validate import Finding, validate
from semihmm.speech.engines.engine import Engine
from semihmm.speech.engines.opening import open_engine
from semihmm.speech.files.formats import write_labels
from semihmm.speech.files.labels import read_labels
from semihmm.speech.files.results import Alignment, Alternative
from semihmm.speech.files.textgrid import read_textgrid, save_textgrid
from semihmm.speech.intervals import Interval, Tiers
from semihmm.speech.metrics import TOLERANCES, BoundaryErrors
from semihmm.speech.metrics.evaluate import Evaluation, compare, evaluate
from semihmm.speech.text.transcript import Token, is_filler, tokens_of, words_of
from semihmm.speech.view.folder import Viewed, view_results

__all__ = [
    "LANGUAGES",
    "TOLERANCES",
    "AcousticModel",
    "Aligner",
    "Alignment",
    "AlignmentGraph",
    "Alternative",
    "BoundaryErrors",
    "Calibration",
    "Contexts",
    "Corpus",
    "Durations",
    "Engine",
    "Evaluation",
    "Evidence",
    "Finding",
    "FrontEnd",
    "Interval",
    "Lexicon",
    "Pronunciation",
    "Recording",
    "Tiers",
    "Token",
    "Viewed",
    "build_graph",
    "compare",
    "dictionary_lines",
    "evaluate",
    "find_recordings",
    "is_filler",
    "librispeech_speaker",
    "load_acoustic_model",
    "load_dictionary",
    "load_lexicon",
    "open_engine",
    "read_labels",
    "read_librispeech_table",
    "read_textgrid",
    "save_textgrid",
    "tokens_of",
    "unknown_words",
    "validate",
    "view_results",
    "words_of",
    "write_labels",
]
