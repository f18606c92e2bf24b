"""A task done by several processes, in order, that survives the death of any of them."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

import torch

_AHEAD = 4  # items per process that wait for their turn

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_processes(
    task: Callable[[_Item], _Result], items: Iterable[_Item], jobs: int, *, died: Callable[[_Item], _Result]
) -> Iterator[_Result]:
    """``map(task, items)``, by several processes.

    A script's own work must be under ``if __name__ == "__main__":``, as each process imports it.

    Args:
        task: can be pickled, as can its results. What it raises is raised here.
        items: taken as they are needed.
        jobs: number of processes.
        died: the result where a process ends without one, as for want of memory.

    Example:
        >>> import operator
        >>> list(in_processes(operator.neg, [1, 2, 3], 1, died=abs))
        [-1, -2, -3]
    """
    pool = _Pool(task, jobs)
    todo = iter(items)
    waiting: deque[tuple[_Item, Future[_Result]]] = deque()
    try:
        while True:
            waiting.extend((item, pool.submit(item)) for item in islice(todo, _AHEAD * jobs - len(waiting)))
            if not waiting:
                return
            try:
                result = waiting[0][1].result()
            except BrokenProcessPool:  # any of those that wait may have done it: one at a time, it shows which
                pool.close()
                suspects = [item for item, _ in waiting]
                waiting.clear()
                yield from _one_at_a_time(task, suspects, died)
            else:
                waiting.popleft()
                yield result
    finally:
        pool.close()


def _one_at_a_time(
    task: Callable[[_Item], _Result], items: Iterable[_Item], died: Callable[[_Item], _Result]
) -> Iterator[_Result]:
    pool = _Pool(task, 1)
    try:
        for item in items:
            try:
                yield pool.submit(item).result()
            except BrokenProcessPool:
                pool.close()
                yield died(item)
    finally:
        pool.close()


class _Pool:
    """Processes that start with the first item, and again with the first after `close`."""

    def __init__(self, task: Callable[[Any], Any], jobs: int) -> None:
        self._task = task
        self._jobs = jobs
        self._running: ProcessPoolExecutor | None = None

    def submit(self, item: Any) -> "Future[Any]":
        if self._running is None:
            spawn = multiprocessing.get_context("spawn")  # a fork would copy PyTorch without its threads
            begin = (self._task, torch.get_num_threads())
            self._running = ProcessPoolExecutor(self._jobs, spawn, initializer=_begin, initargs=begin)
        try:
            return self._running.submit(_run, item)
        except BrokenProcessPool as error:
            broken: Future[Any] = Future()
            broken.set_exception(error)
            return broken

    def close(self) -> None:
        if self._running is not None:
            self._running.shutdown(cancel_futures=True)
            self._running = None


_task: Callable[..., Any]  # of this process, where it is one of a pool's


def _begin(task: Callable[..., Any], threads: int) -> None:
    global _task
    _task = task
    torch.set_num_threads(threads)  # the last bits of a sum may depend on it
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Nobody is to write results for a parent that was killed: another may have taken its place."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(item: Any) -> Any:
    return _task(item)
