"""Training acoustic models, from recordings and their transcripts alone."""

__all__: list[str] = []  # public names are those of semihmm.speech
