"""What an engine is: it does a task for many items, wherever that may be, and gives the results in their order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Protocol, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 4  # items of each worker that wait for their turn


class Engine(Protocol):
    """Does one task for many items.

    Results come in the order of the items, each from one thread, so that what is made of them, written or added up, is
    the same bytes whichever engine did the work.

    Example:
        >>> import operator
        >>> from semihmm.speech import open_engine
        >>> with open_engine("local") as engine:
        ...     sum(engine.map(operator.neg, [1, 2, 3], died=abs))
        -6
    """

    def map(
        self, task: Callable[[Item], Result], items: Iterable[Item], *, died: Callable[[Item], Result]
    ) -> Iterator[Result]:
        """``map(task, items)``.

        Args:
            task: can be pickled, as can items and results. What it raises is raised here.
            items: one or more.
            died: the result of an item that ended the process that had it, as for want of memory.
        """


def on_one_thread(task: Callable[[Item], Result], item: Item) -> Result:
    """The result of a task whose last bits do not depend on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return task(item)
    finally:
        torch.set_num_threads(threads)


def in_order(
    submit: Callable[[Item], Any],
    items: Iterable[Item],
    *,
    died: Callable[[Item], Result],
    workers: Callable[[], int],
    lost: type[Exception],
    wait: Callable[[list[Any]], object],
) -> Iterator[Result]:
    """The results of futures, a few for each worker at a time.

    Where a worker dies, any item that it had, or was to have, may have done it. Each of them is done once more while
    nothing else is: that shows which.

    Args:
        submit: begins an item and returns its future.
        items: taken as they are needed.
        died: the result of an item that nobody survives.
        workers: how many there are now.
        lost: what the future of such an item raises.
        wait: returns when all of some futures are done, with or without a result.
    """
    todo = iter(items)
    waiting: deque[tuple[Item, Any]] = deque()
    while True:
        waiting.extend((item, submit(item)) for item in islice(todo, max(AHEAD * workers() - len(waiting), 0)))
        if not waiting:
            return
        item, future = waiting.popleft()
        try:
            result = future.result()
        except lost:
            wait([other for _, other in waiting])
            try:
                result = submit(item).result()
            except lost:
                result = died(item)
        yield result
