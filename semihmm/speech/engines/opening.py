"""Engines by name."""

from contextlib import AbstractContextManager, nullcontext

from semihmm.errors import DataError
from semihmm.speech.engines.dask import Dask
from semihmm.speech.engines.engine import Engine
from semihmm.speech.engines.local import Local
from semihmm.speech.engines.torchrun import Torchrun


def open_engine(
    name: str = "local", *, jobs: int = 1, dask_address: str | None = None
) -> AbstractContextManager[Engine]:
    """Who does the work, for a ``with`` statement.

    Args:
        name: ``"local"``, processes of this machine; ``"dask"``, the workers of a Dask cluster; or ``"torchrun"``, the
            ranks that torchrun started, of which rank 0 alone runs the block of the statement: the others work for it,
            and then end.
        jobs: number of processes of this machine. With several, a script's own work must be under
            ``if __name__ == "__main__":``.
        dask_address: of a Dask cluster's scheduler; None for a cluster of this machine.

    Raises:
        DataError: there is no such engine, nor such a cluster.
        DependencyError: Dask is not installed.

    Example:
        >>> with open_engine("local") as engine:
        ...     list(engine.map(abs, [-1, -2, -3], died=float))
        [1, 2, 3]
    """
    if name == "local":
        return nullcontext(Local(jobs))
    if name == "dask":
        return Dask(dask_address, jobs)
    if name == "torchrun":
        return Torchrun()
    raise DataError(f"open_engine: there is no engine {name!r}; choose local, dask or torchrun.")
