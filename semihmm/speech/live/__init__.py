"""Speech as it is said: from a microphone, or a file played as one, to words, keywords and phones in time."""

__all__: list[str] = []
