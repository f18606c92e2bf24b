"""Ready languages: how often a label comes, in which order, and tagging schemes."""

from __future__ import annotations

from collections.abc import Sequence

from semihmm.automata.language import Language, numbers_of, stepwise
from semihmm.errors import StructureError


def exactly(k: int, *labels: int) -> Language:
    """Any of these labels come k times in all.

    Example:
        >>> twice = semihmm.automata.exactly(2, 1).automaton(3)
        >>> twice.accepts([1, 0, 2, 1]), twice.accepts([1, 0, 2])
        (True, False)
    """
    return _counted("exactly", labels, k, k)


def at_least(k: int, *labels: int) -> Language:
    """Any of these labels come k times in all, or more often.

    Example:
        >>> semihmm.automata.at_least(2, 0, 1).automaton(3).accepts([1, 2, 0, 1])
        True
    """
    return _counted("at_least", labels, k, None)


def at_most(k: int, *labels: int) -> Language:
    """Any of these labels come k times in all, or less often.

    Example:
        >>> semihmm.automata.at_most(2, 1).automaton(3).accepts([1, 1, 1])
        False
    """
    return _counted("at_most", labels, 0, k)


def must_occur(*labels: int) -> Language:
    """Any of these labels comes at least once.

    That each of two comes is said by both: ``must_occur(a)`` and (``&``) ``must_occur(b)``.

    Example:
        >>> semihmm.automata.must_occur(1).automaton(3).accepts([0, 2])
        False
    """
    return at_least(1, *labels)


def _counted(name: str, labels: Sequence[int], least: int, most: int | None) -> Language:
    labels = numbers_of(name, labels)
    numbers_of(name, [least if most is None else most])
    if least < 0 or (most is not None and most < 0) or not labels:
        raise StructureError(
            f"{name}: k is how often a label comes, at least 0, and there must be a label, got {labels}."
        )

    def step(count: int, x: int | None) -> int | None:
        after = count + (x is not None)
        return min(after, least) if most is None else after if after <= most else None

    return stepwise(labels, 0, step, lambda count: count >= least)


def before(a: int, b: int) -> Language:
    """Label b does not come until label a has come.

    Example:
        >>> order = semihmm.automata.before(0, 1).automaton(3)
        >>> order.accepts([2, 0, 1, 1]), order.accepts([2, 2]), order.accepts([2, 1, 0])
        (True, True, False)
    """
    a, b = numbers_of("before", (a, b))
    return stepwise((a, b), False, lambda come, x: True if come or x == a else None if x == b else False)


def no_repeat(*labels: int) -> Language:
    """None of these labels comes twice in a row; without any: no label does.

    Example:
        >>> apart = semihmm.automata.no_repeat(1).automaton(3)
        >>> apart.accepts([0, 0, 1, 0, 1]), apart.accepts([0, 1, 1])
        (True, False)
    """
    labels = numbers_of("no_repeat", labels)
    return stepwise(labels or None, -1, lambda last, x: -1 if x is None else None if x == last else x)


def bio(tags: Sequence[str]) -> Language:
    """Well-formed BIO tags: ``I-x`` comes after ``B-x`` or ``I-x`` alone (Ramshaw & Marcus 1995).

    Args:
        tags: what each label means, such as ``["O", "B-PER", "I-PER"]``.

    Example:
        >>> chunks = semihmm.automata.bio(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]).automaton(5)
        >>> chunks.accepts([0, 1, 2, 3, 4, 4]), chunks.accepts([0, 1, 4]), chunks.accepts([2])
        (True, False, False)

    Raises:
        StructureError: a tag that is none of the scheme's, or comes twice.
    """
    return _tagged("bio", tags, "BI", inside="I", goes_on="BI", must_go_on="")


def bioes(tags: Sequence[str]) -> Language:
    """Well-formed BIOES tags: ``B-x``, any ``I-x``, ``E-x``; or ``S-x`` alone.

    Args:
        tags: what each label means, such as ``["O", "B-PER", "I-PER", "E-PER", "S-PER"]``.

    Example:
        >>> chunks = semihmm.automata.bioes(["O", "B-PER", "I-PER", "E-PER", "S-PER"]).automaton(5)
        >>> chunks.accepts([4, 0, 1, 2, 3]), chunks.accepts([0, 1, 2]), chunks.accepts([1, 0])
        (True, False, False)

    Raises:
        StructureError: a tag that is none of the scheme's, or comes twice.
    """
    return _tagged("bioes", tags, "BIES", inside="IE", goes_on="BI", must_go_on="BI")


def _tagged(name: str, tags: Sequence[str], prefixes: str, inside: str, goes_on: str, must_go_on: str) -> Language:
    """Chunks: a tag of ``inside`` goes on with what a tag of ``goes_on`` leaves open; ``must_go_on`` may not end it."""
    if isinstance(tags, str) or not isinstance(tags, Sequence) or not all(isinstance(tag, str) for tag in tags):
        raise StructureError(f"{name}: tags must be a list of names, one for each label, got {tags!r}.")
    for tag in tags:
        prefix, dash, chunk = tag.partition("-")
        if tag != "O" and not (len(prefix) == 1 and prefix in prefixes and dash and chunk):
            raise StructureError(f"{name}: tags are O, or {', '.join(p + '-x' for p in prefixes)}, got {tag!r}.")
    if len(set(tags)) != len(tags):
        raise StructureError(f"{name}: no two labels may have the same tag, got {', '.join(tags)}.")

    def step(last: str, x: int | None) -> str | None:
        if x is None:
            return None
        tag = tags[x]
        continues = tag[0] in inside and tag[1:] == last[1:] and last[0] in goes_on
        return tag if continues or (tag[0] not in inside and last[0] not in must_go_on) else None

    return stepwise(range(len(tags)), "O", step, lambda last: last[0] not in must_go_on)
