"""Statistics of several recordings at once."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from semihmm.errors import DataError
from semihmm.speech.engines.engine import Engine
from semihmm.speech.training.statistics import Each, Example, Statistics

_WAITING = 4  # results for each thread that may wait to be added up


def in_threads(jobs: int) -> Each:
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


def by_engine(engine: Engine) -> Each:
    """A `map` over the workers of an engine, which are sent the features of recordings with each pass.

    Example:
        >>> from semihmm.speech import open_engine
        >>> with open_engine("local") as engine:
        ...     list(by_engine(engine)(abs, [-1, 2, -3]))
        [1, 2, 3]
    """
    return lambda function, examples: engine.map(function, examples, died=_refuse)


def _refuse(example: Example) -> Statistics:
    frames = len(example.features)
    raise DataError(f"train: the process that had a recording of {frames} frames ended, perhaps for want of memory.")
