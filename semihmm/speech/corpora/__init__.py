"""Folders of recordings with their transcripts: finding, checking and aligning them all."""

__all__: list[str] = []  # public names are those of semihmm.speech
