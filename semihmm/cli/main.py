"""The commands: they parse arguments, show progress and print tables; the work is done in `semihmm.speech`.

What works is imported where it is used, so that ``--help`` does not wait for it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import semihmm
from semihmm.cli.adapt import adapt
from semihmm.cli.export import export
from semihmm.cli.info import info
from semihmm.cli.live import live
from semihmm.cli.options import DaskAddress, EngineName, Jobs
from semihmm.cli.running import SOME_FAILED, build_aligner, refusing
from semihmm.cli.train import train
from semihmm.cli.view import view
from semihmm.errors import DataError

if TYPE_CHECKING:
    from semihmm.speech import Aligner, Engine, Recording
    from semihmm.speech.corpora.batch import Summary
    from semihmm.speech.training.adaptation import Method

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Forced alignment of speech with semihmm: when is each word and each phone of a transcript said?",
)

Language = Annotated[
    str | None,
    typer.Option(help="Language of the transcripts (en, de, fr, ...); one other than en needs a MODEL of its own."),
]
Dictionary = Annotated[
    Path | None, typer.Option(help="Pronunciations that add to the CMU dictionary's, or replace them.")
]
TextColumn = Annotated[
    str | None, typer.Option(help="Column of a metadata.csv with the text: its name, or its number from 1.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with code 1 for a warning of any kind, too.")]
Model = Annotated[
    Path | None,
    typer.Option(
        help="Another acoustic model than the best that is installed: english (the one that comes along), a file of "
        "'semihmm train', or a folder of Sphinx's or of HTK's."
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made if it is not there.")]


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"semihmm {semihmm.__version__}")
        raise typer.Exit


@app.callback()
def everywhere(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """What stands before any command."""


@app.command()
def align(
    corpus: Annotated[
        Path, typer.Argument(help="Folder of recordings, with their transcripts beside them; or one recording.")
    ],
    out: Out,
    nbest: Annotated[int, typer.Option(min=0, help="Also write the K best readings: in other pronunciations.")] = 0,
    entropy: Annotated[
        bool, typer.Option("--entropy", help="Also write how unsure each word's pronunciation and each phone is.")
    ] = False,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            help="What to write, separated by commas: textgrid and json always, ctm, srt, vtt, ass, csv, lab, eaf.",
        ),
    ] = "textgrid,json",
    resume: Annotated[bool, typer.Option("--resume", help="Leave alone what an earlier run has finished.")] = False,
    jobs: Jobs = 1,
    engine: EngineName = "local",
    dask_address: DaskAddress = None,
    strict: Strict = False,
    log: Annotated[
        Path | None, typer.Option(help="File to add a line of JSON to for each recording and each warning.")
    ] = None,
    text_column: TextColumn = None,
    model: Model = None,
    dictionary: Dictionary = None,
    pause_probability: Annotated[
        float, typer.Option(help="Prior probability of a pause before, between and after words.")
    ] = 0.5,
    extra_speech: Annotated[
        bool, typer.Option("--extra-speech", help="Let there be speech between the words that no transcript holds.")
    ] = False,
    durations: Annotated[
        bool, typer.Option(help="Let laws of how long phones last say where they meet, between the frames.")
    ] = True,
    language: Language = None,
    contexts: Annotated[
        bool, typer.Option("--contexts", help="Use the model's phones in context (triphones).")
    ] = False,
    speakers: Annotated[
        str | None,
        typer.Option(
            "--adapt", help="Adapt to each speaker first, that is, to each folder: cmn, fmllr or map; or fmllr,map."
        ),
    ] = None,
) -> None:
    """Find where the words and phones of transcripts are in their recordings.

    Transcripts: a .txt or .lab beside each recording; a .TextGrid, .eaf, .srt, .vtt, .csv or .tsv with the times of
    its utterances, which are aligned each in its own stretch; or lists: metadata.csv, .trans.txt, .stm, .ctm. For each
    recording, a Praat TextGrid and a JSON file are written, at the same place below OUT as it has in CORPUS.

    Exit code: 0 if all recordings were aligned, 1 if some were not (they are listed), 2 if nothing could be done. With
    --strict also 1 if a word has no entry, a stretch is suspicious, a file was passed over, or anything else is odd.
    """
    from semihmm.cli import show
    from semihmm.speech import find_recordings, open_engine
    from semihmm.speech.corpora.journal import journal
    from semihmm.speech.corpora.locking import only_writer
    from semihmm.speech.training.adaptation import methods_of

    with refusing(), open_engine(engine, jobs=jobs, dask_address=dask_address) as works, journal(log):
        recordings = find_recordings(corpus, text_column=text_column)
        if out.resolve() == corpus.resolve():
            raise OSError("--out must not be the corpus itself: results could overwrite its TextGrids.")
        with only_writer(out):
            pass  # better to fail before the work than after it
        aligner = build_aligner(model, dictionary, pause_probability, language, extra_speech, contexts)
        aligner = aligner if durations else replace(aligner, durations=None)
        more = {name.strip().lower() for name in formats.split(",")} - {"textgrid", "json", ""}
        methods = methods_of(speakers) if speakers else []
        summary = _run(
            aligner,
            recordings,
            out,
            nbest=nbest,
            entropy=entropy,
            resume=resume,
            engine=works,
            formats=sorted(more),
            methods=methods,
        )
    show.summary(summary, aligner.model)
    is_fine = not summary.failures and not (strict and show.objections(summary))
    raise typer.Exit(0 if is_fine else SOME_FAILED)


@app.command()
def validate(
    corpus: Annotated[Path, typer.Argument(help="As for align.")],
    text_column: TextColumn = None,
    model: Model = None,
    dictionary: Dictionary = None,
    language: Language = None,
    strict: Strict = False,
) -> None:
    """Say what is wrong with a corpus before hours are spent on it: seconds for each hour of sound.

    Exit code: 0 if every recording can be aligned, 1 if some cannot, 2 if nothing could be done. With --strict also 1
    if anything is odd.
    """
    from semihmm.cli import show
    from semihmm.speech import find_recordings
    from semihmm.speech import validate as findings_of

    with refusing():
        recordings = find_recordings(corpus, text_column=text_column)
        findings = list(findings_of(recordings, build_aligner(model, dictionary, language=language)))
    show.findings(findings, recordings)
    is_fine = not (findings or recordings.passed_over) if strict else not any(finding.fatal for finding in findings)
    raise typer.Exit(0 if is_fine else SOME_FAILED)


@app.command()
def evaluate(
    reference: Annotated[Path, typer.Argument(help="Labels taken to be right: a TextGrid, .lab or JSON, or a folder.")],
    hypothesis: Annotated[Path, typer.Argument(help="Labels to be measured: the same.")],
    words: Annotated[
        str | None,
        typer.Option("--words", "--word-tier", help="The reference's tier of words, if its name is unusual."),
    ] = None,
    phones: Annotated[
        str | None, typer.Option("--phones", "--phone-tier", help="The reference's tier of phones.")
    ] = None,
    phone_map: Annotated[
        Path | None, typer.Option(help="Lines of a phone of the reference and what to take it for.")
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Also by what the phones are, and by what they follow on.")
    ] = False,
    jobs: Jobs = 1,
    engine: EngineName = "local",
    dask_address: DaskAddress = None,
) -> None:
    """Measure how far the edges of words and phones are from a reference's.

    Labels are paired without looking at times, each speaker's with the same speaker's; those without a counterpart are
    counted apart.
    """
    from semihmm.cli import show
    from semihmm.speech import evaluate as evaluate_labels
    from semihmm.speech import open_engine
    from semihmm.speech.metrics.evaluate import read_phone_map

    with refusing(), open_engine(engine, jobs=jobs, dask_address=dask_address) as works:
        mapped = read_phone_map(phone_map) if phone_map else None
        result = evaluate_labels(
            reference, hypothesis, word_tier=words, phone_tier=phones, phone_map=mapped, engine=works
        )
    show.evaluation(result, details=details)


@app.command()
def oov(
    corpus: Annotated[Path, typer.Argument(help="Folder of recordings, with their transcripts beside them.")],
    dictionary: Dictionary = None,
    language: Language = None,
) -> None:
    """List the words of a corpus that the dictionary lacks, each with how often it occurs, the most frequent first."""
    from semihmm.cli import show
    from semihmm.speech import find_recordings, load_lexicon, unknown_words

    unknown: Counter[str] = Counter()
    with refusing():
        lexicon = load_lexicon(language, dictionary=dictionary)
        for recording in find_recordings(corpus):
            try:
                unknown += unknown_words([recording.transcript()], lexicon)
            except DataError as error:
                show.error(f"{recording.name} is left out: {error}")
    for word, count in unknown.most_common():
        typer.echo(f"{word}\t{count}")


@app.command()
def g2p(
    words: Annotated[list[str] | None, typer.Argument(help="Default: the first of each line of the input.")] = None,
    dictionary: Dictionary = None,
    language: Language = None,
) -> None:
    """Print how words are pronounced, as a dictionary to mend by hand: semihmm oov CORPUS | semihmm g2p > own.dict.

    Exit code: 0 if all are, 1 if nobody knows how some could be said (they are listed), 2 if nothing could be done.
    """
    from semihmm.cli import show
    from semihmm.speech import dictionary_lines, load_lexicon, words_of

    with refusing():
        lexicon = load_lexicon(language, dictionary=dictionary)
        spoken = [word for text in words or () for word in words_of(text, language=language or "en")]
        spoken = spoken if words else [line.split()[0].lower() for line in sys.stdin if line.strip()]
        unsaid = 0
        for word in spoken:
            try:
                typer.echo("\n".join(dictionary_lines([word], lexicon)))
            except DataError as error:
                unsaid += 1
                show.error(str(error))
    raise typer.Exit(SOME_FAILED if unsaid else 0)


@app.command()
def demo(
    out: Out = Path("build/demo"),
    data: Annotated[
        Path,
        typer.Option(help="The recordings to align, with their transcripts.", show_default="three that come along"),
    ] = Path(__file__).parent / "recordings",
    smoke: Annotated[bool, typer.Option("--smoke", help="Align only the smallest recording.")] = False,
) -> None:
    """Align a few real recordings, print one of them, and draw a picture of it."""
    from semihmm.cli import show
    from semihmm.speech import find_recordings
    from semihmm.speech.view.picture import draw_recording

    with refusing():
        recordings = find_recordings(data)
        smallest = min(recordings, key=lambda recording: recording.audio.stat().st_size)
        aligner = build_aligner()
        summary = _run(aligner, [smallest] if smoke else recordings, out)
        show.summary(summary, aligner.model)
        if summary.failures:
            raise typer.Exit(SOME_FAILED)
        evidence = draw_recording(aligner, smallest, out / "alignment.png")
    show.words(evidence.alignment, title=smallest.name)
    show.note(f"Results: {out}; picture: {out / 'alignment.png'}")


app.command()(view)
app.command()(train)
app.command()(live)
app.command()(adapt)
app.command()(info)
app.command()(export)


def _run(
    aligner: Aligner,
    recordings: Sequence[Recording],
    out: Path,
    *,
    nbest: int = 0,
    entropy: bool = False,
    resume: bool = False,
    engine: Engine | None = None,
    formats: Sequence[str] = (),
    methods: Sequence[Method] = (),
) -> Summary:
    """Align with a progress bar; after adapting to each speaker, where there are methods for that."""
    from semihmm.cli import show
    from semihmm.speech.corpora.batch import Summary, align_recordings
    from semihmm.speech.corpora.corpus import Corpus
    from semihmm.speech.engines.local import ALONE
    from semihmm.speech.training.speakers import by_speaker

    summary = Summary(recordings.passed_over if isinstance(recordings, Corpus) else {})
    summary.log_passed_over()
    unadapted: dict[str, str] = {}
    with show.progress(len(recordings)) as advance:
        for adapted, own in by_speaker(aligner, recordings, methods, unadapted) if methods else [(aligner, recordings)]:
            run = align_recordings(
                adapted,
                own,
                out,
                nbest=nbest,
                entropy=entropy,
                resume=resume,
                engine=engine or ALONE,
                formats=formats,
            )
            for outcome in run:
                summary.add(outcome)
                advance(outcome)
    for speaker, reason in unadapted.items():
        show.note(f"aligned with the model as it is: {speaker or 'recordings in no folder'}, as {reason}")
    summary.log()
    return summary
