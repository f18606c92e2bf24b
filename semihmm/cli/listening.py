"""What `semihmm live` shows while it listens: a screen that is kept up to date, lines, or JSON."""

import json
import signal
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from semihmm.cli import show
from semihmm.speech.live import Block, Found, KeywordSpotter, LivePicture, LiveWindow, Moment, ScriptFollower, Session
from semihmm.speech.live.tasks import Task

_EVERY = 0.1  # seconds from one drawing of the screen to the next
_AROUND = 60  # words of a script that are shown before and after the reader's place
_BAR = 40  # columns


class Screen:
    """A terminal gets a screen; a pipe gets a line for each word that was found, or JSON for each frame."""

    def __init__(self, task: Task, *, json_lines: bool = False) -> None:
        self.task, self.json_lines = task, json_lines
        self.console, self._errors = Console(), Console(stderr=True, soft_wrap=True)
        self._said: deque[str] = deque(maxlen=3)
        self._words: dict[int, Found] = {}  # of a script, by number
        self._latest: deque[Found] = deque(maxlen=12)
        self._drawn = -1.0
        self._live: Live | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Show it while the context lasts."""
        if self.json_lines or not self.console.is_terminal:
            yield
            return
        with Live(console=self.console, auto_refresh=False, transient=True) as self._live:
            yield
        self._live = None

    def say(self, text: str) -> None:
        """A message, for people."""
        self._said.append(text)
        if self._live is None:
            self._errors.print(f"[yellow]semihmm live:[/] {text}", highlight=False)

    def update(self, moment: Moment, session: Session) -> None:
        """One moment more."""
        if self.json_lines:
            print(json.dumps(_record(moment)), flush=True)
        for found in moment.now.found:
            self._words[found.index] = found
            self._latest.append(found)
            if self._live is None and not self.json_lines:
                print(_line(found), flush=True)
        if self._live is not None and moment.time - self._drawn >= _EVERY:
            self._drawn = moment.time
            self._live.update(self._content(moment, session), refresh=True)

    def _content(self, moment: Moment, session: Session) -> Group:
        latency = 1000 * session.latencies.quantile(0.99)
        state = f"{moment.time:7.1f} s   99 % of frames within {latency:.0f} ms   lost {session.watch.lost:.1f} s"
        if self._latest and (match := self._latest[-1].item.match) is not None:
            state += f"   {session.delays.quantile(0.5):.1f} s behind, match {match:.2f}"
        parts = [Text(state, style="dim"), Text()]
        if isinstance(self.task, ScriptFollower):
            parts.append(self._script(self.task, moment))
        elif isinstance(self.task, KeywordSpotter):
            parts += self._bars(self.task, moment)
        else:
            parts.append(Text(" ".join(found.item.label for found in self._latest) + f"  [{moment.now.label}]"))
        return Group(*parts, Text(), *(Text(said, style="yellow") for said in self._said))

    def _script(self, task: ScriptFollower, moment: Moment) -> Text:
        place, text = moment.now.place, Text()
        for number in range(max(place - _AROUND, 0), min(place + _AROUND, len(task.words))):
            found = self._words.get(number)
            style = "dim" if number >= place else "green" if found is None or found.said else "red strike"
            if number == moment.now.index:
                style = "bold reverse"
            text.append(task.words[number], style).append(" ")
        return text

    def _bars(self, task: KeywordSpotter, moment: Moment) -> Iterable[Text]:
        for number, keyword in enumerate(task.labels):
            now = 0.0 if moment.now.posterior is None else float(moment.now.posterior[number])
            last = self._words.get(number)
            heard = f"  {last.item.start:.2f} s, {last.score:+.2f} nats a frame" if last else ""
            yield Text(f"{keyword:>16} ").append("█" * round(_BAR * now), "cyan").append(f" {now:.2f}{heard}", "dim")


def listen(session: Session, source: Iterable[Block], screen: Screen, plot: str | None) -> list[Found]:
    """Hear a source to its end, or until Ctrl-C; what was found."""
    found: list[Found] = []
    labels = session.task.labels if isinstance(session.task, KeywordSpotter) else ()
    window = LiveWindow(session.model, labels) if plot == "window" else None
    picture = LivePicture(session.model.phones, labels) if plot and window is None else None

    def take(moments: Iterable[Moment]) -> None:
        for moment in moments:
            found.extend(moment.now.found)
            screen.update(moment, session)
            if window is not None:
                window.add(moment)
            if picture is not None:
                picture.add([moment])

    with screen.open(), _until_interrupted() as interrupted:
        for block in source:
            take(session.hear(block))
            if interrupted:
                break
        take(session.finish())
    if window is not None:
        window.close()
    if picture is not None and plot is not None:
        picture.save(Path(plot))
    return found


def summary(session: Session, found: list[Found], screen: Screen) -> None:
    """How it went; on standard error where standard output is for JSON."""
    latencies, watch = session.latencies, session.watch
    said = sum(word.said for word in found)
    lines = [f"{session.duration:.1f} s of sound, {said} {'phones' if _is_phones(session) else 'words'} found."]
    if len(latencies):
        each = ", ".join(f"{1000 * latencies.quantile(q):.1f} ms ({100 * q:.0f} %)" for q in (0.5, 0.99))
        lines.append(f"From a frame's last sample to its result: {each}, {1000 * latencies.longest:.1f} ms at most.")
        lines.append(f"{session.duration / max(session.busy, 1e-9):.1f} times as fast as the sound.")
    if said:
        lines.append(f"Certain {session.delays.quantile(0.5):.1f} s after its end (median).")
    if isinstance(session.task, ScriptFollower):
        lines.append(f"{len(session.task.words) - len(found)} words were not reached, {len(found) - said} not said.")
    if watch.lost:
        lines.append(f"{watch.lost:.1f} s of sound were lost, {watch.overruns} times by an overrun.")
    for line in lines:
        print(line, file=sys.stderr) if screen.json_lines else show.note(line)


def _is_phones(session: Session) -> bool:
    return not isinstance(session.task, ScriptFollower | KeywordSpotter)


def _line(found: Found) -> str:
    item = found.item
    match = "" if item.match is None else f"  match {item.match:.2f}" if found.said else "  (not said)"
    return f"{item.start:8.2f} {item.end:8.2f}  {item.label}{match}  {found.score:+.2f} nats a frame"


def _record(moment: Moment) -> dict[str, object]:
    now = moment.now
    found = [
        {
            "label": one.item.label,
            "index": one.index,
            "start": round(one.item.start, 4),
            "end": round(one.item.end, 4),
            "score": round(one.score, 3),
            "said": one.said,
        }
        for one in now.found
    ]
    record: dict[str, object] = {"time": round(moment.time, 4), "label": now.label, "index": now.index}
    record |= {"probability": round(now.probability, 4), "place": now.place, "lost": moment.lost, "found": found}
    if now.posterior is not None and len(now.posterior) != len(moment.phones):
        record["posterior"] = dict(zip(now.labels, (round(p, 4) for p in now.posterior.tolist()), strict=True))
    return record


@contextmanager
def _until_interrupted() -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C; a second one ends the program."""
    interrupted: list[int] = []

    def note(number: int, frame: object) -> None:
        interrupted.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
