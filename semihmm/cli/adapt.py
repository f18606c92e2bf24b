"""The command ``semihmm adapt``."""

from pathlib import Path
from typing import Annotated

import typer

from semihmm.cli.running import SOME_FAILED, refusing


def adapt(
    corpus: Annotated[Path, typer.Argument(help="Folder of recordings and transcripts, as for align.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the model, NAME.safetensors.")],
    method: Annotated[
        str, typer.Option(help="map, fmllr or cmn; or several, one after the other, with commas between them.")
    ] = "fmllr,map",
    speaker: Annotated[
        str | None, typer.Option(help="Adapt to this speaker alone: as labels or folders name them. Default: to all.")
    ] = None,
    passes: Annotated[int, typer.Option(min=1, help="How often to align and adapt, with each method.")] = 1,
    relevance: Annotated[float, typer.Option(help="Of map: frames that what is known of a Gaussian is worth.")] = 16.0,
    variances: Annotated[bool, typer.Option("--variances", help="Of map: move variances too.")] = False,
    model: Annotated[Path | None, typer.Option(help="The model to adapt, as for align.")] = None,
    dictionary: Annotated[Path | None, typer.Option(help="As for align.")] = None,
    language: Annotated[str | None, typer.Option(help="As for align.")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Folder of label files: where they have phones, or words, these are said then, as known."),
    ] = None,
    text_column: Annotated[str | None, typer.Option(help="As for align.")] = None,
) -> None:
    """Adapt an acoustic model to a speaker, or to recordings like those of a corpus, from seconds or minutes of them.

    Nothing needs to be labelled: transcripts do. The adapted model is one file, which 'semihmm align --model' takes.

    Exit code: 0 if all recordings were used, 1 if some were not (they are listed), 2 if there is no model.
    """
    import torch

    from semihmm.cli import show
    from semihmm.errors import DataError
    from semihmm.speech import find_recordings, load_acoustic_model, load_lexicon
    from semihmm.speech.training import adapt as adapted_to
    from semihmm.speech.training.adaptation import methods_of
    from semihmm.speech.training.reading import read_utterances

    torch.set_num_threads(1)
    failures: dict[str, str] = {}
    with refusing():
        methods = methods_of(method)
        recordings = find_recordings(corpus, text_column=text_column)
        adapted = load_acoustic_model(model)
        lexicon = load_lexicon(language, dictionary=dictionary, model=adapted)
        utterances = list(read_utterances(recordings, lexicon, failures, labels=labels))
        speakers = sorted({item.speaker for item in utterances})
        if speaker is not None:
            utterances = [item for item in utterances if item.speaker == speaker]
            if not utterances:
                raise DataError(f"nobody called {speaker!r} speaks here. Speakers: {', '.join(speakers)}.")
        for each in methods:
            adapted = adapted_to(
                adapted,
                utterances,
                method=each,
                passes=passes,
                relevance=relevance,
                parts=("means", "weights", "variances") if variances else ("means", "weights"),
                failures=failures,
            )
        adapted.save(out)
    for name, reason in failures.items():
        show.error(f"{name} is left out: {reason}")
    seconds = sum(len(item.wave) / item.sample_rate for item in utterances if item.name not in failures)
    show.note(f"Adapted to {seconds:.1f} s of speech: {out}. Align with it: semihmm align CORPUS --model {out}")
    raise typer.Exit(SOME_FAILED if failures else 0)
