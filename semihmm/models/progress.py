"""How far a fit has come, when it ends, and the best parameters so far."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from semihmm._optional import require
from semihmm.errors import SemihmmError

if TYPE_CHECKING:
    from typing_extensions import Self


class Snapshot:
    """A copy of a module's parameters and buffers.

    Example:
        >>> net = torch.nn.Linear(1, 1)
        >>> before = Snapshot(net)
        >>> with torch.no_grad():
        ...     _ = net.weight.fill_(7.0)
        >>> before.restore()
        >>> net.weight.item() == 7.0
        False
    """

    def __init__(self, module: nn.Module) -> None:
        self.live = [*module.parameters(), *module.buffers()]
        self.held = [x.detach().clone() for x in self.live]

    @torch.no_grad()
    def take(self) -> None:
        """Copy them anew."""
        for held, live in zip(self.held, self.live, strict=True):
            held.copy_(live)

    @torch.no_grad()
    def restore(self) -> None:
        """Write them back, those that do not differ left alone."""
        for held, live in zip(self.held, self.live, strict=True):
            live.copy_(held)


class Progress:
    """The history so far, whether to go on, and the best parameters. As a context, it ends on Ctrl-C.

    Args:
        model: what is fitted; None where somebody else keeps its best parameters.
        iterations: at most so many.
        least_gain: end after an iteration that gains less.
        rising: whether the objective cannot fall, so that the newest parameters are the best.
        validation: the log-likelihood of held-out data; None without.
        patience: end when that has not risen for so many iterations.
        end: the time by `time.monotonic` at which to end.
        bar: whether to show one; None to show one on a terminal if rich is there.
        callback: called with the number and the objective of each iteration.
    """

    def __init__(
        self,
        model: nn.Module | None,
        *,
        iterations: int,
        rising: bool,
        validation: Callable[[], float] | None = None,
        patience: int = 5,
        end: float = math.inf,
        bar: bool | None = False,
        callback: Callable[[int, float], None] | None = None,
    ) -> None:
        self.iterations, self.rising, self.patience, self.callback = iterations, rising, patience, callback
        self.held_out, self.least_gain = validation, 0.0
        self.end = end
        self.history: list[float] = []
        self.validation: list[float] = []
        self.ended = ""
        self.best, self.best_at = Snapshot(model or nn.Module()), -1
        self.bar = _bar(iterations) if bar or (bar is None and sys.stderr.isatty() and find_spec("rich")) else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self.bar is not None:
            self.bar.stop()
        if kind is None:
            self.keep_best()
        return kind is KeyboardInterrupt and self.interrupt()

    def keep_best(self) -> None:
        """Go back to the best parameters, if the newest are not."""
        if self.best_at != len(self.history) - 1:
            self.best.restore()

    def interrupt(self) -> bool:
        """End with the best parameters so far; whether there are any."""
        if self.history and not self.ended:
            self.ended = "interrupted"
            self.best.restore()
        return bool(self.history)

    def goes_on(self, objective: float) -> bool:
        """Whether to go on, now that the objective is known for the present parameters."""
        if not math.isfinite(objective):
            raise SemihmmError(
                f"fit: the objective is {objective} after {len(self.history)} iterations. Take a smaller learning "
                "rate, or look at the emission's outputs and at how long the sequences are.",
                see="objective",
            )
        self.history.append(objective)
        if self.held_out is not None:
            self.validation.append(self.held_out())
        judged = self.validation or self.history
        newest = len(judged) - 1
        if (self.rising and not self.validation) or self.best_at < 0 or judged[-1] > judged[self.best_at]:
            self.best.take()
            self.best_at = newest
        self.show(objective, newest)
        self.ended = self._end(newest)
        return not self.ended

    @property
    def done(self) -> bool:
        """Whether there were as many iterations as there may be."""
        return len(self.history) > self.iterations

    def show(self, objective: float, iteration: int) -> None:
        """Say how far it has come."""
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=iteration, objective=f"{objective:.6g}")
        if self.callback is not None:
            self.callback(iteration, objective)

    def _end(self, newest: int) -> str:
        if newest and abs(self.history[-1] - self.history[-2]) < self.least_gain:
            return "converged"
        if self.done:
            return "iterations"
        if self.validation and newest - self.best_at >= self.patience:
            return "validation"
        return "time" if time.monotonic() > self.end else ""


def _bar(iterations: int) -> Any:
    """A progress bar that shows the objective."""
    rich = require("rich.progress", extra="models", purpose="Showing a progress bar")
    console = require("rich.console", extra="models", purpose="Showing a progress bar").Console(stderr=True)
    bar = rich.Progress(
        rich.TextColumn("fit"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("objective {task.fields[objective]}"),
        rich.TimeElapsedColumn(),
        console=console,
    )
    bar.add_task("fit", total=iterations, objective="")
    bar.start()
    return bar
