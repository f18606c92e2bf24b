"""Answers while the data arrive: filtered and smoothed posteriors, likelihoods, states for good, and the best so far."""

from semihmm.streaming.latency import AdaptiveLatencyController
from semihmm.streaming.stream import Committed, Ending, Ranked, Stream, Update

__all__ = ["AdaptiveLatencyController", "Committed", "Ending", "Ranked", "Stream", "Update"]
