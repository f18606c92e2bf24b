"""Training: acoustic models from recordings and their transcripts."""

__all__: list[str] = []  # public names are those of semihmm.speech
