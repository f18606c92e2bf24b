"""Whether what a file says of a stream can be: nothing of it is trusted, so that no later push fails or hangs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from semihmm.errors import DataError
from semihmm.streaming.survivors import Survivors

OPTIONS = {"lookahead", "max_delay", "best", "streams", "reach"}
CODES = "committing.tree codes"
WEIGHTS = {"carry", "vectors", "rows"}  # -inf where there is no path


def check_header(path: object, options: object, tensors: Mapping[str, Tensor]) -> int:
    """Refuse options that no stream has, and counts of frames that do not go with them; how many frames are kept.

    Raises:
        DataError: the field, and what is wrong with it.
    """
    if not isinstance(options, dict) or options.keys() != OPTIONS:
        raise wrong(path, "options", f"must name {', '.join(sorted(OPTIONS))}")
    streams, reach, ahead = options["streams"], options["reach"], options["lookahead"]
    if isinstance(reach, bool) or not isinstance(reach, int) or reach < 0:
        raise wrong(path, "reach", "must be a number of frames")
    count = len(tensors["seen"]) if "seen" in tensors and tensors["seen"].ndim == 1 else 0
    if not count or count != (1 if streams is None else streams):
        raise wrong(path, "seen", f"must have a number for each of {1 if streams is None else streams!r} streams")
    seen = _formed(path, tensors, "seen", (count,), torch.int64)
    joined = _formed(path, tensors, "joined", (count,), torch.bool)
    _within(path, "seen", seen, 0, 2**53)
    if bool((~joined & (seen > 0)).any()) or (streams is None and not bool(joined.all())):
        raise wrong(path, "joined", "must hold for all streams that have frames")
    frames = {n: x for n, x in tensors.items() if n.startswith("frames.")}
    for name, x in frames.items():
        if x.ndim < 2 or x.shape[:2] != (count, reach):
            raise wrong(path, name, f"must be of {count} streams and the {reach} latest frames", x)
    if bool(seen.any()) and (not frames or not isinstance(ahead, int) or reach <= ahead):
        raise wrong(path, "reach", f"is {reach}, which goes with no lookahead of {ahead!r} frames")
    return reach


def check_state(path: object, found: Mapping[str, Tensor], like: Mapping[str, Tensor], reach: int) -> None:
    """Refuse a state that differs in form from that of a stream with as many frames, or whose numbers cannot be.

    Args:
        found: what the file holds.
        like: what a stream of the same options holds, which has had the frames that are kept.
        reach: how many those are.
    Raises:
        DataError: the field, and what is wrong with it.
    """
    unlike = found.keys() ^ like.keys()
    if "filtering.form 2" not in found:
        unlike -= {"filtering.form 2"}  # the latest push has not looked ahead
    for name in sorted(unlike):
        raise wrong(path, name, "is missing" if name in like else "is nothing that such a stream has")
    for name, x in found.items():
        form = like[name]
        free = 0 if "origins" in name else 1 if name == CODES else None  # of times
        shape = tuple(x.shape[i] if i == free and x.ndim > i else n for i, n in enumerate(form.shape))
        _formed(path, found, name, shape, form.dtype)
        field = name.partition(".")[2]
        if x.is_floating_point() and not name.startswith(("frames.", "filtering.form")):
            bad = x.isnan() | (x == torch.inf) | ((x == -torch.inf) & (field not in WEIGHTS))
            if bool(bad.any()):
                raise wrong(path, name, f"holds {float(x[bad][0])}")
    for name in ("committing.numbers", "committing.tree onward"):
        if not torch.equal(found[name], like[name]):
            raise wrong(path, name, f"must be {like[name].tolist()}")
    _check_tree(path, found, reach)


def _check_tree(path: object, found: Mapping[str, Tensor], reach: int) -> None:
    seen, lead, memory = found["seen"], *found["committing.numbers"].tolist()
    time, root, told = (found[f"committing.{name}"] for name in ("tree time", "tree root", "told"))
    codes = found[CODES]
    _, capacity, width = codes.shape
    if not torch.equal(time, torch.where(seen > 0, seen + 1 - lead, 0)):
        raise wrong(path, "committing.tree time", f"must go along with {seen.tolist()} frames seen", time)
    _within(path, "committing.told", told, 0, seen)
    least = (time - capacity + 1).clamp(min=0)  # a ring holds no earlier times
    _within(path, "committing.tree root", root, least * width, (time + 1) * width - 1)
    top = root // width
    _within(path, CODES, codes, -1, memory * width - 1)
    own = time[:, None] - (time[:, None] - torch.arange(capacity)) % capacity  # when each row of the ring is
    early = (codes // width + 1 >= own.unsqueeze(-1)) & (own > top[:, None]).unsqueeze(-1) & (own > 1).unsqueeze(-1)
    if bool((early & (codes >= 0)).any()):
        raise wrong(path, CODES, "must lead to no time before the first")
    tables = {n: found[f"committing.tree {n}"].numpy() for n in ("time", "root", "onward", "codes")}
    tree = Survivors(len(seen), memory, tables["onward"], capacity=1)
    tree.restore(tables, (found["committing.carry"] > -torch.inf).numpy())
    if not all(map(tree.leads_up, range(len(seen)))):
        raise wrong(path, CODES, "must lead from all that has a path to the root")
    for name, x in found.items():
        if name.startswith("ranking.origins "):
            stream, slots = int(name.split()[-1]), x.shape[1]
            times = min(int(time[stream]), int(time[stream] - top[stream]) + reach)
            if len(x) != times:
                raise wrong(path, name, f"must have the {times} latest times", x)
            _within(path, name, x, 0, (memory + 1) * slots - 1)


def _formed(path: object, tensors: Mapping[str, Any], name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    x = tensors.get(name)
    if x is None or tuple(x.shape) != shape or x.dtype != dtype:
        raise wrong(path, name, f"must be {dtype} {shape}", x)
    found: Tensor = x
    return found


def _within(path: object, name: str, x: Tensor, least: Tensor | int, most: Tensor | int) -> None:
    bad = (x < least) | (x > most)
    if bool(bad.any()):
        raise wrong(path, name, f"holds {int(x[bad][0])}, which is out of range")


def wrong(path: object, name: str, what: str, x: Tensor | None = None) -> DataError:
    """What to say of a field."""
    got = "" if x is None else f", got {x.dtype} {tuple(x.shape)}"
    return DataError(f"Stream.load: {path} holds no stream that can go on: {name} {what}{got}. Save it anew.")
