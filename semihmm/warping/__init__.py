"""Dynamic time warping as a toolbox: distances, alignments and losses of series, searches in them."""

from semihmm.warping.alignment import Warping, dtw
from semihmm.warping.bounds import lb_keogh, lb_kim
from semihmm.warping.pairs import Neighbors, cdist, nearest
from semihmm.warping.soft import SoftDTWLoss, soft_dtw, soft_dtw_divergence

__all__ = [
    "Neighbors",
    "SoftDTWLoss",
    "Warping",
    "cdist",
    "dtw",
    "lb_keogh",
    "lb_kim",
    "nearest",
    "soft_dtw",
    "soft_dtw_divergence",
]
