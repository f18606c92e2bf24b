"""What the commands print: tables and notes on standard output, progress and errors on standard error."""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from semihmm.speech import (
    TOLERANCES,
    AcousticModel,
    Aligner,
    Alignment,
    BoundaryErrors,
    Corpus,
    Evaluation,
    Finding,
)
from semihmm.speech.corpora.batch import Outcome, Summary
from semihmm.speech.training.trainer import Pass

if TYPE_CHECKING:
    from semihmm.export.comparing import Comparison  # PyTorch takes two seconds to find what it exports with

_SOME, _OFTEN = 3, 0.15  # words without an entry, and their share, from where on the language is in doubt
_SUSPICIOUS, _STRETCHES = 20, 5  # recordings, and stretches of one, that a summary names


def error(reason: str) -> None:
    """Say why a command cannot be carried out."""
    Console(stderr=True, soft_wrap=True).print(f"[bold red]semihmm:[/] {_plain(reason)}", highlight=False)


def note(text: str) -> None:
    """A closing line."""
    Console(soft_wrap=True).print(_plain(text), highlight=False)


@contextmanager
def progress(total: int) -> Iterator[Callable[[Outcome], None]]:
    """A progress bar with the time left, on a terminal alone; call what it gives with each outcome."""
    console = Console(stderr=True, soft_wrap=True)
    columns = (
        TextColumn("aligning"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total, name="")

        def advance(outcome: Outcome) -> None:
            bar.update(task, advance=1, name=_printable(outcome.recording.name))

        yield advance


@contextmanager
def passes(total: int) -> Iterator[Callable[[Pass], None]]:
    """A progress bar of training; call what it gives with each pass."""
    console = Console(stderr=True, soft_wrap=True)
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[fit]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total, fit="")

        def advance(done: Pass) -> None:
            bar.update(task, completed=done.number, fit=f"{done.log_likelihood:.2f} nats per frame")

        yield advance


def trained(model: AcousticModel, failures: Mapping[str, str], out: Path) -> None:
    """What a model was made of, and what it was not made of."""
    card = model.card
    table = Table(title="Acoustic model", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name in ("utterances", "seconds", "states", "gaussians", "log-likelihood per frame"):
        table.add_row(name, str(card[name]))
    table.add_row("phones", str(len(model.phones)))
    table.add_row("recordings left out", str(len(failures)), style="red" if failures else None)
    console = Console(soft_wrap=True)
    console.print(table)
    for name, reason in failures.items():
        console.print(f"[red]{_plain(name)}[/] {_plain(reason)}", highlight=False)
    for about, what in (
        (
            "left out: too short for what is said, too long and without pauses, or not as labels have it",
            card["left out"],
        ),
        ("phones with little data, which resemble their class (vowels, stops, ...)", card["little data"]),
    ):
        if isinstance(what, list) and what:
            console.print(f"[yellow]{about}:[/] {_plain(', '.join(what))}", highlight=False)
    note(f"Model: {out}. Align with it: semihmm align CORPUS --model {out} --out RESULTS")


def model_in_use(model: AcousticModel) -> None:
    """That a model is the one that comes with semihmm, for want of a better one."""
    Console(stderr=True, soft_wrap=True).print(
        f"Aligning with {_plain(model.name)}, as the package pocketsphinx is not installed, which holds a better one: "
        f"pip install pocketsphinx",
        highlight=False,
    )


def summary(run: Summary, model: AcousticModel) -> None:
    """The table at the end of a run, and under it failures, unknown words, and rates that are too low."""
    table = Table(title="Alignment", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    speed = run.audio / run.spent if run.spent else 0.0
    per_frame = f"{run.log_likelihood / run.frames:.2f}" if run.frames else "–"
    table.add_row("acoustic model", _plain(model.name))
    table.add_row("recordings aligned", str(run.aligned))
    if run.resumed:
        table.add_row("finished before", str(run.resumed))
    table.add_row("seconds of audio", f"{run.audio:.1f}")
    table.add_row("seconds spent", f"{run.spent:.1f}")
    table.add_row("× real time", f"{speed:.1f}")
    table.add_row("log-likelihood per frame (nats)", per_frame)
    table.add_row("words without entry", str(run.unknown.total()))
    if run.passed_over:
        table.add_row("passed over", str(len(run.passed_over)))
    table.add_row("suspicious recordings", str(len(run.suspicious)), style="yellow" if run.suspicious else None)
    table.add_row("failures", str(len(run.failures)), style="red" if run.failures else None)
    console = Console(soft_wrap=True)
    console.print(table)
    for name, reason in run.failures.items():
        console.print(f"[red]failed[/] [bold]{_plain(name)}[/]: {_plain(reason)}", highlight=False)
    for path, reason in run.passed_over.items():
        console.print(f"passed over [bold]{_plain(path)}[/]: {_plain(reason)}", highlight=False)
    for name, stretches in list(run.suspicious.items())[:_SUSPICIOUS]:
        listed = "; ".join(f"{item.start:.2f}–{item.end:.2f} s {item.label}" for item in stretches[:_STRETCHES])
        more = f"; {len(stretches) - _STRETCHES} more" if len(stretches) > _STRETCHES else ""
        console.print(f"[yellow]suspicious[/] [bold]{_plain(name)}[/]: {_plain(listed)}{more}", highlight=False)
    if len(run.suspicious) > _SUSPICIOUS:
        console.print(f"[yellow]suspicious[/]: {len(run.suspicious) - _SUSPICIOUS} more, named in the JSON files")
    for rate, count in sorted(run.sample_rates.items()):
        if missed := model.front_end.misses(rate):
            console.print(f"[yellow]{count} recordings have {_plain(missed)}[/]", highlight=False)
    if run.unknown:
        listed = ", ".join(f"{word} ({count})" if count > 1 else word for word, count in run.unknown.most_common())
        console.print(f"Not in the dictionary, pronounced by rule: {escape(listed)}", highlight=False)
    if run.unknown.total() > max(_SOME, _OFTEN * run.words):
        share = f"{100 * run.unknown.total() / run.words:.0f}"
        console.print(
            f"[yellow]{share} % of the words are not in the dictionary:[/] are the recordings in its language?"
        )


def objections(run: Summary) -> bool:
    """Whether there are warnings of any kind in a run that aligned all it could, and which recordings have them."""
    named = {**run.warnings, **({"passed over": list(run.passed_over)} if run.passed_over else {})}
    console = Console(soft_wrap=True)
    for kind, names in named.items():
        listed = ", ".join(names[:_SUSPICIOUS] + ["…"] * (len(names) > _SUSPICIOUS))
        console.print(f"[red]strict:[/] {kind} ({len(names)}): {_plain(listed)}", highlight=False)
    return bool(named)


def findings(found: Sequence[Finding], recordings: Corpus) -> None:
    """What is wrong or odd, recording by recording, and how many can be aligned."""
    console = Console(soft_wrap=True)
    for item in found:
        mark = "[red]cannot be aligned[/]" if item.fatal else "[yellow]odd[/]"
        console.print(f"{mark} [bold]{_plain(item.name)}[/]: {_plain(item.reason)}", highlight=False)
    for path, reason in recordings.passed_over.items():
        console.print(f"passed over [bold]{_plain(path)}[/]: {_plain(reason)}", highlight=False)
    fatal = len({item.name for item in found if item.fatal})
    console.print(f"{len(recordings) - fatal} of {len(recordings)} recordings can be aligned.", highlight=False)


def words(alignment: Alignment, *, title: str) -> None:
    """The words of one recording with times and confidences."""
    table = Table(title=title, title_justify="left")
    table.add_column("word")
    for name in ("start (s)", "end (s)", "confidence", "match"):
        table.add_column(name, justify="right")
    table.add_column("phones")
    for word in alignment.words:
        inside = [phone.label for phone in alignment.phones if word.start <= phone.start < word.end]
        sure = ("–" if number is None else f"{number:.3f}" for number in (word.confidence, word.match))
        table.add_row(escape(word.label), f"{word.start:.3f}", f"{word.end:.3f}", *sure, " ".join(inside))
    Console().print(table)


def evaluation(result: Evaluation, *, details: bool = False) -> None:
    """Boundary errors of words and phones; in detail also by what the phones are and follow on."""
    console = Console(soft_wrap=True)
    columns: dict[str, BoundaryErrors] = {}
    for name, matches in {"word": result.word_matches, "phone": result.phone_matches}.items():
        if matches is None:
            console.print(f"No {name}s on both sides. Is the reference's tier of them called otherwise? --{name}s TIER")
        else:
            columns |= {
                f"{name} onsets": matches.starts,
                f"{name} onsets without a pause": matches.internal,
                f"{name} ends": matches.ends,
            }
    console.print(error_table(f"Edges in {result.recordings} recordings", columns))
    if details and result.phone_matches is not None:
        console.print(group_table("Phone onsets by kind", result.phone_matches.by_kind))
        by_transition = {f"{a} – {b}": errors for (a, b), errors in result.phone_matches.by_transition.items()}
        console.print(group_table("Phone onsets by transition", by_transition))
    if result.unmatched:
        console.print(f"On one side only: {escape(', '.join(result.unmatched))}", highlight=False)


def group_table(title: str, groups: Mapping[str, BoundaryErrors]) -> Table:
    """Boundary errors of many groups: one row each."""
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    for name in ("n", "median (ms)", "bias (ms)", "within 20 ms (%)", "missing", "extra"):
        table.add_column(name, justify="right")
    for name, item in groups.items():
        figures = f"{1000 * item.median:.1f}", f"{1000 * item.bias:+.1f}", f"{100 * item.within(0.020):.1f}"
        table.add_row(name, str(item.n), *figures, str(item.missing), str(item.extra))
    return table


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


def rows(title: str, values: Mapping[str, str]) -> None:
    """Names and what they stand for."""
    table = Table(title=_plain(title), show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in values.items():
        table.add_row(_plain(name), _plain(value))
    Console().print(table)


def comparison(result: "Comparison", model_bytes: int, exported_bytes: int) -> None:
    """An exported model beside the one that it was exported from."""
    table = Table(title=f"{result.sequences} sequences, {result.frames} frames", title_justify="left")
    for name in ("", "model", "exported"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("states on the best path that are the same (%)", "", f"{100 * result.path_agreement:.2f}")
    table.add_row("posteriors: sum of differences, mean over frames", "", f"{result.posterior_l1:.1e}")
    table.add_row("log-likelihood: largest difference (nats a frame)", "", f"{result.log_likelihood:.1e}")
    table.add_row("size (bytes)", f"{model_bytes:,}", f"{exported_bytes:,}")
    speeds = (result.frames / seconds for seconds in (result.model_seconds, result.exported_seconds))
    table.add_row("speed (frames a second)", *(f"{speed:,.0f}" for speed in speeds))
    Console().print(table)


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


def _printable(text: str) -> str:
    """File names may hold what a terminal must not see, and what no encoding has."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _plain(text: str) -> str:
    """As it is, whatever brackets are in it."""
    return escape(_printable(text))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
