"""Options that several commands have."""

from typing import Annotated

import typer

EngineName = Annotated[
    str,
    typer.Option(
        "--engine", help="Who works: local processes, dask, or the ranks of torchrun; the results are the same."
    ),
]
DaskAddress = Annotated[str | None, typer.Option(help="Of a Dask scheduler; without, dask is JOBS processes here.")]
Jobs = Annotated[int, typer.Option(min=1, help="Number of processes; the results are the same.")]
