"""The command ``semihmm train``."""

from pathlib import Path
from typing import Annotated

import typer

from semihmm.cli.options import DaskAddress, EngineName
from semihmm.cli.running import SOME_FAILED, refusing

_NAMED = 5  # recordings, and phones, that a message names


def train(
    corpus: Annotated[Path, typer.Argument(help="Folder of recordings and transcripts, as for align.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the model, NAME.safetensors.")],
    dictionary: Annotated[
        Path | None,
        typer.Option(help="Pronunciations: alone, or added to those of the LANGUAGE, if that is given too."),
    ] = None,
    language: Annotated[str | None, typer.Option(help="Language of the transcripts (en, de, fr, ...).")] = None,
    phones: Annotated[
        bool, typer.Option("--phones", help="The transcripts are phones with blanks between them, | between words.")
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(help="Folder of label files: where they have phones, or words, these are said then, as known."),
    ] = None,
    gaussians: Annotated[int, typer.Option(min=1, help="The most Gaussians that a state may have: a power of 2.")] = 4,
    triphones: Annotated[
        int, typer.Option(min=0, help="The most states of phones in context; 0 for phones without context.")
    ] = 0,
    adaptive: Annotated[
        bool,
        typer.Option("--adaptive", help="Then features by LDA and MLLT, and a map for each speaker by fMLLR."),
    ] = False,
    speakers: Annotated[
        Path | None,
        typer.Option(
            help="Lines of a recording and its speaker, as utt2spk or .csv. Default: tiers', or else folders."
        ),
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="Last, a network in place of Gaussians, trained by sequences: mmi or ctc-hmm.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Number of threads, of dask processes; the result is the same.")] = 1,
    engine: EngineName = "local",
    dask_address: DaskAddress = None,
    licence: Annotated[str, typer.Option(help="Of the recordings, for the model's card.")] = "not stated",
    text_column: Annotated[str | None, typer.Option(help="As for align.")] = None,
) -> None:
    """Train an acoustic model from recordings and their transcripts, with no model to start from.

    The model is one file, which 'semihmm align --model' takes; its card says what it was made of. The same recordings
    give the same bytes.

    Exit code: 0 if all recordings were used, 1 if some were not (they are listed), 2 if there is no model.
    """
    import torch

    from semihmm.cli import show
    from semihmm.errors import DataError
    from semihmm.speech import find_recordings, load_lexicon, open_engine
    from semihmm.speech.training import Recipe, train_adaptively, train_network
    from semihmm.speech.training import train as learn
    from semihmm.speech.training.neural import objective_of
    from semihmm.speech.training.reading import own_lexicon, read_speakers, read_utterances
    from semihmm.speech.training.sharing import by_engine, in_threads

    torch.set_num_threads(1)  # recordings are shared out, not the work of one
    failures: dict[str, str] = {}
    with refusing(), open_engine(engine, jobs=jobs, dask_address=dask_address) as works:
        objective = objective_of(network) if network else None
        recordings = find_recordings(corpus, text_column=text_column)
        if out.is_dir():
            raise DataError(f"--out {out} is a folder, and the model is one file: {out / 'model.safetensors'}, say.")
        if phones:
            lexicon = None
        elif dictionary is not None and language is None:
            lexicon = own_lexicon(dictionary)
        else:
            lexicon = load_lexicon(language, dictionary=dictionary)
        utterances = list(
            read_utterances(
                recordings, lexicon, failures, labels=labels, speakers=read_speakers(speakers) if speakers else None
            )
        )
        if not utterances:
            name, reason = next(iter(failures.items()))
            raise DataError(f"none of the {len(recordings)} recordings can be learnt from. {name}: {reason}")
        recipe = Recipe.for_rate(min(item.sample_rate for item in utterances), gaussians=gaussians, triphones=triphones)
        with show.passes(recipe.passes) as watch:
            model = learn(
                utterances,
                recipe=recipe,
                name=out.stem,
                card={"licence": licence, "corpus": corpus.resolve().name},
                each=in_threads(jobs) if engine == "local" else by_engine(works),
                watch=watch,
            )
        if adaptive:
            model = train_adaptively(model, utterances, gaussians=gaussians)
        if objective is not None:
            model = train_network(model, utterances, objective=objective)
        model.save(out)
    show.trained(model, failures, out)
    raise typer.Exit(SOME_FAILED if failures else 0)
