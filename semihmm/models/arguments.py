"""What the public methods of a part take: plain arguments are looked at where they enter, by the types they declare."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import reduce, wraps
from inspect import Parameter, isabstract, isfunction, signature, unwrap
from operator import index as as_int
from operator import or_
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np
import torch
from torch import Tensor, nn

from semihmm.engine.tracing import traced
from semihmm.errors import DataError, ShapeError, StructureError
from semihmm.structures.authoring import check_generator, tensor_of, whole_numbers

F = TypeVar("F", bound=Callable[..., Any])
Check = Callable[[str, str, Any], Any]  # of an owner, an argument's name and its value: the value as it is passed on

_UNIONS = (Union, UnionType)
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
    types = {name: _type(function, each) for name, each in form.parameters.items() if each.kind not in several}
    checks = {name: (check, optional) for name, (kind, optional) in types.items() if (check := _check(kind))}
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


def part_of(owner: str, name: str, part: object, kind: type) -> None:
    """Refuse what is no part of the kind that an argument takes: laws and emissions share names."""
    if not isinstance(part, kind):
        got = (
            f"the class {part.__name__}" if isinstance(part, type) else f"{type(part).__module__}.{type(part).__name__}"
        )
        where = kind.__module__.rpartition(".")[0]
        raise ShapeError(f"{owner}: {name} must be a part of type {kind.__name__}, as in {where}; got {got}.")


def _type(function: Callable[..., Any], parameter: Parameter) -> tuple[Any, bool]:
    """The type of an argument that is not None, Any where just type checkers know it; and whether it may be None."""
    given = parameter.annotation
    try:
        kind = eval(given, unwrap(function).__globals__) if isinstance(given, str) else given
    except Exception:  # an annotation may say anything
        return Any, False
    several = get_args(kind) if get_origin(kind) in _UNIONS else ()
    return (reduce(or_, (x for x in several if x is not NoneType)), True) if NoneType in several else (kind, False)


def _check(kind: Any) -> Check | None:
    """How an argument of a type is looked at; None for not at all."""
    whole, of = get_origin(kind), get_args(kind)
    words = of if whole in _UNIONS else (kind,)
    if all(x is bool or get_origin(x) is Literal for x in words) and kind is not bool:
        return _word([word for x in words for word in get_args(x) or (True, False)])
    if whole is Callable:
        return _callable
    if whole is Mapping:
        return _instance(Mapping, "a dict")
    if whole is Sequence and _is_part(*of):
        return _parts(*of)
    if _is_part(whole or kind):
        return _part(whole or kind)
    return _CHECKS.get(kind) if isinstance(kind, Hashable) else None


def _is_part(kind: Any) -> bool:
    """Whether it is a kind of part, of which there are many."""
    return isabstract(kind) and kind.__module__.startswith("semihmm.models.")


def _callable(owner: str, name: str, value: Any) -> Any:
    if not callable(value):
        raise DataError(f"{owner}: {name} must be a function, got {value!r}.")
    return value


def _word(words: Sequence[Any]) -> Check:
    """A word, or True or False; one that is none of those, the function itself refuses."""

    def checked(owner: str, name: str, value: Any) -> Any:
        if not isinstance(value, str | bool):
            raise ShapeError(f"{owner}: {name} must be {' or '.join(map(repr, words))}, got {value!r}.")
        return value

    return checked


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


def _instance(kind: Any, says: str) -> Check:
    def checked(owner: str, name: str, value: Any) -> Any:
        if not isinstance(value, kind):
            raise DataError(f"{owner}: {name} must be {says}, got {type(value).__name__}.")
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


def _part(kind: type) -> Check:
    def checked(owner: str, name: str, value: Any) -> Any:
        part_of(owner, name, value, kind)
        return value

    return checked


def _parts(kind: type) -> Check:
    def checked(owner: str, name: str, value: Any) -> list[Any]:
        if not isinstance(value, list | tuple) or not value:
            raise ShapeError(f"{owner}: {name} must be a list of emissions, at least one, got {value!r}.")
        for each in value:
            part_of(owner, f"each of {name}", each, kind)
        return list(value)

    return checked


_CHECKS: dict[Any, Check] = {
    int: _whole,
    float: _real,
    bool: _truth,
    torch.Generator: _generator,
    Tensor: real_tensor,
    nn.Module: _instance(nn.Module, "a torch.nn.Module"),
    Iterable[int]: _whole_numbers,
    Sequence[int]: _whole_numbers,
    tuple[int, ...]: whole_numbers,
    Sequence[tuple[int, int]]: _pairs,
    Iterable[str] | str: _names,
    float | Tensor | Sequence[Any]: _numbers,
    float | Tensor | Sequence[float]: _numbers,
    Tensor | Sequence[Sequence[bool]]: _numbers,
    float | dict[str, Any]: lambda *given: given[-1] if isinstance(given[-1], dict) else _numbers(*given),
}
