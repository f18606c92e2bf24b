"""The commands: they parse arguments, show progress and print tables; the work is done in `semihmm.speech`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import torch
import typer

from semihmm.cli import show
from semihmm.errors import SemihmmError
from semihmm.speech import Aligner, Lexicon, find_recordings, load_acoustic_model, load_dictionary
from semihmm.speech.batch import Outcome, Summary, align_recordings
from semihmm.speech.corpus import Recording
from semihmm.speech.evaluate import evaluate as evaluate_labels
from semihmm.speech.picture import draw_recording

SOME_FAILED, CANNOT = 1, 2

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Forced alignment of speech with semihmm: when is each word and each phone of a transcript said?",
)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results; made if it is not there.")]


@contextmanager
def _refusing() -> Iterator[None]:
    """Ends the program with code 2 and the reason, without a traceback, where a command cannot be carried out."""
    try:
        yield
    except (SemihmmError, OSError) as error:
        show.error(str(error))
        raise typer.Exit(CANNOT) from error


@app.command()
def align(
    corpus: Annotated[
        Path, typer.Argument(help="Folder of .wav or .flac recordings, with their transcripts beside them.")
    ],
    out: Out,
    nbest: Annotated[int, typer.Option(min=0, help="Also write the K best readings: in other pronunciations.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Leave alone what an earlier run has finished.")] = False,
    model: Annotated[
        Path | None, typer.Option(help="Folder of another Sphinx acoustic model, phonetically tied.")
    ] = None,
    dictionary: Annotated[
        Path | None, typer.Option(help="Pronunciations that add to the CMU dictionary's, or replace them.")
    ] = None,
    pause_probability: Annotated[
        float, typer.Option(help="Prior probability of a pause before, between and after words.")
    ] = 0.5,
    extra_speech: Annotated[
        bool, typer.Option("--extra-speech", help="Let there be speech between the words that no transcript holds.")
    ] = False,
) -> None:
    """Find where the words and phones of transcripts are in their recordings.

    Transcripts: a .txt, .lab or .TextGrid beside each recording, or an LJSpeech-style metadata.csv, or
    LibriSpeech-style .trans.txt files. For each recording, a Praat TextGrid and a JSON file are written, at the same
    place below OUT as it has in CORPUS.

    Exit code: 0 if all recordings were aligned, 1 if some were not (they are listed), 2 if nothing could be done.
    """
    with _refusing():
        recordings = find_recordings(corpus)
        if out.resolve() == corpus.resolve():
            raise OSError("--out must not be the corpus itself: results could overwrite its TextGrids.")
        aligner = _aligner(model, dictionary, pause_probability, extra_speech)
        summary = _run(aligner, recordings, out, nbest=nbest, resume=resume)
    show.summary(summary)
    raise typer.Exit(SOME_FAILED if summary.failures else 0)


@app.command()
def evaluate(
    reference: Annotated[Path, typer.Argument(help="Labels taken to be right: a TextGrid, .lab or JSON, or a folder.")],
    hypothesis: Annotated[Path, typer.Argument(help="Labels to be measured: the same.")],
    word_tier: Annotated[
        str | None, typer.Option(help="The reference's tier of words, if its name is unusual.")
    ] = None,
    phone_tier: Annotated[str | None, typer.Option(help="The reference's tier of phones.")] = None,
) -> None:
    """Measure how far the onsets of words and phones are from a reference's.

    Labels are paired without looking at times; those without a counterpart are counted apart.
    """
    with _refusing():
        result = evaluate_labels(reference, hypothesis, word_tier=word_tier, phone_tier=phone_tier)
    show.evaluation(result)


@app.command()
def demo(
    out: Out = Path("build/demo"),
    data: Annotated[Path, typer.Option(help="The recordings to align.")] = Path("examples/data"),
    smoke: Annotated[bool, typer.Option("--smoke", help="Align only the smallest recording.")] = False,
) -> None:
    """Align a few real recordings, print one of them, and draw a picture of it."""
    with _refusing():
        recordings = find_recordings(data)
        smallest = min(recordings, key=lambda recording: recording.audio.stat().st_size)
        aligner = _aligner()
        summary = _run(aligner, [smallest] if smoke else recordings, out)
        show.summary(summary)
        if summary.failures:
            raise typer.Exit(SOME_FAILED)
        evidence = draw_recording(aligner, smallest, out / "alignment.png")
    show.words(evidence.alignment, title=smallest.name)
    show.note(f"Results: {out}; picture: {out / 'alignment.png'}")


@app.command()
def info() -> None:
    """Say what this installation aligns with."""
    with _refusing():
        aligner = _aligner()
    show.info(aligner)


def _aligner(
    model: Path | None = None,
    dictionary: Path | None = None,
    pause_probability: float = 0.5,
    extra_speech: bool = False,
) -> Aligner:
    entries = load_dictionary() | (load_dictionary(dictionary) if dictionary else {})
    return Aligner(load_acoustic_model(model), Lexicon(entries), pause_probability, extra_speech)


def _run(aligner: Aligner, recordings: list[Recording], out: Path, *, nbest: int = 0, resume: bool = False) -> Summary:
    """Align with a progress bar."""
    torch.set_num_threads(1)  # the work of one frame is too small to share: threads would wait for each other
    outcomes: list[Outcome] = []
    with show.progress(len(recordings)) as advance:
        for outcome in align_recordings(aligner, recordings, out, nbest=nbest, resume=resume):
            outcomes.append(outcome)
            advance(outcome)
    return Summary.of(outcomes)
