"""Acoustic models: from samples to the log-likelihoods of phones."""

__all__: list[str] = []  # public names are those of semihmm.speech
