"""The errors semihmm raises. Each message says who speaks, what was expected and why, what came, what to do next."""

__all__ = ["DataError", "DependencyError", "LawError", "SemihmmError", "SemiringError", "ShapeError", "StructureError"]


class SemihmmError(ValueError):
    """Base of every error that semihmm raises on purpose.

    It is a `ValueError`, so code that guards against bad values need not know this library.

    Example:
        >>> issubclass(ShapeError, SemihmmError) and issubclass(SemihmmError, ValueError)
        True
    """


class ShapeError(SemihmmError):
    """A tensor's shape does not fit the others: wrong number of axes, wrong size, empty where it may not be."""


class SemiringError(SemihmmError):
    """A question was asked in a semiring that cannot answer it, such as a best path in one that is not selective."""


class LawError(SemiringError):
    """A semiring breaks a law that its totals rest on; the message names the law and the values that break it."""


class StructureError(SemihmmError):
    """A structure, or an event of it, is not well formed: a state that does not exist, a cycle in a lattice."""


class DataError(SemihmmError):
    """The data cannot be used: NaN, an empty or unreadable file, a transcript longer than its audio."""


class DependencyError(SemihmmError, ImportError):
    """A package that only some of semihmm needs is not installed; the message holds the command that installs it."""
