"""What the public methods of a part take: plain arguments are looked at where they enter, by their annotations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from inspect import Parameter, isfunction, signature
from operator import index as as_int
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from semihmm.engine.tracing import traced
from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.structures.authoring import check_generator, tensor_of, whole_numbers

F = TypeVar("F", bound=Callable[..., Any])

_LEAST = {**dict.fromkeys(("states", "features", "symbols", "components", "period", "steps"), 1), "inputs": 0}
_EVERY_STEP = {"forward", "observed", "statistics"}  # what enters these came in by another method


def checks_methods(kind: type) -> None:
    """Make the public methods of a class, and what makes one, look at their arguments."""
    for name, method in list(vars(kind).items()):
        if isfunction(method) and (name == "__init__" or name[0] != "_") and name not in _EVERY_STEP:
            setattr(kind, name, checks_arguments(method))


def checks_arguments(function: F) -> F:
    """A function that refuses arguments of other kinds than its annotations say, by name.

    Example:
        >>> @checks_arguments
        ... def repeat(count: int): ...
        >>> repeat(2.5)
        Traceback (most recent call last):
        semihmm.errors.ShapeError: repeat: count must be an integer, got 2.5.
    """
    form = signature(function)
    several = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    kinds = {name: _kind(each) for name, each in form.parameters.items() if each.kind not in several}
    checks = {n: (check, kind.endswith(" | None")) for n, kind in kinds.items() if (check := _check(kind)) is not None}
    if not checks:
        return function
    method = next(iter(form.parameters), "") == "self"

    @wraps(function)
    def checked(*given: Any, **named: Any) -> Any:
        if traced():
            return function(*given, **named)
        owner = function.__name__
        if method:
            owner = type(given[0]).__name__ + ("" if owner == "__init__" else f".{owner}")
        try:
            bound = form.bind(*given, **named)
        except TypeError as error:
            raise TypeError(f"{owner}: {error}. It takes {', '.join([*form.parameters][method:])}.") from None
        for name, (check, optional) in checks.items():
            if name in bound.arguments and not (optional and bound.arguments[name] is None):
                bound.arguments[name] = check(owner, name, bound.arguments[name])
        return function(*bound.args, **bound.kwargs)

    return checked  # type: ignore[return-value]


def real_tensor(owner: str, name: str, value: Any) -> Tensor:
    """A tensor of real numbers that lie in memory, from arrays and lists too."""
    found = tensor_of(owner, name, value)
    if found.is_complex() or found.layout != torch.strided:
        raise ShapeError(f"{owner}: {name} must be dense and real, got {found.dtype} and {found.layout}.")
    return found


def part_of(owner: str, name: str, part: object, kind: str) -> None:
    """Refuse what is no part of the kind that an argument takes: laws and emissions share names."""
    if not any(each.__name__ == kind for each in type(part).__mro__):
        got = (
            f"the class {part.__name__}" if isinstance(part, type) else f"{type(part).__module__}.{type(part).__name__}"
        )
        where = f"semihmm.models.{kind.lower()}s"
        raise ShapeError(f"{owner}: {name} must be a part of type {kind}, as in {where}; got {got}.")


def _kind(parameter: Parameter) -> str:
    """What an annotation says, without where its names are from."""
    given = parameter.annotation
    text = given if isinstance(given, str) else given.__name__ if isinstance(given, type) else str(given)
    return re.sub(r"[\w.]*\.(?=\w)", "", str(given) if "[" in str(given) and not isinstance(given, str) else text)


def _check(kind: str) -> Callable[[str, str, Any], Any] | None:
    """How an argument of a kind is looked at; None for not at all."""
    kind = kind.removesuffix(" | None")
    if kind.startswith("Callable["):
        return _callable
    if kind.startswith(("Literal[", "bool | Literal[")) or kind == "Method":
        return _word
    return _CHECKS.get(kind)


def _callable(owner: str, name: str, value: Any) -> Any:
    if not callable(value):
        raise DataError(f"{owner}: {name} must be a function, got {value!r}.")
    return value


def _word(owner: str, name: str, value: Any) -> Any:
    """What the words are, the function says."""
    if not isinstance(value, str | bool):
        raise ShapeError(f"{owner}: {name} must be a word, got {value!r}.")
    return value


def _whole(owner: str, name: str, value: Any) -> int:
    try:
        found = None if isinstance(value, bool) else as_int(value)
    except (TypeError, RuntimeError, ValueError):
        found = None
    if found is None:
        raise ShapeError(f"{owner}: {name} must be an integer, got {value!r}.")
    if found < _LEAST.get(name, found):
        raise ShapeError(f"{owner}: {name} must be at least {_LEAST[name]}, got {found}.")
    return found


def _real(owner: str, name: str, value: Any) -> Any:
    if isinstance(value, int | float | np.number) or (isinstance(value, Tensor) and value.numel() == 1):
        return value
    raise ShapeError(f"{owner}: {name} must be a number, got {value!r}.")


def _truth(owner: str, name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise ShapeError(f"{owner}: {name} must be True or False, got {value!r}.")
    return bool(value)


def _numbers(owner: str, name: str, value: Any) -> Any:
    real_tensor(owner, name, value)
    return value


def _whole_numbers(owner: str, name: str, value: Any) -> list[int]:
    return list(whole_numbers(owner, name, value))


def _generator(owner: str, name: str, value: Any) -> Any:
    check_generator(owner, value)
    return value


def _instance(kind: Any, says: str) -> Callable[[str, str, Any], Any]:
    def checked(owner: str, name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise DataError(f"{owner}: {name} must be {says}, got {type(value).__name__}.")
        return value

    return checked


def _named(kind: str) -> Callable[[str, str, Any], Any]:
    """What has a class of this name among its own."""

    def checked(owner: str, name: str, value: Any) -> Any:
        if not any(each.__name__ == kind for each in type(value).__mro__):
            raise StructureError(f"{owner}: {name} must be of type {kind}, got {type(value).__name__}.")
        return value

    return checked


def _names(owner: str, name: str, value: Any) -> list[str]:
    found: list[Any] = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else [None]
    if not all(isinstance(each, str) for each in found):
        raise StructureError(f"{owner}: {name} must be names, got {value!r}.")
    return found


def _pairs(owner: str, name: str, value: Any) -> list[tuple[int, int]]:
    each = value if isinstance(value, Iterable) and not isinstance(value, Tensor) else [()]
    found = [tuple(whole_numbers(owner, name, one)) for one in each]
    if any(len(one) != 2 for one in found):
        raise ShapeError(f"{owner}: {name} must be pairs of integers, got {value!r}.")
    return found  # type: ignore[return-value]


def _part(kind: str) -> Callable[[str, str, Any], Any]:
    def checked(owner: str, name: str, value: Any) -> Any:
        part_of(owner, name, value, kind)
        return value

    return checked


def _parts(owner: str, name: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise ShapeError(f"{owner}: {name} must be a list of emissions, at least one, got {value!r}.")
    for each in value:
        part_of(owner, f"each of {name}", each, "Emission")
    return list(value)


_CHECKS: dict[str, Callable[[str, str, Any], Any]] = {
    "int": _whole,
    "float": _real,
    "bool": _truth,
    "Generator": _generator,
    "Tensor": real_tensor,
    "Sequence[int]": _whole_numbers,
    "tuple[int, ...]": lambda owner, name, value: whole_numbers(owner, name, value),
    "float | Tensor | Sequence[Any]": _numbers,
    "float | Tensor | Sequence[float]": _numbers,
    "Tensor | Sequence[Any] | float": _numbers,
    "Allowed": _numbers,
    "Module": _instance(nn.Module, "a torch.nn.Module"),
    "Iterable[str] | str": _names,
    "Iterable[int]": _whole_numbers,
    "Sequence[tuple[int, int]]": _pairs,
    "float | dict[str, Any]": lambda owner, name, value: (
        value if isinstance(value, dict) else _numbers(owner, name, value)
    ),
    "dict[str, Belief]": _instance(Mapping, "a dict of beliefs"),
    "Model[Any]": _named("Model"),
    "HDP": _named("HDP"),
    "Mapping[str, Tensor]": _instance(Mapping, "a dict"),
    "Emission": _part("Emission"),
    "Duration": _part("Duration"),
    "Transition": _part("Transition"),
    "Sequence[Emission]": _parts,
}
