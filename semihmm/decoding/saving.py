"""Beam searches in files, between two frames: safetensors, with the search that they belong to in the metadata.

Label sequences are a tree, and so are the frames at which their tokens began; what is older comes first. An entry of a
beam is a node of the one, with three nodes of the other and three pairs of sums: of the paths that end in a blank, in
its last token, in either. What a label sequence weighs by itself is found again from its tokens.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import torch

from semihmm.errors import DataError
from semihmm.streaming import saving


class BeamState(NamedTuple):
    """A beam between two frames.

    Args:
        frame: how many there were.
        parents: of each label sequence the one without its last token; the first is empty.
        tokens: the last token of each.
        before: of each onset that of the token before, -1 for none.
        begun: the frame of each.
        nodes: of each entry, its label sequence.
        onsets: of each entry, three.
        sums: of each entry, three times the log of a sum and the best path's.
    """

    frame: int
    parents: Sequence[int]
    tokens: Sequence[int]
    before: Sequence[int]
    begun: Sequence[int]
    nodes: Sequence[int]
    onsets: Sequence[int]
    sums: Sequence[float]


# Of which number of a beam's sizes each part has how many.
_SIZES = ("frame", "parents", "before", "nodes")
_PARTS = {
    "parents": ("parents", 1),
    "tokens": ("parents", 1),
    "before": ("before", 1),
    "begun": ("before", 1),
    "nodes": ("nodes", 1),
    "onsets": ("nodes", 3),
    "sums": ("nodes", 6),
}


def write(path: str | os.PathLike[str], search: dict[str, str], states: Sequence[BeamState]) -> None:
    """Write the beams of a batch; the file appears when it is whole.

    Args:
        path: of the file.
        search: what they belong to.
        states: one of each sequence.

    Raises:
        DataError: a path that cannot be written.
    """
    sizes = [[state.frame, len(state.parents), len(state.before), len(state.nodes)] for state in states]
    tensors = {"sizes": torch.tensor(sizes, dtype=torch.int64).reshape(-1, len(_SIZES))}
    for name in _PARTS:
        tensors[name] = torch.tensor([x for state in states for x in getattr(state, name)], dtype=_dtype(name))
    saving.write(path, search, {}, tensors, who="BeamStream")


def read(path: str | os.PathLike[str], search: dict[str, str]) -> list[BeamState]:
    """What `write` wrote.

    Raises:
        DataError: no such file, another kind of file, or of another search; sizes that do not fit.
    """
    note, tensors = saving.read(path, who="BeamStream")
    saving.check_source(path, note.get("source"), search, who="BeamStream")
    if tensors.keys() != {"sizes", *_PARTS} or any(x.dtype != _dtype(name) for name, x in tensors.items()):
        raise damaged(path, "its parts are not those of a beam")
    sizes = tensors.pop("sizes")
    if sizes.ndim != 2 or sizes.shape[1] != len(_SIZES) or bool((sizes < 0).any()):
        raise damaged(path, "its sizes are none")
    counts = dict(zip(_SIZES, sizes.T, strict=True))
    columns = {"frame": counts["frame"].tolist()}
    for name, (size, each) in _PARTS.items():
        ends = each * counts[size].double().sum()
        if tensors[name].shape != (ends,):
            raise damaged(path, f"{name} has not as many numbers as its sizes say")
        columns[name] = [part.tolist() for part in tensors[name].split((each * counts[size]).tolist())]
    return [BeamState(*parts) for parts in zip(*(columns[name] for name in BeamState._fields), strict=True)]


def _dtype(name: str) -> torch.dtype:
    return torch.float64 if name == "sums" else torch.int64


def damaged(path: str | os.PathLike[str], why: str) -> DataError:
    """What to say of a file that cannot be read."""
    return DataError(f"BeamStream.load: {path} holds no beams that can go on: {why}. Save it anew.")
