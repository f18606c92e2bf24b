"""Law checks for semirings and structures, yours and ours."""

from semihmm.testing.semirings import check_semiring

__all__ = ["check_semiring"]
