"""One scan engine: a chain of semiring-linear maps multiplied out, differentiated, and traced back."""

from semihmm.engine.backends import backends, native, reference  # noqa: F401 (registers itself)
from semihmm.engine.chain import Chain
from semihmm.engine.decode import Decoded, Path, decode
from semihmm.engine.maps import Arcs, Axes, Banded, Compose, Dense, Diagonal, Form, Grid, Map, Segmental, Sparse
from semihmm.engine.plan import Plan
from semihmm.engine.planner import plan
from semihmm.engine.score import score
from semihmm.engine.total import best_in_slots, best_through, total, vectors

if native() is not None:
    from semihmm.engine.backends import compiled  # noqa: F401 (registers itself)

__all__ = [
    "Arcs",
    "Axes",
    "Banded",
    "Chain",
    "Compose",
    "Decoded",
    "Dense",
    "Diagonal",
    "Form",
    "Grid",
    "Map",
    "Path",
    "Plan",
    "Segmental",
    "Sparse",
    "backends",
    "best_in_slots",
    "best_through",
    "decode",
    "plan",
    "score",
    "total",
    "vectors",
]
