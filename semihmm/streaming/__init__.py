"""Answers while the data arrive: posteriors, likelihoods, states for good, and the best paths so far."""

from semihmm.streaming.latency import AdaptiveLatencyController
from semihmm.streaming.stream import Committed, Ending, Ranked, Stream, Update

__all__ = ["AdaptiveLatencyController", "Committed", "Ending", "Ranked", "Stream", "Update"]
