"""Training acoustic models, from recordings and their transcripts alone."""

from semihmm.speech.training.adaptation import adapt
from semihmm.speech.training.adaptive import train_adaptively
from semihmm.speech.training.durations import PhoneDurations, predict_durations
from semihmm.speech.training.neural import train_network
from semihmm.speech.training.recipe import Recipe, Stage
from semihmm.speech.training.trainer import Pass, train
from semihmm.speech.training.utterance import Utterance

__all__ = [
    "Pass",
    "PhoneDurations",
    "Recipe",
    "Stage",
    "Utterance",
    "adapt",
    "predict_durations",
    "train",
    "train_adaptively",
    "train_network",
]
