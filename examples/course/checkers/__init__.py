"""One checker for each exercise of the course. None has the algorithm that it asks for: semihmm computes what is right.

A common wrong answer is the right answer to another question (no emission at the first step: those of an HMM whose
first emission is 0), so semihmm computes it too, and who returns it reads what is wrong.
"""

from checkers.tools import Wrong

__all__ = ["Wrong"]
