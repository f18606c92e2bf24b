"""How a chain is multiplied out: three orders, the same numbers; and the first one as an operator, for exports."""

from semihmm.engine.strategies.associative import associative
from semihmm.engine.strategies.base import State, Strategy, Trail
from semihmm.engine.strategies.chunked import chunked
from semihmm.engine.strategies.operator import operator
from semihmm.engine.strategies.sequential import sequential

# Those that a caller may name.
STRATEGIES: dict[str, Strategy] = {"sequential": sequential, "associative": associative, "chunked": chunked}

__all__ = ["STRATEGIES", "State", "Strategy", "Trail", "associative", "chunked", "operator", "sequential"]
