"""Alignments to look at."""

__all__: list[str] = []  # public names are those of semihmm.speech
