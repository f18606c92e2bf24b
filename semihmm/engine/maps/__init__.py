"""The kinds of semiring-linear map that carry every structure."""

from semihmm.engine.maps.axes import Axes
from semihmm.engine.maps.base import Compose, Map
from semihmm.engine.maps.dense import Dense, Diagonal
from semihmm.engine.maps.form import Form
from semihmm.engine.maps.grid import Grid
from semihmm.engine.maps.segmental import Segmental
from semihmm.engine.maps.sparse import Arcs, Banded, Sparse

__all__ = ["Arcs", "Axes", "Banded", "Compose", "Dense", "Diagonal", "Form", "Grid", "Map", "Segmental", "Sparse"]
