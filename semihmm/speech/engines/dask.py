"""The workers of a Dask cluster, on as many machines as it has.

They need semihmm, and the same files under the same names. A worker that dies is replaced by others or, in a cluster of
this machine, by a new one.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any
from uuid import uuid4

from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.speech.engines.engine import Item, Result, in_order, on_one_thread
from semihmm.speech.engines.local import end_with_parent


class Dask:
    """A Dask cluster, within a ``with`` statement.

    Args:
        address: of its scheduler, like ``tcp://10.0.0.1:8786``. Default: a cluster of this machine alone.
        jobs: how many processes that has.

    Raises:
        DataError: nobody answers at the address.
        DependencyError: Dask's ``distributed`` is not installed.
    """

    def __init__(self, address: str | None = None, jobs: int = 1) -> None:
        self._distributed = require("distributed", extra="dask", purpose="Sharing work over Dask")
        self._address = address
        self._jobs = jobs
        self._open = ExitStack()

    def __enter__(self) -> "Dask":
        if self._address is None:
            dask = require("dask", extra="dask", purpose="Sharing work over Dask")
            with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
                cluster = self._distributed.LocalCluster(
                    n_workers=self._jobs, threads_per_worker=1, dashboard_address=None
                )
            self._open.enter_context(cluster)
            self._client = self._distributed.Client(cluster)
        else:
            try:
                self._client = self._distributed.Client(self._address)
            except (OSError, ValueError) as error:
                raise DataError(f"Dask: no scheduler answers at {self._address} ({error}).") from error
        self._open.enter_context(self._client)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def map(
        self, task: Callable[[Item], Result], items: Iterable[Item], *, died: Callable[[Item], Result]
    ) -> Iterator[Result]:
        with self._at_all_workers(task) as name:
            yield from in_order(
                lambda item: self._client.submit(_run, name, item, pure=False),
                items,
                died=died,
                workers=lambda: max(sum(self._client.nthreads().values()), 1),
                lost=self._distributed.KilledWorker,
                wait=self._distributed.wait,
            )

    @contextmanager
    def _at_all_workers(self, task: Callable[..., Any]) -> Iterator[str]:
        """The name by which each worker knows the task, those that are still to come too."""
        is_own = self._address is None

        class Task(self._distributed.WorkerPlugin):  # type: ignore[name-defined, misc]  # pickled by value
            def setup(self, worker: Any) -> None:
                self.task = task
                if is_own:
                    end_with_parent()

        name = f"semihmm-{uuid4()}"
        self._client.register_plugin(Task(), name=name)
        try:
            yield name
        finally:
            self._client.unregister_worker_plugin(name)


def _run(name: str, item: Any) -> Any:
    worker = require("distributed", extra="dask", purpose="Sharing work over Dask").get_worker()
    return on_one_thread(worker.plugins[name].task, item)
