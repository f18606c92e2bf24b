"""Forced alignment: the graph of a transcript, its best path, and how far both are to be believed."""

__all__: list[str] = []  # public names are those of semihmm.speech
