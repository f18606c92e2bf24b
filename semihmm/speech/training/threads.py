"""Statistics of several recordings at once."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from semihmm.speech.training.statistics import Example, Statistics

_WAITING = 4  # results for each thread that may wait to be added up


def in_threads(jobs: int) -> Callable[[Callable[[Example], Statistics], Sequence[Example]], Iterator[Statistics]]:
    """A `map` over so many threads, in order: sums do not depend on their number.

    Example:
        >>> list(in_threads(2)(abs, [-1, 2, -3]))
        [1, 2, 3]
    """

    def each(function: Callable[[Example], Statistics], examples: Sequence[Example]) -> Iterator[Statistics]:
        if jobs == 1:
            yield from map(function, examples)
            return
        with ThreadPoolExecutor(jobs) as pool:
            for begin in range(0, len(examples), _WAITING * jobs):
                yield from pool.map(function, examples[begin : begin + _WAITING * jobs])

    return each
