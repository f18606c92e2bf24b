"""Whether EM goes on."""

import logging
import math
import sys
from collections import deque
from typing import ClassVar

LOG = logging.getLogger("semihmm.estimators")
_ROUNDING = 1.5e-8  # of a log-likelihood, in nats


class ConvergenceMonitor:
    """Collects the log-likelihood of each EM iteration, and says when to stop.

    For a rule of your own, give a subclass another ``converged`` and set the estimator's ``monitor_`` to one before the
    fit.

    Args:
        tol: stop after an iteration that gains less than this, in nats of all data together.
        n_iter: stop after so many.
        verbose: whether to print each iteration to standard error: its number, log-likelihood and gain.

    Attributes:
        history: the log-likelihood before each iteration's update.
        iter: how many there were.

    Example:
        >>> monitor = ConvergenceMonitor(tol=0.01, n_iter=10, verbose=False)
        >>> for log_prob in (-9.0, -8.0, -7.999):
        ...     monitor.report(log_prob)
        >>> monitor.converged, monitor.iter
        (True, 3)
    """

    _template: ClassVar[str] = "{iter:>10d} {log_prob:>16.8f} {delta:>+16.8f}"

    def __init__(self, tol: float, n_iter: int, verbose: bool) -> None:
        self.tol, self.n_iter, self.verbose = tol, n_iter, verbose
        self.history: deque[float] = deque()
        self.iter = 0

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({told})"

    def _reset(self) -> None:
        self.history.clear()
        self.iter = 0

    def report(self, log_prob: float) -> None:
        """Take down the log-likelihood of an iteration."""
        gain = log_prob - self.history[-1] if self.history else math.nan
        if self.verbose:
            print(self._template.format(iter=self.iter + 1, log_prob=log_prob, delta=gain), file=sys.stderr)
        if gain < -_ROUNDING:
            LOG.warning(
                "An EM iteration lowered the log-likelihood by %g, to %.8f: a prior outweighs it, or a variance is at "
                "its floor.",
                -gain,
                log_prob,
            )
        self.history.append(log_prob)
        self.iter += 1

    @property
    def converged(self) -> bool:
        """Whether to stop."""
        gained = len(self.history) < 2 or self.history[-1] - self.history[-2] >= self.tol
        return self.iter == self.n_iter or not gained
