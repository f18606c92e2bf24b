"""Files of labels: what is read from them and written to them."""

__all__: list[str] = []  # public names are those of semihmm.speech
