"""Who does the work: processes of this machine, a Dask cluster, or the ranks of torchrun."""

__all__: list[str] = []  # public names are those of semihmm.speech
