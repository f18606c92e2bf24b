"""The last seconds of a session, drawn: in a window of its own while it goes on, or into a file."""

import multiprocessing
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semihmm._optional import require
from semihmm.speech.acoustics.model import AcousticModel
from semihmm.speech.live.session import Moment
from semihmm.speech.live.tasks import Found
from semihmm.types import Seconds

_BLUE, _ORANGE, _GREY = "#2f6db3", "#d9772b", "#a9b0ba"
_PAUSE: Seconds = 0.2  # from one drawing of the window to the next
_MOST_BEHIND = 2000  # moments that a window may be behind; more are not drawn


@dataclass(frozen=True)
class Row:
    """What is drawn of a moment."""

    time: Seconds
    phones: NDArray[np.float32]
    keywords: NDArray[np.float32] | None
    found: tuple[Found, ...]
    lost: bool

    @classmethod
    def of(cls, moment: Moment) -> "Row":
        now = moment.now
        keywords = None if now.posterior is None or len(now.posterior) == len(moment.phones) else now.posterior.numpy()
        return cls(moment.time, moment.phones.numpy(), keywords, now.found, moment.lost)


class LivePicture:
    """Probabilities of the phones, and of keywords, over the last seconds, with what was found.

    Args:
        phones: the model's.
        keywords: names of what there are probabilities of, besides.
        seconds: shown.

    Example:
        >>> import tempfile
        >>> from semihmm.speech import load_acoustic_model
        >>> from semihmm.speech.live import FileSource, PhoneListener, Session, SimulatedClock
        >>> session = Session(model := load_acoustic_model(), PhoneListener(model), clock=SimulatedClock())
        >>> picture = LivePicture(model.phones)
        >>> picture.add(session.play(FileSource(Path("examples/data/austen-0880.wav"), clock=session.clock)))
        >>> picture.save(Path(tempfile.mkdtemp(), "phones.png"))
    """

    def __init__(self, phones: tuple[str, ...], keywords: tuple[str, ...] = (), seconds: Seconds = 8.0) -> None:
        self.phones, self.keywords, self.seconds = phones, keywords, seconds
        self._rows: deque[Row] = deque()
        self._found: deque[Found] = deque()

    def add(self, moments: Iterable[Moment]) -> None:
        """More moments; those that are no longer shown are forgotten."""
        for moment in moments:
            self.add_row(Row.of(moment))

    def add_row(self, row: Row) -> None:
        """One moment more."""
        self._rows.append(row)
        self._found += row.found
        while self._rows[0].time < row.time - self.seconds:
            self._rows.popleft()
        while self._found and self._found[0].item.end < self._rows[0].time:
            self._found.popleft()

    def draw(self, figure: Any) -> None:
        """On a matplotlib figure, in place of what was there."""
        figure.clear()
        heat, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        times = [row.time for row in self._rows] or [0.0]
        begin = max(times[-1] - self.seconds, 0.0)
        if self._rows:
            extent = (times[0], times[-1], -0.5, len(self.phones) - 0.5)
            shown = np.stack([row.phones for row in self._rows], 1)
            heat.imshow(
                shown,
                aspect="auto",
                origin="lower",
                extent=extent,
                cmap="Blues",
                vmin=0,
                vmax=1,
                interpolation="nearest",
            )
        heat.set_yticks(range(len(self.phones)), self.phones, fontsize=5)
        heat.set_title("phones, as each frame comes", loc="left", fontsize=9)
        for number, keyword in enumerate(self.keywords):
            line = [row.keywords[number] if row.keywords is not None else 0.0 for row in self._rows]
            below.plot(times, line, lw=1.2, label=keyword)
        if self.keywords:
            below.legend(loc="upper left", fontsize=7)
        for found in self._found:
            item, colour = found.item, _BLUE if found.said else _ORANGE
            below.axvspan(max(item.start, begin), item.end, facecolor=colour, edgecolor="white", alpha=0.3, lw=1)
            below.text(
                (max(item.start, begin) + item.end) / 2, 0.5, item.label, ha="center", va="center", fontsize=7,
                rotation=0 if self.keywords else 60, clip_on=True,
            )  # fmt: skip
        for row in self._rows:
            if row.lost:
                heat.axvspan(row.time, row.time + 0.01, color=_GREY, lw=0)
        below.set(xlim=(begin, begin + self.seconds), ylim=(0, 1.05), yticks=(), xlabel="seconds")
        below.set_title("found", loc="left", fontsize=9)

    def save(self, path: Path) -> None:
        """Draw into a file, in the format that its ending names."""
        figure = require("matplotlib.figure", extra="plots", purpose="A picture").Figure((9, 5), layout="constrained")
        self.draw(figure)
        figure.savefig(path, dpi=120)


class LiveWindow:
    """A picture in a window, drawn by a process of its own: to draw takes longer than a frame may.

    Args:
        model: whose phones are drawn.
        keywords: names of what there are probabilities of, besides.

    Example:
        ``window = LiveWindow(model)``, then ``window.add(moment)`` for each, and ``window.close()`` at the end.
    """

    def __init__(self, model: AcousticModel, keywords: tuple[str, ...] = ()) -> None:
        require("matplotlib.pyplot", extra="plots", purpose="A window")
        context = multiprocessing.get_context("spawn")
        self._rows = context.Queue(_MOST_BEHIND)
        self._process = context.Process(target=_show, args=(self._rows, model.phones, keywords), daemon=True)
        self._process.start()

    def add(self, moment: Moment) -> None:
        """One more; left out where the window is far behind."""
        if self._process.is_alive() and not self._rows.full():
            self._rows.put(Row.of(moment))

    def close(self) -> None:
        """Close the window."""
        if self._process.is_alive():
            self._rows.put(None)
            self._process.join(5)
        self._rows.cancel_join_thread()


def _show(rows: Any, phones: tuple[str, ...], keywords: tuple[str, ...]) -> None:
    """What the window's process does: draws until it is told to stop, or the window is closed."""
    pyplot = require("matplotlib.pyplot", extra="plots", purpose="A window")
    picture, figure = LivePicture(phones, keywords), pyplot.figure("semihmm live", (9, 5), layout="constrained")
    figure.show() if pyplot.isinteractive() else pyplot.show(block=False)
    while pyplot.fignum_exists(figure.number):
        while not rows.empty():
            row = rows.get()
            if row is None:
                return
            picture.add_row(row)
        picture.draw(figure)
        pyplot.pause(_PAUSE)
