"""What the commands print: tables and notes on standard output, progress and errors on standard error."""

import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from semihmm.speech import TOLERANCES, Aligner, Alignment, BoundaryErrors, Evaluation
from semihmm.speech.batch import Outcome, Summary

_SOME, _OFTEN = 3, 0.15  # words without an entry, and their share, from where on the language is in doubt


def error(reason: str) -> None:
    """Say why a command cannot be carried out."""
    Console(stderr=True, soft_wrap=True).print(f"[bold red]semihmm:[/] {escape(reason)}", highlight=False)


def note(text: str) -> None:
    """A closing line."""
    Console(soft_wrap=True).print(escape(text), highlight=False)


@contextmanager
def progress(total: int) -> Iterator[Callable[[Outcome], None]]:
    """A progress bar; call what it gives with each outcome."""
    console = Console(stderr=True, soft_wrap=True)
    columns = (
        TextColumn("aligning"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total, name="")

        def advance(outcome: Outcome) -> None:
            bar.update(task, advance=1, name=outcome.recording.name)

        yield advance


def summary(run: Summary) -> None:
    """The table at the end of a run, and under it the failures and the words without an entry."""
    table = Table(title="Alignment", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    speed = run.audio / run.spent if run.spent else 0.0
    per_frame = f"{run.log_likelihood / run.frames:.2f}" if run.frames else "–"
    table.add_row("recordings aligned", str(run.aligned))
    if run.resumed:
        table.add_row("finished before", str(run.resumed))
    table.add_row("seconds of audio", f"{run.audio:.1f}")
    table.add_row("seconds spent", f"{run.spent:.1f}")
    table.add_row("× real time", f"{speed:.1f}")
    table.add_row("log-likelihood per frame (nats)", per_frame)
    table.add_row("words without entry", str(run.unknown.total()))
    table.add_row("failures", str(len(run.failures)), style="red" if run.failures else None)
    console = Console(soft_wrap=True)
    console.print(table)
    for name, reason in run.failures.items():
        console.print(f"[red]failed[/] [bold]{escape(name)}[/]: {escape(reason)}", highlight=False)
    if run.unknown:
        listed = ", ".join(f"{word} ({count})" if count > 1 else word for word, count in run.unknown.most_common())
        console.print(f"Not in the dictionary, pronounced by rule: {escape(listed)}", highlight=False)
    if run.unknown.total() > max(_SOME, _OFTEN * run.words):
        share = f"{100 * run.unknown.total() / run.words:.0f}"
        console.print(
            f"[yellow]{share} % of the words are not in the dictionary:[/] are the recordings in its language?"
        )


def words(alignment: Alignment, *, title: str) -> None:
    """The words of one recording with times and confidences."""
    table = Table(title=title, title_justify="left")
    table.add_column("word")
    for name in ("start (s)", "end (s)", "confidence"):
        table.add_column(name, justify="right")
    table.add_column("phones")
    for word in alignment.words:
        inside = [phone.label for phone in alignment.phones if word.start <= phone.start < word.end]
        sure = "–" if word.confidence is None else f"{word.confidence:.3f}"
        table.add_row(escape(word.label), f"{word.start:.3f}", f"{word.end:.3f}", sure, " ".join(inside))
    Console().print(table)


def evaluation(result: Evaluation) -> None:
    """Boundary errors of words and phones."""
    columns = {"words": result.words, "phones": result.phones}
    table = error_table(
        f"Onsets of {result.recordings} recordings", {k: v for k, v in columns.items() if v is not None}
    )
    console = Console(soft_wrap=True)
    console.print(table)
    if result.unmatched:
        console.print(f"On one side only: {escape(', '.join(result.unmatched))}", highlight=False)


def error_table(title: str, columns: Mapping[str, BoundaryErrors]) -> Table:
    """Boundary errors side by side: one column per name."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    errors = columns.values()
    table.add_row("n", *(str(item.n) for item in errors))
    table.add_row("mean error (ms)", *(f"{1000 * item.mean:.1f}" for item in errors))
    table.add_row("median error (ms)", *(f"{1000 * item.median:.1f}" for item in errors))
    table.add_row("bias (ms)", *(f"{1000 * item.bias:+.1f}" for item in errors))
    for tolerance in TOLERANCES:
        table.add_row(
            f"within {1000 * tolerance:.0f} ms (%)", *(f"{100 * item.within(tolerance):.1f}" for item in errors)
        )
    table.add_row("missing", *(str(item.missing) for item in errors))
    table.add_row("extra", *(str(item.extra) for item in errors))
    return table


def info(aligner: Aligner) -> None:
    """Versions and parts."""
    table = Table(show_header=False)
    model = aligner.model
    for package in ("semihmm", "torch", "pocketsphinx", "gruut"):
        table.add_row(package, _version(package))
    table.add_row("python", platform.python_version())
    table.add_row("acoustic model", f"{model.name}: {len(model.phones)} phones of {model.states} states")
    table.add_row("dictionary", f"{len(aligner.lexicon.entries)} words")
    Console().print(table)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
