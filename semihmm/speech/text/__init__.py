"""Words and phones: what a transcript says, how it is read out, and the alphabets of phones."""

__all__: list[str] = []  # public names are those of semihmm.speech
