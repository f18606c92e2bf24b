"""Processes of this machine. The work survives the death of any of them."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import torch

from semihmm.speech.engines.engine import Item, Result, in_order, on_one_thread


@dataclass(frozen=True)
class Local:
    """This process alone, or several of this machine.

    Args:
        jobs: how many. With more than one, a script's own work must be under ``if __name__ == "__main__":``, as each
            process imports it.
    """

    jobs: int = 1

    def map(
        self, task: Callable[[Item], Result], items: Iterable[Item], *, died: Callable[[Item], Result]
    ) -> Iterator[Result]:
        if self.jobs == 1:
            yield from (on_one_thread(task, item) for item in items)
            return
        pool = _Pool(task, self.jobs)
        try:
            yield from in_order(
                pool.submit, items, died=died, workers=lambda: self.jobs, lost=BrokenProcessPool, wait=wait
            )
        finally:
            pool.close()


ALONE = Local()
"""This process."""


class _Pool:
    """Processes that start with the first item, and again with the first after they broke."""

    def __init__(self, task: Callable[[Any], Any], jobs: int) -> None:
        self._task = task
        self._jobs = jobs
        self._running: ProcessPoolExecutor | None = None

    def submit(self, item: Any) -> "Future[Any]":
        if self._running is None:
            spawn = multiprocessing.get_context("spawn")  # a fork would copy PyTorch without its threads
            self._running = ProcessPoolExecutor(self._jobs, spawn, initializer=_begin, initargs=(self._task,))
        try:
            return self._running.submit(_run, item)
        except BrokenProcessPool:
            self.close()
            return self.submit(item)

    def close(self) -> None:
        if self._running is not None:
            self._running.shutdown(cancel_futures=True)
            self._running = None


_task: Callable[..., Any]  # of this process, where it is one of a pool's


def _begin(task: Callable[..., Any]) -> None:
    global _task
    _task = task
    torch.set_num_threads(1)
    end_with_parent()


def end_with_parent() -> None:
    """Nobody is to write results for a parent that was killed: another may have taken its place."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(item: Any) -> Any:
    return _task(item)
