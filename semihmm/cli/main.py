"""The commands: they parse arguments, show progress and print tables; the work is done in `semihmm.speech`.

What works is imported where it is used, so that ``--help`` does not wait for it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import semihmm
from semihmm.cli.adapt import adapt
from semihmm.cli.train import train
from semihmm.errors import DataError, SemihmmError

if TYPE_CHECKING:
    from semihmm.speech import Aligner, Recording
    from semihmm.speech.corpora.batch import Summary
    from semihmm.speech.training.adapt import Method

SOME_FAILED, CANNOT = 1, 2

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
Model = Annotated[
    Path | None,
    typer.Option(help="Another acoustic model: a file of 'semihmm train', or a folder of Sphinx's, phonetically tied."),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made if it is not there.")]


@contextmanager
def _refusing() -> Iterator[None]:
    """Ends the program with code 2 and the reason, without a traceback, where a command cannot be carried out."""
    try:
        yield
    except (SemihmmError, OSError) as error:
        from semihmm.cli import show

        show.error(str(error))
        raise typer.Exit(CANNOT) from error


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
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            help="What to write, separated by commas: textgrid and json always, ctm, srt, vtt, ass, csv, lab, eaf.",
        ),
    ] = "textgrid,json",
    resume: Annotated[bool, typer.Option("--resume", help="Leave alone what an earlier run has finished.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Number of processes; the results are the same.")] = 1,
    text_column: TextColumn = None,
    model: Model = None,
    dictionary: Dictionary = None,
    pause_probability: Annotated[
        float, typer.Option(help="Prior probability of a pause before, between and after words.")
    ] = 0.5,
    extra_speech: Annotated[
        bool, typer.Option("--extra-speech", help="Let there be speech between the words that no transcript holds.")
    ] = False,
    language: Language = None,
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

    Exit code: 0 if all recordings were aligned, 1 if some were not (they are listed), 2 if nothing could be done.
    """
    from semihmm.cli import show
    from semihmm.speech import find_recordings
    from semihmm.speech.corpora.batch import only_writer
    from semihmm.speech.training.adapt import methods_of

    with _refusing():
        recordings = find_recordings(corpus, text_column=text_column)
        if out.resolve() == corpus.resolve():
            raise OSError("--out must not be the corpus itself: results could overwrite its TextGrids.")
        with only_writer(out):
            pass  # better to fail before the work than after it
        aligner = _aligner(model, dictionary, pause_probability, language, extra_speech)
        more = {name.strip().lower() for name in formats.split(",")} - {"textgrid", "json", ""}
        methods = methods_of(speakers) if speakers else []
        summary = _run(
            aligner, recordings, out, nbest=nbest, resume=resume, jobs=jobs, formats=sorted(more), methods=methods
        )
    show.summary(summary, aligner.model.front_end)
    raise typer.Exit(SOME_FAILED if summary.failures else 0)


@app.command()
def validate(
    corpus: Annotated[Path, typer.Argument(help="As for align.")],
    text_column: TextColumn = None,
    model: Model = None,
    dictionary: Dictionary = None,
    language: Language = None,
) -> None:
    """Say what is wrong with a corpus before hours are spent on it: seconds for each hour of sound.

    Exit code: 0 if every recording can be aligned, 1 if some cannot, 2 if nothing could be done.
    """
    from semihmm.cli import show
    from semihmm.speech import find_recordings
    from semihmm.speech import validate as findings_of

    with _refusing():
        recordings = find_recordings(corpus, text_column=text_column)
        findings = list(findings_of(recordings, _aligner(model, dictionary, language=language)))
    show.findings(findings, recordings)
    raise typer.Exit(SOME_FAILED if any(finding.fatal for finding in findings) else 0)


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
) -> None:
    """Measure how far the edges of words and phones are from a reference's.

    Labels are paired without looking at times; those without a counterpart are counted apart.
    """
    from semihmm.cli import show
    from semihmm.speech import evaluate as evaluate_labels
    from semihmm.speech.metrics.evaluate import read_phone_map

    with _refusing():
        mapped = read_phone_map(phone_map) if phone_map else None
        result = evaluate_labels(reference, hypothesis, word_tier=words, phone_tier=phones, phone_map=mapped)
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
    with _refusing():
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
    """Print how words are pronounced, as a dictionary to mend by hand: semihmm oov CORPUS | semihmm g2p > own.dict."""
    from semihmm.speech import dictionary_lines, load_lexicon, words_of

    with _refusing():
        lexicon = load_lexicon(language, dictionary=dictionary)
        given = words or [line.split()[0] for line in sys.stdin if line.strip()]
        spoken = [word for text in given for word in words_of(text, language=language or "en")]
        for line in dictionary_lines(spoken, lexicon):
            typer.echo(line)


@app.command()
def demo(
    out: Out = Path("build/demo"),
    data: Annotated[Path, typer.Option(help="The recordings to align.")] = Path("examples/data"),
    smoke: Annotated[bool, typer.Option("--smoke", help="Align only the smallest recording.")] = False,
) -> None:
    """Align a few real recordings, print one of them, and draw a picture of it."""
    from semihmm.cli import show
    from semihmm.speech import find_recordings
    from semihmm.speech.view.picture import draw_recording

    with _refusing():
        recordings = find_recordings(data)
        smallest = min(recordings, key=lambda recording: recording.audio.stat().st_size)
        aligner = _aligner()
        summary = _run(aligner, [smallest] if smoke else recordings, out)
        show.summary(summary, aligner.model.front_end)
        if summary.failures:
            raise typer.Exit(SOME_FAILED)
        evidence = draw_recording(aligner, smallest, out / "alignment.png")
    show.words(evidence.alignment, title=smallest.name)
    show.note(f"Results: {out}; picture: {out / 'alignment.png'}")


app.command()(train)
app.command()(adapt)


@app.command()
def info() -> None:
    """Say what this installation aligns with."""
    from semihmm.cli import show

    with _refusing():
        aligner = _aligner()
    show.info(aligner)


def _aligner(
    model: Path | None = None,
    dictionary: Path | None = None,
    pause_probability: float = 0.5,
    language: str | None = None,
    extra_speech: bool = False,
) -> Aligner:
    from semihmm.speech import LANGUAGES, Aligner, load_acoustic_model, load_lexicon
    from semihmm.speech.alignment.pronunciation import check_language

    if language and check_language(language) != "en" and not (model and dictionary):
        raise DataError(
            f"no acoustic model and no dictionary of {LANGUAGES[language]} come with semihmm, only English ones. "
            f"Give a model with --model, and a dictionary in its phones with --dictionary."
        )
    acoustic = load_acoustic_model(model)
    lexicon = load_lexicon(language, dictionary=dictionary, model=acoustic)
    return Aligner(acoustic, lexicon, pause_probability, extra_speech)


def _run(
    aligner: Aligner,
    recordings: Sequence[Recording],
    out: Path,
    *,
    nbest: int = 0,
    resume: bool = False,
    jobs: int = 1,
    formats: Sequence[str] = (),
    methods: Sequence[Method] = (),
) -> Summary:
    """Align with a progress bar; after adapting to each speaker, where there are methods for that."""
    import torch

    from semihmm.cli import show
    from semihmm.speech.corpora.batch import Summary, align_recordings
    from semihmm.speech.corpora.corpus import Corpus
    from semihmm.speech.training.speakers import by_speaker

    torch.set_num_threads(1)  # the work of one frame is too small to share: threads would wait for each other
    summary = Summary(recordings.passed_over if isinstance(recordings, Corpus) else {})
    unadapted: dict[str, str] = {}
    with show.progress(len(recordings)) as advance:
        for adapted, own in by_speaker(aligner, recordings, methods, unadapted) if methods else [(aligner, recordings)]:
            run = align_recordings(adapted, own, out, nbest=nbest, resume=resume, jobs=jobs, formats=formats)
            for outcome in run:
                summary.add(outcome)
                advance(outcome)
    for speaker, reason in unadapted.items():
        show.note(f"aligned with the model as it is: {speaker or 'recordings in no folder'}, as {reason}")
    return summary
