"""Observations out of files, as one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from semihmm._optional import require
from semihmm.errors import DataError

Heard = Callable[[Path], Tensor]


def read_observations(path: Path, heard: Heard | None = None) -> tuple[Tensor, Tensor]:
    """Sequences side by side, ``(B, T, ...)``, and their lengths ``(B,)``.

    Args:
        path: a .npy file of one sequence ``(T,)`` of symbols or ``(T, F)`` of features, or of B of them ``(B, T, F)``;
            a .safetensors file, whose tensors are one sequence each; a sound file; or a folder of such files.
        heard: makes features ``(T, F)`` of a sound file; None where there is no front end.

    Raises:
        DataError: no such file, another kind of file, sequences of different widths or types, or of no frames.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/a.npy", np.zeros((5, 2), np.float32))
        ...     np.save(f"{folder}/b.npy", np.zeros((3, 2), np.float32))
        ...     x, lengths = read_observations(Path(folder))
        >>> x.shape, lengths.tolist()
        (torch.Size([2, 5, 2]), [5, 3])
    """
    if not path.exists():
        raise DataError(f"export: there is no file or folder {path}.")
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    rows = [row for file in files for row in _rows(file, heard)]
    kinds = {(row.dtype, row.shape[1:]) for row in rows}
    if len(kinds) != 1 or any(row.ndim not in (1, 2) or not len(row) for row in rows):
        shapes = ", ".join(str(tuple(row.shape)) for row in rows[:5]) or "none"
        raise DataError(
            f"export: sequences must be (T,) or (T, F), of one type and width, and not empty; {path} has {shapes}."
        )
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows])


def _rows(file: Path, heard: Heard | None) -> Iterator[Tensor]:
    try:
        if file.suffix == ".npy":
            array = torch.from_numpy(np.load(file, allow_pickle=False))
            yield from map(_numbers, array if array.ndim == 3 else [array])
        elif file.suffix == ".safetensors":
            safetensors = require("safetensors.torch", extra="models", purpose="Reading safetensors files")
            yield from map(_numbers, safetensors.load(file.read_bytes()).values())
        elif heard is not None:
            yield heard(file)
        else:
            raise DataError(
                f"export: {file} is neither .npy nor .safetensors, and only acoustic models have a front end, which "
                "makes features of sound."
            )
    except DataError:
        raise
    except Exception as error:  # of two libraries, whose errors for damaged files are of many kinds
        raise DataError(f"export: {file} cannot be read as observations: {error}") from error


def _numbers(x: Tensor) -> Tensor:
    return x.float() if x.is_floating_point() else x.long()
