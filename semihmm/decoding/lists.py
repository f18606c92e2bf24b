"""Lists as callers give them, refused by name where they are none."""

from __future__ import annotations

from typing import Any

from semihmm.errors import DataError


def listed(owner: str, name: str, some: Any) -> tuple[Any, ...]:
    """The items of a list, or of what else has some.

    Example:
        >>> listed("Mine", "labels", 5)
        Traceback (most recent call last):
        semihmm.errors.DataError: Mine: labels must be a list, got 5.
    """
    try:
        return tuple(some)
    except (TypeError, RuntimeError) as error:  # of some tensors the latter
        raise DataError(f"{owner}: {name} must be a list, got {some!r}.") from error


def texts(owner: str, name: str, some: Any) -> tuple[str, ...]:
    """Texts in a list; of one text its letters.

    Example:
        >>> texts("Mine", "words", ["a", 5])
        Traceback (most recent call last):
        semihmm.errors.DataError: Mine: words must be texts, got 5.
    """
    found = listed(owner, name, some)
    for each in found:
        if not isinstance(each, str):
            raise DataError(f"{owner}: {name} must be texts, got {each!r}.")
    return found


def no_text(owner: str, name: str, some: object) -> None:
    """Refuse a text where a list of them is meant: it is a sequence of texts of one letter.

    Example:
        >>> no_text("Mine", "references", "a b")
        Traceback (most recent call last):
        semihmm.errors.DataError: Mine: references must be a list, got the text 'a b'. Pass ['a b'].
    """
    if isinstance(some, str):
        raise DataError(f"{owner}: {name} must be a list, got the text {some!r}. Pass [{some!r}].")
