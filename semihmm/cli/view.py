"""The command ``semihmm view``."""

from pathlib import Path
from typing import Annotated

import typer

from semihmm.cli.running import SOME_FAILED, build_aligner, refusing


def view(
    results: Annotated[Path, typer.Argument(help="Folder that 'semihmm align' wrote, or one of its JSON files.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A page, NAME.html; or a folder, for an overview and many pages.")
    ],
    audio: Annotated[
        Path | None, typer.Option(help="The recordings: a folder, or one file. Default: beside the results.")
    ] = None,
    link_audio: Annotated[
        bool, typer.Option("--link-audio", help="Leave the sound in its file: a small page, for what is long.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Align once more, for the posteriors of the phones.")
    ] = False,
    nbest: Annotated[int, typer.Option(min=0, help="Find the K best readings as well; with --explain.")] = 0,
    model: Annotated[Path | None, typer.Option(help="For --explain, as for align.")] = None,
    dictionary: Annotated[Path | None, typer.Option(help="For --explain, as for align.")] = None,
    language: Annotated[str | None, typer.Option(help="For --explain, as for align.")] = None,
) -> None:
    """Make a page of results, to look at, to listen to and to correct: it opens from disk and needs no network.

    Waveform, spectrogram, words, phones, the posteriors of phones (--explain) and the K best readings; of many
    recordings an overview, the worst first. A corrected TextGrid is saved by the browser.

    Exit code: 0 if all results have pages, 1 if some cannot be read, 2 if nothing could be done.
    """
    from semihmm.cli import show
    from semihmm.errors import DataError
    from semihmm.speech import view_results
    from semihmm.speech.view.sound import size

    with refusing():
        if nbest and not explain:
            raise DataError("--nbest takes --explain: the aligner has to be asked once more.")
        aligner = build_aligner(model, dictionary, language=language) if explain else None
        done = view_results(results, out, audio=audio, aligner=aligner, nbest=nbest, link_audio=link_audio)
        pages, failures = [], 0
        for viewed in done:
            for note in viewed.notes:
                show.note(f"{viewed.name}: {note}")
            if viewed.page is None:
                failures += 1
            else:
                pages.append(viewed.page)
    first = out if out.is_file() else out / "index.html"
    largest = max(pages, key=lambda page: page.stat().st_size, default=first)
    show.note(f"{len(pages)} recordings. Open {first} in a browser; the largest page has {size(largest)}.")
    if failures:
        raise typer.Exit(SOME_FAILED)
