"""Law checks for semirings and structures, yours and ours."""

from semihmm.testing.check import check_structure
from semihmm.testing.semirings import check_semiring

__all__ = ["check_semiring", "check_structure"]
