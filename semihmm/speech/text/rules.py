"""Rules of reading: a pattern, and what is said where it matches."""

import re
from collections.abc import Callable, Iterable

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def compiled(rules: Iterable[tuple[str, Callable[[re.Match[str]], str]]]) -> tuple[Rule, ...]:
    """Rules whose patterns are still text."""
    return tuple((re.compile(pattern), say) for pattern, say in rules)


def first_match(rules: Iterable[Rule], line: str, place: int) -> tuple[int, str] | None:
    """Where the first rule that matches at a place of a text ends, and what it says; None where none does."""
    matches = ((pattern.match(line, place), say) for pattern, say in rules)
    return next(((match.end(), say(match)) for match, say in matches if match), None)
