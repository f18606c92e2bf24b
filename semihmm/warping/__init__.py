"""Dynamic time warping as a toolbox: distances, alignments and losses of series, searches in them."""

from semihmm.warping.alignment import Warping, dtw
from semihmm.warping.averaging import Barycenter, barycenter, soft_barycenter
from semihmm.warping.bounds import lb_keogh, lb_kim
from semihmm.warping.pairs import Neighbors, cdist, nearest
from semihmm.warping.search import Matches, search
from semihmm.warping.soft import SoftDTWLoss, soft_dtw, soft_dtw_divergence

__all__ = [
    "Barycenter",
    "Matches",
    "Neighbors",
    "SoftDTWLoss",
    "Warping",
    "barycenter",
    "cdist",
    "dtw",
    "lb_keogh",
    "lb_kim",
    "nearest",
    "search",
    "soft_barycenter",
    "soft_dtw",
    "soft_dtw_divergence",
]
