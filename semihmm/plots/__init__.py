"""Pictures of data, answers and models, one function each, for matplotlib (``pip install 'semihmm[plots]'``).

Each draws on the axes that it is given as ``ax``, or else on those of a new figure, ``ax.figure``, which belongs to no
window; it returns the axes. Tensors may be NumPy arrays; none is written to. A state has the same colour in all
pictures: of more than eight states, in those that are given their names.
"""

from semihmm.plots.alignment import alignment
from semihmm.plots.durations import durations
from semihmm.plots.histories import histories
from semihmm.plots.k_best import k_best
from semihmm.plots.posteriors import posteriors
from semihmm.plots.scatter import scatter
from semihmm.plots.selection import selection
from semihmm.plots.timeline import timeline
from semihmm.plots.transitions import transitions

__all__ = [
    "alignment",
    "durations",
    "histories",
    "k_best",
    "posteriors",
    "scatter",
    "selection",
    "timeline",
    "transitions",
]
