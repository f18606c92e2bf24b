"""One scan engine: a chain of semiring-linear maps multiplied out, differentiated, and traced back."""

from semihmm.engine.backends import backends
from semihmm.engine.chain import Chain
from semihmm.engine.contract import best_through
from semihmm.engine.decode import Path, decode
from semihmm.engine.maps import Arcs, Banded, Compose, Dense, Diagonal, Grid, Map, Segmental, Sparse
from semihmm.engine.plan import Plan
from semihmm.engine.planner import plan
from semihmm.engine.scan import vectors
from semihmm.engine.total import total

__all__ = [
    "Arcs",
    "Banded",
    "Chain",
    "Compose",
    "Dense",
    "Diagonal",
    "Grid",
    "Map",
    "Path",
    "Plan",
    "Segmental",
    "Sparse",
    "backends",
    "best_through",
    "decode",
    "plan",
    "total",
    "vectors",
]
