"""The errors semihmm raises. Each message says who speaks, what was expected and why, what came, what to do next."""

from typing import ClassVar

__all__ = ["DataError", "DependencyError", "LawError", "SemihmmError", "SemiringError", "ShapeError", "StructureError"]


class SemihmmError(ValueError):
    """Base of every error that semihmm raises on purpose.

    It is a `ValueError`, so code that guards against bad values need not know this library. Below the message, Python
    3.11 and later print where the documentation says more, such as ``See semihmm docs: faq#shape-error``.

    Args:
        *args: the message.
        see: an anchor of the FAQ that is about this very message; without, that of the class.
    Attributes:
        see: the page of the documentation and the anchor on it.

    Example:
        >>> issubclass(ShapeError, SemihmmError) and issubclass(SemihmmError, ValueError)
        True
        >>> ShapeError("HMM: ...").see
        'faq#shape-error'
    """

    anchor: ClassVar[str] = "semihmm-error"
    see: str

    def __init__(self, *args: object, see: str | None = None) -> None:
        super().__init__(*args)
        self.see = f"faq#{see or self.anchor}"
        if hasattr(self, "add_note"):  # Python 3.11; a note is no part of str(error)
            self.add_note(f"See semihmm docs: {self.see}")


class ShapeError(SemihmmError):
    """A tensor's shape does not fit the others: wrong number of axes, wrong size, empty where it may not be."""

    anchor = "shape-error"


class SemiringError(SemihmmError):
    """A question was asked in a semiring that cannot answer it, such as a best path in one that is not selective."""

    anchor = "semiring-error"


class LawError(SemiringError):
    """A semiring breaks a law that its totals rest on; the message names the law and the values that break it."""

    anchor = "law-error"


class StructureError(SemihmmError):
    """A structure, or an event of it, is not well formed: a state that does not exist, a cycle in a lattice."""

    anchor = "structure-error"


class DataError(SemihmmError):
    """The data cannot be used: NaN, an empty or unreadable file, a transcript longer than its audio."""

    anchor = "data-error"


class DependencyError(SemihmmError, ImportError):
    """A package that only some of semihmm needs is not installed; the message holds the command that installs it."""

    anchor = "dependency-error"
