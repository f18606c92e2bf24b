"""How totals are differentiated, by one more scan each time or step by step: the parts of `semihmm.engine.total`."""

__all__: list[str] = []
