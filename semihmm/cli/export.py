"""The command ``semihmm export``."""

from pathlib import Path
from typing import Annotated

import typer

from semihmm.cli.running import SOME_FAILED, refusing

_SAME = 0.99  # of the states on best paths


def export(
    model: Annotated[
        Path, typer.Argument(help="A model that was saved; or an acoustic model, for its phones in a loop.")
    ],
    to: Annotated[str, typer.Option("--to", help="What to write: onnx, runtime, aoti or torch.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
    quantize: Annotated[
        str | None, typer.Option(help="Of onnx: the numbers of a model's network as int8 or fp16.")
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(help="Compare on this: features in .npy or .safetensors, sound, or a folder of such files."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a model for where there is no Python, or no PyTorch, and compare the two.

    With --check, the model and the file that was written are asked about the same observations: (T, F) or (B, T, F) in
    a .npy file; each tensor of a .safetensors file; or sound, for an acoustic model, which has a front end.

    Exit code: 0 if all went well, 1 if less than 99 % of the states on the best paths are the same, 2 if there is no
    file.
    """
    import json
    from dataclasses import asdict

    from semihmm.cli import show
    from semihmm.errors import DataError
    from semihmm.export import front_end
    from semihmm.export.comparing import compare, in_python
    from semihmm.export.contents import contents
    from semihmm.export.observations import read_observations
    from semihmm.export.writing import Model, written
    from semihmm.models import load
    from semihmm.speech import load_acoustic_model
    from semihmm.speech.alignment.loop import features_of, phone_loop

    with refusing():
        if out.is_dir():
            raise DataError(f"export: --out {out} is a folder. Name a file in it.")
        heard = features = None
        source: Model
        if model.is_dir() or contents(model)["file"].startswith("acoustic model"):
            acoustic = load_acoustic_model(model)
            source, heard = phone_loop(acoustic), features_of(acoustic)
            features = None if acoustic.splice or acoustic.transform is not None else front_end(acoustic.front_end)
        else:
            source = load(model).eval()
        data = None if check is None else read_observations(check, heard)
        side = written(source, out, to, quantize, None if data is None else data[0], features)
        rows = contents(out)
        result = None if data is None else compare(in_python(source), side(), *data)
    if as_json:
        sizes = {"model_bytes": bytes_of(model), "exported_bytes": bytes_of(out)}
        typer.echo(json.dumps({"holds": rows} | sizes | (asdict(result) if result else {})))
    else:
        show.rows(str(out), rows)
        if result:
            show.comparison(result, bytes_of(model), bytes_of(out))
    if result and result.path_agreement < _SAME:
        raise typer.Exit(SOME_FAILED)


def bytes_of(path: Path) -> int:
    """Of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))
