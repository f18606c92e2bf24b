"""Models in files: safetensors, with the arguments that build the model as JSON in its metadata. Never pickle."""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from semihmm._files import atomically
from semihmm._optional import require
from semihmm.errors import DataError
from semihmm.models.part import Part

M = TypeVar("M", bound=nn.Module)
_KEY = "semihmm.model"
_TABLE = 1 << 26  # numbers that a duration law out of a file may make of its few parameters
_ROOM = 1 << 20  # numbers that a tensor may hold while a model is built, beside as many as the file holds


def save(
    path: str | os.PathLike[str],
    model: str,
    config: Mapping[str, object],
    parts: Mapping[str, Part],
    parameters: Mapping[str, Tensor],
) -> None:
    """Write a model; the file appears when it is whole.

    Raises:
        DataError: a path that cannot be written.
    """
    safetensors = require("safetensors.torch", extra="models", purpose="Saving a model")
    note = json.dumps({"model": model, "config": config, "parts": dict(parts)}, default=_described)
    content: bytes = safetensors.save({n: x.contiguous().clone() for n, x in parameters.items()}, {_KEY: note})
    try:
        with atomically(Path(path)) as partial:
            partial.write_bytes(content)
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"save: {path!r} cannot be written: {error}. Pass the path of a file.") from error


def load(path: str | os.PathLike[str], kinds: Mapping[str, Callable[..., M]], given: Mapping[str, Part]) -> M:
    """Read a model that `save` wrote.

    Args:
        kinds: what it may be, by name: each makes one from its configuration and parts.
        given: parts that the caller has built.
    """
    safetensors = require("safetensors", extra="models", purpose="Loading a model")
    if not isinstance(path, str | os.PathLike):
        raise DataError(f"load: path must be the name of a file, got {path!r}.", see="loading")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            note = (file.metadata() or {}).get(_KEY)
            parameters = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(f"load: {path} cannot be read as a safetensors file: {error}", see="loading") from error
    if note is None:
        raise DataError(
            f"load: {path} is a safetensors file, but not a semihmm model: only their save writes those.", see="loading"
        )
    try:
        content = json.loads(note)
        kind, config, described = content["model"], content["config"], content["parts"]
        unknown = given.keys() - described.keys()
        if kind not in kinds:
            other = f"not a {' or '.join(kinds)}. semihmm.models.load takes any, and classes of your own by argument"
            raise DataError(f"load: {path} holds a {kind}, {other}.", see="loading")
        if unknown:
            raise DataError(
                f"load: {path} holds a {kind} with {', '.join(described)}, not {', '.join(sorted(unknown))}.",
                see="loading",
            )
        with _NoLarger(sum(x.numel() for x in parameters.values())):
            parts = {name: given.get(name) or _built(name, **part) for name, part in described.items()}
            found = kinds[kind](**config, **parts)
        _check_durations(part for name, part in parts.items() if name not in given)
        found.load_state_dict(parameters, assign=True)  # in the file's dtype
    except DataError:
        raise
    except (RuntimeError, TypeError, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"load: {path} holds a model that cannot be built again: {error}", see="loading") from error
    return found


def _check_durations(parts: Iterable[nn.Module]) -> None:
    """Refuse laws that hold few numbers, but make a table that no data can fill."""
    for law in (module for part in parts for module in part.modules()):
        count = getattr(law, "states", 0) * getattr(law, "max_duration", 0)
        if count > _TABLE:
            raise DataError(
                f"load: the file says durations that take a table of {count:,} numbers. It is damaged, or was not "
                f"written by save. If it is right, build the part and pass it: duration=...",
                see="loading",
            )


class _NoLarger(TorchDispatchMode):
    """Refuses tensors that are larger than all that a file holds, before there is memory for them.

    A model is made from sizes that the file says, and only then gets its parameters: all sizes are theirs.
    """

    def __init__(self, held: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held = held

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        for x in (*args, *(kwargs or {}).values()):
            sizes = x if isinstance(x, list | tuple) else (x,)
            if sizes and all(type(n) is int for n in sizes):
                self._check(math.prod(max(n, 1) for n in sizes))
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self._check(made.numel())  # of a view that repeats itself, before somebody copies it
        return made

    def _check(self, count: int) -> None:
        if count > self.held + _ROOM:
            raise DataError(
                f"load: the file says sizes that take a tensor of {count:,} numbers, but holds {self.held:,}. It is "
                "damaged, or was not written by save.",
                see="loading",
            )


def _built(argument: str, config: Mapping[str, object] | None, **kind: str) -> Part:
    """A part of a class that has been imported; none is looked for, so that a file cannot choose what runs."""
    found = [c for c in _classes(Part) if _name(c) == kind["class"]]
    if config is None or not found:
        why = "needs more than its parameters" if found else "is not imported"
        raise DataError(
            f"load: the {argument} is a {kind['class']}, which {why}. Pass one: {argument}=...", see="loading"
        )
    return found[-1](**{name: _parts_of(argument, value) for name, value in config.items()})


def _described(part: Part) -> dict[str, object]:
    return {"class": _name(type(part)), "config": part.config}


def _parts_of(argument: str, value: object) -> object:
    """A value of a configuration, with the parts in it built."""
    if isinstance(value, list):
        return [_parts_of(argument, one) for one in value]
    if isinstance(value, dict) and value.keys() == {"class", "config"}:
        return _built(argument, **value)
    return value


def _classes(top: type[Part]) -> Iterator[type[Part]]:
    for below in top.__subclasses__():
        yield below
        yield from _classes(below)


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
