"""The command ``semihmm info``."""

from pathlib import Path
from typing import Annotated

import typer

from semihmm.cli.running import build_aligner, refusing


def info(
    file: Annotated[
        Path | None,
        typer.Argument(help="A model, an acoustic model or a stream that was saved, or what 'semihmm export' wrote."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Of a FILE, print JSON.")] = False,
) -> None:
    """Say what a model or an exported file holds; without FILE, what this installation aligns with.

    A file's header is read: nothing in it is built, run or unpickled.

    Exit code: 0 if it is such a file, 2 if it is none.
    """
    import json

    from semihmm.cli import show

    with refusing():
        if file is None:
            show.info(build_aligner())
            return
        from semihmm.export.contents import contents

        rows = contents(file)
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        show.rows(str(file), rows)
