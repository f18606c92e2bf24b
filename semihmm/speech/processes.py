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
    todo = iter(items)
    waiting: deque[tuple[_Item, Future[_Result]]] = deque()
    pool = _pool(task, jobs)
    try:
        while True:
            waiting.extend((item, _submit(pool, item)) for item in islice(todo, _AHEAD * jobs - len(waiting)))
            if not waiting:
                return
            try:
                result = waiting[0][1].result()
            except BrokenProcessPool:  # by any of those that wait: each again in a process of its own
                pool.shutdown()
                while waiting:
                    yield _alone(task, waiting.popleft()[0], died)
                pool = _pool(task, jobs)
            else:
                waiting.popleft()
                yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _alone(task: Callable[[_Item], _Result], item: _Item, died: Callable[[_Item], _Result]) -> _Result:
    with _pool(task, 1) as pool:
        try:
            return _submit(pool, item).result()
        except BrokenProcessPool:
            return died(item)


def _pool(task: Callable[..., Any], jobs: int) -> ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")  # a fork would copy PyTorch without its threads
    return ProcessPoolExecutor(jobs, spawn, initializer=_begin, initargs=(task, torch.get_num_threads()))


def _submit(pool: ProcessPoolExecutor, item: Any) -> "Future[Any]":
    try:
        return pool.submit(_run, item)
    except BrokenProcessPool as error:
        broken: Future[Any] = Future()
        broken.set_exception(error)
        return broken


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
